"""Which operations of a trace matter."""

from __future__ import annotations

from collections.abc import Collection

from net2net.ops import traits
from net2net.trace.trace import Trace


def needed(trace: Trace) -> set[int]:
    """The operations (by position) that outputs or branches depend on, or that compute with a
    parameter, and what those depend on. The rest has to run, but nobody reads what it computes: a
    row of a weight may only be asked for its size."""
    return _behind(trace, trace.names)[0]


def reached(trace: Trace) -> set[int]:
    """The tensors that outputs or branches depend on."""
    return _behind(trace, ())[1]


def _behind(trace: Trace, sources: Collection[int]) -> tuple[set[int], set[int]]:
    """The operations, and the tensors, that outputs and branches depend on, or operations that
    compute with these sources."""
    read = set(trace.outputs.values())
    needed = set()
    for position, op in reversed(list(enumerate(trace.ops))):
        inputs = {ref.id for ref in op.inputs}
        outputs = {ref.id for ref in op.outputs}
        told = not outputs  # a number that code branches on
        computed = not inputs.isdisjoint(sources) and not traits(op.kind).passes
        if told or op.name.endswith("_") or outputs & read or computed:
            needed.add(position)
            if not traits(op.kind).factory:  # else it reads a shape, and no value
                read |= inputs
    return needed, read
