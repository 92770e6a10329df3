"""From records to numbers: mean ± deviation over the seeds, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from net2net.experiments.arms import ARMS, Role
from net2net.experiments.plan import TEACHER
from net2net.experiments.records import Run
from net2net.experiments.results import NoResultsError, Results
from net2net.experiments.schedule import Schedule


@dataclass(frozen=True)
class Stat:
    """Mean and sample deviation (none from a single seed) of one number per seed."""

    mean: float
    deviation: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class StepsTo:
    """Steps until an accuracy was first reached, over the seeds that reached it."""

    steps: Stat | None
    reached: int
    seeds: int

    @classmethod
    def of(cls, steps: Sequence[int | None]) -> StepsTo:
        reached = [count for count in steps if count is not None]
        return cls(Stat.of(reached) if reached else None, len(reached), len(steps))


@dataclass(frozen=True)
class Row:
    """One arm: validation accuracies, and how soon it was how good."""

    arm: str
    label: str
    lr: float
    parameters: int
    accuracy: dict[int, Stat]
    """At the checkpoints, the first before training and the last after it."""
    to_teacher: StepsTo
    """Steps to the final accuracy of the seed's teacher."""
    to_scratch: StepsTo | None
    """Steps to the final accuracy of the seed's student from scratch; None if there is none."""

    @property
    def start(self) -> Stat:
        return self.accuracy[0]

    @property
    def final(self) -> Stat:
        return self.accuracy[max(self.accuracy)]


@dataclass(frozen=True)
class Question:
    """The arms that train one architecture."""

    name: str
    rows: list[Row]
    final_leads: dict[str, dict[str, list[float]]]
    """Of every Net2Net arm, over the teacher and over every other arm: its final accuracy minus
    theirs, seed by seed."""


@dataclass(frozen=True)
class Summary:
    """All numbers of the report."""

    task: str
    seeds: list[int]
    checkpoints: list[int]
    teacher: Stat
    teacher_parameters: int
    questions: list[Question]
    missing: list[str]


def checkpoints(schedule: Schedule) -> list[int]:
    """Steps of the table: before training, early (about 5 % and 20 % of the steps), at the end."""
    early = [round(part * schedule.steps / schedule.every) * schedule.every for part in (0.05, 0.2)]
    return sorted({0, *(step for step in early if step < schedule.steps), schedule.steps})


def summarise(results: Results) -> Summary:
    """Recompute every number from the records."""
    experiment = results.experiment
    teachers = results.of(TEACHER)
    if not teachers:
        raise NoResultsError(
            "No teacher of this experiment has been trained to the end. Run it again to go on."
        )
    return Summary(
        task=experiment.task,
        seeds=list(experiment.seeds),
        checkpoints=checkpoints(experiment.schedule),
        teacher=Stat.of([run.final for run in teachers]),
        teacher_parameters=teachers[0].start.parameters,
        questions=[_question(results, name) for name in experiment.questions],
        missing=[str(key) for key in results.missing],
    )


def _question(results: Results, name: str) -> Question:
    runs = {
        arm: {run.start.seed: run for run in results.of(arm)}
        for arm in (TEACHER, *results.experiment.arms_of(name))
    }
    arms = [arm for arm, of_seeds in runs.items() if of_seeds and arm != TEACHER]
    scratch = next((runs[arm] for arm in arms if ARMS[arm].role is Role.SCRATCH), {})
    leads = {
        arm: {
            other: [
                run.final - runs[other][seed].final
                for seed, run in runs[arm].items()
                if seed in runs[other]
            ]
            for other in (TEACHER, *arms)
            if other != arm
        }
        for arm in arms
        if ARMS[arm].role is Role.NET2NET
    }
    return Question(name, [_row(results, arm, scratch) for arm in arms], leads)


def _row(results: Results, arm: str, scratch: dict[int, Run]) -> Row:
    runs = results.of(arm)
    paired = [run for run in runs if run.start.seed in scratch]
    return Row(
        arm=arm,
        label=ARMS[arm].label,
        lr=runs[0].start.lr,
        parameters=runs[0].start.parameters,
        accuracy={
            step: Stat.of([run.accuracy_at(step) for run in runs])
            for step in checkpoints(results.experiment.schedule)
        },
        to_teacher=StepsTo.of([run.steps_to(results.teacher(run).final) for run in runs]),
        to_scratch=StepsTo.of([run.steps_to(scratch[run.start.seed].final) for run in paired])
        if paired
        else None,
    )
