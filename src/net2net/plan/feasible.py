"""Widths that only a trial shows to be possible: from those asked for to the nearest that are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from net2net.errors import GraphMismatchError, WidthError
from net2net.infer.spaces import Space
from net2net.plan.widths import ALL, SpaceGrowth

T = TypeVar("T")


def nearest_feasible(
    grown: list[SpaceGrowth], attempt: Callable[[list[SpaceGrowth]], T],
    counted: Callable[[], Iterable[Sequence[Space]]], tries: int = 48,
) -> tuple[list[SpaceGrowth], T]:  # fmt: skip
    """The first of ``attempt``'s results that does not fail, moving the width that fails.

    Only a trial shows two things. Where code cuts channels by position (shuffled halves), it shows
    which widths leave every teacher unit a place: a factor moves to the nearest that does, an
    integer raises, naming the nearest. And where a size is written into the code, the student
    stops there: of all spaces asked to grow at once, those that nothing reads stay as they are, as
    nothing is gained by them; if that does not help, the one that meets it does, and from the
    second of a kind (one place in layers of one width) on, all of its kind. Where no space meets
    it, an integer is wrong there that counts spaces elsewhere: those that it counts stay.

    Args:
        counted: for every integer of the code, the spaces that it counts.

    Raises:
        WidthError: an integer that cannot be had.
        GraphMismatchError: the student runs at no width that could be chosen.
    """
    wanted = {one.space.name: one.new for one in grown}
    moves = dict.fromkeys(wanted, 0)
    stopped: set[tuple[str, int]] = set()
    last = GraphMismatchError("")
    for _ in range(tries):
        try:
            return grown, attempt(grown)
        except GraphMismatchError as error:
            last = error
        moving = [one for one in grown if one.new != one.space.size]
        if any(_idle(one) for one in moving):
            why = "nothing reads these units"
            grown = [replace(g, new=g.space.size, note=why) if _idle(g) else g for g in grown]
            continue
        here = [one for one in moving if last.concerns(one.space.axes)]
        movable = [one for one in here or moving if moves[one.space.name] < 16]
        cut = [one for one in movable if one.space.split_by_position]
        if not cut and not last.module:
            cut = [one for one in movable if one.space.split_between_bundles]
        failed = min(
            cut or here,
            key=lambda one: (moves[one.space.name], len(one.space.axes)),
            default=None,
        )
        if failed is None:
            grown = _without_an_integer(grown, attempt, counted(), last)
            continue
        if cut and failed.exact:
            raise _not_feasible(grown, failed, attempt, tries, last) from last
        if cut:
            moves[failed.space.name] += 1
            target = wanted[failed.space.name]
            new = _further(target, failed.new, failed.space.step, failed.space.size)
            note = f"nearest to {failed.wanted:g} at which every unit has a place"
            grown = [replace(g, new=new, note=note) if g is failed else g for g in grown]
        elif failed.asked == ALL and last.module:
            why = (
                f"a size is written into the code of '{last.module}' "
                "(named in widths, it makes the student a graph module)"
            )
            kind = _kind(failed)
            grown = [
                replace(g, new=g.space.size, note=why)
                if g is failed or (kind in stopped and _kind(g) == kind and g.new != g.space.size)
                else g
                for g in grown
            ]
            stopped.add(kind)
        else:
            raise last
    raise last


def _without_an_integer(
    grown: list[SpaceGrowth], attempt: Callable[[list[SpaceGrowth]], T],
    counted: Iterable[Sequence[Space]], last: GraphMismatchError,
) -> list[SpaceGrowth]:  # fmt: skip
    """What still grows if one integer of the code stays, the first with which the student gets
    further: it is the size of features and of a constant, which no longer fits what reads it."""
    moving = {one.space.name for one in grown if one.new != one.space.size and one.asked == ALL}
    held = {frozenset(space.name for space in spaces) & moving for spaces in counted}
    where = f" in '{last.module}'" if last.module else ""
    why = f"the size of what stays{where} is read from the same attribute"
    for names in sorted(held - {frozenset()}, key=lambda names: (len(names), sorted(names))):
        fewer = [
            replace(g, new=g.space.size, note=why) if g.space.name in names else g for g in grown
        ]
        if all(one.new == one.space.size for one in fewer):
            continue
        try:
            attempt(fewer)
        except GraphMismatchError as error:
            if error.module == last.module:
                continue
        return fewer
    raise last


def _idle(one: SpaceGrowth) -> bool:
    return one.space.unread and one.asked == ALL


def _kind(one: SpaceGrowth) -> tuple[str, int]:
    """What spaces of like layers have in common."""
    return pattern(one.space.name), one.space.size


def pattern(name: str) -> str:
    """A module path without its numbers: the same place in every layer."""
    return re.sub(r"\d+", "*", name)


def _further(target: int, now: int, step: int, least: int) -> int:
    """The next candidate around ``target``: one step more, one less, two more, …"""
    while True:
        now = 2 * target - now if now > target else 2 * target - now + step
        if now > least:
            return now


def _not_feasible(
    grown: list[SpaceGrowth], failed: SpaceGrowth, attempt: Callable[[list[SpaceGrowth]], T],
    tries: int, last: GraphMismatchError,
) -> WidthError | GraphMismatchError:  # fmt: skip
    """An integer width leaves units without a place: find the widths around it that do not. Where
    no wider one does, it is not the width."""
    found = []
    for direction in (-1, 1):
        for distance in range(1, tries // 2):
            new = failed.new + direction * distance * failed.space.step
            try:
                attempt([replace(g, new=new) if g is failed else g for g in grown])
            except GraphMismatchError:
                continue
            found.append(new)
            break
    if max(found, default=0) <= failed.space.size:
        return last
    return WidthError(
        f"'{failed.asked}' cannot be {failed.new} wide: the code cuts its channels so that some "
        f"units would have no place. The admissible neighbours are {found}."
    )
