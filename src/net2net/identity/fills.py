"""Which tensors of a traced block to overwrite, and with what, so that it returns its input.

Read off the trace: where the block's output is its input plus branches, the last parameters of each
branch become zero (so the branch computes nothing, and learns at once); where it is a chain of
layers, each becomes an identity layer (paper, section 2.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from net2net.identity.layers import layer_fills, norm_fills, tap_of
from net2net.identity.turn import turn_of
from net2net.ops import Weight, Zero
from net2net.recipe.fill import Constant, Eye, Fill
from net2net.trace.graph import Graph, Node, nodes
from net2net.trace.trace import Call

Fills = dict[str, Fill]
"""Names of tensors → what they are overwritten with."""


def identity_of(graph: Graph, path: str) -> tuple[Fills, str]:
    """What makes a block return its input; and where nothing does, what comes close and why it is
    not that."""
    turn, block = turn_of(graph, path), TracedBlock(graph, path)
    fills = TracedBlock(graph, path, turn).fills() if turn else None
    if fills is None:
        fills = block.fills()
    if fills is not None:
        return fills, ""
    why = "one of its branches does not end in weights of its own"
    if block.blocker:
        why = f"{block.blocker} stands between its input and its output"
    return TracedBlock(graph, path, lenient=True).fills() or {}, why


class TracedBlock:
    """One block of a traced model, from what goes into it to what it returns, or of ``turn``."""

    def __init__(
        self, graph: Graph, path: str, turn: Call | None = None, *, lenient: bool = False
    ) -> None:
        self.path = path
        self.lenient = lenient
        self.blocker = ""
        """Where on the way from input to output something stands that cannot be undone."""
        self.adds = False
        """Whether, as far as is known, the output is a sum of the input and branches."""
        calls = (call for call in graph.trace.calls if call.path == path)
        self._call = turn or next(calls, Call(path))
        self._inputs = [graph.node(one, self._call.begin) for one in self._call.inputs]
        self._outputs = [graph.node(one, self._call.end) for one in self._call.outputs]
        self._input: Node | None = None
        """What the tensor that is looked at has to be."""
        if not self._inputs or not self._outputs:
            self.blocker = "it is not called with a tensor"

    def fills(self) -> Fills | None:
        """What makes the block an identity, or None."""
        if self.blocker:
            return None
        found: Fills = {}
        for given, output in self._streams():
            self._input = given
            same = self._same(output)
            if same is None:
                return None
            found |= same
        return found

    def _streams(self) -> Iterator[tuple[Node, Node]]:
        """What goes in and has to come out: the first of both; and of several that are returned
        alike in number and shape (a list of streams), the others that are read afterwards."""
        yield self._inputs[0], self._outputs[0]
        shapes = [[one.shape for one in nodes] for nodes in (self._inputs, self._outputs)]
        if shapes[0] == shapes[1]:
            rest = list(zip(self._inputs, self._outputs, strict=True))[1:]
            yield from ((given, made) for given, made in rest if self._read_later(made))

    def _read_later(self, node: Node) -> bool:
        """Whether anything behind the block reads it."""
        positions = map(node.graph.position, node.users)
        return node.returned or any(position >= self._call.end for position in positions)

    def _same(self, node: Node) -> Fills | None:
        """What makes this tensor the block's input."""
        if node is self._input:
            return {}
        if node.producer is None or not self._inside(node):
            return None
        if node.kind == "add" and len(node.inputs) == 2:
            return self._residual(*node.inputs)
        known = node.traits
        alike = known.passes and len(node.producer.outputs) == 1
        if (alike or known.idempotent) and node.inputs:  # a rectifier after one does nothing
            return self._same(node.inputs[0])
        if node.kind == "mul" and (scaled := self._scaled(node)) is not None:
            return scaled
        fills = None
        if known.weight is not None:
            fills = self._identity_layer(node, known.weight)
        elif node.kind == "batch_norm":
            fills = self._identity_norm(node)
        elif known.normalises and self.lenient:
            fills = {}
        if fills is not None:
            data = node.args["input" if known.weight is None else known.weight.data]
            below = self._same(data)
            return None if below is None else {**below, **fills}
        if not self.blocker:
            self.blocker = f"{node.kind} in '{node.producer.path}'"
        return None

    def _residual(self, a: Node, b: Node) -> Fills | None:
        options = []
        for stream, branch in ((a, b), (b, a)):
            silent = self._zero(branch)
            same = self._same(stream) if silent is not None else None
            if silent is not None and same is not None:
                self.adds = True
                options.append({**same, **silent})
        return min(options, key=_has_eye, default=None)

    def _scaled(self, node: Node) -> Fills | None:
        """What makes a product the block's input: a factor of its own that becomes one."""
        for scale, data in zip(node.inputs, node.inputs[::-1], strict=True):
            parameter = self._parameter(scale)
            if parameter is not None and self._own(parameter.name):
                same = self._same(data)
                return None if same is None else {**same, parameter.name: Constant(1.0)}
        return None

    def _zero(self, node: Node) -> Fills | None:
        """What makes this tensor zero."""
        if (parameter := self._parameter(node)) is not None:
            return {parameter.name: Constant(0.0)} if self._own(parameter.name) else None
        if not self._inside(node) and not self._written(node):
            return None
        if node.kind.startswith("_weight_norm"):
            return self._zero(node.args["g"])
        own = nodes([node.args.get("weight"), node.args.get("bias")])
        if node.traits.normalises and own:
            return self._all(own)
        if node.traits.factory:
            return {} if _makes_zeros(node) else None
        if node.traits.joins:
            return self._zero_joined(node)
        match node.traits.zero:
            case Zero.FIRST:
                return self._zero(node.inputs[0])
            case Zero.ALL if isinstance(node.args.get("other"), (int, float)):
                return self._opposite(node)
            case Zero.ALL:
                return self._all(node.inputs)
            case Zero.ANY:
                return self._zero_product(node)
        return None

    def _opposite(self, node: Node) -> Fills | None:
        """What makes a parameter the opposite of the number that is added to it: 1 + γ."""
        parameter = self._parameter(node.inputs[0])
        if node.kind != "add" or parameter is None or not self._own(parameter.name):
            return None
        number = float(node.args["other"]) * float(node.args.get("alpha", 1))
        return {parameter.name: Constant(-number)}

    def _zero_joined(self, node: Node) -> Fills | None:
        """All that is put together has to be zero; what says where need not."""
        found = [node.args.get(name) for name in _JOINED]
        if any(isinstance(x, (int, float)) and x for x in found):
            return None
        return self._all(nodes(found))

    def _zero_product(self, node: Node) -> Fills | None:
        """What is added has to be zero, and one factor: sooner a weight than what it multiplies,
        and sooner what is weighed than what weighs it (the last operand of a sum of products)."""
        added = node.args.get(node.traits.adds)
        factors = [x for x in node.inputs if x is not added]
        if node.traits.contracts:
            factors.reverse()
        factors.sort(key=lambda x: (self._parameter(x) is None, not self._of_weights(x)))
        found = (self._zero(x) for x in factors)
        silent = next((fills for fills in found if fills is not None), None)
        rest = self._zero(added) if isinstance(added, Node) else {}
        return None if silent is None or rest is None else {**silent, **rest}

    def _of_weights(self, node: Node) -> bool:
        """Whether it is made of parameters and numbers alone (a gate, or 1 + γ)."""
        if not self._inside(node):
            return bool(node.name)
        return bool(node.inputs) and all(map(self._of_weights, node.inputs))

    def _all(self, terms: list[Node]) -> Fills | None:
        found = [self._zero(x) for x in terms]
        if any(fills is None for fills in found):
            return None
        return {name: fill for fills in found if fills for name, fill in fills.items()}

    def _own(self, name: str) -> bool:
        return name.startswith(f"{self.path}.")

    def _inside(self, node: Node) -> bool:
        """Whether the block computed it."""
        return node.producer is not None and node.position >= self._call.begin

    def _written(self, node: Node) -> bool:
        """Whether it is a parameter that code overwrites, wherever it does (``weight.div_(2)``)."""
        return node.producer is not None and node.tensor in node.graph.trace.names

    def _parameter(self, node: Node) -> Node | None:
        """The parameter that a tensor is, as it lies or transposed: all of it."""
        while self._inside(node) and node.traits.passes:
            if prod(node.shape) != prod(node.inputs[0].shape):
                return None
            node = node.inputs[0]
        return node if node.name else None

    def _identity_layer(self, node: Node, layer: Weight) -> Fills | None:
        bias, weight = node.args[node.traits.adds], self._parameter(node.args[layer.weight])
        if weight is None or not self._own(weight.name):
            return None
        shape, groups = weight.shape, node.args.get("groups", 1)
        size = len(shape) - 2
        stride, padding, dilation = (
            node.args.get(name, default)
            for name, default in (("stride", [1] * size), ("padding", []), ("dilation", [1] * size))
        )
        tap = tap_of(shape[2:], stride, padding, dilation)
        if tap is None or shape[0] != shape[1] * groups:
            return None
        if not isinstance(bias, Node):
            return layer_fills(weight.name, None, tap)
        return layer_fills(weight.name, bias.name, tap) if self._own(bias.name) else None

    def _identity_norm(self, node: Node) -> Fills | None:
        roles = ("running_mean", "running_var", "weight", "bias")
        names = {role: x.name for role in roles if isinstance(x := node.args.get(role), Node)}
        if not {"running_mean", "running_var"} <= names.keys():
            return None
        return (
            norm_fills(names, float(node.args["eps"])) if self._own(names["running_mean"]) else None
        )


_JOINED = ("self", "tensors", "source", "src", "values", "value", "other")
"""What operations that put tensors together call these."""


def _makes_zeros(node: Node) -> bool:
    fill = node.args.get("fill_value", 0)
    return "ones" not in node.kind and "empty" not in node.kind and fill == 0


def _has_eye(fills: Fills) -> bool:
    return any(isinstance(fill, Eye) for fill in fills.values())
