"""Records of runs as JSON lines: written as they are measured, and read back.

A run is written under a temporary name and renamed when it is complete, so that a file with the
final name is a whole run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from net2net.errors import Net2NetError


class BrokenRunError(Net2NetError):
    """A file of records that cannot be read back as a complete run."""


@dataclass(frozen=True)
class Start:
    """What is being trained."""

    arm: str
    seed: int
    lr: float
    parameters: int
    config: dict[str, Any]
    """All that the run's numbers depend on."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured after so many steps of training."""

    step: int
    val_accuracy: float
    val_loss: float
    train_loss: float | None
    """Mean over the batches since the evaluation before; None before training."""
    lr: float


@dataclass(frozen=True)
class End:
    """The run is complete."""

    evaluations: int
    seconds: float


Record = Start | Evaluation | End
KINDS: dict[str, type[Record]] = {"start": Start, "evaluation": Evaluation, "end": End}


@dataclass(frozen=True)
class Run:
    """A complete run."""

    start: Start
    evaluations: tuple[Evaluation, ...]
    seconds: float

    @property
    def final(self) -> float:
        """Validation accuracy after the last step (not the best one on the way)."""
        return self.evaluations[-1].val_accuracy

    def accuracy_at(self, step: int) -> float:
        return next(e.val_accuracy for e in self.evaluations if e.step == step)

    def steps_to(self, accuracy: float) -> int | None:
        """Step of the first evaluation with at least this accuracy."""
        return next((e.step for e in self.evaluations if e.val_accuracy >= accuracy), None)


class Recorder:
    """Appends records to an open file, each one on the disk before the next is measured."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, record: Record) -> None:
        kind = type(record).__name__.lower()
        self._file.write(json.dumps({"kind": kind, **asdict(record)}) + "\n")
        self._file.flush()


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """A recorder whose file gets its final name if nothing goes wrong."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        yield Recorder(file)
    part.replace(path)


def read_run(path: Path) -> Run:
    """Read a complete run, or raise ``BrokenRunError``."""
    records = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            fields = json.loads(line)
            records.append(KINDS[fields.pop("kind")](**fields))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenRunError(f"Line {number} of {path.name} is not a record.") from error
    evaluations = tuple(record for record in records if isinstance(record, Evaluation))
    match records:
        case [Start() as start, *between, End(count, seconds)] if (
            len(evaluations) == len(between) == count
        ):
            return Run(start, evaluations, seconds)
    raise BrokenRunError(f"{path.name} is not a complete run: it has lost some of its lines.")
