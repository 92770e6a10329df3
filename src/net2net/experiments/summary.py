"""From records to numbers: mean ± deviation over the seeds, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from net2net.experiments.methods import Role
from net2net.experiments.plan import TEACHER, Experiment
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
class Saving:
    """Part of the compute of training from scratch, up to its best accuracy, that was saved on the
    way to the same accuracy; over the seeds that reached it."""

    without_teacher: Stat | None
    """The teacher was there already: its training costs nothing."""
    with_teacher: Stat | None
    """The teacher was trained for this."""


@dataclass(frozen=True)
class Test:
    """Against another arm: p-values of a two-sided paired t-test over the seeds; None if there are
    less than two, or all differ by the same."""

    area: float | None
    final: float | None


@dataclass(frozen=True)
class Row:
    """One arm: validation accuracies, and how soon it was how good."""

    arm: str
    label: str
    lr: float
    parameters: int
    flops_per_step: int
    seeds: int
    accuracy: dict[int, Stat]
    """At the checkpoints, the first before training and the last after it."""
    area: Stat
    """Mean over the training: the area under the curve."""
    to_teacher: StepsTo
    """Steps to the final accuracy of the seed's teacher."""
    to_scratch: StepsTo | None
    """Steps to the best accuracy of the seed's student from scratch; None if there is none."""
    saving: Saving | None
    tests: dict[str, Test]
    """Of a Net2Net arm, against each of its rivals."""

    @property
    def start(self) -> Stat:
        return self.accuracy[0]

    @property
    def final(self) -> Stat:
        return self.accuracy[max(self.accuracy)]


@dataclass(frozen=True)
class Question:
    """The arms that are compared with each other."""

    name: str
    rows: list[Row]
    final_leads: dict[str, dict[str, list[float]]]
    """Of every Net2Net arm, over the teacher and over its rivals: its final accuracy minus theirs,
    seed by seed."""

    def label(self, arm: str) -> str:
        return next(row.label for row in self.rows if row.arm == arm)


@dataclass(frozen=True)
class Summary:
    """All numbers of the report."""

    figure: str
    task: str
    model: str
    seeds: list[int]
    checkpoints: list[int]
    teacher: Stat
    teacher_parameters: int
    teacher_flops: int
    """Of its whole training."""
    questions: list[Question]
    missing: list[str]
    faults: dict[str, str]


def checkpoints(schedule: Schedule) -> list[int]:
    """Steps of the table: before training, early (about 5 % and 20 % of the steps), at the end."""
    early = [round(part * schedule.steps / schedule.every) * schedule.every for part in (0.05, 0.2)]
    return sorted({0, *(step for step in early if step < schedule.steps), schedule.steps})


def summarise(results: Results) -> Summary:
    """Recompute every number from the records."""
    experiment = results.experiment
    teachers = results.of(TEACHER)
    faults = {str(key): fault for key, fault in results.faults.items()}
    if not teachers:
        raise NoResultsError(
            f"No teacher of this experiment has been trained to the end{_why(faults)}. "
            "Run it again to go on, or with a lower --lr."
        )
    return Summary(
        figure=experiment.figure,
        task=experiment.task,
        model=experiment.model,
        seeds=list(experiment.seeds),
        checkpoints=checkpoints(experiment.schedule),
        teacher=Stat.of([run.final for run in teachers]),
        teacher_parameters=teachers[0].start.parameters,
        teacher_flops=teachers[0].flops,
        questions=[_question(results, name) for name in experiment.questions],
        missing=[str(key) for key in results.missing],
        faults=faults,
    )


def _why(faults: dict[str, str]) -> str:
    return f" ({', '.join(f'{run}: {fault}' for run, fault in faults.items())})" if faults else ""


Runs = dict[int, Run]
"""Of an arm, by seed."""


def _question(results: Results, name: str) -> Question:
    runs = {
        arm: {run.start.seed: run for run in results.of(arm)}
        for arm in (TEACHER, *results.experiment.arms_of(name))
    }
    arms = [arm for arm, of_seeds in runs.items() if of_seeds and arm != TEACHER]
    rivals = {arm: _rivals(results.experiment, arm, arms) for arm in arms}
    leads = {
        arm: {
            other: [a.final - b.final for a, b in _pairs(runs[arm], runs[other])]
            for other in (TEACHER, *rivals[arm])
        }
        for arm in arms
        if results.experiment.arms[arm].role is Role.NET2NET
    }
    return Question(name, [_row(results, arm, runs, rivals[arm]) for arm in arms], leads)


def _rivals(experiment: Experiment, name: str, arms: Sequence[str]) -> list[str]:
    """Whom a Net2Net arm has to beat: of other uses of the teacher's weights, those that are
    trained at the same rate."""
    arm = experiment.arms[name]
    if arm.role is not Role.NET2NET:
        return []
    others = [(other, experiment.arms[other]) for other in arms]
    return [
        other
        for other, rival in others
        if rival.role in (Role.SCRATCH, Role.TEACHER)
        or (rival.role is Role.BASELINE and rival.lr_scale == arm.lr_scale)
    ]


def _pairs(one: Runs, other: Runs) -> list[tuple[Run, Run]]:
    """The runs of the seeds that both have."""
    return [(run, other[seed]) for seed, run in one.items() if seed in other]


def _row(results: Results, arm: str, runs: dict[str, Runs], rivals: list[str]) -> Row:
    mine = list(runs[arm].values())
    scratch: Runs = next(
        (of for other, of in runs.items() if of and _is_scratch(results.experiment, other)), {}
    )
    paired = _pairs(runs[arm], scratch)
    return Row(
        arm=arm,
        label=results.experiment.arms[arm].label,
        lr=mine[0].start.lr,
        parameters=mine[0].start.parameters,
        flops_per_step=mine[0].start.flops_per_step,
        seeds=len(mine),
        accuracy={
            step: Stat.of([run.accuracy_at(step) for run in mine])
            for step in checkpoints(results.experiment.schedule)
        },
        area=Stat.of([run.area for run in mine]),
        to_teacher=StepsTo.of([run.steps_to(results.teacher(run).final) for run in mine]),
        to_scratch=StepsTo.of([run.steps_to(other.best) for run, other in paired])
        if paired
        else None,
        saving=_saving(results, paired) if not _is_scratch(results.experiment, arm) else None,
        tests={rival: _test(_pairs(runs[arm], runs[rival])) for rival in rivals},
    )


def _is_scratch(experiment: Experiment, arm: str) -> bool:
    return arm != TEACHER and experiment.arms[arm].role is Role.SCRATCH


def _saving(results: Results, pairs: list[tuple[Run, Run]]) -> Saving | None:
    without, with_teacher = [], []
    for run, scratch in pairs:
        steps, all_steps = run.steps_to(scratch.best), scratch.steps_to(scratch.best)
        budget = (all_steps or 0) * scratch.start.flops_per_step
        if steps is not None and budget:
            spent = steps * run.start.flops_per_step
            without.append(1 - spent / budget)
            with_teacher.append(1 - (spent + results.teacher(run).flops) / budget)
    if not pairs:
        return None
    return Saving(*(Stat.of(found) if found else None for found in (without, with_teacher)))


def _test(pairs: list[tuple[Run, Run]]) -> Test:
    return Test(
        area=paired_p([a.area for a, _ in pairs], [b.area for _, b in pairs]),
        final=paired_p([a.final for a, _ in pairs], [b.final for _, b in pairs]),
    )


def paired_p(one: Sequence[float], other: Sequence[float]) -> float | None:
    """p-value of a two-sided paired t-test; None where it has no meaning."""
    from scipy.stats import ttest_rel

    differences = [a - b for a, b in zip(one, other, strict=True)]
    if len(differences) < 2 or max(differences) - min(differences) < 1e-12:
        return None
    return float(ttest_rel(one, other).pvalue)
