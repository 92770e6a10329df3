"""What a transfer refuses, and where: pairs whose student cannot compute the teacher's function."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from net2net.errors import TransferError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.units import Axis, Role
from net2net.trace.trace import Trace


def check_operations(teacher: list[Trace], student: list[Trace]) -> None:
    """Both have to do the same things in the same order."""
    for old, new in zip(teacher, student, strict=True):
        for a, b in zip(old.ops, new.ops, strict=False):
            if a.name != b.name:
                raise TransferError(
                    f"the teacher computes {a.name} in '{a.path}' where the student computes "
                    f"{b.name} in '{b.path}'. Build the student with the teacher's activations "
                    "and layers, or pass exact=False."
                )
        if len(old.ops) != len(new.ops):
            raise TransferError(
                f"the teacher does {len(old.ops)} operations and the student {len(new.ops)}, added "
                "blocks apart. Build the student from the same layers, or pass exact=False."
            )


def _other_sizes(teacher: Inference, student: Inference) -> Iterator[tuple[Axis, int, int]]:
    """Axes on which units (heads, groups) have other sizes in the student: both sizes."""
    by_axes = {frozenset(one.places): one for one in teacher.groups.values() if not one.fixed}
    for key, group in student.groups.items():
        origin = by_axes.get(frozenset(group.places))
        if key in teacher.groups or origin is None:
            continue
        for axis, positions in group.places.items():
            if student.role(axis) != Role.CONSUMES and positions != origin.places[axis]:
                yield axis, origin.places[axis], positions


def larger_heads(teacher: Inference, student: Inference) -> tuple[Inference, Inference]:
    """Where heads are as many in the student and larger, both inferred anew so that heads grow
    inside, if they can."""
    head_size_axes = {
        axis
        for axis, old, new in _other_sizes(teacher, student)
        if new * len(teacher.ids(teacher.numbers[axis]))
        == old * len(student.ids(student.numbers[axis]))
    }
    turned = [
        replace(
            infer(one.traces, on_unknown="fix", head_size_axes=head_size_axes),
            traced_with_values=one.traced_with_values,
        )
        for one in ((teacher, student) if head_size_axes else ())
    ]
    if not turned or any(turned[0].groups[key].fixed for key in _on(turned[0], head_size_axes)):
        return teacher, student
    return turned[0], turned[1]


def _on(inference: Inference, axes: Collection[Axis]) -> list[int]:
    """The groups that lie on some of these axes."""
    return [key for key, group in inference.groups.items() if group.places.keys() & axes]


def check_bundles(teacher: Inference, student: Inference) -> None:
    """Heads and groups are copied whole, or grow inside, but not both."""
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
