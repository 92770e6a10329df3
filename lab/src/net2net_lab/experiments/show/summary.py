"""From records to numbers: mean ± deviation over the seeds, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from net2net_lab.experiments.figures import Arm
from net2net_lab.experiments.methods import Role
from net2net_lab.experiments.plan import TEACHER, Experiment
from net2net_lab.experiments.run.records import Run
from net2net_lab.experiments.run.results import NoResultsError, Results
from net2net_lab.experiments.schedule import Schedule


@dataclass(frozen=True)
class Stat:
    """Mean and sample deviation (none from a single seed) of one number per seed."""

    mean: float
    deviation: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def _stat(values: Sequence[float]) -> Stat | None:
    return Stat.of(values) if values else None


@dataclass(frozen=True)
class StepsTo:
    """Steps until an accuracy was first reached, over the seeds that reached it."""

    steps: Stat | None
    reached: int
    seeds: int
    flops: Stat | None = None

    @classmethod
    def of(cls, steps: Sequence[int | None], flops: Sequence[int] = ()) -> StepsTo:
        reached = [count for count in steps if count is not None]
        return cls(_stat(reached), len(reached), len(steps), _stat(flops))

    @classmethod
    def measured(cls, goals: Sequence[tuple[Run, float]]) -> StepsTo:
        """Of runs, and the accuracy that each is to reach."""
        steps = [run.steps_to(goal) for run, goal in goals]
        spent = [
            run.flops_at(step)
            for (run, _), step in zip(goals, steps, strict=True)
            if step is not None
        ]
        return cls.of(steps, spent)


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
    flops: int
    """Of the whole training."""
    seeds: int
    accuracy: dict[int, Stat]
    """At the checkpoints."""
    loss: dict[int, Stat]
    """Validation loss, at the same."""
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
        return self.accuracy[min(self.accuracy)]

    @property
    def final(self) -> Stat:
        return self.accuracy[max(self.accuracy)]


@dataclass(frozen=True)
class Question:
    """The arms that are compared with each other."""

    name: str
    reference: str
    """Label of what is trained from scratch, for "to scratch's best"; empty if there is none."""
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
    """Steps: the first before training and the last after it, or the ends of all stages."""
    shares: list[float]
    """Of a life in stages, how much of the data there is in each."""
    teacher: Stat
    teacher_parameters: int
    teacher_flops: int
    """Of its whole training."""
    teacher_loss: dict[int, Stat]
    """Validation loss at the checkpoints of its training."""
    questions: list[Question]
    missing: list[str]
    faults: dict[str, str]


def checkpoints(schedule: Schedule, parts: Sequence[float]) -> list[int]:
    """Steps of the table: before training, after about these parts of the steps, at the end."""
    between = [round(part * schedule.steps / schedule.every) * schedule.every for part in parts]
    return sorted({0, *(step for step in between if step < schedule.steps), schedule.steps})


def _checkpoints(experiment: Experiment) -> list[int]:
    stages = len(experiment.entry.shares)
    if stages == 1:
        return checkpoints(experiment.schedule, experiment.entry.parts)
    return [number * experiment.schedule.steps for number in range(1, stages + 1)]


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
        checkpoints=_checkpoints(experiment),
        shares=list(experiment.entry.shares) if len(experiment.entry.shares) > 1 else [],
        teacher=Stat.of([run.final for run in teachers]),
        teacher_parameters=teachers[0].start.parameters,
        teacher_flops=teachers[0].flops,
        teacher_loss=_at(experiment, teachers, "val_loss"),
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
    teacher = [] if len(results.experiment.entry.shares) > 1 else [TEACHER]
    leads = {
        arm: {
            other: [a.final - b.final for a, b in _pairs(runs[arm], runs[other])]
            for other in (*teacher, *rivals[arm])
        }
        for arm in arms
        if results.experiment.arms[arm].role is Role.NET2NET
    }
    labels = [
        results.experiment.arms[arm].label for arm in arms if _is_scratch(results.experiment, arm)
    ]
    reference = labels[0] if labels else ""
    return Question(name, reference, [_row(results, arm, runs, rivals[arm]) for arm in arms], leads)


def _rivals(experiment: Experiment, name: str, arms: Sequence[str]) -> list[str]:
    """Whom a Net2Net arm has to beat: of a method at several rates, the arm at the same rate; of
    the other ways to keep the function, those that are listed before it."""
    arm = experiment.arms[name]
    if arm.role is not Role.NET2NET:
        return []
    others = [(other, experiment.arms[other]) for other in arms]
    before = arms[: arms.index(name)]

    def rivals(other: str, rival: Arm) -> bool:
        if rival.role in (Role.SCRATCH, Role.TEACHER):
            return True
        as_fast = rival.lr_scale in (arm.lr_scale, *_only_rate(others, rival))
        another = rival.method != arm.method and other in before
        return as_fast and (rival.role is Role.BASELINE or another)

    return [other for other, rival in others if rivals(other, rival)]


def _only_rate(arms: Sequence[tuple[str, Arm]], one: Arm) -> list[float]:
    """The rate of a method that is tried at a single one."""
    rates = [arm.lr_scale for _, arm in arms if arm.method == one.method]
    return rates if len(rates) == 1 else []


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
        parameters=mine[0].parameters,
        flops_per_step=mine[0].start.flops_per_step,
        flops=mine[0].flops,
        seeds=len(mine),
        accuracy=_at(results.experiment, mine, "val_accuracy"),
        loss=_at(results.experiment, mine, "val_loss"),
        area=Stat.of([run.area for run in mine]),
        to_teacher=StepsTo.measured([(run, results.teacher(run).final) for run in mine]),
        to_scratch=StepsTo.measured([(run, other.best) for run, other in paired])
        if paired
        else None,
        saving=_saving(results, paired) if runs[arm] is not scratch else None,
        tests={rival: _test(_pairs(runs[arm], runs[rival])) for rival in rivals},
    )


def _at(experiment: Experiment, runs: Sequence[Run], what: str) -> dict[int, Stat]:
    """One of the numbers of an evaluation, at those checkpoints that the runs have; at the end of a
    stage, of the network that was trained in it."""
    found = [{one.step: getattr(one, what) for one in reversed(run.evaluations)} for run in runs]
    steps = [step for step in _checkpoints(experiment) if step in found[0]]
    return {step: Stat.of([of_run[step] for of_run in found]) for step in steps}


def _is_scratch(experiment: Experiment, arm: str) -> bool:
    return arm != TEACHER and experiment.arms[arm].role is Role.SCRATCH


def _saving(results: Results, pairs: list[tuple[Run, Run]]) -> Saving | None:
    without, with_teacher = [], []
    for run, scratch in pairs:
        steps, all_steps = run.steps_to(scratch.best), scratch.steps_to(scratch.best)
        budget = scratch.flops_at(all_steps or 0)
        if steps is not None and budget:
            spent = run.flops_at(steps)
            before = results.teacher(run).flops if results.adds_teacher(run.start.arm) else 0
            without.append(1 - spent / budget)
            with_teacher.append(1 - (spent + before) / budget)
    if not pairs:
        return None
    return Saving(_stat(without), _stat(with_teacher))


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
