"""Numbers that the code makes of sizes, and computes with: a width changes them, ``h / √width``.

Teacher and student do the same operations in the same order, so the two traces tell which numbers
differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isclose, isnan

from net2net.infer.inference import Inference
from net2net.infer.values import Value
from net2net.ops import Reduction, traits
from net2net.trace.needed import needed
from net2net.trace.trace import Op, Trace


@dataclass(frozen=True)
class Change:
    """An operation, by place in the trace, and what it is in the teacher and in the student."""

    place: int
    old: Op
    new: Op

    def __str__(self) -> str:
        where = f" in '{self.new.path}'" if self.new.path else ""
        if self.old.name != self.new.name:
            return f"the code does {self.new.kind}{where} where it did {self.old.kind}"
        before, after = (
            ", ".join(f"{one.numbers[name]:.6g}" for name in one.numbers if name in self.differ)
            for one in (self.old, self.new)
        )
        return (
            f"{self.new.kind}{where} gets a number that the code makes of its size ({before}, then "
            f"{after})"
        )

    @property
    def differ(self) -> set[str]:
        """The arguments that differ."""
        old, new = self.old.numbers, self.new.numbers
        return {name for name in old.keys() | new.keys() if not _same(old.get(name), new.get(name))}


def changes(teacher: Trace, student: Trace) -> Iterator[Change]:
    """Operations whose numbers differ, of those that matter; the last may be one in whose place the
    student does another."""
    matter: set[int] | None = None
    for place, (old, new) in enumerate(zip(teacher.ops, student.ops, strict=False)):
        ratios = student.ratios.get(place, {})
        if old.name == new.name and old.numbers == new.numbers and not ratios:
            continue
        old, new = (
            replace(one, numbers={**one.numbers, **numbers})
            for one, numbers in ((old, dict.fromkeys(ratios, 1.0)), (new, ratios))
        )
        one = Change(place, old, new)
        matter = needed(teacher) if matter is None else matter
        if old.name != new.name or (place in matter and one.differ):
            yield one
        if old.name != new.name:
            return


def counts(teacher: Inference, student: Inference, number: int) -> Iterator[Change]:
    """Operations of one trace that reduce an axis without units, of which there is more in the
    student: ``mask.expand_as(h).sum(-1)`` counts features."""
    old, new = teacher.traces[number], student.traces[number]
    matter: set[int] | None = None
    for place, (before, after) in enumerate(zip(old.ops, new.ops, strict=False)):
        kind = traits(before.kind).reduces
        if kind is None or before.name != after.name:
            continue
        value = teacher.values[number].get(before.inputs[0].id)
        length = _other_length(value, new.shapes[after.inputs[0].id], before, kind)
        matter = needed(old) if length and matter is None else matter
        if length and matter is not None and place in matter:
            first, second = (
                replace(one, numbers={**one.numbers, "length": float(size)})
                for one, size in zip((before, after), length, strict=True)
            )
            yield Change(place, first, second)


def _other_length(
    value: Value | None, shape: Sequence[int], op: Op, kind: Reduction
) -> tuple[int, int] | None:
    """How long a reduced axis without units is in the teacher, and in the student, if that is
    another number and tells. Where all along it is the same, a mean of it is, and a maximum."""
    if value is None or value.ndim != len(shape):
        return None
    dims = op.args.get("dim")
    dims = [dims] if isinstance(dims, int) else dims or range(value.ndim)
    for axis in map(value.dim, dims):
        alike = value.constant or axis in value.constant_axes
        same = alike and kind in (Reduction.MEAN, Reduction.EXTREME, Reduction.VARIANCE)
        if value.part(axis) is None and value.shape[axis] != shape[axis] and not same:
            return value.shape[axis], shape[axis]
    return None


def _same(a: float | None, b: float | None) -> bool:
    """Up to what rounding does to a number that code makes of values."""
    if a is None or b is None:
        return a is b
    return isclose(a, b, rel_tol=1e-6) or (isnan(a) and isnan(b))
