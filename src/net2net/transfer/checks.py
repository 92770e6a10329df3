"""What a transfer refuses, and where: pairs whose student cannot compute the teacher's function."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction

from net2net.errors import TransferError
from net2net.infer.infer import infer
from net2net.infer.inference import HELD, Inference
from net2net.infer.inside import Inside
from net2net.infer.units import Axis, Role, SharedHeads
from net2net.trace.trace import Trace


def check_operations(teacher: list[Trace], student: list[Trace]) -> None:
    """Both have to do the same things in the same order."""
    for old, new in zip(teacher, student, strict=True):
        for a, b in zip(old.ops, new.ops, strict=False):
            if a.name != b.name:
                advice = "Build the student with the teacher's activations and layers"
                if {a.kind, b.kind} & {"add"}:
                    advice = (
                        "One of them adds there what the other does not: blocks often add what "
                        "they are given where that is as wide as what they make. Choose widths "
                        "that are the same, or not, at the same places as the teacher's"
                    )
                raise TransferError(
                    f"the teacher computes {a.name} in '{a.path}' where the student computes "
                    f"{b.name} in '{b.path}'. {advice}, or pass exact=False."
                )
        if len(old.ops) != len(new.ops):
            raise TransferError(
                f"the teacher does {len(old.ops)} operations and the student {len(new.ops)}, added "
                "blocks apart. Build the student from the same layers, or pass exact=False."
            )


def _other_sizes(
    teacher: Inference, student: Inference, apart: Collection[Axis] = (), *, fixed: bool = False
) -> Iterator[tuple[Axis, int, int]]:
    """Axes on which units (heads, groups) have other sizes in the student: both sizes. ``apart``:
    not those that have these axes too. ``fixed``: of those whose number stays by themselves."""
    by_axes = {
        frozenset(one.places): one
        for one in teacher.groups.values()
        if (one.fixed and not one.fixed.startswith(HELD) if fixed else not one.fixed)
    }
    for key, group in student.groups.items():
        origin = by_axes.get(frozenset(group.places))
        if key in teacher.groups or origin is None or not group.places.keys().isdisjoint(apart):
            continue
        if fixed and group.size != origin.size:
            continue
        for axis, positions in group.places.items():
            if student.role(axis) != Role.CONSUMES and positions != origin.places[axis]:
                yield axis, origin.places[axis], positions


def grown_inside(
    teacher: Inference, student: Inference, *, grow_outputs: bool = False
) -> tuple[Inference, Inference]:
    """Where heads are as many in the student and larger, or those of keys and values serve more
    queries, or the same among more of them, both inferred anew so that heads grow inside, if they
    can."""
    queries: set[Axis] = set()
    dealt: dict[Axis, int] = {}
    groups: set[Axis] = set()
    for old, new in _shared(teacher, student):
        match _way(old, new):
            case Way.QUERIES:
                queries |= old.axes
            case Way.DEALT:
                dealt |= dict.fromkeys(old.axes, old.heads)
            case Way.GROUPS if old.heads == 1:
                groups |= old.axes
    features, held = (
        {
            axis
            for axis, old, new in _other_sizes(
                teacher, student, {*queries, *dealt, *groups}, fixed=fixed
            )
            if new * len(teacher.ids(teacher.numbers[axis]))
            == old * len(student.ids(student.numbers[axis]))
        }
        for fixed in (False, True)
    )
    only = _larger_only_heads(teacher, student) if features else set[Axis]()
    tried = [features | only | held, features | only, set[Axis]()]
    for more in (some for place, some in enumerate(tried) if some not in tried[:place]):
        inside = Inside(more, queries, dealt, groups | (only & more))
        if not inside:
            break
        turned = [
            replace(
                infer(one.traces, on_unknown="fix", grow_outputs=grow_outputs, inside=inside),
                traced_with_values=one.traced_with_values,
            )
            for one in (teacher, student)
        ]
        if all(_can_be(turned, key) for key in _on(turned[0], inside.features)):
            return turned[0], turned[1]
    return teacher, student


def _can_be(both: Sequence[Inference], key: int) -> bool:
    """Whether units grow inside heads, or are as many (the part that a rotation knows)."""
    old, new = (one.groups.get(key) for one in both)
    assert old is not None
    return not old.fixed or (new is not None and new.size == old.size)


def _larger_only_heads(teacher: Inference, student: Inference) -> set[Axis]:
    """The axes that make heads of keys or values that all queries share, of more features each."""
    return {
        axis
        for old, new in _shared(teacher, student)
        if old.heads == new.heads == 1 and old.times == new.times
        for axis in old.axes
        if len(student.ids(student.numbers[axis])) > len(teacher.ids(teacher.numbers[axis]))
    }


class Way(StrEnum):
    """A way from heads of keys and values to more heads, or more queries."""

    GROUPS = "groups"
    """More of them, each with as many queries."""
    QUERIES = "queries"
    """More queries for each."""
    DEALT = "dealt"
    """Copies of each, among which its queries are dealt out."""


def _way(old: SharedHeads, new: SharedHeads) -> Way | None:
    """The one that leads there; None: none does, or they are the same."""
    if new.times == old.times and new.heads > old.heads:
        return Way.GROUPS
    if new.heads == old.heads and new.times > old.times:
        return Way.QUERIES
    copies, rest = divmod(new.heads, old.heads)
    return Way.DEALT if not rest and copies > 1 and copies * new.times == old.times else None


def _half_way(old: SharedHeads, new: SharedHeads) -> SharedHeads | None:
    """Where one way leads to from which another leads on."""
    copies = [n for n in range(2, old.times + 1) if old.times % n == 0]
    tried = [
        replace(old, heads=new.heads),
        *(replace(old, heads=old.heads * n, times=old.times // n) for n in copies),
    ]
    return next((one for one in tried if _way(old, one) and _way(one, new)), None)


def _shared(teacher: Inference, student: Inference) -> Iterator[tuple[SharedHeads, SharedHeads]]:
    """Heads of keys and values that queries share, in both. Where each has a query of its own, code
    says nothing of it, and only their number tells."""
    ours, theirs = (
        {(one.path, one.axes): one for one in both.units.shared_heads}
        for both in (teacher, student)
    )
    for key in ours | theirs:
        old, new = ours.get(key), theirs.get(key)
        if old is None and new is not None:  # of which the teacher has those of one query each
            old = _one_query_each(new, student, teacher)
        elif new is None and old is not None:
            new = _one_query_each(old, teacher, student)
        if old is not None and new is not None:
            yield old, new


def _one_query_each(known: SharedHeads, own: Inference, other: Inference) -> SharedHeads | None:
    """What another model has in place of these, by the length of the axes that make them; None:
    other rows lie there too."""
    lengths = {len(own.ids(own.numbers[axis])) for axis in known.axes}
    ratios = {
        Fraction(len(other.ids(other.numbers[axis])), len(own.ids(own.numbers[axis])))
        for axis in known.axes
    }
    if lengths != {len(known.units)} or len(ratios) > 1:
        return None
    return replace(known, heads=int(known.heads * min(ratios)), times=1)


def _on(inference: Inference, axes: Collection[Axis]) -> list[int]:
    """The groups that lie on some of these axes."""
    return [key for key, group in inference.groups.items() if group.places.keys() & axes]


def check_bundles(teacher: Inference, student: Inference) -> None:
    """Heads and groups are copied whole, or grow inside, but not both."""
    for old_heads, new_heads in _shared(teacher, student):
        if (old_heads.heads, old_heads.times) == (new_heads.heads, new_heads.times):
            continue
        if _way(old_heads, new_heads) is None:
            half = _half_way(old_heads, new_heads)
            raise TransferError(
                f"'{old_heads.path}' has {_said(old_heads)} in the teacher and {_said(new_heads)} "
                "in the student. "
                + (
                    f"Transfer into {_said(half)} first, and from there in a second transfer"
                    if half
                    else "Let each serve as many queries as it does, or more; or let there be a "
                    "multiple of them for as many queries"
                )
                + ", or pass exact=False."
            )
    for axis, old, new in _other_sizes(teacher, student):
        raise TransferError(
            f"every unit on {axis} has {old} positions in the teacher and {new} in the student: "
            "units (groups, heads, a head of keys with its queries) are copied whole, and heads "
            "alone grow in size, where no operation holds their features together (as do a "
            "rotation by position, RoPE, or a norm over those of each), and not in number at once. "
            "Keep what a unit has, or pass exact=False."
        )


def _said(shared: SharedHeads) -> str:
    return (
        f"{shared.heads} head{'s' * (shared.heads > 1)} of keys for {shared.heads * shared.times} "
        "queries"
    )


def other_numbers(teacher: Trace, student: Trace) -> str:
    """Numbers with a fraction (slopes, epsilons) that the two models write differently."""
    for a, b in zip(teacher.ops, student.ops, strict=False):
        for key, value in a.args.items():
            other = b.args.get(key)
            if isinstance(value, float) and isinstance(other, float) and value != other:
                return (
                    f"{a.name} in '{a.path}' has {key} {value:g} in the teacher and {other:g} in "
                    f"the student's '{b.path}'. "
                )
    return "No identity was found for an added block, or one setting differs. "
