"""Widths at which a student runs, where only a trial shows that it stops at those asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from net2net.errors import WidthError
from net2net.plan.feasible import kind_of
from net2net.plan.widths import SpaceGrowth, told

_DISTANCE = 16
"""How many steps around a width are tried."""

Runs = Callable[[list[SpaceGrowth]], bool]
"""Whether the student runs if these spaces grow, and no other."""


@dataclass(frozen=True)
class Stop:
    """A space that stops the student alone, and the sizes around the new one at which it runs."""

    growth: SpaceGrowth
    near: tuple[int, ...]

    @property
    def grows(self) -> bool:
        """Whether it could grow at all."""
        return max(self.near, default=0) > self.growth.space.size

    def __str__(self) -> str:
        one = self.growth
        return (
            f"'{one.space.name}' cannot be {one.as_named(one.new)} wide; "
            f"the admissible neighbours are {[one.as_named(new) for new in self.near]}"
        )


def stops(grown: Sequence[SpaceGrowth], runs: Runs) -> list[Stop]:
    """The spaces that stop the student alone, the first of each kind."""
    moving = [one for one in grown if one.new != one.space.size]
    first = {kind_of(one): one for one in reversed(moving)}
    return [
        Stop(one, tuple(_neighbours(one, runs)))
        for one in moving
        if one is first[kind_of(one)] and not runs([one])
    ]


def not_runnable(
    grown: Sequence[SpaceGrowth], found: Sequence[Stop], cause: BaseException | None
) -> WidthError:
    """What to say of a student that was made and stops."""
    return WidthError(
        f"the student does not run at its new widths ({told(grown)}), though the teacher does on "
        f"these inputs: {cause}. "
        + ("; ".join(map(str, found)) or "Each of these runs alone: leave some as they are")
        + "."
    )


def _neighbours(one: SpaceGrowth, runs: Runs) -> Iterator[int]:
    """The nearest widths below and above at which the student runs."""
    for direction in (-1, 1):
        for distance in range(1, _DISTANCE + 1):
            new = one.new + direction * distance * one.space.step
            if new == one.space.size or (new > one.space.size and runs([replace(one, new=new)])):
                yield new
                break
