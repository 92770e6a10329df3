"""Units among which code chooses the best by number, as routers do among experts."""

from __future__ import annotations

from net2net.infer.units import Axis
from net2net.ops import traits
from net2net.trace.graph import Graph, Node

WHY = (
    "{} in '{}' chooses among them; if they are experts, net2net.transfer (or grow, by the "
    "configuration) makes copies of all in a student that has more of them"
)


def chosen(graph: Graph) -> dict[Axis, str]:
    """The axes of weights that make what is chosen among, and why there are as many."""
    found: dict[Axis, str] = {}
    for position, op in enumerate(graph.trace.ops):
        dim = op.args.get("dim") if traits(op.kind).chooses else None
        if dim is None or not graph.outputs(op)[-1].users:
            continue
        first = graph.node(op.inputs[0].id, position)
        size = first.shape[dim]
        front, seen = [first], {id(first)}
        while front:
            node = front.pop()
            if (weight := node.traits.weight) is None:
                front += [x for x in node.inputs if size in x.shape and id(x) not in seen]
                seen |= set(map(id, front))
                continue
            made = _parameter(node.args[weight.weight])
            if made.name and made.shape[weight.axis] == size:
                found[Axis(made.name, weight.axis)] = WHY.format(op.kind, op.path)
    return found


def _parameter(node: Node) -> Node:
    """What a tensor is that was only given another type."""
    while node.traits.passes and node.inputs[0].shape == node.shape:
        node = node.inputs[0]
    return node
