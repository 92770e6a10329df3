"""Count the arithmetic of a trace."""

from __future__ import annotations

import numpy as np

from net2net.trace.trace import Op, Ref, Trace


def flops(trace: Trace) -> int:
    """Floating-point operations of one forward pass: two for each multiply-add of a contraction."""
    return sum(_flops_of(op, trace) for op in trace.ops)


def _flops_of(op: Op, trace: Trace) -> int:
    kind = op.kind
    if not isinstance(op.result, Ref):
        return 0
    out = int(np.prod(trace.shapes[op.result.id], dtype=np.int64))
    shapes = [trace.shapes[ref.id] for ref in op.inputs]
    if kind == "linear":
        return 2 * out * shapes[1][-1]
    if kind.startswith("conv_transpose"):
        return 2 * int(np.prod(shapes[0], dtype=np.int64)) * int(np.prod(shapes[1][1:]))
    if kind.startswith("conv"):
        return 2 * out * int(np.prod(shapes[1][1:]))
    if kind in {"matmul", "mm", "bmm"}:
        return 2 * out * shapes[0][-1]
    if kind in {"addmm", "baddbmm"}:
        return 2 * out * shapes[1][-1]
    if kind == "scaled_dot_product_attention":
        query, key = shapes[:2]
        return 2 * int(np.prod(query)) * key[-2] + 2 * out * key[-2]
    return 0
