"""Carry out the coverage: the models that have no valid record yet, a few processes at a time."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import IO

from net2net_lab.zoo.environment import versions
from net2net_lab.zoo.families import family
from net2net_lab.zoo.records import (
    FACTOR,
    METHOD,
    OK,
    Key,
    Measurement,
    Record,
    append,
    read,
    rewrite,
)

log = logging.getLogger(__name__)

GIB = 2**30
POLL = 0.05


AGAIN: dict[str, Callable[[Record, dict[str, str]], bool]] = {
    "missing": lambda record, now: False,
    "changed": lambda record, now: record.versions != now,
    "failed": lambda record, now: record.measured.status != OK,
    "all": lambda record, now: True,
}
"""Whether a model is measured again that has this record, under these versions."""


@dataclass(frozen=True)
class Limits:
    """Of one model: seconds, and bytes of memory; and how many models at a time."""

    seconds: float = 300
    memory: int = 10 * GIB
    jobs: int = 2


Progress = Callable[[int, int, Record | None], None]
"""Called with how many models are done, of how many, and the record that has come."""


def models(
    families: Sequence[str], patterns: Sequence[str] = (),
    factor: float = FACTOR, method: str = METHOD,
) -> list[tuple[Key, dict[str, str]]]:  # fmt: skip
    """The models that are asked for, each with the versions that a record of it is valid for."""
    found = []
    for name in families:
        module = family(name)
        now = versions(module.LIBRARIES)
        for entry in module.entries():
            if not patterns or any(map(entry.matches, patterns)):
                found.append((Key(name, entry.group, entry.name, factor, method), now))
    return found


def run_zoo(
    wanted: Sequence[tuple[Key, dict[str, str]]],
    path: Path,
    progress: Progress,
    *,
    again: str = "changed",
    limits: Limits | None = None,
) -> dict[Key, Record]:
    """Measure what is missing, append each record as it comes, and return all records of the file.

    Args:
        again: one of ``AGAIN``, for what has a record.
    """
    limits = limits or Limits()
    path.parent.mkdir(parents=True, exist_ok=True)
    records = read(path)
    missing = [
        (key, now) for key, now in wanted if key not in records or AGAIN[again](records[key], now)
    ]
    done = len(wanted) - len(missing)
    progress(done, len(wanted), None)
    for key, measured in _pool([key for key, _ in missing], limits):
        records[key] = Record(key, measured, dict(missing)[key])
        append(path, records[key])
        done += 1
        log.info("%s: %s", key, shorten(measured.verdict, 300, placeholder=" …"))
        progress(done, len(wanted), records[key])
    records = read(path)  # with what another run may have added meanwhile
    rewrite(path, records.values())
    return records


def _pool(keys: Sequence[Key], limits: Limits) -> Iterator[tuple[Key, Measurement]]:
    """Results in the order in which they come. However this ends, no process stays."""
    waiting = list(reversed(keys))
    running: list[_Process] = []
    try:
        while waiting or running:
            while waiting and len(running) < limits.jobs:
                running.append(_Process(waiting.pop(), limits))
            time.sleep(POLL)
            for process in [one for one in running if one.ended()]:
                running.remove(process)
                measured = process.result()
                process.close()
                yield process.key, measured
    finally:
        for process in running:
            process.close()


class _Process:
    """A worker, what it writes, and when its time is up."""

    def __init__(self, key: Key, limits: Limits) -> None:
        self.key, self.limits = key, limits
        self.out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe could fill up
        self.err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.late = False
        command = [sys.executable, "-m", "net2net_lab.zoo.worker", key.family, key.name]
        self.process = subprocess.Popen(
            [*command, str(key.factor), key.method, str(limits.memory)],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err, start_new_session=True,
        )  # fmt: skip
        self.deadline = time.monotonic() + limits.seconds

    def ended(self) -> bool:
        if self.process.poll() is not None:
            return True
        if time.monotonic() > self.deadline:
            self.late = True
            self.kill()
        return self.late

    def close(self) -> None:
        """Leave nothing behind, whether it has ended or not."""
        self.kill()
        self.out.close()
        self.err.close()

    def kill(self) -> None:
        if self.process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def result(self) -> Measurement:
        """What the worker wrote, or why it did not."""
        if self.late:
            return Measurement().fail("limit", f"takes more than {self.limits.seconds:g} s")
        lines = self._lines(self.out)
        try:
            return Measurement(**json.loads(lines[-1]))
        except (IndexError, ValueError, TypeError):
            code = self.process.returncode
            ending = f"signal {-code}" if code < 0 else f"exit status {code}"
            last = (self._lines(self.err) or ["nothing"])[-1]
            memory = f"{self.limits.memory / GIB:g} GiB"
            return Measurement().fail(
                "limit", f"the process died ({ending}, {memory} allowed); it said last: {last}"
            )

    @staticmethod
    def _lines(file: IO[bytes]) -> list[str]:
        file.seek(0)
        return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
