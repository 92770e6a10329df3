"""Whether zero units would stay zero in training: of those that are only squared, and of distances
between zeros, no gradient comes back."""

from __future__ import annotations

from collections.abc import Iterable

from net2net.infer.new_units.group import GroupInTrace, flat
from net2net.infer.new_units.holds import Put
from net2net.infer.new_units.parameters import Parameters
from net2net.infer.units import Axis
from net2net.ops import Reduction, traits
from net2net.trace.graph import Node
from net2net.trace.trace import Op


class Learn:
    """Of one group in one trace. ``found``: what parameters hold for it."""

    def __init__(self, group: GroupInTrace, found: Parameters) -> None:
        self.group, self.found = group, found

    def any(self, made: Iterable[Node]) -> bool:
        """Whether a gradient comes back to any of these zero units, or to what reads others."""
        if self.found.learn:
            return True
        ways = list(made)
        seen = set(ways)
        for node in ways:
            if node.returned or any(self._reads(op) for op in node.users):
                return True
            beyond = {
                one for op in node.users if self._passes(op) for one in self.group.outputs(op)
            }
            ways += beyond - seen
            seen |= beyond
        return False

    def _passes(self, op: Op) -> bool:
        """Whether a gradient comes back through it, if one comes to what it makes."""
        reads = self.group.reads(op, self.group.inputs(op))
        return not (reads or flat(op) or traits(op.kind).reduces is Reduction.NORM)

    def _reads(self, op: Op) -> bool:
        """Whether one comes back from it: it makes other units with what is drawn, or a number."""
        group = self.group
        if not group.reads(op, group.inputs(op)):
            return self._passes(op) and not group.outputs(op)
        reads = group.roles(op).reads
        numbers = {n for one in group.inputs(op) for n in group.axis_numbers(one) & reads}
        return any(self._drawn(group.teacher.units.axes[number]) for number in numbers)

    def _drawn(self, axis: Axis) -> bool:
        known = self.found.positions.get(axis)
        return known is None or known.put is not Put.ZERO
