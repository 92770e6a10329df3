"""Cutting and joining axes: cat, stack, split, slice, select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

import numpy as np

from net2net.infer.relations import OpSite, alike_along
from net2net.infer.rules import rule
from net2net.infer.units import NO_UNIT
from net2net.infer.values import Along, Part, Value


def pieces(site: OpSite, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Consecutive pieces of an axis."""
    ends = np.cumsum(sizes).tolist()
    return [value.take(axis, range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]


@rule("slice", "narrow")
def slice_(site: OpSite) -> Value:
    value: Value = site["self"]
    size = value.shape[site["dim"]]
    if isinstance(site.args.get("start"), Value):
        value = site.confine(value, [site["dim"]], "takes what data tell of it")
        return Value(site.shape, value.parts)
    if site.name == "narrow":
        return value.take(site["dim"], range(size)[site["start"] :][: site["length"]])
    return value.take(site["dim"], range(size)[site["start"] : site["end"] : site["step"]])


@rule("select")
def select(site: OpSite) -> Value:
    value: Value = site["self"]
    axis = value.dim(site["dim"])
    value = _fixed_size(site, value, axis, "takes one position of it")
    return value.take(axis, [site["index"] % value.shape[axis]]).without([axis])


@rule("split", "split_with_sizes", "chunk", "tensor_split")
def split(site: OpSite) -> list[Value]:
    value: Value = site["self"]
    axis = value.dim(site["dim"])
    sizes = [shape[axis] for shape in site.outputs]
    if site.name in {"chunk", "tensor_split"} and (ids := value.ids(axis)) is not None:
        site.split_by_position(ids, len(sizes))
        larger = [size + size // gcd(*sizes) for size in sizes]
        if _cut(site, sum(larger)) not in (None, larger):
            why = f"{site.where} cuts it into {_told(sizes)}, and no larger one in proportion"
            site.units.uneven.append((np.split(ids, np.cumsum(sizes)[:-1]), why))
    return pieces(site, value, axis, sizes)


def _cut(site: OpSite, size: int) -> list[int] | None:
    """The sizes that the same call cuts an axis of another size into; None where it says at which
    places."""
    count = site.args.get("chunks", site.args.get("sections"))
    if count is None:
        return None
    if site.name == "chunk":
        each = -(-size // count)
        return [min(each, size - begin) for begin in range(0, size, each)]
    each, more = divmod(size, count)
    return [each + (place < more) for place in range(count)]


def _told(sizes: Sequence[int]) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"


@rule("unbind")
def unbind(site: OpSite) -> list[Value]:
    value: Value = site["self"]
    axis = value.dim(site["dim"])
    value = _fixed_size(site, value, axis, "takes single positions of it")
    return [value.take(axis, [i]).without([axis]) for i in range(value.shape[axis])]


def _fixed_size(site: OpSite, value: Value, axis: int, why: str) -> Value:
    """Positions along the axis are known by number: it does not grow, whatever it is made of.
    Where all positions are the same, any stands for all."""
    part = value.part(axis)
    if part is None:
        return value
    if value.constant or axis in value.constant_axes:
        return replace(value, parts=tuple(p for p in value.parts if axis not in p.axes))
    if len(part.axes) > 1:
        site.units.tell_apart(part.ids, part.axes.index(axis))
        if part.axes[-1] == axis and len(part.axes) == 2 and site.units.grows_head_size(part.ids):
            site.fix(part.ids, why)
        return value
    site.pin(value, axis, why)
    return replace(value, parts=tuple(p for p in value.parts if axis not in p.axes))


@rule("cat", "concat", "concatenate")
def cat(site: OpSite) -> Value:
    """Units follow each other along the joined axis, and meet along all others."""
    values = [value for value in site["tensors"] if value.shape != (0,)]
    return joined(site, values, site["dim"])


def joined(site: OpSite, values: Sequence[Value], dim: int) -> Value:
    axis = values[0].dim(dim)
    empty = [value for value in values if not value.shape[axis]]  # they only meet along the rest
    values = [value for value in values if value.shape[axis]] or empty[:1]
    blocks = {p.axes for value in values for p in value.parts if axis in p.axes and len(p.axes) > 1}
    if len(blocks) > 1 or (
        blocks and any((p := v.part(axis)) is None or p.axes not in blocks for v in values)
    ):
        values = [_inside(site, value, axis) for value in values]
        blocks = set()
    parts: list[Part] = []
    if blocks:
        axes = next(iter(blocks))
        ids = [part.ids for v in values if (part := v.part(axis)) is not None]
        parts.append(Part(axes, np.concatenate(ids, axis=axes.index(axis))))
    elif any(value.part(axis) for value in values):
        runs = []
        for value in values:
            found = value.ids(axis)
            runs.append(np.full(value.shape[axis], NO_UNIT) if found is None else found)
        parts.append(Part((axis,), np.concatenate(runs)))
    rest = [
        Value(
            tuple(1 if a == axis else n for a, n in enumerate(value.shape)),
            tuple(part for part in value.parts if axis not in part.axes),
            constant=value.constant or not value.shape[axis],
            constant_axes=value.constant_axes - {axis},
        )
        for value in [*values, *empty]
    ]
    parts += site.align([(value, range(value.ndim)) for value in rest], rest[0].shape)
    parameter_axes: dict[int, frozenset[Along]] = {}
    for value in values:
        for at in value.parameter_axes:
            apart = at == axis or all(other.divides(at) for other in values)
            along = (value if apart else value.rigid()).parameter_axes[at]
            parameter_axes[at] = parameter_axes.get(at, frozenset()) | along
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    same = alike_along([(value, range(value.ndim)) for value in rest], rest[0].shape)
    return Value(
        tuple(shape),
        tuple(parts),
        parameter_axes,
        len(values) == 1 and values[0].constant,  # ones and twos are not one number
        constant_axes=same,
    )


def _inside(site: OpSite, value: Value, axis: int) -> Value:
    """What is joined along an axis with blocks of other make (features of each head, and those that
    all heads share): positions along it lie inside units, if these do not begin there."""
    why = "joins blocks of different make"
    part = value.part(axis)
    if part is None:
        return value
    inner = len(part.axes) == 1 or part.axes.index(axis) > 0
    if inner and NO_UNIT not in part.ids and not site.units.grows_head_size(part.ids):
        return site.confine(value, [axis], why)
    site.units.bundle(part.ids, tuple(range(part.ids.ndim)))
    site.fix(part.ids, why)
    return replace(value, parts=tuple(p for p in value.parts if axis not in p.axes))


@rule("stack", "hstack", "vstack")
def stack(site: OpSite) -> Value:
    """A new axis; the stacked tensors' units meet."""
    values = site["tensors"]
    if site.name != "stack":
        return joined(site, values, 0 if site.name == "vstack" or values[0].ndim == 1 else 1)
    at = site["dim"] % (values[0].ndim + 1)
    result = site.pointwise(values, values[0].shape)
    return result.moved(site.shape, lambda axis: axis + (axis >= at))
