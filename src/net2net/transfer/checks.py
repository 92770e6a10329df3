"""What a transfer refuses, and where: pairs whose student cannot compute the teacher's function."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from net2net.errors import TransferError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
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
    teacher: Inference, student: Inference, apart: Collection[Axis] = ()
) -> Iterator[tuple[Axis, int, int]]:
    """Axes on which units (heads, groups) have other sizes in the student: both sizes. ``apart``:
    not those that have these axes too."""
    by_axes = {frozenset(one.places): one for one in teacher.groups.values() if not one.fixed}
    for key, group in student.groups.items():
        origin = by_axes.get(frozenset(group.places))
        if key in teacher.groups or origin is None or not group.places.keys().isdisjoint(apart):
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
    for old, new in _shared(teacher, student):
        if new.heads == old.heads and new.times > old.times:
            queries |= old.axes
        elif new.heads > old.heads and _dealt_evenly(old, new):
            dealt |= dict.fromkeys(old.axes, old.heads)
    features = {
        axis
        for axis, old, new in _other_sizes(teacher, student, apart={*queries, *dealt})
        if new * len(teacher.ids(teacher.numbers[axis]))
        == old * len(student.ids(student.numbers[axis]))
    }
    for inside in (Inside(features, queries, dealt), Inside((), queries, dealt)):
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


def _dealt_evenly(old: SharedHeads, new: SharedHeads) -> bool:
    """Whether as many queries are dealt out among as many copies of each head."""
    return new.heads * new.times == old.heads * old.times and new.heads % old.heads == 0


def _can_be(both: Sequence[Inference], key: int) -> bool:
    """Whether units grow inside heads, or are as many (the part that a rotation knows)."""
    old, new = (one.groups.get(key) for one in both)
    assert old is not None
    return not old.fixed or (new is not None and new.size == old.size)


def _shared(teacher: Inference, student: Inference) -> Iterator[tuple[SharedHeads, SharedHeads]]:
    """Heads of keys and values that queries share, in both. Where each has a query of its own, code
    says nothing of it, and only their number tells."""
    theirs = {(one.path, one.axes): one for one in student.units.shared_heads}
    for old in teacher.units.shared_heads:
        ratios = {
            Fraction(
                len(student.ids(student.numbers[axis])), len(teacher.ids(teacher.numbers[axis]))
            )
            for axis in old.axes
        }
        alone = replace(old, heads=old.heads * old.times, times=1)
        yield old, theirs.get((old.path, old.axes), alone if ratios == {old.times} else old)


def _on(inference: Inference, axes: Collection[Axis]) -> list[int]:
    """The groups that lie on some of these axes."""
    return [key for key, group in inference.groups.items() if group.places.keys() & axes]


def check_bundles(teacher: Inference, student: Inference) -> None:
    """Heads and groups are copied whole, or grow inside, but not both."""
    for old_heads, new_heads in _shared(teacher, student):
        before, after = (one.heads * one.times for one in (old_heads, new_heads))
        other = new_heads.times != old_heads.times or old_heads.heads == 1
        if new_heads.heads != old_heads.heads and before != after and other:
            raise TransferError(
                f"'{old_heads.path}' has {old_heads.heads} heads of keys for {before} queries in "
                f"the teacher and {new_heads.heads} for {after} in the student. Change one of the "
                "two numbers in a first transfer and the other in a second, or pass exact=False."
            )
        rest = new_heads.heads % old_heads.heads
        if before == after and new_heads.heads > old_heads.heads and rest:
            fit = [
                str(heads)
                for heads in range(2 * old_heads.heads, before + 1, old_heads.heads)
                if before % heads == 0
            ]
            raise TransferError(
                f"'{old_heads.path}' has {old_heads.heads} heads of keys for {before} queries in "
                f"the teacher and {new_heads.heads} in the student: copies of some alone would "
                f"have to serve queries of others too. Give it {' or '.join(fit)} heads of keys, "
                "or pass exact=False."
            )
    for axis, old, new in _other_sizes(teacher, student):
        raise TransferError(
            f"every unit on {axis} has {old} positions in the teacher and {new} in the student: "
            "groups grow in number, and heads in number or in size, but not in both at once, and "
            "not in size after a rotation by position (RoPE) or a norm over the features of each. "
            "Keep their size, or pass exact=False."
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
