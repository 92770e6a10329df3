"""Products that are added at once, as a product and a sum, so that rules know one spelling.

``addcmul(c, a, b)`` is ``c + a · b``, ``addcdiv(c, a, b)`` is ``c + a / b``, and ``lerp(a, b, w)``
is ``a + (b − a) · w``. What lies between gets a number of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from net2net.trace.recorded import Op, Ref, Trace
from net2net.trace.traced_ints import TracedInt

Shapes = list[tuple[int, ...]]


def unfused(trace: Trace) -> Trace:
    """The trace with such operations written as several, which do the same."""
    if not any(op.kind in _APART for op in trace.ops):
        return trace
    shapes, ops, begins = list(trace.shapes), list[Op](), list[int]()
    for op in trace.ops:
        begins.append(len(ops))
        apart = _APART.get(op.kind)
        ops += [op] if apart is None or op.args.get("out") is not None else apart(op, shapes)
    begins.append(len(ops))
    calls = [replace(one, begin=begins[one.begin], end=begins[one.end]) for one in trace.calls]
    return replace(trace, ops=ops, shapes=shapes, calls=calls)


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


def _between(
    op: Op, shapes: Shapes, name: str, args: Mapping[str, Any], told: Mapping[str, str]
) -> Op:
    """An operation that makes what the next one reads."""
    operands = [shapes[one.id] for one in args.values() if isinstance(one, Ref)]
    shapes.append(tuple(np.broadcast_shapes(*operands)))
    made = Ref(len(shapes) - 1)
    return _told(replace(op, name=f"aten::{name}", args=dict(args), result=made), op, told)


def _added(op: Op, made: Ref, times: str = "") -> Op:
    """The sum, in place where the operation was; ``times``: the argument that multiplies it."""
    name = "aten::add_" if op.name.endswith("_") else "aten::add"
    args = {"self": op.args["self"], "other": made, "alpha": op.args.get(times, 1)}
    return _told(replace(op, name=name, args=args), op, {"self": "self", times: "alpha"})


def _told(made: Op, op: Op, names: Mapping[str, str]) -> Op:
    """With what is known of those arguments of an operation that it has, by their new names."""
    return replace(
        made,
        numbers={names[name]: one for name, one in op.numbers.items() if name in names},
        traced_ints=_renamed(op.traced_ints, names),
        traced_sizes=_renamed(op.traced_sizes, names),
    )


def _renamed(
    known: Mapping[tuple[str, int], TracedInt], names: Mapping[str, str]
) -> dict[tuple[str, int], TracedInt]:
    return {(names[name], at): one for (name, at), one in known.items() if name in names}


_APART: dict[str, Callable[[Op, Shapes], list[Op]]] = {
    "addcmul": lambda op, shapes: _product(op, shapes, "mul"),
    "addcdiv": lambda op, shapes: _product(op, shapes, "div"),
    "lerp": _moved_towards,
}
