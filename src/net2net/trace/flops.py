"""Count the arithmetic of a trace."""

from __future__ import annotations

from typing import Any

from net2net.ops import traits
from net2net.trace.trace import Op, Ref, Trace


def flops(trace: Trace) -> int:
    """Floating-point operations of one forward pass: two for each multiply-add of a contraction."""
    return sum(_flops_of(op, trace) for op in trace.ops)


def _flops_of(op: Op, trace: Trace) -> int:
    op = op.fused or op
    formula = traits(op.kind).flops
    if formula is None:
        return 0
    return formula(_shaped(op.args, trace), [trace.shapes[ref.id] for ref in op.outputs])


def _shaped(item: Any, trace: Trace) -> Any:
    """Arguments with shapes in place of tensors."""
    if isinstance(item, Ref):
        return trace.shapes[item.id]
    if isinstance(item, dict):
        return {name: _shaped(x, trace) for name, x in item.items()}
    return [_shaped(x, trace) for x in item] if isinstance(item, list) else item
