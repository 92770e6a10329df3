"""Choices of the best k units, as routers make among experts: how often units may be copied.

A choice among c copies of every unit takes all copies of those that it took before if it takes c
times as many: each gets 1/c of what a softmax over all gave the unit, and together what it gave.
Of as many as before, it would take copies of the best in place of others; but one copy of the best
is as good as another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from net2net.errors import TransferError
from net2net.ops import traits
from net2net.plan.feasible import pattern
from net2net.trace.trace import Trace


@dataclass(frozen=True)
class Choice:
    """What modules at a place (a path, without its numbers) choose: ``few`` of ``old`` units in the
    teacher, and ``many`` of ``new`` in the student. ``adds``: they add up what the best are worth,
    as routers do that choose among groups first."""

    place: str
    old: int
    new: int
    few: int
    many: int
    adds: bool = False


Best = dict[tuple[str, int], tuple[int, int, bool]]
"""At a place the first, second, … choice: of how many, how many, and whether values alone count."""


def choices(teacher: Trace, student: Trace) -> list[Choice]:
    """Those that the student makes among more units."""
    old, new = _best(teacher), _best(student)
    return [
        Choice(key[0], n, q, few, many, adds)
        for key, (n, few, adds) in old.items()
        for q, many, _ in [new.get(key, (n, few, adds))]
        if q > n
    ]


def check_choices(found: Iterable[Choice]) -> None:
    """Raises:
    TransferError: copies of some units would take the place of others.
    """
    found = list(found)
    sizes = {(one.place, one.old, one.new) for one in found if not one.adds}
    choosing = {place for place, _, _ in sizes}
    for one in found:
        if one.adds and one.place in choosing and (one.place, one.old, one.new) not in sizes:
            raise TransferError(
                f"groups in '{one.place}' are chosen by the best of {one.old} units in the teacher "
                f"and of {one.new} in the student. Copies of a unit (an expert) come in groups of "
                "their own. Let the student have as many times more groups as it has more experts, "
                "each of as many as now, and take as many times more of them, or pass exact=False."
            )
        if one.adds or one.few == one.many == 1:
            continue
        if one.new % one.old or one.many * one.old != one.few * one.new:
            whole = -(-one.new // one.old)
            raise TransferError(
                f"topk in '{one.place}' takes {one.few} of {one.old} in the teacher and {one.many} "
                f"of {one.new} in the student. Copies of a unit (an expert) are taken together, so "
                "those of the best would stand in the place of others. Let it take "
                f"{one.few * whole} of {one.old * whole}, or pass exact=False."
            )


def _best(one: Trace) -> Best:
    used = {ref.id for op in one.ops for ref in op.inputs} | set(one.outputs.values())
    found: Best = {}
    seen: Counter[str] = Counter()
    for op in one.ops:
        dim = op.args.get("dim") if traits(op.kind).chooses else None
        if dim is None:
            continue
        seen[op.path] += 1
        size = one.shapes[op.inputs[0].id][dim]
        which = op.outputs[-1].id in used
        key = pattern(op.path), seen[op.path]
        found.setdefault(key, (size, int(op.args.get("k", 1)), not which))
    return found
