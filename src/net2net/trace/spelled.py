"""One spelling for what code may spell in several ways, so that rules know one.

``x * x`` is the square of ``x``, a sum that is divided by how many were added is their mean, and
the mean of squares less the square of the mean is the variance.
Every operation keeps its place: what is left to do nothing becomes ``alias``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import isclose, prod
from typing import Any

from net2net.ops import traits
from net2net.trace.recorded import Op, Ref, Trace


def spelled(trace: Trace) -> Trace:
    """The trace with such operations written as others that compute the same."""
    ops = list(trace.ops)
    readers: dict[int, list[int]] = defaultdict(list)
    made_by: dict[int, Op] = {}
    for place, op in enumerate(trace.ops):
        for ref in op.inputs:
            readers[ref.id].append(place)
    for place, op in enumerate(trace.ops):
        op = ops[place]
        if op.name == "aten::mul" and op.args["self"] == op.args["other"]:
            ops[place] = replace(op, name="aten::square", args={"self": op.args["self"]})
        elif op.name == "aten::sub" and (variance := _variance(made_by, op)) is not None:
            ops[place] = replace(op, name="aten::var", args=variance, numbers={}, kept={})
        elif op.name == "aten::sum" and (last := _divided(trace, readers, op)) is not None:
            ops[place] = replace(op, name="aten::mean")
            divides = ops[last]
            data = {"self": divides.inputs[0]}
            ops[last] = replace(divides, name="aten::alias", args=data, numbers={}, kept={})
        made_by |= dict.fromkeys((ref.id for ref in op.outputs), ops[place])
    return replace(trace, ops=ops)


def _divided(trace: Trace, readers: dict[int, list[int]], op: Op) -> int | None:
    """Where a sum is divided by how many are added, which is all that is done with it."""
    shape, given = trace.shapes[op.inputs[0].id], op.args.get("dim")
    dims = range(len(shape)) if given is None or given == [] else given
    count = prod(shape[axis] for axis in ([dims] if isinstance(dims, int) else dims))
    returned = set(trace.outputs.values())
    made = op.outputs[0].id
    while len(readers[made]) == 1 and made not in returned:
        (place,) = readers[made]
        reader = trace.ops[place]
        number = reader.numbers.get("other")
        if reader.name == "aten::div" and not reader.args.get("rounding_mode"):
            return place if number == count > 1 else None
        if reader.name == "aten::mul":
            return place if number and count > 1 and isclose(number * count, 1) else None
        if not traits(reader.kind).rearranges or len(reader.outputs) != 1:
            return None
        made = reader.outputs[0].id
    return None


def _variance(made_by: Mapping[int, Op], op: Op) -> dict[str, Any] | None:
    """The arguments of a variance that a difference is."""
    squares, mean = _mean(made_by, op.args["self"]), _squared(made_by, op.args["other"])
    of_mean = None if mean is None else _mean(made_by, mean)
    if squares is None or of_mean is None or op.args.get("alpha", 1) != 1:
        return None
    squared = _squared(made_by, squares.args["self"])
    alike = all(squares.args.get(name) == of_mean.args.get(name) for name in ("dim", "keepdim"))
    if not alike or squared is None or squared != of_mean.args["self"]:
        return None
    dims = {name: of_mean.args.get(name) for name in ("dim", "keepdim")}
    return {"self": squared, **dims, "correction": 0}


def _mean(made_by: Mapping[int, Op], item: Any) -> Op | None:
    """The mean that something is."""
    op = made_by.get(item.id) if isinstance(item, Ref) else None
    if op is not None and op.kind == "alias":
        return _mean(made_by, op.args["self"])
    return op if op is not None and op.kind == "mean" else None


def _squared(made_by: Mapping[int, Op], item: Any) -> Ref | None:
    """That of which something is the square."""
    op = made_by.get(item.id) if isinstance(item, Ref) else None
    square = op is not None and (
        op.kind == "square" or (op.kind == "pow" and op.args["exponent"] == 2)
    )
    data = op.args["self"] if op is not None and square else None
    return data if isinstance(data, Ref) else None
