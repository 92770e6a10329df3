"""Records: one JSON line a run, in a file for each task that only grows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from net2net_lab.race.arms import Arm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spec:
    """One run: all that determines it, with the task's entry."""

    task: str
    arm: Arm
    seed: int
    budget: float
    """Relative to the task's full one."""
    rate: float

    def __str__(self) -> str:
        return f"{self.task}: {self.arm}, seed {self.seed}, × {self.budget:g}, rate {self.rate:g}"


@dataclass(frozen=True)
class Phase:
    """The time in which a run has one size."""

    parameters: int
    flops_per_step: int
    steps: int
    loss_before: float | None = None
    """Validation loss (of a part) before it grew to this size, and after."""
    loss_after: float | None = None


@dataclass(frozen=True)
class Record:
    """What was measured of one run.

    Attributes:
        entry: of what the task's entry was; a changed task makes its records void.
        allowed: the budget, in FLOPs.
        flops: what was spent of it: all phases together.
        curve: FLOPs spent, and validation loss on a part of the examples.
        loss: validation loss at the end; None if it was stopped.
        accuracy: the same.
        cpu_seconds: of the process, with evaluations and growth.
        fault: why it was stopped.
        environment: versions, commit, hardware.
    """

    spec: Spec
    entry: str
    allowed: int = 0
    flops: int = 0
    phases: tuple[Phase, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    loss: float | None = None
    accuracy: float | None = None
    cpu_seconds: float = 0.0
    fault: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Record:
        spec = fields.pop("spec")
        return cls(
            spec=Spec(**{**spec, "arm": Arm(**spec["arm"])}),
            phases=tuple(Phase(**one) for one in fields.pop("phases")),
            curve=tuple((int(spent), float(loss)) for spent, loss in fields.pop("curve")),
            **fields,
        )


Records = dict[Spec, Record]


def path_of(out: Path, task: str) -> Path:
    """The file of a task's records."""
    return out / f"{task}.jsonl"


def read(out: Path, entries: dict[str, str]) -> Records:
    """The records of these tasks, of each run the last; those of another entry do not count, nor
    does a line that was cut off.

    Args:
        entries: of each task, what ``entry`` has to be.
    """
    records: Records = {}
    for task, entry in entries.items():
        void = 0
        for record in _lines(path_of(out, task)):
            if record.entry == entry:
                records[record.spec] = record
            else:
                void += 1
        if void:
            log.warning("%d records of '%s' are of another entry and do not count.", void, task)
    return records


def _lines(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield Record.of(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s, line %d is no record. The run is done again.", path, number)


def append(out: Path, record: Record) -> None:
    """Add a record; after a line that an interruption cut off, on a line of its own."""
    out.mkdir(parents=True, exist_ok=True)
    with path_of(out, record.spec.task).open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(record.line().encode() + b"\n")
