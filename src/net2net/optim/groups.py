"""Which group of an optimiser each of the student's parameters is in."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

from net2net.optim import own
from net2net.plan.plan import Plan

NUMBERS = re.compile(r"\d+")


def grown_groups(
    plan: Plan, groups: Sequence[Sequence[Hashable]], axes: Mapping[str, int],
    left: Collection[str],
) -> list[list[Hashable]]:  # fmt: skip
    """The student's groups, of its names. What the student has more joins the group of its
    origin, or of what is most like it; if that is in no group, neither is it (it may be in another
    optimiser's).

    Args:
        groups: names of the teacher's parameters; what is none of these (of something else that is
            trained beside) stays.
        axes: the student's parameters that are trained → how many axes they have.
        left: parameters of the teacher's that are in no group; copies of them are in none either.
    """
    homes = own.homes(plan)
    result: list[list[Hashable]] = []
    at: dict[str, int | None] = {homes.get(name, name): None for name in left}
    theirs: dict[str, int] = {}
    for number, group in enumerate(groups):
        result.append([])
        for name in group:
            if not isinstance(name, str):
                result[-1].append(name)
                continue
            theirs[name] = number
            ours = homes.get(name, name)
            if ours in axes:  # else the student has it no more
                at[ours] = number
                result[-1].append(ours)
    for name, number in _more(plan, axes, left, theirs, at):
        result[number].append(name)
    return result


def _more(
    plan: Plan, axes: Mapping[str, int], left: Collection[str], theirs: Mapping[str, int],
    at: Mapping[str, int | None],
) -> Iterator[tuple[str, int]]:  # fmt: skip
    near: dict[Hashable, int | None] = {}  # kind → the group of the last of it, at first the first
    for name in reversed(list(axes)):
        if name in at:
            near |= dict.fromkeys(_kinds(name, axes[name]), at[name])
    for name, count in axes.items():
        if name in at:
            near |= dict.fromkeys(_kinds(name, count), at[name])
            continue
        source = own.origin(plan, name) if name in plan.recipes else None
        if source in left:
            continue
        if source is not None and source in theirs:
            yield name, theirs[source]
            continue
        number = next((near[kind] for kind in _kinds(name, count) if kind in near), 0)
        if number is not None:
            yield name, number


def _kinds(name: str, axes: int) -> tuple[Hashable, ...]:
    """What parameters can have in common, the most telling first: a name but for the numbers of
    layers, and axes (decay tells weights from biases)."""
    return (NUMBERS.sub("", name), axes), axes, None
