"""The plan: which runs each stage has, from the records of the stages before (successive halving).

All arms run at a quarter of the budget; of each question the best third goes on to half of it, and
the best few to all of it. Arms are ranked over the tasks together, so what goes on is the same
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from net2net.errors import Net2NetError
from net2net_lab.race.arms import (
    ARMS,
    BASELINES,
    QUESTIONS,
    REFERENCE,
    SCRATCH,
    SHALLOW,
    SMALL,
    Arm,
    family,
)
from net2net_lab.race.ranks import AGAIN, HELD_OUT, first, mean_ranks, of_seeds
from net2net_lab.race.rates import settled, tuned_at, tuning
from net2net_lab.race.records import Records, Spec
from net2net_lab.race.tasks import TASKS
from net2net_lab.race.verdict import by_facts, tried, verdict

QUARTER, HALF, WHOLE = 0.25, 0.5, 1.0
"""Budgets, relative to the task's."""

TWO, FEW, MANY = (0, 1), (0, 1, 2), (0, 1, 2, 3, 4)
"""Seeds."""

THIRD = 3
"""Of each question, one in so many goes on to half of the budget."""

FINALISTS = {"width": 5, "depth": 2, "both": 1}
"""How many go on to all of it."""

TAUS = (0.1, 0.2, 0.4, 0.6, 0.8)
BUDGETS = (0.5, 1.0, 2.5)
ON = ("text", "vit")
"""Of the frontier: when growth begins, with what, and on which tasks."""


class NotReadyError(Net2NetError):
    """A stage is asked for whose runs depend on others that are missing."""


@dataclass(frozen=True)
class Race:
    """What is raced: tasks that are at hand, arms, and all records so far."""

    tasks: Sequence[str]
    records: Records
    arms: Sequence[Arm] = ARMS
    only: Sequence[str] = ()
    """Tasks that runs are wanted of; all if empty."""

    @property
    def judges(self) -> list[str]:
        """Tasks that have a say in what goes on."""
        return [task for task in self.tasks if TASKS[task].halving]

    def wanted(self, tasks: Sequence[str]) -> list[str]:
        return [task for task in tasks if not self.only or task in self.only]

    def of(self, question: str) -> list[Arm]:
        return [arm for arm in self.arms if arm.question == question]


Stage = Callable[[Race], list[Spec]]


def tune(race: Race) -> list[Spec]:
    """Every family's rate at a quarter of the budget."""
    return list(_tuning(race, race.wanted(race.judges), race.arms, QUARTER))


def quarter(race: Race) -> list[Spec]:
    """All arms."""
    return list(_specs(race, race.wanted(race.judges), race.arms, QUARTER, FEW))


def half(race: Race) -> list[Spec]:
    """The best third of each question, and the baselines."""
    _complete(race, "quarter")
    return list(_specs(race, race.wanted(race.judges), _best_third(race), HALF, FEW))


def retune(race: Race) -> list[Spec]:
    """The rates of the finalists' families, at the full budget."""
    _complete(race, "half")
    return list(_tuning(race, race.wanted(race.tasks), finalists(race), WHOLE))


def full(race: Race) -> list[Spec]:
    """The finalists and the baselines, with more seeds."""
    _complete(race, "half")
    return list(_specs(race, race.wanted(race.tasks), finalists(race), WHOLE, MANY))


def split(race: Race) -> list[Spec]:
    """If the best exact arm of width is not the default everywhere: that, and the reference, with
    seeds that are held out."""
    _complete(race, "full")
    found = verdict(first(race.records), race.judges, WHOLE, _best_exact(race, "width"))
    if found.default is not None:
        return []
    arms = (*list(found.ranks)[:1], REFERENCE)
    return list(_specs(race, race.wanted(race.judges), arms, WHOLE, HELD_OUT))


def again(race: Race) -> list[Spec]:
    """If that does not win: both with more seeds, which nothing has seen."""
    _complete(race, "split")
    best = _best_exact(race, "width")[0]
    records, judges = of_seeds(race.records, HELD_OUT), race.judges
    if not records or tried(records, judges, by_facts(judges), best)[1]:
        return []
    return list(_specs(race, race.wanted(judges), (best, REFERENCE), WHOLE, AGAIN))


def frontier(race: Race) -> list[Spec]:
    """The best exact arms of width and of depth: when they grow, by how much at once, and at which
    budget; and beside them what does not grow."""
    _complete(race, "full")
    tasks = [task for task in race.wanted(race.judges) if task in ON]
    best = [_best_exact(race, name)[0] for name in ("width", "depth")]
    timed = [replace(arm, tau=tau) for arm in best for tau in TAUS]
    sized = [replace(best[0], path=path) for path in ("width-1.37", "width-twice")]
    return [
        *(
            spec
            for budget in BUDGETS
            for spec in _specs(race, tasks, (SCRATCH, SMALL, SHALLOW, *timed), budget, TWO)
        ),
        *_specs(race, tasks, sized, WHOLE, TWO),
    ]


STAGES: dict[str, Stage] = {
    "tune": tune,
    "quarter": quarter,
    "half": half,
    "retune": retune,
    "full": full,
    "split": split,
    "again": again,
    "frontier": frontier,
}
"""In their order."""


def missing(race: Race, stage: str) -> list[Spec]:
    """What a stage has yet to run; seed after seed, and what begins alike one after the other.

    Raises:
        NotReadyError: the stages before are not complete.
    """
    todo = {spec for spec in STAGES[stage](race) if spec not in race.records}
    order = {task: number for number, task in enumerate(TASKS)}
    return sorted(todo, key=lambda spec: (spec.seed, order[spec.task], *_begins(spec)))


def _begins(spec: Spec) -> tuple[str, float, float, str]:
    return spec.arm.path, spec.rate, spec.arm.tau, str(spec.arm)


def finalists(race: Race) -> list[Arm]:
    """What goes on to the full budget."""
    best = [
        arm
        for name, count in FINALISTS.items()
        for arm in _ranked(
            race, HALF, [arm for arm in _best_third(race) if arm.question == name], count
        )
    ]
    return list(dict.fromkeys((*BASELINES, *best)))


def _best_third(race: Race) -> list[Arm]:
    best = [
        arm
        for name in QUESTIONS
        for arm in _ranked(race, QUARTER, race.of(name), ceil(len(race.of(name)) / THIRD))
    ]
    return list(dict.fromkeys((*BASELINES, *best)))


def _ranked(race: Race, budget: float, arms: Sequence[Arm], count: int) -> list[Arm]:
    return list(mean_ranks(first(race.records), race.judges, budget, arms))[:count]


def _best_exact(race: Race, question: str) -> list[Arm]:
    """Of the finalists, the best first."""
    arms = [arm for arm in finalists(race) if arm.exact and arm.question == question]
    return _ranked(race, WHOLE, arms, len(arms))


def _tuning(race: Race, tasks: Iterable[str], arms: Iterable[Arm], budget: float) -> Iterator[Spec]:
    families = dict.fromkeys(map(family, arms))
    for task in tasks:
        for one in families:
            yield from tuning(task, one, budget, race.records)


def _specs(
    race: Race, tasks: Iterable[str], arms: Iterable[Arm], budget: float, seeds: Sequence[int]
) -> Iterator[Spec]:
    """Each arm on each task that has it, at its family's rate.

    Raises:
        NotReadyError: a rate is not known.
    """
    arms = list(arms)
    for task in tasks:
        rates = {
            one: settled(task, one, tuned_at(budget), race.records)
            for one in dict.fromkeys(map(family, arms))
            if one.tuned.on(TASKS[task]) is not None
        }
        if None in rates.values():
            stage = "tune" if tuned_at(budget) == QUARTER else "retune"
            raise NotReadyError(
                f"The rates of '{task}' at × {tuned_at(budget):g} of the budget are not tuned. "
                f"Run --stage {stage} first."
            )
        for arm in arms:
            there = arm.on(TASKS[task])
            rate = rates.get(family(arm))
            if there is not None and rate is not None:
                yield from (Spec(task, there, seed, budget, rate) for seed in seeds)


def _complete(race: Race, stage: str) -> None:
    """On all tasks."""
    left = len(missing(replace(race, only=()), stage))
    if left:
        raise NotReadyError(
            f"The stage '{stage}' lacks {left} runs, which decide what comes after. "
            f"Run --stage {stage} first."
        )
