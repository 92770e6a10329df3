"""Widths that only a trial shows to be possible: from those asked for to the nearest that are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from net2net.errors import GraphMismatchError, WidthError
from net2net.infer.spaces import Space
from net2net.plan.widths import ALL, SpaceGrowth

T = TypeVar("T")

Attempt = Callable[[list[SpaceGrowth]], T]

_TRIES = 48
_MOVES = 16
"""How often one space is moved."""
_NEAR = 4
"""How many widths are tried beside one at which a space stops the student: up to two steps away,
since code mostly halves or quarters what it pads or cuts by. None are if it stops it at twice its
size as well."""
_REACH = 2
"""How many times the width that was asked for a search may end at."""


def nearest_feasible(
    grown: list[SpaceGrowth], attempt: Attempt[T],
    counted: Callable[[], Iterable[Sequence[Space]]],
) -> tuple[list[SpaceGrowth], T]:  # fmt: skip
    """The first of ``attempt``'s results that does not fail, moving the width that fails.

    Only a trial shows two things. Where code cuts channels by position (shuffled halves), it shows
    which widths leave every teacher unit a place: a factor moves to the nearest that does, up to
    twice the width that was asked for, beyond which the space stays; an integer raises, naming
    the nearest. And where a size is written into the code, the student stops there: of all spaces
    asked to grow at once, those that nothing reads stay as they are, as nothing is gained by them;
    if that does not help, the one that meets it moves to the few nearest widths (an odd number may
    be all that stops it), or does so, and from the second of a kind (one place in layers of one
    width) on, all of its kind. Where no space meets it, an integer is wrong there
    that counts spaces elsewhere: those that it counts stay.

    Args:
        counted: for every integer of the code, the spaces that it counts.

    Raises:
        WidthError: an integer that cannot be had.
        GraphMismatchError: the student runs at no width that could be chosen.
    """
    search = _Search(grown, attempt, counted)
    while True:
        try:
            return grown, attempt(grown)
        except GraphMismatchError as error:
            grown = search.after(grown, error)


@dataclass(frozen=True)
class _Held:
    """What was tried before some spaces stayed: the growths, the kinds that had stopped the
    student, and the names of those spaces."""

    grown: list[SpaceGrowth]
    stopped: set[tuple[str, int]]
    names: set[str]


class _Search(Generic[T]):
    """What to try next."""

    def __init__(
        self, grown: list[SpaceGrowth], attempt: Attempt[T],
        counted: Callable[[], Iterable[Sequence[Space]]],
    ) -> None:  # fmt: skip
        self.attempt, self.counted = attempt, counted
        self.asked = {one.space.name: one for one in grown}
        self.moves = dict.fromkeys(self.asked, 0)
        self.whys: dict[str, str] = {}
        self.tries = _TRIES
        self.blamed: set[str] = set()
        self.stopped: set[tuple[str, int]] = set()
        self.place: tuple[frozenset[str], str] | None = None
        """Where the student failed last, of those places that a size in the code may be at."""
        self.cleared: set[str] = set()
        """Spaces that stayed alone, and it failed there as before."""
        self.held: _Held | None = None

    def after(self, grown: list[SpaceGrowth], last: GraphMismatchError) -> list[SpaceGrowth]:
        """Other widths, after these failed."""
        self.tries -= 1
        if not self.tries:
            raise last
        held, self.held = self.held, None
        moving = [one for one in grown if one.new != one.space.size]
        if any(_idle(one) for one in moving):
            why = "nothing reads these units"
            return [replace(g, new=_old(g), note=why) if _idle(g) else g for g in grown]
        here = [one for one in moving if last.concerns(one.space.axes)]
        cut = [one for one in here or moving if one.space.split_by_position]
        if not cut and not last.module:
            cut = [one for one in here or moving if one.space.split_between_bundles]
        if not here:
            cut = self._to_blame(grown, cut, last)
        elif not cut and last.module and all(one.asked == ALL for one in here):
            grown, here = self._suspects(grown, here, last, held)
            if here and all(one.space.name in self.cleared for one in here):
                return self._stopped(grown, here, last)  # none of them alone
        failed = min(
            cut or here,
            key=lambda one: (self.moves[one.space.name], len(one.space.axes)),
            default=None,
        )
        if failed is None:
            return self._without_an_integer(held, grown, last)
        if cut:
            if failed.exact:
                raise self._not_feasible(grown, failed, last) from last
            return self._moved(grown, failed, last)
        if failed.asked == ALL and last.module:
            return self._nearer(grown, failed, last) or self._stopped(grown, [failed], last)
        raise last

    def _suspects(
        self, grown: list[SpaceGrowth], here: list[SpaceGrowth], last: GraphMismatchError,
        held: _Held | None,
    ) -> tuple[list[SpaceGrowth], list[SpaceGrowth]]:  # fmt: skip
        """The spaces at a place, but for those that were cleared, if any are left. What stayed
        without that the student got further is cleared, and grows again."""
        if self.place != (place := (last.axes, last.module)):
            self.place, self.cleared = place, set()
        elif held is not None:
            grown, self.stopped = held.grown, held.stopped
            self.cleared |= held.names
            here = [one for one in grown if one.new != _old(one) and last.concerns(one.space.axes)]
        return grown, [one for one in here if one.space.name not in self.cleared] or here

    def _to_blame(
        self, grown: list[SpaceGrowth], suspects: list[SpaceGrowth], last: GraphMismatchError
    ) -> list[SpaceGrowth]:
        """Where it shows on none of the suspects, those without whose growth the student gets
        further, one at a time; if there are none, all."""
        if len(suspects) < 2:
            return suspects
        if not any(one.space.name in self.blamed for one in suspects):
            alone = [one for one in suspects if self._gets_further(grown, {one.space.name}, last)]
            self.blamed = {one.space.name for one in alone or suspects}
        return [one for one in suspects if one.space.name in self.blamed]

    def _gets_further(
        self, grown: list[SpaceGrowth], names: set[str], last: GraphMismatchError
    ) -> bool:
        """Whether it fails elsewhere, or nowhere, if these spaces stay."""
        fewer = [replace(g, new=_old(g)) if g.space.name in names else g for g in grown]
        return self._differs(fewer, last)

    def _differs(self, grown: list[SpaceGrowth], last: GraphMismatchError) -> bool:
        """Whether it fails elsewhere, or nowhere, at these widths."""
        try:
            self.attempt(grown)
        except GraphMismatchError as error:
            return (error.axes, error.module) != (last.axes, last.module)
        return True

    def _moved(
        self, grown: list[SpaceGrowth], failed: SpaceGrowth, last: GraphMismatchError
    ) -> list[SpaceGrowth]:
        """With the next width of this space. After the last one it stays, and what moved in its
        stead begins anew."""
        name = failed.space.name
        self.moves[name] += 1
        self.whys.setdefault(name, _why_not(failed, last))
        target, limit = self.asked[name].new, _REACH * failed.wanted
        new = _further(target, failed.new, failed.step, failed.space.size)
        if new <= limit and self.moves[name] <= _MOVES:
            note = f"nearest to {failed.wanted:g} at which every unit has a place"
            return [replace(g, new=new, note=note) if g is failed else g for g in grown]
        if failed.asked != ALL:
            raise last
        why = self.whys[name]
        result = [
            replace(g, new=_old(g), note=why)
            if g is failed
            else (self.asked[g.space.name] if self.moves[g.space.name] and g.new != _old(g) else g)
            for g in grown
        ]
        self.moves = dict.fromkeys(self.asked, 0)
        self.tries = _TRIES
        return result

    def _nearer(
        self, grown: list[SpaceGrowth], failed: SpaceGrowth, last: GraphMismatchError
    ) -> list[SpaceGrowth] | None:
        """With the next width of the space that meets a size in the code, of the few that are
        tried."""
        name = failed.space.name
        if kind_of(failed) in self.stopped:
            return None
        left = list(near(self.asked[name]))[self.moves[name] :]
        if not left:
            return None
        if not self.moves[name]:
            twice = doubled(failed)
            other = [twice if twice and g is failed else g for g in grown]
            if twice is None or not self._differs(other, last):
                return None
        self.moves[name] += 1
        return [left[0] if g is failed else g for g in grown]

    def _stopped(
        self, grown: list[SpaceGrowth], failed: list[SpaceGrowth], last: GraphMismatchError
    ) -> list[SpaceGrowth]:
        """Without the spaces that meet a size in the code."""
        names = {one.space.name for one in failed}
        self.held = _Held(grown, set(self.stopped), names)
        why = (
            f"a size is written into the code of '{last.module}' "
            "(named in widths, it makes the student a graph module)"
        )
        kinds = {kind_of(one) for one in failed}
        known = kinds & self.stopped
        self.stopped |= kinds
        self.tries += sum(self.moves[name] for name in names)
        return [
            replace(g, new=_old(g), note=why)
            if g.new != _old(g) and (g.space.name in names or kind_of(g) in known)
            else g
            for g in grown
        ]

    def _without_an_integer(
        self, held: _Held | None, grown: list[SpaceGrowth], last: GraphMismatchError
    ) -> list[SpaceGrowth]:
        """What still grows if one integer of the code stays, the first with which the student
        gets further: it is the size of features and of a constant, which no longer fits what reads
        it. What stayed before that, and it fails in the same module, is not to blame."""
        ways = [(grown, self.stopped)]
        if held is not None and self.place is not None and self.place[1] == last.module:
            ways.insert(0, (held.grown, held.stopped))
        for before, stopped in ways:
            if found := self._with_an_integer_held(before, last):
                self.stopped = stopped
                return found
        raise last

    def _with_an_integer_held(
        self, grown: list[SpaceGrowth], last: GraphMismatchError
    ) -> list[SpaceGrowth] | None:
        """The growths without those that the first such integer counts."""
        moving = {one.space.name for one in grown if one.new != _old(one) and one.asked == ALL}
        held = {frozenset(space.name for space in spaces) & moving for spaces in self.counted()}
        where = f" in '{last.module}'" if last.module else ""
        why = f"the size of what stays{where} is read from the same attribute"
        for names in sorted(held - {frozenset()}, key=lambda names: (len(names), sorted(names))):
            fewer = [
                replace(g, new=_old(g), note=why) if g.space.name in names else g for g in grown
            ]
            if all(one.new == one.space.size for one in fewer):
                continue
            try:
                self.attempt(fewer)
            except GraphMismatchError as error:
                if error.module == last.module:
                    continue
            return fewer
        return None

    def _not_feasible(
        self, grown: list[SpaceGrowth], failed: SpaceGrowth, last: GraphMismatchError
    ) -> WidthError | GraphMismatchError:
        """An integer width leaves units without a place: find the widths around it that do not.
        Where no wider one does, it is not the width."""
        found: list[int] = []
        for direction in (-1, 1):
            for distance in range(1, _TRIES // 2):
                new = failed.new + direction * distance * failed.space.step
                try:
                    self.attempt([replace(g, new=new) if g is failed else g for g in grown])
                except GraphMismatchError:
                    continue
                found.append(new)
                break
        if max(found, default=0) <= failed.space.size:
            return last
        return WidthError(
            f"'{failed.asked}' cannot be {failed.as_named(failed.new)} wide: the code cuts its "
            "channels so that some units would have no place. The admissible neighbours are "
            f"{[failed.as_named(new) for new in found]}."
        )


def _old(one: SpaceGrowth) -> int:
    return one.space.size


def _idle(one: SpaceGrowth) -> bool:
    return one.space.unread and one.asked == ALL


def _why_not(one: SpaceGrowth, last: GraphMismatchError) -> str:
    """Why a space stays, of which this was said at the width that was asked for."""
    if last.why:
        return f"at a width of {one.new}, {last.why}"
    if one.space.pieces and not one.space.split_by_position:
        return (
            f"how many pieces {one.space.pieces} cuts it into is written into the code "
            "(named in widths, it makes the student a graph module)"
        )
    return f"no width near {one.wanted:g} gives every unit a place"


def near(one: SpaceGrowth) -> Iterator[SpaceGrowth]:
    """The few nearest other widths of a space that stops the student."""
    new = one.new
    for _ in range(_NEAR):
        new = _further(one.new, new, one.step, one.space.size)
        if new <= _REACH * one.wanted:
            note = f"nearest to {one.wanted:g} that a student can have"
            yield replace(one, new=new, note=note)


def doubled(one: SpaceGrowth) -> SpaceGrowth | None:
    """The space at twice its size, to see whether it stops the student there as well; None if it is
    known to, as it is asked to grow by whole multiples."""
    size = one.space.size
    return replace(one, new=2 * size) if one.new % size else None


def kind_of(one: SpaceGrowth) -> tuple[str, int]:
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
