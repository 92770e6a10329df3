"""Silence: which weights of a block to overwrite, and with what, so that it returns its input.

Read off the trace: where the block's output is its input plus branches, the last parameters of each
branch become zero (so the branch computes nothing, and learns at once); where it is a chain of
layers, each becomes an identity layer (paper, section 2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from net2net.trace.trace import Op, Ref, Trace

Fill = float | str
"""What a tensor is overwritten with: one number, or ``"eye"``, the identity of its layer."""

Fills = dict[str, Fill]

LAYERS = frozenset("linear addmm matmul mm conv1d conv2d conv3d".split())
PRODUCTS = LAYERS | frozenset("bmm baddbmm _grouped_mm einsum".split())
NORMS = frozenset("batch_norm layer_norm group_norm instance_norm rms_norm".split())
PASS = frozenset(
    "dropout feature_dropout alias contiguous clone detach to _to_copy view reshape permute "
    "transpose flatten unflatten squeeze unsqueeze expand slice select unsafe_view _unsafe_view "
    "relu relu6 hardtanh".split()
)
"""What leaves values as they are, or does so after having been done once (a rectifier)."""


@dataclass(frozen=True, eq=False)
class Node:
    """A tensor, as what computed it; ``name``: the parameter that it is."""

    op: Op | None
    args: dict[str, Any]
    name: str = ""

    @property
    def kind(self) -> str:
        return self.op.kind if self.op else ""

    @property
    def inputs(self) -> list[Node]:
        found: list[Node] = []
        for item in self.args.values():
            found += [x for x in (item if isinstance(item, list) else [item]) if type(x) is Node]
        return found


class TracedBlock:
    """One block of a traced model."""

    def __init__(self, trace: Trace, path: str, *, lenient: bool = False) -> None:
        self.path = path
        self.lenient = lenient
        self.blocker = ""
        """Where on the way from input to output something stands that cannot be undone."""
        self._shapes = {name: trace.shapes[tensor] for tensor, name in trace.names.items()}
        call = next((c for c in trace.calls if c.path == path), None)
        self.input, self.output = _ends(trace, path, call.inputs, call.outputs) if call else (
            None, None,
        )  # fmt: skip
        if call is None or self.output is None:
            self.blocker = "it is not called with a tensor"

    def fills(self) -> Fills | None:
        """What makes the block an identity, or None."""
        return None if self.output is None else self._same(self.output)

    def _same(self, node: Node) -> Fills | None:
        """What makes this tensor the block's input."""
        if node is self.input:
            return {}
        if node.kind == "add" and len(node.inputs) == 2:
            return self._residual(*node.inputs)
        if (node.kind in PASS or node.kind.endswith("_as")) and node.inputs:
            return self._same(node.inputs[0])
        fills = None
        if node.kind in LAYERS:
            fills = self._identity_layer(node)
        elif node.kind == "batch_norm":
            fills = self._identity_norm(node)
        elif node.kind in NORMS and self.lenient:
            fills = {}
        if fills is not None:
            data = node.args.get("input", node.args.get("mat1"))
            below = self._same(data) if isinstance(data, Node) else None
            return None if below is None else {**below, **fills}
        if node.op is not None and not self.blocker:
            self.blocker = f"{node.kind} in '{node.op.path}'"
        return None

    def _residual(self, a: Node, b: Node) -> Fills | None:
        options = []
        for stream, branch in ((a, b), (b, a)):
            silent = self._zero(branch)
            same = self._same(stream) if silent is not None else None
            if silent is not None and same is not None:
                options.append({**same, **silent})
        return min(options, key=lambda fills: "eye" in fills.values(), default=None)

    def _zero(self, node: Node) -> Fills | None:
        """What makes this tensor zero."""
        if node.name:
            return {node.name: 0.0} if self._own(node.name) else None
        if node.op is None:
            return None
        if node.kind in PRODUCTS:
            return self._zero_product(node)
        if node.kind.startswith("_weight_norm"):
            return self._zero(node.args["g"])
        if node.kind in NORMS:
            own = [
                x.name
                for key, x in node.args.items()
                if isinstance(x, Node) and x.name and not key.startswith("running_")
            ]
            if own:
                return dict.fromkeys(own, 0.0) if all(map(self._own, own)) else None
        if node.kind in {"add", "sub"} and len(node.inputs) < 2:
            return None  # a number is added, which nothing silences
        if node.kind in {"add", "sub", "cat", "stack"}:
            return self._all(node.inputs)
        if node.kind in {"mul", "div"}:
            factors = sorted(node.inputs, key=lambda x: not x.name)
            found = (self._zero(x) for x in factors[: 1 if node.kind == "div" else None])
            return next((fills for fills in found if fills is not None), None)
        data = [x for x in node.inputs if not x.name]
        as_other = node.kind.endswith("_as") or node.kind in {"index", "index_select"}
        return self._zero(data[0]) if data and (as_other or len(data) == 1) else None

    def _zero_product(self, node: Node) -> Fills | None:
        """What is added has to be zero, and one factor, sooner a weight than what it multiplies."""
        added = node.args.get("self" if node.kind in {"addmm", "baddbmm"} else "bias")
        factors = [x for x in reversed(node.inputs) if x is not added]
        factors.sort(key=lambda x: not x.name)
        found = (self._zero(x) for x in factors)
        silent = next((fills for fills in found if fills is not None), None)
        rest = self._zero(added) if isinstance(added, Node) else {}
        return None if silent is None or rest is None else {**silent, **rest}

    def _all(self, nodes: list[Node]) -> Fills | None:
        found = [self._zero(x) for x in nodes]
        if any(fills is None for fills in found):
            return None
        return {name: fill for fills in found if fills for name, fill in fills.items()}

    def _own(self, name: str) -> bool:
        return name.startswith(f"{self.path}.")

    def _identity_layer(self, node: Node) -> Fills | None:
        bias = node.args.get("bias", node.args.get("self"))
        weight = node.args.get("weight", node.args.get("mat2"))
        if not isinstance(weight, Node) or not self._own(weight.name):
            return None
        shape = self._shapes[weight.name]
        groups = node.args.get("groups", 1)
        square = shape[0] == shape[1] * groups and all(
            size % 2 and step == 1 and 2 * pad == gap * (size - 1)
            for size, step, pad, gap in zip(
                shape[2:],
                node.args.get("stride", []),
                _padding(node.args.get("padding", []), shape[2:], node.args.get("dilation", [])),
                node.args.get("dilation", []),
                strict=False,
            )
        )
        if not square:
            return None
        fills: Fills = {weight.name: "eye"}
        if isinstance(bias, Node):
            if not self._own(bias.name):
                return None
            fills[bias.name] = 0.0
        return fills

    def _identity_norm(self, node: Node) -> Fills | None:
        mean, var = node.args.get("running_mean"), node.args.get("running_var")
        weight, bias = node.args.get("weight"), node.args.get("bias")
        if not isinstance(mean, Node) or not isinstance(var, Node) or not self._own(mean.name):
            return None
        eps = float(node.args["eps"])
        fills: Fills = {mean.name: 0.0, var.name: 1.0 if isinstance(weight, Node) else 1.0 - eps}
        if isinstance(weight, Node):
            fills[weight.name] = float((1.0 + eps) ** 0.5)
        if isinstance(bias, Node):
            fills[bias.name] = 0.0
        return fills


def _padding(padding: Any, kernel: tuple[int, ...], dilation: list[int]) -> list[int]:
    if padding == "same":
        return [gap * (size - 1) // 2 for size, gap in zip(kernel, dilation, strict=True)]
    return [0] * len(kernel) if isinstance(padding, str) else list(padding)


def _ends(
    trace: Trace, path: str, inputs: list[int], outputs: list[int]
) -> tuple[Node | None, Node | None]:
    """What goes into a block and what comes out. Tensors written in place are followed in order of
    execution, so a name stands for what it holds at the time."""
    if not inputs or not outputs:
        return None, None
    held = {tensor: Node(None, {}, name) for tensor, name in trace.names.items()}
    start = Node(None, {})
    held[inputs[0]] = start
    for op in trace.ops:
        if op.path != path and not op.path.startswith(f"{path}."):
            continue
        node = Node(op, {key: _bound(item, held) for key, item in op.args.items()})
        structural = node.kind in {"t", "numpy_T", "transpose", "permute", "view", "to", "_to_copy"}
        if structural and node.inputs and node.inputs[0].name:
            node = node.inputs[0]
        for ref in op.outputs:
            held[ref.id] = node
    return start, held.get(outputs[0])


def _bound(item: Any, held: dict[int, Node]) -> Any:
    if isinstance(item, Ref):
        return held.setdefault(item.id, Node(None, {}))
    if isinstance(item, list):
        return [_bound(x, held) for x in item]
    return item
