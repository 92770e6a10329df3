"""Heads that grow inside: as many as before, of more features each.

Scores are sums over features of a product of two activations, so with k copies of a feature they
would have it k times. What made the query (or the key) takes the shares: its rows are divided among
the copies of each, and make up for a change of what code multiplies scores by (``rescale.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from net2net.infer.units import NO_UNIT, Axis, UnitIds, Units, joined
from net2net.infer.values import Value
from net2net.ops import traits
from net2net.trace.graph import Graph, Node, nodes
from net2net.trace.trace import Op, Trace


@dataclass(frozen=True)
class Product:
    """A sum over the features inside heads of a product of two activations: ``ids[heads,
    features]``, of which there can be more. ``some``: there are others, which stay."""

    trace: int
    op: Op
    ids: UnitIds
    some: bool = False

    def held(self, tied: UnitIds) -> NDArray[np.bool_]:
        """``[features]``: those that operations hold together (a rotation by position, a norm over
        them), so that their number stays. ``tied``: the component of every unit."""
        _, number, count = np.unique(tied[self.ids[0]], return_inverse=True, return_counts=True)
        held: NDArray[np.bool_] = count[number] > 1
        return held


@dataclass(frozen=True)
class ShareAbsorber:
    """What takes the shares of one product: positions on axes of parameters. ``scale``: what the
    code multiplies the product by; ``numbers``: the operations (by position) that it does so in."""

    trace: int
    positions: tuple[tuple[Axis, tuple[int, ...]], ...]
    scale: float
    numbers: frozenset[int]


@dataclass
class OperandPath:
    """What happens to features between where they are made and where they meet."""

    graph: Graph
    values: Mapping[int, Value]
    units: Units
    wanted: UnitIds
    """What the features were made from first."""
    scale: float = 1.0
    numbers: list[Op] = field(default_factory=list)
    rows: list[tuple[Axis, tuple[int, ...]]] = field(default_factory=list)

    def before(self, node: Node, reader: Op) -> bool:
        """Follow an operand back to the weight that made it; whether it can take the shares."""
        while True:
            op = node.producer
            if op is None or not self._alone(node, reader):
                return False
            if (layer := node.traits.weight) is not None:
                weight, bias = node.args[layer.weight], node.args[node.traits.adds]
                return self._take(node, weight, layer.axis) and self._take_bias(node, bias)
            if op.kind in {"matmul", "mm"}:
                return self._take_matrix(node, op)
            operands = nodes(
                [node.args.get("self", node.args.get("input")), node.args.get("other")]
            )
            side_by_side = node.traits.joins and node.traits.moves
            if side_by_side:
                operands = [one for one in node.inputs if self._has_wanted(one.tensor)]
            if not operands or (side_by_side and len(operands) > 1):
                return False
            onward = operands[0]
            if node.kind in {"mul", "div"}:
                if not self._multiply(node, onward):
                    return False
            elif node.kind == "add" and len(operands) == 2:
                onward, bias = operands if operands[1].name else operands[::-1]
                if not self._take_bias(node, bias):
                    return False
            elif not (node.traits.keeps_scale or side_by_side):
                return False
            node, reader = onward, op

    def after(self, op: Op) -> None:
        """Follow the product on, as long as it is but multiplied by numbers."""
        if op.kind == "scaled_dot_product_attention":
            given = op.args.get("scale")
            features = self.graph.trace.shapes[op.args["query"].id][-1]
            self.scale *= features**-0.5 if given is None else given
            self.numbers.append(op)
            return
        if "alpha" in op.args:  # it adds the product to something, which no number may meet after
            self.scale *= op.args["alpha"]
            self.numbers.append(op)
            return
        node = self.graph.outputs(op)[0]
        while len(node.users) == 1 and not node.returned:
            made = self.graph.outputs(node.users[0])
            if len(made) != 1:
                return
            if made[0].kind in {"mul", "div"}:
                if not self._multiply(made[0], node):
                    return
            elif not made[0].traits.keeps_scale:
                return
            node = made[0]

    def _multiply(self, node: Node, data: Node) -> bool:
        """Note the number that ``data`` was multiplied or divided by."""
        op, own, other = node.producer, node.args["self"], node.args["other"]
        if own is not data:
            own, other = other, own
        if op is None or own is not data or (node.kind == "div" and node.args["self"] is not own):
            return False
        if isinstance(other, Node):
            made = other
            while made.traits.passes and made.inputs:
                made = made.inputs[0]
            if made.producer is None or made.kind != "full" or other.shape:
                return False
            self.numbers.append(made.producer)
            other = made.args["fill_value"]
        if not isinstance(other, (int, float)):
            return False
        self.numbers.append(op)
        self.scale *= other if node.kind == "mul" else 1 / other
        return True

    def _alone(self, node: Node, reader: Op) -> bool:
        """Whether nothing but ``reader`` gets the wanted features of a tensor."""
        if node.returned:
            return False
        others = [op for op in node.users if op is not reader]
        return all(
            traits(op.kind).keeps_scale and not any(self._has_wanted(out.id) for out in op.outputs)
            for op in others
        )

    def _has_wanted(self, tensor: int) -> bool:
        value = self.values.get(tensor)
        ids = joined([part.ids.reshape(-1) for part in value.parts] if value else [])
        return bool(np.isin(self._origins(ids), self.wanted).any())

    def _origins(self, ids: UnitIds) -> UnitIds:
        return np.where(ids < 0, ids, self.units.origins()[ids])

    def _take_matrix(self, node: Node, reader: Op) -> bool:
        """Note the positions of a parameter that activations are multiplied by, maybe turned."""
        made = node.inputs[-1]
        along = self.values[made.tensor].parameter_axes.get(len(made.shape) - 1, frozenset())
        while made.producer is not None and made.traits.moves and len(made.inputs) == 1:
            if made.returned or made.users != [reader]:
                return False
            reader, made = made.producer, made.inputs[0]
        axes = {self.units.axes[one.number] for one in along}
        if len(axes) != 1 or not made.name or made.users != [reader]:
            return False
        (axis,) = axes
        return axis.name == made.name and self._note(node, axis)

    def _take_bias(self, node: Node, item: object) -> bool:
        return item is None or self._take(node, item, 0)

    def _take(self, node: Node, item: object, dim: int) -> bool:
        """Note the positions of a parameter that are factors or terms of the wanted features."""
        if not isinstance(item, Node) or not item.name:
            return False
        if any(user is not node.producer for user in item.users):
            return False
        return self._note(node, Axis(item.name, dim))

    def _note(self, node: Node, axis: Axis) -> bool:
        """The positions of a parameter's axis, which makes the last one of ``node``."""
        for part in self.values[node.tensor].parts:
            there = np.isin(self._origins(part.ids.reshape(-1)), self.wanted)
            if len(part.axes) == 1 and part.ids.size == self._length(axis) and there.any():
                self.rows.append((axis, tuple(np.flatnonzero(there).tolist())))
                return True
        return False

    def _length(self, axis: Axis) -> int:
        number = self.units.axes.index(axis)
        return self.units.starts[number + 1] - self.units.starts[number]


def absorbers(
    products: Sequence[Product], traces: Sequence[Trace], values: Sequence[Mapping[int, Value]],
    units: Units,
) -> Iterator[ShareAbsorber | None]:  # fmt: skip
    """For every product what takes its shares, or None."""
    graphs = {number: Graph(traces[number]) for number in {one.trace for one in products}}
    tied = units.components() if products else joined([])
    for product in products:
        known = values[product.trace]
        summed = np.unique(tied[product.ids])
        graph = graphs[product.trace]
        chains = {}
        for node in graph.inputs(product.op):
            own = joined([part.ids[part.ids != NO_UNIT] for part in known[node.tensor].parts])
            features = own[np.isin(tied[own], summed)]
            if features.size:
                made = np.unique(units.origins()[features])
                chains[node] = OperandPath(graph, known, units, made)
        yield _absorber(product, chains)


def _absorber(product: Product, chains: Mapping[Node, OperandPath]) -> ShareAbsorber | None:
    """What takes the shares: what made one of the operands. Numbers on the way of the other count
    as well. ``chains``: operand → what happens to its features."""
    able = [chain for operand, chain in chains.items() if chain.before(operand, product.op)]
    if len(chains) != 2 or not able:
        return None
    taken = able[0]
    if product.some:  # what numbers multiply is more than these rows make
        return ShareAbsorber(product.trace, tuple(taken.rows), 1.0, frozenset())
    taken.after(product.op)
    return ShareAbsorber(
        product.trace,
        tuple(taken.rows),
        math.prod(chain.scale for chain in chains.values()),
        frozenset(chain.graph.position(op) for chain in chains.values() for op in chain.numbers),
    )
