"""Axes of size 1 that the code itself makes, whatever it is given: kept of what was summed over,
put in between, written as a literal. What is computed from their sizes tells nothing of inputs."""

from __future__ import annotations

from net2net.ops import traits
from net2net.trace.trace import Op, Trace


class MadeAxes:
    """Those of one trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._producers: dict[int, Op] = {}
        for op in trace.ops:
            for ref in op.outputs:
                self._producers.setdefault(ref.id, op)

    def has(self, tensor: int, axis: int) -> bool:
        """Whether an axis of a tensor is one."""
        shape, op = self.trace.shapes[tensor], self._producers.get(tensor)
        if op is None or shape[axis] != 1:
            return False
        if traits(op.kind).elementwise:
            return self._in_all(op, axis - len(shape))
        dims = op.args.get("dim", op.args.get("size"))
        if op.kind in {"view", "reshape", "_unsafe_view"}:
            told = {*op.traced_ints, *op.traced_sizes}
            return dims[axis] == 1 and ("size", axis) not in told
        if op.kind == "unsqueeze" or op.args.get("keepdim"):
            gone = dims if isinstance(dims, list) else [dims]
            return axis in {dim % len(shape) for dim in gone if dim is not None}
        return False

    def _in_all(self, op: Op, axis: int) -> bool:
        """``axis``: counted from the last, as operands are laid over each other."""
        shapes = [(ref.id, len(self.trace.shapes[ref.id])) for ref in op.inputs]
        return all(self.has(tensor, ndim + axis) for tensor, ndim in shapes if ndim + axis >= 0)
