"""Operations that pick positions by number: the picked axis stays, the others pass through."""

from __future__ import annotations

import numpy as np

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Part, Value


def kept(value: Value, axes: list[int], to: dict[int, int], shape: tuple[int, ...]) -> Value:
    """The parts of ``value`` that lie on none of ``axes``, moved, where the size is still the
    same."""
    parts = []
    for part in value.parts:
        if not set(part.axes) & set(axes) and all(
            axis in to and shape[to[axis]] == value.shape[axis] for axis in part.axes
        ):
            parts.append(Part(tuple(to[axis] for axis in part.axes), part.ids))
    alike = frozenset(to[axis] for axis in value.constant_axes if axis in to)
    return Value(shape, tuple(parts), constant=value.constant, constant_axes=alike)


def pinned(site: OpSite, value: Value, axes: list[int]) -> None:
    for axis in axes:
        site.pin(value, axis, "picks positions of it")


@rule("index")
def index(site: OpSite) -> Value:
    """Advanced indexing: the axes that index tensors stand for become theirs, in place if they are
    neighbours, else in front."""
    value: Value = site["self"]
    indices = site["indices"]
    chosen = [axis for axis, one in enumerate(indices) if one is not None]
    if len(chosen) == 1 and 1 in site.constants:
        (axis,) = chosen
        return value.take(axis, np.array(site.constants[1]) % value.shape[axis])
    used: list[int] = []
    axis = 0
    for one in indices:
        width = one.ndim if one is not None and _is_mask(one, value, axis) else 1
        if one is not None:
            used += range(axis, axis + width)
            for own in range(one.ndim):
                site.pin(one, own, "picks positions by it")
        axis += width
    pinned(site, value, used)
    rest = [a for a in range(value.ndim) if a not in used]
    new = len(site.shape) - len(rest)
    together = used == list(range(used[0], used[-1] + 1)) if used else True
    front = used[0] if used and together else 0
    to = {a: (i if i < front else i + new) for i, a in enumerate(rest)}
    return kept(value, used, to, site.shape)


def _is_mask(one: Value, value: Value, axis: int) -> bool:
    """A Boolean mask covers as many axes as it has; its shape is theirs."""
    return one.ndim > 1 and one.shape == value.shape[axis : axis + one.ndim]


@rule("gather", "take_along_dim", "index_select", "sort", "topk", "argsort", "msort", "kthvalue")
def pick(site: OpSite) -> list[Value]:
    value = next(x for x in site.args.values() if isinstance(x, Value))
    dim = site.args.get("dim")
    if site.name == "index_select" and dim is not None and 1 in site.constants:
        return [value.take(dim, site.constants[1])]
    axes = list(range(value.ndim)) if dim is None else [value.dim(dim)]
    pinned(site, value, axes)
    if isinstance(places := site.args.get("index", site.args.get("indices")), Value):
        value = _picked(site, value, places, axes)
    to = {axis: axis for axis in range(value.ndim)}
    return [
        kept(value, axes, to, shape) if len(shape) == value.ndim else Value(shape)
        for shape in site.outputs
    ]


def _picked(site: OpSite, value: Value, places: Value, axes: list[int]) -> Value:
    """Where each element has a place of its own, places are the same for all units of an axis, or
    go with them."""
    if places.ndim != value.ndim:
        return value  # one place for each position along the axis
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    site.pointwise([_beside(site, one, axes, shape) for one in (value, places)], shape)
    return value


def _beside(site: OpSite, value: Value, axes: list[int], shape: tuple[int, ...]) -> Value:
    """One position along the axes that are picked from; the others as they are, if their sizes are
    those of ``shape``."""
    short = [a for a in range(value.ndim) if value.shape[a] != shape[a]]
    pinned(site, value, sorted({*axes, *short}))
    value = kept(value, [*axes, *short], {a: a for a in range(value.ndim)}, value.shape)
    for axis in {*axes, *short}:
        value = value.take(axis, [0])
    return value


@rule(
    "scatter", "scatter_add", "scatter_reduce", "index_add", "index_reduce", "index_copy",
    "index_fill",
)  # fmt: skip
def put(site: OpSite) -> Value:
    """Positions along an axis are written to; along the others, what is written meets what was
    there, which may be zeros."""
    value: Value = site["self"]
    source, index = site.args.get("src", site.args.get("source")), site["index"]
    axis = value.dim(site["dim"])
    shape = tuple(1 if a == axis else size for a, size in enumerate(value.shape))
    met = [
        _beside(site, one, [axis], shape)
        for one in (value, source, index)  # else one number, or one place for each position
        if isinstance(one, Value) and one.ndim == value.ndim
    ]
    return Value(value.shape, site.pointwise(met, shape).parts)


@rule("index_put")
def index_put(site: OpSite) -> Value:
    """Trailing axes that are not indexed meet those of the values."""
    value, values = site["self"], site["values"]
    used = [i for i, one in enumerate(site["indices"]) if one is not None]
    wide = max(
        (one.ndim if _is_mask(one, value, i) else 1)
        for i, one in enumerate(site["indices"])
        if one is not None
    )
    used = sorted({*used, *range(used[0], used[0] + wide)})
    pinned(site, value, used)
    tail = [a for a in range(value.ndim) if a > used[-1] and a - value.ndim >= -values.ndim]
    operands = [(value, list(range(value.ndim)))]
    shape = value.shape
    lean = Value(
        tuple(values.shape[a - value.ndim] for a in tail),
        tuple(
            Part(tuple(a - values.ndim + len(tail) for a in p.axes), p.ids)
            for p in values.parts
            if all(a - values.ndim + value.ndim in tail for a in p.axes)
        ),
        constant=values.constant,
    )
    operands.append((lean, tail))
    return Value(shape, tuple(site.align(operands, shape)))


@rule("masked_scatter")
def put_by_mask(site: OpSite) -> Value:
    """Rows of the source go where the mask says. Along axes at the end over which one mask is
    spread, whole rows are put, so there features meet features."""
    value, mask, source = site["self"], site["mask"], site["source"]
    wide = 0
    for size, own in zip(reversed(value.shape), reversed(source.shape), strict=False):
        axis = mask.ndim - 1 - wide
        if axis < 0 or size != own or not (mask.shape[axis] == 1 or axis in mask.constant_axes):
            break
        wide += 1
    why = "orders it by its values"
    value = site.confine(value, range(value.ndim - wide), why)
    source = site.confine(source, range(source.ndim - wide), why)
    rows = Value(source.shape[source.ndim - wide :], _behind(source, wide))
    return site.pointwise([value, rows], value.shape)


def _behind(value: Value, wide: int) -> tuple[Part, ...]:
    """The parts on the last axes."""
    first = value.ndim - wide
    return tuple(p.moved(lambda axis: axis - first) for p in value.parts if min(p.axes) >= first)


@rule("masked_select", "nonzero", "unique", "_unique2", "histc", "bincount")
def scramble(site: OpSite) -> list[Value]:
    """The output's order depends on values, so nothing can be said of its units."""
    for value in site.args.values():
        if isinstance(value, Value):
            for part in value.parts:
                site.fix(part.ids, "orders it by its values")
    return [Value(shape) for shape in site.outputs]


@rule("where")
def where(site: OpSite) -> object:
    """Of a condition alone: where it holds."""
    values = [value for value in site.args.values() if isinstance(value, Value)]
    return site.pointwise(values) if len(site.op.args) > 1 else scramble(site)


@rule("isin")
def among(site: OpSite) -> Value:
    """Each element alone, but for those that it is looked for among."""
    value, others = site.args.get("elements"), site.args.get("test_elements")
    for part in others.parts if isinstance(others, Value) else ():
        site.fix(part.ids, "looks for others among them")
    return Value(site.shape, value.parts if isinstance(value, Value) else ())


@rule("tril", "triu")
def triangle(site: OpSite) -> Value:
    value: Value = site["self"]
    pinned(site, value, [value.ndim - 2, value.ndim - 1])
    return value


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(site: OpSite) -> Value:
    """Channels pass through. Rows of the first axis, in which heads may be, meet those of the
    places; where in the map, and which of the places, stays."""
    why = "samples at these places"
    value = site.confine(site["input"], range(2, len(site.shape)), why)
    grid = site.confine(site["grid"], range(1, len(site.shape)), why)
    sampled = Value(site.shape, value.parts)
    rows = Value(grid.shape[:1], grid.parts)
    return site.pointwise([sampled, (rows, [0])])


@rule("view_as_complex")
def view_as_complex(site: OpSite) -> Value:
    value: Value = site["self"]
    site.pin(value, -1, "makes complex numbers of it")
    parts = tuple(p for p in value.parts if p.axes != (value.ndim - 1,))
    made = Value(value.shape, parts, value.parameter_axes)
    return made.take(-1, [0]).without([value.ndim - 1])


@rule("view_as_real")
def view_as_real(site: OpSite) -> Value:
    value: Value = site["self"]
    return value.moved(site.shape, lambda axis: axis)
