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

from net2net.infer.units import NO_UNIT, Axis, UnitIds, Units, joined
from net2net.infer.values import Value
from net2net.trace.flow import PASS, Flow
from net2net.trace.trace import Op, Ref, Trace, refs

CUTS = frozenset("chunk split split_with_sizes unbind".split())
ROWS = {"linear": ("weight", 0, "bias"), "addmm": ("mat2", 1, "self"),
        **dict.fromkeys(("conv1d", "conv2d", "conv3d"), ("weight", 0, "bias"))}  # fmt: skip
"""What makes features: argument of its weight, the axis that makes them, argument of its bias."""


@dataclass(frozen=True)
class Product:
    """A sum over the features inside heads of a product of two activations."""

    trace: int
    op: Op
    ids: UnitIds


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

    flow: Flow
    trace: Trace
    values: Mapping[int, Value]
    units: Units
    wanted: UnitIds
    """What the features were made from first."""
    scale: float = 1.0
    numbers: list[Op] = field(default_factory=list)
    rows: list[tuple[Axis, tuple[int, ...]]] = field(default_factory=list)

    def before(self, tensor: int, reader: Op) -> bool:
        """Follow an operand back to the weight that made it; whether it can take the shares."""
        while True:
            if not self._alone(tensor, reader) or (op := self.flow.producer.get(tensor)) is None:
                return False
            kind = op.kind
            if kind in ROWS:
                weight, dim, bias = ROWS[kind]
                return self._take(op, op.args[weight], dim) and self._take_bias(op, op.args[bias])
            operands = refs([op.args.get("self", op.args.get("input")), op.args.get("other")])
            if op.name.endswith("_") or not operands:
                return False
            onward = operands[0]
            if kind in {"mul", "div"}:
                if not self._multiply(op, onward.id):
                    return False
            elif kind == "add" and len(operands) == 2:
                onward, bias_ref = (
                    operands if operands[1].id in self.trace.names else operands[::-1]
                )
                if not self._take_bias(op, bias_ref):
                    return False
            elif kind not in PASS | CUTS:
                return False
            tensor, reader = onward.id, op

    def after(self, op: Op) -> None:
        """Follow the product on, as long as it is but multiplied by numbers."""
        if op.kind == "scaled_dot_product_attention":
            given = op.args.get("scale")
            features = self.trace.shapes[op.args["query"].id][-1]
            self.scale *= features**-0.5 if given is None else given
            self.numbers.append(op)
            return
        if "alpha" in op.args:  # it adds the product to something, which no number may meet after
            self.scale *= op.args["alpha"]
            self.numbers.append(op)
            return
        tensor = op.outputs[0].id
        while len(readers := self.flow.users[tensor]) == 1:
            (op,) = readers
            kind = op.kind
            if kind in {"mul", "div"} and not op.name.endswith("_"):
                if not self._multiply(op, tensor):
                    return
            elif kind not in PASS:
                return
            tensor = op.outputs[0].id

    def _multiply(self, op: Op, data: int) -> bool:
        """Note the number that an operation multiplies or divides ``data`` by."""
        own, other = op.args["self"], op.args["other"]
        if own != Ref(data):
            own, other = other, own
        if own != Ref(data) or (op.kind == "div" and op.args["self"] != own):
            return False
        if isinstance(other, Ref):
            made = self.flow.producer.get(other.id)
            while made is not None and made.kind in PASS and made.inputs:
                made = self.flow.producer.get(made.inputs[0].id)
            if made is None or made.kind != "full" or self.trace.shapes[other.id]:
                return False
            self.numbers.append(made)
            other = made.args["fill_value"]
        if not isinstance(other, (int, float)):
            return False
        self.numbers.append(op)
        self.scale *= other if op.kind == "mul" else 1 / other
        return True

    def _alone(self, tensor: int, reader: Op) -> bool:
        """Whether nothing but ``reader`` gets the wanted features of a tensor."""
        if tensor in self.trace.outputs.values():
            return False
        others = [op for op in self.flow.users[tensor] if op is not reader]
        return all(
            op.kind in PASS | CUTS and not any(self._has_wanted(out.id) for out in op.outputs)
            for op in others
        )

    def _has_wanted(self, tensor: int) -> bool:
        value = self.values.get(tensor)
        ids = joined([part.ids.reshape(-1) for part in value.parts] if value else [])
        return bool(np.isin(self._origins(ids), self.wanted).any())

    def _origins(self, ids: UnitIds) -> UnitIds:
        return np.where(ids < 0, ids, self.units.origins()[ids])

    def _take_bias(self, op: Op, item: object) -> bool:
        return item is None or self._take(op, item, 0)

    def _take(self, op: Op, item: object, dim: int) -> bool:
        """Note the positions of a parameter that are factors or terms of the wanted features."""
        name = self.trace.names.get(item.id) if isinstance(item, Ref) else None
        if not isinstance(item, Ref) or name is None or self.flow.users[item.id] != [op]:
            return False
        size = self.trace.shapes[item.id][dim]
        for part in self.values[op.outputs[0].id].parts:
            there = np.isin(self._origins(part.ids.reshape(-1)), self.wanted)
            if len(part.axes) == 1 and part.ids.size == size and there.any():
                self.rows.append((Axis(name, dim), tuple(np.flatnonzero(there).tolist())))
                return True
        return False


def absorbers(
    products: Sequence[Product], traces: Sequence[Trace], values: Sequence[Mapping[int, Value]],
    units: Units,
) -> Iterator[ShareAbsorber | None]:  # fmt: skip
    """For every product what takes its shares, or None."""
    flows = [Flow(trace) for trace in traces]
    tied = units.components() if products else joined([])
    for product in products:
        known = values[product.trace]
        summed = np.unique(tied[product.ids])
        flow, trace = flows[product.trace], traces[product.trace]
        chains = {}
        for ref in product.op.inputs:
            own = [part.ids[part.ids != NO_UNIT] for part in known[ref.id].parts]
            features = joined([x for x in own if np.isin(tied[x], summed).any()])
            if features.size:
                made = np.unique(units.origins()[features])
                chains[ref.id] = OperandPath(flow, trace, known, units, made)
        yield _absorber(product, chains)


def _absorber(product: Product, chains: Mapping[int, OperandPath]) -> ShareAbsorber | None:
    """What takes the shares: what made one of the operands. Numbers on the way of the other count
    as well. ``chains``: operand → what happens to its features."""
    able = [chain for operand, chain in chains.items() if chain.before(operand, product.op)]
    if len(chains) != 2 or not able:
        return None
    taken = able[0]
    taken.after(product.op)
    places = {id(op): place for place, op in enumerate(taken.trace.ops)}
    return ShareAbsorber(
        product.trace,
        tuple(taken.rows),
        math.prod(chain.scale for chain in chains.values()),
        frozenset(places[id(op)] for chain in chains.values() for op in chain.numbers),
    )
