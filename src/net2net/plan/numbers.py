"""Numbers that the code makes of sizes, and computes with: a width changes them, ``h / √width``.

Teacher and student do the same operations in the same order, so the two traces tell which numbers
differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isclose, isnan

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


def _same(a: float | None, b: float | None) -> bool:
    """Up to what rounding does to a number that code makes of values."""
    if a is None or b is None:
        return a is b
    return isclose(a, b, rel_tol=1e-6) or (isnan(a) and isnan(b))
