"""Sums over units with what is made of a weight whose columns cannot be divided, since the code
gives that a size of its own (it is standardised): of k copies of every unit they are k times as
large, which another parameter makes up for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from net2net.infer.multiplied import Names, before
from net2net.infer.units import UnitIds
from net2net.infer.values import Value
from net2net.ops import traits
from net2net.trace.graph import Graph
from net2net.trace.trace import Op


@dataclass(frozen=True)
class Sum:
    """An operation, by its place in a trace, that sums over these units; and the parameters with
    which the sum is multiplied."""

    trace: int
    place: int
    ids: UnitIds
    names: Names


def makes_up(graph: Graph, op: Op, values: Mapping[int, Value]) -> Names | None:
    """The parameters with which a sum of products is multiplied: of what is made of weights, or
    else of the data."""
    added = graph.bound(op.args.get(traits(op.kind).adds), graph.position(op))
    factors = [node for node in graph.inputs(op) if node is not added]
    for node in sorted(factors, key=lambda node: values[node.tensor].depends_on_input):
        if factors.count(node) == 1 and (names := before(node, op)):
            return names
    return None
