"""Whether zero units would stay zero in training: of those that are only squared, and of distances
between zeros, no gradient comes back."""

from __future__ import annotations

from collections.abc import Mapping, Set

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
        self.known: dict[Node, bool] = {}

    def any(self, made: Mapping[Node, Set[Axis]]) -> bool:
        """Whether any of these zero units, or the weight that makes them, gets a gradient: along
        these axes, of which some may read others."""
        return any(axes & self.found.learn or self._learns(node) for node, axes in made.items())

    def _learns(self, node: Node) -> bool:
        if node not in self.known:
            self.known[node] = True  # as long as it is not known
            self.known[node] = node.returned or any(self._comes(node, op) for op in node.users)
        return self.known[node]

    def _comes(self, node: Node, op: Op) -> bool:
        """Whether one comes back from this reader."""
        group = self.group
        if flat(op) or traits(op.kind).reduces is Reduction.NORM:
            return False
        if group.reads(op, group.inputs(op)):
            reads = group.roles(op).reads
            axes = (
                group.teacher.units.axes[number]
                for one in group.inputs(op)
                for number in group.axis_numbers(one) & reads
            )
            return any(self._drawn(axis) for axis in axes)
        made = group.outputs(op)
        return not made or any(map(self._learns, made))

    def _drawn(self, axis: Axis) -> bool:
        known = self.found.positions.get(axis)
        return known is None or known.put is not Put.ZERO
