"""The spaces to blame for a student that does not hold what was promised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from net2net.plan.feasible import doubled, kind_of, near
from net2net.plan.widths import SpaceGrowth

_LIKE = 2
"""So many of a kind (one place in layers of one width) are tried before all of it are blamed."""


def to_blame(
    grown: Sequence[SpaceGrowth], why_not: Callable[[list[SpaceGrowth]], str | None]
) -> dict[str, str]:
    """The spaces to leave as they are, so that the rest can grow, by name, and why.

    Halves are tried, then halves of those that fail, beside all that was found good: b spaces of n
    take about b log₂ n trials.

    Args:
        why_not: what is wrong if these spaces grow, and no other; None if nothing is.
    """
    found: dict[str, str] = {}
    kinds: dict[tuple[str, int], list[str]] = {}

    def good(suspects: list[SpaceGrowth], beside: list[SpaceGrowth]) -> list[SpaceGrowth]:
        """Those that can grow beside these."""
        left = []
        for one in suspects:
            whys = kinds.get(kind_of(one), [])
            if len(whys) < _LIKE:
                left.append(one)
            else:
                found[one.space.name] = (
                    f"like others of its kind, of which one was tried: {whys[0]}"
                )
        why = why_not([*beside, *left]) if left else None
        if why is None:
            return left
        if len(left) == 1:
            kinds.setdefault(kind_of(left[0]), []).append(why)
            found[left[0].space.name] = why
            return []
        middle = len(left) // 2
        first = good(left[:middle], beside)
        return first + good(left[middle:], [*beside, *first])

    good([one for one in grown if one.new != one.space.size], [])
    return found


def left_out(grown: Sequence[SpaceGrowth], whys: Mapping[str, str]) -> list[SpaceGrowth]:
    """The growths, but for spaces of these names, which stay for these reasons."""
    return [
        replace(one, new=one.space.size, note=whys[one.space.name])
        if one.space.name in whys
        else one
        for one in grown
    ]


def moved(
    grown: Sequence[SpaceGrowth], whys: Mapping[str, str],
    why_not: Callable[[list[SpaceGrowth]], str | None],
) -> list[SpaceGrowth]:  # fmt: skip
    """The growths, with those to blame at the nearest of a few widths that will do, or left out. Of
    a kind the first tells which: of others no more is tried than that.

    Args:
        whys: the spaces to blame, by name, and why.
        why_not: what is wrong if these spaces grow, and no other; None if nothing is.
    """
    result = left_out(grown, whys)
    widths: dict[tuple[str, int], set[int]] = {}
    for place, one in enumerate(grown):
        if one.space.name not in whys or one.new == one.space.size:
            continue

        def good(other: SpaceGrowth | None, place: int = place) -> bool:
            trial = [*result[:place], *([other] if other else []), *result[place + 1 :]]
            moving = [one for one in trial if one.new != one.space.size]
            return other is not None and why_not(moving) is None

        kind = kind_of(one)
        if kind not in widths:
            widths[kind] = {other.new for other in near(one)} if good(doubled(one)) else set()
        others = (other for other in near(one) if other.new in widths[kind])
        found = next(filter(good, others), None)
        widths[kind] = {found.new} if found else set()
        result[place] = found or result[place]
    return result
