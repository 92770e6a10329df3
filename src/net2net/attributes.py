"""Integers that the model's code reads as sizes: which units each counts, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from net2net.infer import Inference
from net2net.provenance import Origin
from net2net.rules import canonical
from net2net.trace import Op, refs
from net2net.units import NONE, Labels
from net2net.values import Value


@dataclass(frozen=True)
class Reading:
    """One use of an attribute as the size of an axis: a unit for each position along it (``NONE``
    where there is none), and how the size follows: ``factor · attribute + offset``."""

    units: Labels
    factor: Fraction
    offset: int


def readings(inference: Inference) -> dict[Origin, list[Reading]]:
    """All uses of each attribute as a size."""
    result: dict[Origin, list[Reading]] = {}
    for trace, values in zip(inference.traces, inference.values, strict=True):
        for op in trace.ops:
            for (argument, index), named in op.named.items():
                for tensor, axis in _axes(op, argument, index, values):
                    units = _along(inference, values[tensor], axis)
                    if len(units) != named:
                        continue
                    for origin, factor in named.factors.items():
                        result.setdefault(origin, []).append(Reading(units, factor, named.offset))
    return result


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


def _along(inference: Inference, value: Value, axis: int) -> Labels:
    """A unit for every position along an axis. Across a block, the axis counts units if all that
    lies at one position is one unit (heads); else it lies inside units (head_dim)."""
    part = value.part(axis)
    if part is None:
        return np.full(value.shape[axis], NONE)
    known = part.labels != NONE
    components = np.where(known, inference.component[np.where(known, part.labels, 0)], NONE)
    rows = np.moveaxis(components, part.axes.index(axis), 0).reshape(value.shape[axis], -1)
    counts = (rows == rows[:, :1]).all() and (part.axes[0] == axis or len(np.unique(rows)) > 1)
    return rows[:, 0] if counts else np.full(len(rows), NONE)


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
        for use in itself or uses:
            sizes = (Fraction(len(use.units)), grown_size(use.units))
            old, new = ((size - use.offset) / use.factor for size in sizes)
            if new != old and new.denominator == 1:
                result[origin] = (int(old), int(new))
    return result
