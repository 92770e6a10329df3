"""What the race says: the rule for the default, written down before the runs (docs/race.md), and
the FLOPs that growing saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import stdev

from net2net_lab.race.arms import REFERENCE, SCRATCH, Arm
from net2net_lab.race.ranks import loss, mean_ranks, raced
from net2net_lab.race.records import Records
from net2net_lab.race.statistics import Comparison, compared, holm
from net2net_lab.race.tasks import TASKS

ALPHA = 0.05

THIRD = ALPHA / 3
"""Of the third test of one question."""


@dataclass(frozen=True)
class Test:
    """A candidate against its rival, on one task."""

    arm: Arm
    task: str
    found: Comparison
    p: float | None
    """Of the paired t-test, corrected over all candidates and tasks."""
    alpha: float = ALPHA

    @property
    def sign(self) -> int:
        """-1 if it is better, 1 if worse, 0 if that cannot be told."""
        if self.p is None or self.p >= self.alpha or not self.found.difference:
            return 0
        return 1 if self.found.difference > 0 else -1


@dataclass(frozen=True)
class Verdict:
    """Of one question at one budget: the exact arms, the tests, and the one that the rule takes."""

    ranks: dict[Arm, float]
    tests: list[Test]
    default: Arm | None

    @property
    def first(self) -> Arm | None:
        return next(iter(self.ranks), None)


def verdict(
    records: Records, tasks: Sequence[str], budget: float, arms: Sequence[Arm],
    rival: Arm = REFERENCE,
) -> Verdict:  # fmt: skip
    """The exact arm with the lowest mean rank, if it is better than the reference on at least half
    of the tasks and worse on none; from scratch as a rival it need not be better than."""
    exact = [arm for arm in arms if arm.exact]
    ranks = mean_ranks(records, tasks, budget, exact)
    pairs = [(arm, task) for arm in exact for task in tasks if arm.on(TASKS[task]) is not None]
    found = [
        compared(raced(records, task, budget, arm), raced(records, task, budget, rival))
        for arm, task in pairs
    ]
    corrected = holm([one.t for one in found])
    tests = [
        Test(arm, task, one, p) for (arm, task), one, p in zip(pairs, found, corrected, strict=True)
    ]
    first = next(iter(ranks), None)
    signs = [test.sign for test in tests if test.arm == first]
    better = rival == SCRATCH or 2 * signs.count(-1) >= len(signs)
    won = bool(signs) and better and 1 not in signs
    return Verdict(ranks, tests, first if won else None)


def by_facts(tasks: Sequence[str]) -> list[str]:
    """Those whose networks have a normalised stream or a convolution."""
    return [task for task in tasks if TASKS[task].norms or TASKS[task].convolutions]


def tried(
    records: Records, tasks: Sequence[str], on: Sequence[str], arm: Arm, alpha: float = ALPHA
) -> tuple[list[Test], bool]:
    """A rule that was written before its seeds were run: an arm on some of the tasks, the reference
    on the others; and whether it wins."""
    found = [
        compared(raced(records, task, 1.0, arm), raced(records, task, 1.0, REFERENCE))
        for task in on
    ]
    corrected = holm([one.t for one in found])
    tests = [
        Test(arm, task, one, p, alpha) for task, one, p in zip(on, found, corrected, strict=True)
    ]
    signs = [test.sign for test in tests]
    return tests, 2 * signs.count(-1) >= len(tasks) > 0 and 1 not in signs


def to_reach(points: Sequence[tuple[float, float]], target: float) -> float | None:
    """The budget at which a loss is reached, from losses at budgets: straight between two of them,
    both in logarithms; None outside of them.

    >>> to_reach([(0.5, 4.0), (2.0, 1.0)], 2.0)
    1.0
    """
    ordered = sorted(points)
    for (less, above), (more, below) in pairwise(ordered):
        if above >= target >= below and above > below:
            part = log(above / target) / log(above / below)
            return round(exp(log(less) + part * log(more / less)), 9)
    return None


def budgets(records: Records, task: str, arm: Arm) -> list[tuple[float, float]]:
    """The budgets that an arm has run at, and its mean losses; those that were stopped left out."""
    there = sorted({spec.budget for spec in records if spec.task == task})
    losses = [(one, loss(raced(records, task, one, arm))) for one in there]
    return [(one, value) for one, value in losses if value < float("inf")]


def behind(records: Records, task: str, budget: float, arm: Arm) -> float | None:
    """By how many of from scratch's deviations over the seeds it ends above from scratch."""
    theirs = raced(records, task, budget, SCRATCH)
    found = compared(raced(records, task, budget, arm), theirs)
    losses = [one.loss for one in theirs.values() if one.loss is not None]
    if found.difference is None or len(losses) < 2 or not (spread := stdev(losses)):
        return None
    return found.difference / spread
