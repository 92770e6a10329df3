"""What one choice does, all else alike: pairs of arms that differ in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import fmean

from net2net_lab.race.arms import Arm
from net2net_lab.race.ranks import raced
from net2net_lab.race.records import Records
from net2net_lab.race.tasks import TASKS

Other = Callable[[Arm], Arm | None]
"""From an arm that has made a choice to the one that has not; None from all others."""


def _differs(field: str, ours: str, theirs: str) -> Other:
    """In a field, of which a part is another."""

    def other(arm: Arm) -> Arm | None:
        value = getattr(arm, field)
        if not value.startswith(ours):
            return None
        return replace(arm, **{field: value.replace(ours, theirs, 1)})

    return other


def _state(arm: Arm) -> Arm | None:
    return replace(arm, state="drop") if arm.state == "own" else None


def _placed(order: str) -> Other:
    """Where new blocks stand."""

    def other(arm: Arm) -> Arm | None:
        if not arm.method.endswith(f"-{order}"):
            return None
        return replace(arm, method=f"{arm.method.removesuffix(order)}spread")

    return other


def _instead(ours: str, theirs: str) -> Other:
    """Another method; where ours pads the stream, theirs has no choice."""

    def other(arm: Arm) -> Arm | None:
        if arm.question != "width" or arm.method != ours or arm.norms == "copy":
            return None
        return replace(arm, method=theirs, norms="")

    return other


CHOICES: dict[str, Other] = {
    "`fresh`, not copies with noise": _instead("fresh", "replicate+noise"),
    "`fresh` (random, unread), not `half_copy` (random, read like copies)": _instead(
        "fresh", "half_copy"
    ),
    "`fresh`, not `random_pad`": _instead("fresh", "random_pad"),
    "the stream padded, not copied": _differs("norms", "pad", "copy"),
    "noise on copies": _differs("method", "replicate+noise", "replicate"),
    "copies with opposite noise (`pair`), not with noise": _instead("pair", "replicate+noise"),
    "state `own`, not `drop`": _state,
    "state `own`, re-warmed to 1.3": _differs("state", "own-1.3", "own"),
    "state `scale`, not `own`": _differs("state", "scale", "own"),
    "blocks drawn, not copied": _differs("method", "drawn-", "zeroed-"),
    "whole copies of blocks, not zeroed ones": _differs("method", "stacked", "zeroed-spread"),
    "blocks on top, not spread": _placed("top"),
    "blocks in the middle, not spread": _placed("middle"),
    "from one block, not from half of them": _differs("path", "one-deeper", "half-deeper"),
}


@dataclass(frozen=True)
class Effect:
    """Of one choice.

    Attributes:
        pairs: of arms.
        tasks: by what part the loss changes, by task.
        mean: over tasks and seeds.
        p: of Wilcoxon's signed-rank test that it is nothing, over tasks and seeds (tasks differ too
            much in how far losses spread for a t-test).
    """

    pairs: int
    tasks: dict[str, float]
    mean: float
    p: float


def effect(
    records: Records, tasks: Sequence[str], budget: float, arms: Sequence[Arm], other: Other
) -> Effect | None:
    """What a choice does at a budget; None if no pair has raced."""
    from scipy.stats import wilcoxon

    pairs = [(arm, than) for arm in arms if (than := other(arm)) is not None and than in arms]
    cells: dict[tuple[str, int], list[float]] = {}
    for task in tasks:
        for one, than in pairs:
            if one.on(TASKS[task]) == than.on(TASKS[task]):
                continue
            ours, theirs = raced(records, task, budget, one), raced(records, task, budget, than)
            for seed in ours.keys() & theirs.keys():
                a, b = ours[seed].loss, theirs[seed].loss
                if a is not None and b is not None:
                    cells.setdefault((task, seed), []).append(log(a / b))
    if not cells:
        return None
    means = {cell: fmean(found) for cell, found in cells.items()}
    by_task = {
        task: exp(fmean(mean for (where, _), mean in means.items() if where == task)) - 1
        for task in dict.fromkeys(where for where, _ in means)
    }
    values = list(means.values())
    p = float(wilcoxon(values).pvalue) if any(values) else 1.0
    return Effect(len(pairs), by_task, exp(fmean(values)) - 1, p)
