"""Integers that the model's code reads as sizes: which units each counts, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from net2net.infer import Inference
from net2net.provenance import Named, Origin
from net2net.rules import canonical
from net2net.trace import Op, Trace, refs
from net2net.units import NONE, Labels
from net2net.values import Value


@dataclass(frozen=True)
class Reading:
    """One use of an attribute as the size of an axis: a unit for each position along it (``NONE``
    where there is none), and how the size follows: ``factor · attribute + offset``. An axis that
    is ``held`` lies inside each unit, so it never grows."""

    units: Labels
    factor: Fraction
    offset: int
    held: bool


def readings(inference: Inference) -> dict[Origin, list[Reading]]:
    """All uses of each attribute as a size."""
    result: dict[Origin, list[Reading]] = {}
    for trace, values in zip(inference.traces, inference.values, strict=True):
        for tensor, axis, named in _sizes(trace, values):
            if values[tensor].shape[axis] != named:
                continue
            part = values[tensor].part(axis)
            held = part is not None and inference.units.holds(part.labels, part.axes.index(axis))
            for units in _along(inference, values[tensor], axis):
                for origin, factor in named.factors.items():
                    reading = Reading(units, factor, named.offset, held)
                    result.setdefault(origin, []).append(reading)
    return result


def _sizes(trace: Trace, values: dict[int, Value]) -> Iterator[tuple[int, int, Named]]:
    """Every axis whose size was given as a named integer: tensor, axis, integer."""
    for op in trace.ops:
        for (argument, index), named in op.named.items():
            for tensor, axis in _axes(op, argument, index, values):
                yield tensor, axis, named
    for tensor, axis, named in trace.whole:
        if tensor in values:
            yield tensor, axis, named


def _axes(op: Op, argument: str, index: int, values: dict[int, Value]) -> Iterator[tuple[int, int]]:
    """The output axis whose size an argument gives: tensor and axis."""
    outputs = [ref.id for ref in refs([op.outputs]) if ref.id in values]
    if not outputs:
        return
    first = values[outputs[0]]
    name = canonical(op.name).removeprefix("aten::")
    if argument in {"size", "shape"} and index >= 0:
        yield outputs[0], index
    elif name == "unflatten" and argument == "sizes":
        before = first.ndim - len(op.args["sizes"]) + 1
        dim = op.args["dim"]
        yield outputs[0], (dim if dim >= 0 else dim + before) + index
    elif argument in {"split_size", "split_sizes"}:
        yield outputs[max(index, 0)], first.dim(op.args["dim"])
    elif (name == "slice" and argument == "end" and not op.args["start"]) or argument == "length":
        yield outputs[0], first.dim(op.args["dim"])
    elif argument == "normalized_shape":
        yield outputs[0], first.ndim - len(op.args[argument]) + index


def _along(inference: Inference, value: Value, axis: int) -> list[Labels]:
    """A unit for every position along an axis. Across a block, the axis counts units if all that
    lies at one position is one unit (heads); else it lies inside units (head_dim). Where the block
    holds several such rows (query, key and value, whose heads may be others), each is an answer."""
    part = value.part(axis)
    none = [np.full(value.shape[axis], NONE)]
    if part is None:
        return none
    known = part.labels != NONE
    components = np.where(known, inference.component[np.where(known, part.labels, 0)], NONE)
    dim = part.axes.index(axis)
    rows = np.moveaxis(components, dim, 0).reshape(value.shape[axis], -1)
    if (rows == rows[:, :1]).all():
        return [rows[:, 0]] if dim == 0 or len(np.unique(rows)) > 1 else none
    inside = components.reshape(*components.shape[: dim + 1], -1)
    if dim == 0 or not (inside == inside[..., :1]).all():
        return none
    each = np.unique(inside[..., 0].reshape(-1, value.shape[axis]), axis=0)
    separate = all(len(np.unique(row)) == len(row) for row in each)
    return list(each) if separate else none


def new_values(
    inference: Inference, grown_size: Callable[[Labels], Fraction]
) -> dict[Origin, tuple[int, int]]:
    """Attribute → value before and after, for those whose units grow.

    ``grown_size``: how many units become of these. A use of the attribute itself tells more than a
    use of a multiple, whose other factor may grow as well.
    """
    result = {}
    for origin, uses in readings(inference).items():
        itself = [use for use in uses if use.factor == 1 and not use.offset]
        if any(use.held for use in itself):
            continue
        for use in itself or uses:
            sizes = (Fraction(len(use.units)), grown_size(use.units))
            old, new = ((size - use.offset) / use.factor for size in sizes)
            if new != old and new.denominator == 1:
                result[origin] = (int(old), int(new))
    return result
