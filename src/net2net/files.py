"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from net2net.errors import FolderError

FolderPath = str | os.PathLike[str]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename it: nobody ever sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def written(target: FolderPath) -> Iterator[Path]:
    """A folder beside the target, which takes its place when all went well, and is gone if not.

    Raises:
        FolderError: the target is occupied, or nothing can be written there.
    """
    path = Path(target)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FolderError(
            f"'{path}' is there already, and nothing is overwritten. Choose another target."
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _or_error(lambda: part.mkdir(parents=True), path)
    try:
        yield part
        _or_error(lambda: part.replace(path), path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _or_error(write: Callable[[], Any], path: Path) -> None:
    try:
        write()
    except OSError as error:
        raise FolderError(f"'{path}' cannot be written: {error}. Choose another target.") from error
