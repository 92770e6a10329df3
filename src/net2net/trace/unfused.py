"""What does several operations at once, as those, so that rules know one spelling.

``addcmul(c, a, b)`` is ``c + a · b``, ``addcdiv(c, a, b)`` is ``c + a / b``, ``lerp(a, b, w)`` is
``a + (b − a) · w``, and ``cdist(a, b)`` is ``(a[:, None] − b[None]).norm(dim=-1)``. What lies
between gets a number of its own. The last operation remembers what the code called, which is what
it costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from net2net.trace.recorded import Op, Ref, Trace
from net2net.trace.traced_ints import TracedInt

Shapes = list[tuple[int, ...]]
NONE: Mapping[str, str] = {}


def unfused(trace: Trace) -> Trace:
    """The trace with such operations written as several, which do the same."""
    shapes, ops, begins = list(trace.shapes), list[Op](), list[int]()
    for op in trace.ops:
        begins.append(len(ops))
        ops += [op] if op.args.get("out") is not None else _apart(op, shapes)
    begins.append(len(ops))
    if len(ops) == len(trace.ops):
        return trace
    calls = [replace(one, begin=begins[one.begin], end=begins[one.end]) for one in trace.calls]
    return replace(trace, ops=ops, shapes=shapes, calls=calls)


def _apart(op: Op, shapes: Shapes) -> list[Op]:
    match op.kind:
        case "addcmul":
            return _product(op, shapes, "mul")
        case "addcdiv":
            return _product(op, shapes, "div")
        case "lerp":
            return _moved_towards(op, shapes)
        case "cdist":
            return _distances(op, shapes)
        case _:
            return [op]


def _product(op: Op, shapes: Shapes, name: str) -> list[Op]:
    """``self + value · tensor1 · tensor2``, or the quotient."""
    args = {"self": op.args["tensor1"], "other": op.args["tensor2"]}
    made = _between(op, shapes, name, args, {"tensor1": "self", "tensor2": "other"})
    return [made, _added(op, made.result, "value")]


def _moved_towards(op: Op, shapes: Shapes) -> list[Op]:
    """``self + (end − self) · weight``."""
    start, end, weight = (op.args[name] for name in ("self", "end", "weight"))
    args = {"self": end, "other": start, "alpha": 1}
    away = _between(op, shapes, "sub", args, {"end": "self", "self": "other"})
    args = {"self": away.result, "other": weight}
    part = _between(op, shapes, "mul", args, {"weight": "other"})
    return [away, part, _added(op, part.result)]


def _distances(op: Op, shapes: Shapes) -> list[Op]:
    """``‖x1[…, :, None, :] − x2[…, None, :, :]‖``."""
    rows, columns = (
        _between(op, shapes, "unsqueeze", {"self": op.args[name], "dim": dim})
        for name, dim in (("x1", -2), ("x2", -3))
    )
    args = {"self": rows.result, "other": columns.result, "alpha": 1}
    away = _between(op, shapes, "sub", args)
    args = {"self": away.result, "ord": op.args["p"], "dim": [-1], "keepdim": False, "dtype": None}
    norm = replace(op, name="aten::linalg_vector_norm", args=args, fused=op)
    return [rows, columns, away, _told(norm, op, {"p": "ord"})]


def _between(
    op: Op, shapes: Shapes, name: str, args: Mapping[str, Any], told: Mapping[str, str] = NONE
) -> Op:
    """An operation that makes what the next ones read."""
    operands = [shapes[one.id] for one in args.values() if isinstance(one, Ref)]
    shape = list(np.broadcast_shapes(*operands))
    if name == "unsqueeze":
        shape.insert(args["dim"] + len(shape) + 1, 1)
    shapes.append(tuple(shape))
    made = Ref(len(shapes) - 1)
    return _told(replace(op, name=f"aten::{name}", args=dict(args), result=made), op, told)


def _added(op: Op, made: Ref, times: str = "") -> Op:
    """The sum, in place where the operation was; ``times``: the argument that multiplies it."""
    name = "aten::add_" if op.name.endswith("_") else "aten::add"
    args = {"self": op.args["self"], "other": made, "alpha": op.args.get(times, 1)}
    return _told(replace(op, name=name, args=args, fused=op), op, {"self": "self", times: "alpha"})


def _told(made: Op, op: Op, names: Mapping[str, str]) -> Op:
    """With what is known of those arguments of an operation that it has, by their new names."""
    return replace(
        made,
        numbers={names[name]: one for name, one in op.numbers.items() if name in names},
        kept={names[name]: one for name, one in op.kept.items() if name in names},
        traced_ints=_renamed(op.traced_ints, names),
        traced_sizes=_renamed(op.traced_sizes, names),
    )


def _renamed(
    known: Mapping[tuple[str, int], TracedInt], names: Mapping[str, str]
) -> dict[tuple[str, int], TracedInt]:
    return {(names[name], at): one for (name, at), one in known.items() if name in names}
