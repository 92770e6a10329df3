"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from net2net.errors import FolderError

try:
    import fcntl
except ImportError:  # there are no such locks, and two runs on one target stop at the renaming
    fcntl = None  # type: ignore[assignment]

FolderPath = str | os.PathLike[str]

DONE = ".net2net-done.json"
"""The file in a folder that is being written which says what of it is done: with it, the folder
stays after an interruption."""


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
def told_as_os_error(*errors: type[Exception]) -> Iterator[None]:
    """What libraries make of a disk that is full, as the error that Python makes of it."""
    try:
        yield
    except errors as error:
        raise OSError(f"{type(error).__name__}: {error!s:.200}") from error


def emptied(folder: Path, kept: Collection[str] = ()) -> None:
    """Remove all else that is in a folder."""
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def written(target: FolderPath) -> Iterator[Path]:
    """A folder beside the target, which takes its place when all went well, and is gone if not;
    after an interruption what is done of it stays, and the same call goes on from there.

    Raises:
        FolderError: the target is occupied, another run writes it, or nothing can be written there.
    """
    path = Path(target).absolute()
    part = path.with_name(f".{path.name}.net2net")
    _check_free(path)
    try:
        with _alone(part, path):
            _check_free(path)
            yield from _written(part, path)
    except FolderError:
        raise
    except OSError as error:
        raise FolderError(f"'{path}' cannot be written: {error}. Choose another target.") from error


def _written(part: Path, path: Path) -> Iterator[Path]:
    try:
        if not (part / DONE).exists():
            emptied(part)
        yield part
        (part / DONE).unlink(missing_ok=True)
        part.replace(path)
    except Exception:
        shutil.rmtree(part, ignore_errors=True)
        raise
    except BaseException:  # somebody stopped it
        if not (part / DONE).exists():
            shutil.rmtree(part, ignore_errors=True)
        raise


def _check_free(path: Path) -> None:
    """Raises:
    FolderError: something is there.
    """
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise FolderError(
            f"'{path}' is there already, and nothing is overwritten. Choose another target."
        )


@contextmanager
def _alone(part: Path, path: Path) -> Iterator[None]:
    """Make the folder, and hold it: a lock on it ends with the process, however that ends."""
    part.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    held = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = os.fstat(held).st_ino != part.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            gone = True
        if gone:
            raise FolderError(
                f"another run is writing '{path}'. Wait for it, or choose another target."
            )
        yield
    finally:
        os.close(held)
