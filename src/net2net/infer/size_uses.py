"""Integers that the model's code reads as sizes: which units each counts, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from net2net.infer.inference import Inference
from net2net.infer.units import NO_UNIT, Axis, UnitIds
from net2net.infer.values import Part, Value
from net2net.trace.trace import Op, Trace
from net2net.trace.traced_ints import Origin, TracedInt, axis_of


@dataclass(frozen=True)
class SizeUse:
    """One use of a traced integer as the size of an axis, or of its front up to a cut: a unit for
    each position along that (``NO_UNIT`` where there is none). An axis that is ``size_fixed`` lies
    inside units: it never grows. ``path``: the module whose code uses it."""

    size: TracedInt
    units: UnitIds
    size_fixed: bool
    path: str

    def grown(self, grown_size: Callable[[UnitIds], Fraction]) -> Fraction:
        return Fraction(len(self.units)) if self.size_fixed else grown_size(self.units)


def size_uses(inference: Inference) -> list[SizeUse]:
    """All uses of the code's own integers as sizes, or to count units."""
    result = [
        SizeUse(count.size, inference.component[count.ids], size_fixed=False, path=count.path)
        for count in inference.counts
        if count.size is not None and count.size == len(count.ids)
    ]
    for trace, values in zip(inference.traces, inference.values, strict=True):
        measured: dict[Origin, TracedInt] = {}
        for tensor, axis, named, path in _sizes(trace, values):
            if 0 < named <= values[tensor].shape[axis]:
                result += _read(inference, values[tensor], axis, named, path)
                lengths = {o: TracedInt.attribute(n, o) for o, n in named.values.items()}
                measured.update((o, n) for o, n in lengths.items() if axis_of(o))
        for origin, named in measured.items():
            tensor, axis = axis_of(origin) or (NO_UNIT, 0)
            if tensor in values:
                result += _read(inference, values[tensor], axis, named, "")
    return result


def axes_counted(
    inference: Inference, origins: Collection[Origin], *, inside: bool = False
) -> set[Axis]:
    """The parameter axes that make what these attributes count. ``inside``: where that lies inside
    units, as the features of heads do."""
    found: set[Axis] = set()
    units = inference.units
    for trace, values in zip(inference.traces, inference.values, strict=True):
        for tensor, axis, named, _ in _sizes(trace, values):
            part = values[tensor].part(axis)
            if part is None or len(part.axes) < 2 or named.attribute_times not in origins:
                continue
            if units.has_fixed_size(part.ids, part.axes.index(axis)) or not inside:
                found |= {units.axes[n] for n in units.axes_of(part.ids) - units.anonymous}
    return found


def attributes(inference: Inference) -> dict[str, Origin]:
    """The attributes that code reads as sizes, or divides such by, by their names: module and
    attribute."""
    origins = {
        origin
        for trace, values in zip(inference.traces, inference.values, strict=True)
        for _, _, named, _ in _sizes(trace, values)
        for origin in (named.attribute_times, *named.divisors)
    } | {count.size.attribute_alone for count in inference.counts if count.size is not None}
    return {".".join(filter(None, o)): o for o in origins if o is not None and not axis_of(o)}


def divided_inside(
    inference: Inference, numerators: Collection[Origin], divisors: Collection[Origin]
) -> set[Axis]:
    """The parameter axes that make blocks inside of which the code counts one attribute divided by
    another: ``heads // groups`` of each group."""
    found: set[Axis] = set()
    units = inference.units
    for trace, values in zip(inference.traces, inference.values, strict=True):
        for tensor, axis, named, _ in _sizes(trace, values):
            part = values[tensor].part(axis)
            quotient = any(
                {o for o, e in monomial if e > 0} & {*numerators}
                and {o for o, e in monomial if e < 0} & {*divisors}
                for monomial in named.terms
            )
            if quotient and part is not None and part.axes.index(axis):
                found |= {units.axes[n] for n in units.axes_of(part.ids) - units.anonymous}
    return found


def sized_by(inference: Inference, origin: Origin) -> Iterator[UnitIds]:
    """All units of the tensors that have an axis which this attribute counts, where they lie on
    it."""
    for trace, values in zip(inference.traces, inference.values, strict=True):
        for tensor, axis, named, _ in _sizes(trace, values):
            part = values[tensor].part(axis)
            if part is not None and named.attribute_times == origin:
                yield part.ids[part.ids != NO_UNIT]


def _read(
    inference: Inference, value: Value, axis: int, size: TracedInt, path: str
) -> Iterator[SizeUse]:
    part = value.part(axis)
    size_fixed = (
        part is not None
        and inference.units.has_fixed_size(part.ids, part.axes.index(axis))
        and not inference.units.grows_head_size(part.ids)
    )
    for units in _along(inference, value, axis):
        yield SizeUse(size, units[:size], size_fixed, path)


def by_attribute(uses: Iterable[SizeUse]) -> dict[Origin, list[SizeUse]]:
    """The uses that each attribute has a part in."""
    result: dict[Origin, list[SizeUse]] = {}
    for use in uses:
        for origin in use.size.values:
            result.setdefault(origin, []).append(use)
    return result


def _sizes(trace: Trace, values: dict[int, Value]) -> Iterator[tuple[int, int, TracedInt, str]]:
    """Every axis whose first positions a traced integer counts: tensor, axis, integer, module."""
    for op in trace.ops:
        for (argument, index), named in {**op.traced_ints, **op.traced_sizes}.items():
            for tensor, axis in _axes(op, argument, index, values):
                yield tensor, axis, named, op.path
    for tensor, axis, named in trace.full_slices:
        if tensor in values:
            yield tensor, axis, named, ""


def _axes(op: Op, argument: str, index: int, values: dict[int, Value]) -> Iterator[tuple[int, int]]:
    """The axis whose size an argument gives, or the place of a cut: tensor and axis."""
    outputs = [ref.id for ref in op.outputs if ref.id in values]
    if not outputs:
        return
    first = values[outputs[0]]
    name = op.kind
    if argument in {"size", "shape"} and index >= 0:
        yield outputs[0], index
    elif name == "unflatten" and argument == "sizes":
        before = first.ndim - len(op.args["sizes"]) + 1
        dim = op.args["dim"]
        yield outputs[0], (dim if dim >= 0 else dim + before) + index
    elif argument == "repeats":
        single = index < 0
        axis = first.dim(op.args["dim"] or 0) if single else index
        times = op.args["repeats"] if single else op.args["repeats"][index]
        if first.shape[axis] == times:  # of what was one position
            yield outputs[0], axis
    elif argument in {"split_size", "split_sizes"}:
        yield outputs[max(index, 0)], first.dim(op.args["dim"])
    elif argument == "length":
        yield outputs[0], first.dim(op.args["dim"])
    elif name in {"slice", "narrow"} and argument in {"start", "end"}:
        if (source := op.args["self"].id) in values:
            yield source, first.dim(op.args["dim"])
    elif argument == "normalized_shape":
        yield outputs[0], first.ndim - len(op.args[argument]) + index


def _along(inference: Inference, value: Value, axis: int) -> list[UnitIds]:
    """A unit for every position along an axis. Across a block, the axis counts units if all that
    lies at one position is one unit (heads), or stays; else it lies inside units (head_dim). Where
    the block holds several such rows (query, key and value, whose heads may be others), each is an
    answer."""
    part = value.part(axis)
    none = [np.full(value.shape[axis], NO_UNIT)]
    if part is None or part.ids.size == 0:
        return none
    known = part.ids != NO_UNIT
    components = np.where(known, inference.component[np.where(known, part.ids, 0)], NO_UNIT)
    dim = part.axes.index(axis)
    if value.shape[axis] == 1 and not inference.inside and _grows_before(inference, part, dim):
        return none
    rows = np.moveaxis(components, dim, 0).reshape(value.shape[axis], -1)
    whole = (rows == rows[:, :1]).all(axis=1)
    stays = inference.stays(rows).all(axis=1)
    if stays.all() and not inference.inside:
        none = [rows[:, 0]]  # any of each
    if (whole | stays).all() and whole.any():
        counts = not _grows_before(inference, part, dim) or (rows != rows[0, 0]).any()
        return [np.where(whole, rows[:, 0], NO_UNIT)] if counts else none
    inside = components.reshape(*components.shape[: dim + 1], -1)
    several = range(1)
    if not (inside == inside[..., :1]).all():
        after = range(dim + 1, part.ids.ndim)
        if not all(inference.units.has_fixed_size(part.ids, inner) for inner in after):
            return none
        several = range(inside.shape[-1])  # query, key and value of each feature
    if dim == 0:
        return none
    lines = [inside[..., place].reshape(-1, value.shape[axis]) for place in several]
    each = {one.tobytes(): one for some in lines for one in some}
    ordered = np.sort(list(each.values()))
    separate = (ordered[:, 1:] != ordered[:, :-1]).all()
    return list(each.values()) if separate else none


def _grows_before(inference: Inference, part: Part, dim: int) -> bool:
    """Whether units of a block become more along an axis outside of this one."""
    return not all(inference.units.has_fixed_size(part.ids, outer) for outer in range(dim))


def new_values(
    inference: Inference, uses: Sequence[SizeUse], grown_size: Callable[[UnitIds], Fraction]
) -> dict[Origin, tuple[int, int]]:
    """Attribute → value before and after, for those whose units grow.

    ``grown_size``: how many units become of these. Uses of an attribute itself come first; a use of
    several (``num_heads * head_dim``) then tells the one of them that is not known yet, and of two
    (``width // pieces``) the one that is not divided by.
    """
    old = {origin: Fraction(n) for use in uses for origin, n in use.size.values.items()}
    new: dict[Origin, Fraction] = {}
    for origin, (value, ids) in inference.units.against.items():
        old[origin] = Fraction(value)
        new[origin] = value * len(ids) / grown_size(inference.component[ids])
    for origin, own in by_attribute(use for use in uses if use.size.attribute_alone).items():
        if origin in new:
            continue
        size_fixed = any(use.size_fixed for use in own)
        sizes = [old[origin]] if size_fixed else [use.grown(grown_size) for use in own]
        new[origin] = next((size for size in sizes if size != old[origin]), old[origin])
    told = [(use, use.grown(grown_size)) for use in uses if not use.size.attribute_alone]
    told.sort(key=lambda one: (len(one[0].size.values), one[1] == one[0].size))
    while True:
        open_ = [
            (use.size, size, unknown)
            for use, size in told
            if (unknown := [origin for origin in use.size.values if origin not in new])
        ]
        if not open_:
            break
        named, size, unknown = min(open_, key=lambda one: len(one[2]))
        new[unknown[0]] = _solved(named, size, unknown[0], {**old, **new})
    return {
        origin: (int(old[origin]), int(size))
        for origin, size in new.items()
        if size != old[origin] and size.denominator == 1 and not axis_of(origin)
    }


def _solved(
    named: TracedInt, size: Fraction, origin: Origin, values: dict[Origin, Fraction]
) -> Fraction:
    """The attribute's value at which the integer is ``size``, the others being what they are; as
    it is, if there is none. What is linear in it, or in one divided by it, goes through two
    points."""
    exponents = {e for monomial in named.terms for o, e in monomial if o == origin}
    if exponents not in ({1}, {-1}):
        return values[origin]
    (exponent,) = exponents
    at_one, at_two = (named.at({**values, origin: Fraction(x) ** exponent}) for x in (1, 2))
    slope = at_two - at_one
    power = 1 + (size - at_one) / slope if slope else Fraction(0)
    return power**exponent if power else values[origin]
