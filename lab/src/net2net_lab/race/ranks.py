"""Who is ahead: arms ranked on each task by their final losses, and over the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from statistics import fmean

from net2net_lab.race.arms import Arm
from net2net_lab.race.rates import SEEDS
from net2net_lab.race.records import Record, Records
from net2net_lab.race.tasks import TASKS

HELD_OUT, AGAIN = (5, 6, 7, 8, 9), (10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
"""Seeds on which a rule is tried that others suggested, and those that try it once more. Nothing
else counts them."""


def of_seeds(records: Records, seeds: Sequence[int]) -> Records:
    """What was run with these seeds."""
    return {spec: record for spec, record in records.items() if spec.seed in seeds}


def first(records: Records) -> Records:
    """What was run with all seeds but those that try rules."""
    return {spec: one for spec, one in records.items() if spec.seed not in (*HELD_OUT, *AGAIN)}


def raced(records: Records, task: str, budget: float, arm: Arm) -> dict[int, Record]:
    """By seed, what an arm has run on a task; nothing where it is no arm of the task."""
    there = arm.on(TASKS[task])
    return {
        spec.seed: record
        for spec, record in records.items()
        if (spec.task, spec.budget, spec.arm) == (task, budget, there) and spec.seed not in SEEDS
    }


def loss(runs: Mapping[int, Record]) -> float:
    """The mean over the seeds; infinite if there are none, or one was stopped."""
    losses = [inf if one.loss is None else one.loss for one in runs.values()]
    return fmean(losses) if losses else inf


def mean_ranks(
    records: Records, tasks: Iterable[str], budget: float, arms: Sequence[Arm]
) -> dict[Arm, float]:
    """Of each arm, the mean over the tasks that have it, best first; 1 is the best. Arms that are
    the same on a task share their ranks' mean."""
    from scipy.stats import rankdata

    ranks: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for task in tasks:
        here = [arm for arm in arms if arm.on(TASKS[task]) is not None]
        losses = [loss(raced(records, task, budget, arm)) for arm in here]
        for arm, rank in zip(here, rankdata(losses) if losses else (), strict=True):
            ranks[arm].append(float(rank))
    means = {arm: fmean(found) for arm, found in ranks.items() if found}
    return dict(sorted(means.items(), key=lambda item: item[1]))
