"""Widths at which a student runs, where what only values show stops it at those asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from net2net.errors import StudentRunError, WidthError
from net2net.plan.feasible import kind_of
from net2net.plan.widths import SpaceGrowth, told

_DISTANCE = 16
"""How many steps around a width are tried."""


def not_runnable(
    grown: Sequence[SpaceGrowth], runs: Callable[[list[SpaceGrowth]], bool], last: StudentRunError
) -> WidthError:
    """What to say of a student that was made and stops: the spaces that stop it alone, the first
    of each kind, and the widths around theirs at which it runs.

    Args:
        runs: whether the student runs if these spaces grow, and no other.
    """
    moving = [one for one in grown if one.new != one.space.size]
    said = []
    first = {kind_of(one): one for one in reversed(moving)}
    for one in moving:
        if one is not first[kind_of(one)] or runs([one]):
            continue
        near = [one.as_named(new) for new in _neighbours(one, runs)]
        said.append(
            f"'{one.space.name}' cannot be {one.as_named(one.new)} wide; "
            f"the admissible neighbours are {near}"
        )
    return WidthError(
        f"the student does not run at its new widths ({told(moving)}), though the teacher does on "
        f"these inputs: {last.__cause__}. "
        + ("; ".join(said) or "Each of these runs alone: leave some as they are")
        + "."
    )


def _neighbours(one: SpaceGrowth, runs: Callable[[list[SpaceGrowth]], bool]) -> Iterator[int]:
    """The nearest widths below and above at which the student runs."""
    for direction in (-1, 1):
        for distance in range(1, _DISTANCE + 1):
            new = one.new + direction * distance * one.space.step
            if new == one.space.size or (new > one.space.size and runs([replace(one, new=new)])):
                yield new
                break
