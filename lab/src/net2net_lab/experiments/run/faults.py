"""Faults of the machine, told in a sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from net2net.errors import Net2NetError, is_out_of_memory


class OutOfMemoryError(Net2NetError):
    """The memory of the device or of the machine does not suffice."""


class DiskFullError(Net2NetError):
    """Nothing more can be written."""


@contextmanager
def memory_told(what: str, batch_size: int) -> Iterator[None]:
    """Raises:
    OutOfMemoryError: in place of the many errors that say so.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(what, batch_size) from error


def out_of_memory(what: str, batch_size: int) -> OutOfMemoryError:
    """The error, with what to try."""
    return OutOfMemoryError(
        f"Memory ran out in {what} with batches of {batch_size}. "
        f"Try --batch-size {max(1, batch_size // 2)}, or fewer --workers."
    )


@contextmanager
def disk_told() -> Iterator[None]:
    """Raises:
    DiskFullError: in place of the error that says so.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"The disk is full{f' at {error.filename!r}' if error.filename else ''}: what was "
            "being written was left out, and what was complete is kept. Make room; the same "
            "command goes on from here."
        ) from error
