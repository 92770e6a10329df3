"""Tied weights: one that both makes units and reads them, such as an embedding that is the head.

Where it makes units it is copied, so where it reads them the sum runs over all copies. What takes
the shares in its place is what scales those units before: the last norm's scale and shift, which
are divided among the copies of each unit. So the weight stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from net2net.trace.flow import PASS, Flow
from net2net.trace.trace import Op, Ref, Trace, refs

NORMS = frozenset("layer_norm rms_norm group_norm batch_norm".split())


@dataclass(frozen=True)
class Read:
    """An operation that sums over an axis of a weight, and the tensor that it multiplies."""

    trace: Trace
    op: Op
    data: int


class Scales:
    """What scales the tensors of a trace, last of all."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._flow = Flow(trace)

    def of(self, tensor: int, readers: Sequence[Op]) -> set[str] | None:
        """The parameters that are factors or terms of everything in a tensor, if nothing but
        ``readers`` reads it; None if there are none."""
        op = self._flow.producer.get(tensor)
        returned = tensor in self._trace.outputs.values()
        if op is None or op.name.endswith("_") or returned or not self._only(tensor, readers):
            return None
        kind = op.kind
        if kind in NORMS:
            return self._parameters(refs([op.args["weight"], op.args.get("bias")]), op)
        operands = refs([op.args.get("self", op.args.get("input")), op.args.get("other")])
        if not operands:
            return None
        if kind in PASS or (kind in {"mul", "div"} and len(operands) == 1):
            return self.of(operands[0].id, [op])
        if kind == "mul":
            found = (self._parameters([ref], op) for ref in operands)
            return next((names for names in found if names), None)
        if kind == "add" and len(operands) == 2:
            terms = [self._parameters([ref], op) or self.of(ref.id, [op]) for ref in operands]
            known = [term for term in terms if term]
            return set().union(*known) if len(known) == 2 else None
        return None

    def _only(self, tensor: int, readers: Sequence[Op]) -> bool:
        return all(any(op is other for other in readers) for op in self._flow.users[tensor])

    def _parameters(self, operands: Sequence[Ref], op: Op) -> set[str] | None:
        """Their names, if all are vectors that this operation alone reads."""
        for ref in operands:
            vector = len(self._trace.shapes[ref.id]) == 1
            if ref.id not in self._trace.names or not vector or not self._only(ref.id, [op]):
                return None
        return {self._trace.names[ref.id] for ref in operands} or None


def shares_before(reads: Sequence[Read]) -> set[str] | None:
    """The parameters that can take a weight's shares wherever it reads, or None."""
    names: set[str] = set()
    for trace in {id(read.trace): read.trace for read in reads}.values():
        here = [read for read in reads if read.trace is trace]
        scales = Scales(trace)
        for read in here:
            found = scales.of(read.data, [other.op for other in here])
            if found is None:
                return None
            names |= found
    return names
