"""Write a student's files tensor by tensor, in blocks of rows: the header first, then every tensor
behind the other. No more than some blocks are in memory."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from net2net.apply.fingerprint import TensorSpec
from net2net.errors import FolderError
from net2net.hf.journal import Journal
from net2net.hf.shards import header_of
from net2net.recipe.axis_map import Index
from net2net.recipe.run import Read

log = logging.getLogger("net2net")

BLOCK = 2**22
"""About how many bytes are made at once."""

OFTEN = 5.0
"""Seconds between two lines of the log."""


@dataclass(frozen=True)
class Progress:
    """How far a student is written: bytes that are, bytes in all, and seconds since it began."""

    done: int
    total: int
    seconds: float

    @property
    def left(self) -> float:
        """About how many seconds it will take from here; infinite while nothing is done."""
        return self.seconds * (self.total - self.done) / self.done if self.done else float("inf")

    def __str__(self) -> str:
        return (
            f"{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB written, about {self.left:.0f} s "
            "left"
        )


Told = Callable[[Progress], None]


class Writer:
    """Writes a student's files into a folder, those that are not there yet.

    Args:
        make: makes its tensors, by the model's names.
        known: their shapes and types.
        jobs: how many blocks are made at the same time.
        told: is told of every block; None: the log is, now and then.
    """

    def __init__(
        self, make: Read, known: Mapping[str, TensorSpec], jobs: int, told: Told | None
    ) -> None:
        self.make, self.known, self.jobs, self.told = make, known, jobs, told
        self.done = self.total = 0
        self.begin = self.said = time.monotonic()

    def write(self, files: Mapping[str, Mapping[str, str]], journal: Journal) -> None:
        """Args:
            files: the name of a file → names on disk → the model's names.

        Raises:
            FolderError: the disk is full, or nothing can be written there.
        """
        self.total = sum(
            self.known[own].bytes for names in files.values() for own in names.values()
        )
        for file, names in files.items():
            if journal.has(file):
                self._count(sum(self.known[own].bytes for own in names.values()))
                continue
            try:
                digest = self._file(journal.folder / file, names)
            except OSError as error:
                raise FolderError(
                    f"'{file}' cannot be written: {error}. Make room, or choose another target."
                ) from error
            journal.add(file, digest)

    def _file(self, path: Path, names: Mapping[str, str]) -> str:
        """The hash of what was written."""
        shapes = {name: self.known[own] for name, own in names.items()}
        header, order = header_of({n: (_type(x), x.shape) for n, x in shapes.items()})
        digest = hashlib.sha256(header)
        with path.open("wb", buffering=0) as file, ThreadPoolExecutor(1) as beside:
            _write(file.write, header)
            for block in self._made(names[name] for name in order):
                hashed = beside.submit(digest.update, block)
                _write(file.write, block)
                hashed.result()
                self._count(len(block))
        return digest.hexdigest()

    def _made(self, names: Iterable[str]) -> Iterator[memoryview]:
        """The bytes of these tensors, made ahead of what is taken."""
        waiting: deque[Future[memoryview]] = deque()
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for name in names:
                    for rows in blocks(self.known[name]):
                        waiting.append(pool.submit(self._bytes, name, rows))
                        if len(waiting) > self.jobs:
                            yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()

    def _bytes(self, name: str, rows: Index | None) -> memoryview:
        made = self.make(name, rows)
        if made.dtype != self.known[name].dtype:
            raise FolderError(
                f"'{name}' is made as {made.dtype}, and the student has it as "
                f"{self.known[name].dtype}. Report this model."
            )
        return bytes_of(made)

    def _count(self, size: int) -> None:
        self.done += size
        now = time.monotonic()
        progress = Progress(self.done, self.total, now - self.begin)
        if self.told is not None:
            self.told(progress)
        elif now - self.said > OFTEN:
            self.said = now
            log.info("%s", progress)


def blocks(known: TensorSpec) -> Iterator[Index | None]:
    """Numbers of rows, block by block; None: all that there are at once."""
    rows = max(1, BLOCK // max(1, prod(known.shape[1:]) * _type(known).itemsize))
    size = known.shape[0] if known.shape else 1
    if rows >= size:
        yield None
        return
    yield from (np.arange(first, min(first + rows, size)) for first in range(0, size, rows))


def bytes_of(tensor: Tensor) -> memoryview:
    """The numbers as they lie on disk."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _type(known: TensorSpec) -> torch.dtype:
    assert known.dtype is not None
    return known.dtype


def _write(write: Callable[[memoryview], int], block: bytes | memoryview) -> None:
    """All of it: one call may write less."""
    left = memoryview(block)
    while left:
        left = left[write(left) :]
