"""Tied weights: one that both makes units and reads them, such as an embedding that is the head.

Where it makes units it is copied, so where it reads them the sum runs over all copies. What takes
the shares in its place is what scales those units before: the last norm's scale and shift, which
are divided among the copies of each unit. So the weight stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from net2net.trace.graph import Graph, Node, nodes
from net2net.trace.trace import Op, Trace


@dataclass(frozen=True)
class Read:
    """An operation that sums over an axis of a weight, and the tensor that it multiplies."""

    trace: Trace
    op: Op
    data: int


def scales_of(node: Node, readers: Sequence[Op]) -> set[str] | None:
    """What scales a tensor, last of all: the parameters that are factors or terms of everything in
    it, if nothing but ``readers`` reads it; None if there are none."""
    op = node.producer
    if op is None or node.returned or not _only(node, readers):
        return None
    if node.traits.normalises:
        return _parameters(nodes([node.args["weight"], node.args.get("bias")]), op)
    operands = nodes([node.args.get("self", node.args.get("input")), node.args.get("other")])
    if not operands:
        return None
    if node.traits.keeps_scale or (node.kind in {"mul", "div"} and len(operands) == 1):
        return scales_of(operands[0], [op])
    if node.kind == "mul":
        found = (_parameters([one], op) for one in operands)
        return next((names for names in found if names), None)
    if node.kind == "add" and len(operands) == 2:
        terms = [_parameters([one], op) or scales_of(one, [op]) for one in operands]
        known = [term for term in terms if term]
        return set().union(*known) if len(known) == 2 else None
    return None


def _only(node: Node, readers: Sequence[Op]) -> bool:
    return all(any(op is other for other in readers) for op in node.users)


def _parameters(operands: Sequence[Node], op: Op) -> set[str] | None:
    """Their names, if all are vectors that this operation alone reads."""
    for one in operands:
        if not one.name or len(one.shape) != 1 or not _only(one, [op]):
            return None
    return {one.name for one in operands} or None


def shares_before(reads: Sequence[Read]) -> set[str] | None:
    """The parameters that can take a weight's shares wherever it reads, or None."""
    names: set[str] = set()
    for trace in {id(read.trace): read.trace for read in reads}.values():
        here = [read for read in reads if read.trace is trace]
        graph = Graph(trace)
        for read in here:
            inputs = {node.tensor: node for node in graph.inputs(read.op)}
            if read.data not in inputs:
                return None
            found = scales_of(inputs[read.data], [other.op for other in here])
            if found is None:
                return None
            names |= found
    return names
