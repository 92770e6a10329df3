"""Weights that code divides by their norms and multiplies by lengths, as ``_weight_norm`` does.

``v / v.norm(dim=1, keepdim=True) * g[:, None]`` and ``F.normalize(v, dim=1) * g`` are one product,
whatever the order of its factors, of which the lengths ``g`` follow the norm of what grows. The
last operation becomes ``_weight_norm``, and the others go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from net2net.ops import traits
from net2net.trace.recorded import Op, Ref, Trace

_LEAST = 1e-6
"""Bounds up to here keep a norm from zero, and what is divided by it from infinity."""


def keeps_from_zero(op: Op) -> bool:
    """Whether it only keeps numbers away from zero, as ``normalize`` does with norms: what is so
    small is left aside."""
    low = op.args.get("min", op.args.get("min_val"))
    high = op.args.get("max", op.args.get("max_val"))
    return op.kind in {"clamp", "clamp_min"} and high is None and 0 < (low or 0.0) <= _LEAST


@dataclass(frozen=True)
class _Weight:
    """``g · v / ‖v‖``, with a norm for each position on an axis; and the operations (by their
    results) on the way there."""

    v: Ref
    g: Ref
    dim: int
    way: tuple[Ref, ...]


def lengths_apart(trace: Trace) -> Trace:
    """The trace with such products written as ``_weight_norm``."""
    known = _Known(trace)
    found = {place: one for place, op in enumerate(trace.ops) if (one := known.weight(op))}
    reads = defaultdict[Ref, int](int)
    for one in found.values():
        reads[one.g] += 1
    instead, gone = dict[int, Op](), set[Ref]()
    for place, one in found.items():
        if reads[one.g] == len(known.readers[one.g]):  # nobody reads them as they are
            args = {"v": one.v, "g": one.g, "dim": one.dim}
            op = trace.ops[place]
            instead[place] = replace(op, name="aten::_weight_norm", args=args, numbers={}, kept={})
            gone.update(one.way)
    ops, begins = list[Op](), list[int]()
    for place, op in enumerate(trace.ops):
        begins.append(len(ops))
        ops += [] if gone.intersection(op.outputs) else [instead.get(place, op)]
    begins.append(len(ops))
    calls = [replace(one, begin=begins[one.begin], end=begins[one.end]) for one in trace.calls]
    return replace(trace, ops=ops, calls=calls) if instead else trace


class _Known:
    """Who makes and reads the tensors of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.told = set(trace.outputs.values())
        """Tensors that are known otherwise: outputs of the model, or of modules."""
        self.told.update(*([*one.inputs, *one.outputs] for one in trace.calls))
        self.made_by: dict[Ref, Op] = {}
        self.readers: dict[Ref, list[Op]] = defaultdict(list)
        for op in trace.ops:
            self.made_by |= dict.fromkeys(op.outputs, op)
            for ref in dict.fromkeys(op.inputs):
                self.readers[ref].append(op)

    def weight(self, op: Op) -> _Weight | None:
        """The weight that an operation makes, last of all."""
        if not _multiplies(op):
            return None
        way: list[Ref] = []
        factors = list(self._factors(op, way))
        over = [ref for ref, divides in factors if not divides]
        under = [ref for ref, divides in factors if divides]
        norm = self._norm(under[0], way) if len(under) == 1 and len(over) == 2 else None
        if norm is None or (v := norm.args["self"]) not in over:
            return None
        lengths = over[1 - over.index(v)]
        return self._of(v, lengths, norm, way) if self._shape(op.result) == self._shape(v) else None

    def _of(self, v: Ref, lengths: Ref, norm: Op, way: Sequence[Ref]) -> _Weight | None:
        shape, dims = self._shape(v), norm.args["dim"]
        dims = [dims] if isinstance(dims, int) else dims or []
        kept = sorted(set(range(len(shape))) - {dim % len(shape) for dim in dims})
        if v.id not in self.trace.names or len(kept) != 1:
            return None
        (dim,) = kept
        alone = [size if axis == dim else 1 for axis, size in enumerate(shape)]
        if list(self._shape(lengths)) != alone:
            return None
        while lengths.id not in self.trace.names:
            op = self.made_by.get(lengths)
            if op is None or not traits(op.kind).rearranges or len(self.readers[lengths]) > 1:
                return None
            lengths = op.inputs[0]
        direct = list(self._shape(lengths)) == alone
        vector = dim == 0 and len(self._shape(lengths)) == 1
        return _Weight(v, lengths, dim, tuple(way)) if direct or vector else None

    def _factors(self, op: Op, way: list[Ref], divides: bool = False) -> Iterator[tuple[Ref, bool]]:
        """What is multiplied in an operation, and in those whose results it alone reads; and what
        divides."""
        for at, ref in enumerate(op.inputs):
            under = divides != (at == 1 and op.kind == "div")
            made = self.made_by.get(ref)
            if made is not None and _multiplies(made) and self._once(ref):
                way.append(ref)
                yield from self._factors(made, way, under)
            else:
                yield ref, under

    def _norm(self, ref: Ref, way: list[Ref]) -> Op | None:
        """The norm that a tensor holds, which nobody else reads."""
        op = self.made_by.get(ref)
        if op is None or not self._once(ref):
            return None
        way.append(ref)
        if op.kind == "linalg_vector_norm":
            return op if op.args["ord"] == 2 and op.args["keepdim"] else None
        first = op.inputs[0]
        expanded = traits(op.kind).constant_axes and traits(op.kind).moves
        return self._norm(first, way) if expanded or keeps_from_zero(op) else None

    def _once(self, ref: Ref) -> bool:
        return len(self.readers[ref]) == 1 and ref.id not in self.told

    def _shape(self, ref: Ref) -> tuple[int, ...]:
        return self.trace.shapes[ref.id]


def _multiplies(op: Op) -> bool:
    """Whether it is a product or a quotient of two tensors, in memory of its own."""
    plain = not (op.args.get("rounding_mode") or op.name.endswith("_") or op.args.get("out"))
    return traits(op.kind).multiplies and plain and len(op.inputs) == 2
