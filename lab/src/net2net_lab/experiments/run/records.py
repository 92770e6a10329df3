"""Records of runs as JSON lines: a file is a whole run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from net2net.errors import Net2NetError
from net2net.files import write_whole


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
    flops_per_step: int = 0
    """Floating-point operations of a training step."""
    environment: dict[str, str] = field(default_factory=dict)
    """Where it ran: versions, commit, hardware."""


@dataclass(frozen=True)
class StageStart:
    """A later stage of the run begins: other data, and perhaps another network."""

    step: int
    """After which it begins."""
    examples: int
    """For training."""
    lr: float
    parameters: int
    flops_per_step: int


@dataclass(frozen=True)
class Evaluation:
    """What was measured after so many steps of training."""

    step: int
    val_accuracy: float
    val_loss: float
    train_loss: float | None
    """Of what is minimised, so with all that a lesson adds: mean over the batches since the
    evaluation before; None before training."""
    lr: float
    train_accuracy: float | None = None
    """On the same batches."""


@dataclass(frozen=True)
class End:
    """The run is complete, or has stopped for good."""

    evaluations: int
    seconds: float
    fault: str | None = None
    """Why it stopped before its last step, if it did."""
    stages: int = 0
    """How many begin after the first."""


Record = Start | StageStart | Evaluation | End
KINDS: dict[str, type[Record]] = {
    one.__name__.lower(): one for one in (Start, StageStart, Evaluation, End)
}


@dataclass(frozen=True)
class Run:
    """A run that need not be run again."""

    start: Start
    evaluations: tuple[Evaluation, ...]
    seconds: float
    fault: str | None = None
    stages: tuple[StageStart, ...] = ()
    """After the first."""

    @property
    def final(self) -> float:
        """Validation accuracy after the last step (not the best one on the way)."""
        return self.evaluations[-1].val_accuracy

    @property
    def best(self) -> float:
        return max(e.val_accuracy for e in self.evaluations)

    @property
    def area(self) -> float:
        """Mean validation accuracy over all of training: the area under its curve."""
        steps = [e.step for e in self.evaluations]
        heights = [e.val_accuracy for e in self.evaluations]
        pieces = zip(pairwise(steps), pairwise(heights), strict=True)
        return sum((b - a) * (low + high) / 2 for (a, b), (low, high) in pieces) / steps[-1]

    @property
    def flops(self) -> int:
        """Of the whole training."""
        return self.flops_at(self.evaluations[-1].step)

    @property
    def parameters(self) -> int:
        """Of the last network."""
        return (self.stages[-1] if self.stages else self.start).parameters

    def flops_at(self, step: int) -> int:
        """Of the training up to a step."""
        begins = [0, *(stage.step for stage in self.stages)]
        ends = [*begins[1:], step]
        costs = [self.start.flops_per_step, *(stage.flops_per_step for stage in self.stages)]
        spans = zip(begins, ends, costs, strict=True)
        return sum(max(0, min(end, step) - begin) * cost for begin, end, cost in spans)

    def steps_to(self, accuracy: float) -> int | None:
        """Step of the first evaluation with at least this accuracy."""
        return next((e.step for e in self.evaluations if e.val_accuracy >= accuracy), None)


def write_run(path: Path, run: Run) -> None:
    """Write a run's records, all or none."""
    end = End(len(run.evaluations), run.seconds, run.fault, len(run.stages))
    records: Iterable[Record] = (run.start, *run.stages, *run.evaluations, end)
    write_whole(path, "".join(_line(record) + "\n" for record in records))


def _line(record: Record) -> str:
    return json.dumps({"kind": type(record).__name__.lower(), **asdict(record)})


def read_run(path: Path) -> Run:
    """Read a run, or raise ``BrokenRunError``."""
    records = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            fields = json.loads(line)
            records.append(KINDS[fields.pop("kind")](**fields))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenRunError(f"Line {number} of {path.name} is not a record.") from error
    evaluations = tuple(record for record in records if isinstance(record, Evaluation))
    stages = tuple(record for record in records if isinstance(record, StageStart))
    match records:
        case [Start() as start, *between, End() as end] if (len(evaluations), len(stages)) == (
            end.evaluations,
            end.stages,
        ) and len(evaluations) + len(stages) == len(between):
            return Run(start, evaluations, end.seconds, end.fault, stages)
    raise BrokenRunError(f"{path.name} is not a complete run: it has lost some of its lines.")
