"""A machine that fails: the disk is full, or the process is killed, where a file is written."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can be longer than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def killed_at(number: int, below: Path, run: Callable[[], object]) -> bool:
    """Run in a process that is killed at the ``number``-th file which is made or renamed ``below``;
    whether it was."""
    return _in_child(run, number, below, lambda: os.kill(os.getpid(), signal.SIGKILL)) != 0


def full_at(number: int, below: Path, run: Callable[[], object]) -> bool:
    """Run in a process for which the disk is full at the ``number``-th file; whether it failed."""

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return _in_child(run, number, below, full) != 0


def _in_child(
    run: Callable[[], object], number: int, below: Path, then: Callable[[], object]
) -> int:
    """How a child that runs this ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        sys.addaudithook(_At(number, below, then))
        run()
        status = 0
    finally:
        os._exit(status)


class _At:
    """Does something when so many files were made or renamed in a folder."""

    def __init__(self, number: int, below: Path, then: Callable[[], object]) -> None:
        self.left, self.below, self.then = number, str(below), then

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        made = event in {"os.rename", "os.mkdir"} or (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa+")
        )
        if made and str(arguments[0]).startswith(self.below):
            self.left -= 1
            if self.left == 0:
                self.then()
