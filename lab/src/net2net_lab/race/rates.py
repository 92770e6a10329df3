"""Learning rates: those that tuning tries, and the one that its records settle."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from statistics import fmean

from net2net_lab.race.arms import Family
from net2net_lab.race.records import Records, Spec
from net2net_lab.race.tasks import TASKS

TUNED = {0.25: (100, 101), 1.0: (100,)}
"""Budgets at which rates are tuned, and the seeds, which are apart from those that race."""

SEEDS = (100, 101)
"""All of these."""

FURTHER = 2
"""How often tuning goes a factor of two beyond the rates that it begins with, if the best is at an
end of them."""


def tuned_at(budget: float) -> float:
    """Where the rate of a budget is from: the larger of those that it reaches."""
    return max((one for one in TUNED if one <= budget), default=min(TUNED))


def tuning(task: str, family: Family, budget: float, records: Records) -> list[Spec]:
    """The runs that settle a rate, as far as the records tell which."""
    rates = list(TASKS[task].rates)
    for _ in range(FURTHER):
        losses = _losses(task, family, budget, rates, records)
        if inf in losses.values() and not _all_run(task, family, budget, rates, records):
            break
        best = min(losses, key=lambda rate: losses[rate])
        if best == rates[0]:
            rates.insert(0, best / 2)
        elif best == rates[-1]:
            rates.append(best * 2)
        else:
            break
    return _specs(task, family, budget, rates)


def settled(task: str, family: Family, budget: float, records: Records) -> float | None:
    """The rate with the lowest mean loss; None as long as runs of the tuning are missing."""
    specs = tuning(task, family, budget, records)
    if not specs or any(spec not in records for spec in specs):
        return None
    rates = list(dict.fromkeys(spec.rate for spec in specs))
    losses = _losses(task, family, budget, rates, records)
    return min(losses, key=lambda rate: losses[rate])


def _specs(task: str, family: Family, budget: float, rates: Sequence[float]) -> list[Spec]:
    arm = family.tuned.on(TASKS[task])
    if arm is None:
        return []
    return [Spec(task, arm, seed, budget, rate) for seed in TUNED[budget] for rate in rates]


def _all_run(
    task: str, family: Family, budget: float, rates: Sequence[float], records: Records
) -> bool:
    return all(spec in records for spec in _specs(task, family, budget, rates))


def _losses(
    task: str, family: Family, budget: float, rates: Sequence[float], records: Records
) -> dict[float, float]:
    """Mean losses of rates; infinite where a run is missing or was stopped."""
    result = {}
    for rate in rates:
        found = [records.get(spec) for spec in _specs(task, family, budget, [rate])]
        losses = [one.loss for one in found if one is not None and one.loss is not None]
        result[rate] = fmean(losses) if found and len(losses) == len(found) else inf
    return result
