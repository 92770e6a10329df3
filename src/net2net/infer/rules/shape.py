"""Views: reshapes, permutations, new and dropped axes, repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.shared_heads import expanded, repeated
from net2net.infer.units import NO_UNIT, UnitIds
from net2net.infer.values import Part, Value, kept_ones, reshape, simplify


@rule(*"view reshape flatten unflatten view_as reshape_as _unsafe_view".split())
def view(site: OpSite) -> Value:
    def pin(ids: UnitIds) -> None:
        site.fix(ids, "merges it with another hidden axis")

    result = reshape(site["self"], site.shape, pin)
    for axis in _counted(site):
        result = _with_outer(result, axis)
    for part in result.parts:
        if len(part.axes) > 1:
            site.units.blocks.append(part.ids)
            site.split_by_position(part.ids, len(part.ids))
            if _written_out(site, part.axes[:-1]):
                site.units.written_out.append((part.ids.reshape(-1), site.where))
    return result


def _written_out(site: OpSite, axes: Sequence[int]) -> bool:
    """Whether the code gives the sizes of these axes as numbers, which it makes of no other."""
    told = {*site.op.traced_ints, *site.op.traced_sizes}
    name = next((name for name in ("size", "shape") if name in site.args), "")
    sizes = site.args.get(name, [])
    return bool(sizes) and all(sizes[axis] > 0 and (name, axis) not in told for axis in axes)


def _counted(site: OpSite) -> list[int]:
    """New axes of size 1 whose size the code does not write out: one head, of maybe more. What is
    left over for the outermost is the batch, not heads."""
    value: Value = site["self"]
    first = {"size": 0, "shape": 0, "sizes": value.dim(site.args.get("dim", 0))}
    axes = [
        begin + index
        for name, begin in first.items()
        for index, size in enumerate(site.args.get(name, []))
        if (size == -1 and begin + index) or (name, index) in site.op.traced_ints
    ]
    kept = kept_ones(value.shape, site.shape).values()
    return [axis for axis in axes if site.shape[axis] == 1 and axis not in kept]


def _with_outer(value: Value, axis: int) -> Value:
    """What follows an axis of size 1 lies inside its one position: a row of a block."""
    following = next((a for a in range(axis, value.ndim) if value.shape[a] > 1), None)
    parts = []
    for part in value.parts:
        if following in part.axes:
            dim = part.axes.index(following)
            axes = (*part.axes[:dim], axis, *part.axes[dim:])
            part = Part(axes, np.expand_dims(part.ids, dim))
        parts.append(part)
    return replace(value, parts=tuple(parts))


def permuted(value: Value, order: list[int]) -> Value:
    """``order[new] = old``, as in ``permute``."""
    order = [value.dim(axis) for axis in order]
    return value.moved([value.shape[axis] for axis in order], order.index)


@rule("permute")
def permute(site: OpSite) -> Value:
    return permuted(site["self"], list(site["dims"]))


@rule("transpose", "swapaxes", "swapdims")
def transpose(site: OpSite) -> Value:
    value: Value = site["self"]
    a, b = (value.dim(x) for key, x in site.args.items() if key != "self")
    order = list(range(value.ndim))
    order[a], order[b] = order[b], order[a]
    return permuted(value, order)


@rule("t", "numpy_T", "mT", "mH", "adjoint", "matrix_H")
def t(site: OpSite) -> Value:
    value: Value = site["self"]
    if site.name in {"mT", "mH", "adjoint"}:
        return permuted(value, [*range(value.ndim - 2), value.ndim - 1, value.ndim - 2])
    return permuted(value, list(reversed(range(value.ndim))))


@rule("movedim", "moveaxis")
def movedim(site: OpSite) -> Value:
    value: Value = site["self"]
    listed = [x if isinstance(x, list) else [x] for x in (site["source"], site["destination"])]
    source, target = ([value.dim(axis) for axis in axes] for axes in listed)
    rest = iter(axis for axis in range(value.ndim) if axis not in source)
    order = [
        source[target.index(new)] if new in target else next(rest) for new in range(value.ndim)
    ]
    return permuted(value, order)


@rule("unsqueeze")
def unsqueeze(site: OpSite) -> Value:
    value: Value = site["self"]
    at = site["dim"] % (value.ndim + 1)
    return value.moved(site.shape, lambda axis: axis + (axis >= at))


@rule("squeeze")
def squeeze(site: OpSite) -> Value:
    value: Value = site["self"]
    dims = site.args.get("dim")
    if dims is None:
        dims = range(value.ndim)
    chosen = [dims] if isinstance(dims, int) else dims
    gone = [value.dim(axis) for axis in chosen if value.shape[axis] == 1]
    for axis in gone:
        site.pin(value, axis, "squeezes it away")
    return value.without(gone)


@rule("expand", "expand_as", "broadcast_to")
def expand(site: OpSite) -> Value:
    return _expanded(site, site["self"])


@rule("broadcast_tensors")
def broadcast(site: OpSite) -> list[Value]:
    """Each gets the shape of all; they do not meet."""
    return [_expanded(site, value) for value in site["tensors"]]


def _expanded(site: OpSite, value: Value) -> Value:
    new = len(site.shape) - value.ndim
    longer = (axis for axis in range(value.ndim) if value.shape[axis] < site.shape[axis + new])
    shown = site.pointwise([value], site.shape)
    expanded_along = {*range(new), *(axis + new for axis in longer)}
    shown = replace(shown, constant_axes=shown.constant_axes | expanded_along)
    return expanded(site, shown, [1] * new + list(value.shape))


@rule("repeat", "tile")
def repeat(site: OpSite) -> Value:
    """Repeated axes show each unit several times."""
    value: Value = site["self"]
    shape = site.shape
    new = len(shape) - value.ndim
    value = value.moved([1] * new + list(value.shape), lambda axis: axis + new)
    constant_axes = frozenset(
        axis for axis, size in enumerate(value.shape) if size == 1 < shape[axis]
    )
    for axis, size in enumerate(shape):
        if value.shape[axis] == 1 < size:
            value = site.pointwise([value], [*value.shape[:axis], size, *value.shape[axis + 1 :]])
        elif size != value.shape[axis]:
            index = np.tile(np.arange(value.shape[axis]), size // value.shape[axis])
            value = value.take(axis, index)
    return replace(value, constant_axes=constant_axes)


@rule("repeat_interleave")
def repeat_interleave(site: OpSite) -> Value:
    value: Value = site["self"]
    if isinstance(site["repeats"], Value) or site["dim"] is None:
        for axis in range(value.ndim):
            site.pin(value, axis, "repeats it by a tensor of counts")
        return Value(site.shape)
    return repeated(site, value, site["dim"], site["repeats"])


@rule("flip")
def flip(site: OpSite) -> Value:
    value: Value = site["self"]
    for axis in site["dims"]:
        value = value.take(axis, np.arange(value.shape[axis])[::-1])
    return value


@rule("roll")
def roll(site: OpSite) -> Value:
    value: Value = site["self"]
    if not site["dims"]:
        for axis in range(value.ndim):
            site.pin(value, axis, "rolls the flattened tensor")
        return value
    for shift, axis in zip(site["shifts"], site["dims"], strict=True):
        value = value.take(axis, np.roll(np.arange(value.shape[axis]), shift))
    return value


@rule("unfold")
def unfold(site: OpSite) -> Value:
    """Windows along an axis, on a new last axis."""
    value: Value = site["self"]
    axis = site["dimension"]
    if value.part(axis) is not None:
        site.pin(value, axis, "takes windows of it")
    parts = tuple(p for p in value.parts if value.dim(axis) not in p.axes)
    return Value(site.shape, parts)


@rule("as_strided")
def as_strided(site: OpSite) -> Value:
    """Any look at the memory of a tensor, such as windows that overlap. Units that are looked at
    whole, and nothing else with them, stay what they are."""
    value: Value = site["self"]
    strides, first = site["memory"]
    begin = first if site["storage_offset"] is None else site["storage_offset"]
    size = 1 + max(_last(value.shape, strides, first), _last(site.shape, site["stride"], begin))
    parts = []
    for part in value.parts:
        memory = np.full(size, NO_UNIT)
        order = np.argsort(part.axes)
        ids = np.transpose(part.ids, order)
        sizes = [n if axis in part.axes else 1 for axis, n in enumerate(value.shape)]
        _look(memory, value.shape, strides, first)[...] = ids.reshape(sizes)
        axes = tuple(axis for axis, n in enumerate(site.shape) if n != 1)
        seen = _look(memory, site.shape, site["stride"], begin)
        found = simplify(Part(axes, seen.reshape([site.shape[axis] for axis in axes])))
        if found and np.array_equal(found[0].ids, ids):
            place = dict(zip(order.tolist(), found[0].axes, strict=True))
            parts.append(Part(tuple(place[dim] for dim in range(len(order))), part.ids))
        else:
            site.fix(part.ids, "takes windows of it")
    return Value(site.shape, tuple(parts))


def _last(shape: Sequence[int], strides: Sequence[int], first: int) -> int:
    """The last place in memory of a tensor that lies so."""
    return first + sum(max(n - 1, 0) * step for n, step in zip(shape, strides, strict=True))


def _look(memory: UnitIds, shape: Sequence[int], strides: Sequence[int], first: int) -> UnitIds:
    """What a tensor that lies so in memory holds."""
    steps = [stride * memory.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(memory[first:], shape, steps)


@rule("im2col")
def im2col(site: OpSite) -> Value:
    """Patches: ``[batch, channels × kernel, positions]``."""
    value: Value = site["self"]
    ids = value.ids(value.ndim - 3)
    if ids is None:
        return Value(site.shape)
    kernel = site["kernel_size"][0] * site["kernel_size"][1]
    return Value(site.shape, (Part((value.ndim - 3,), np.repeat(ids, kernel)),))


@rule("col2im")
def col2im(site: OpSite) -> Value:
    value: Value = site["self"]
    ids = value.ids(value.ndim - 2)
    if ids is None:
        return Value(site.shape)
    rows = ids.reshape(-1, site["kernel_size"][0] * site["kernel_size"][1])
    site.units.bundle(rows, (1,))
    return Value(site.shape, (Part((value.ndim - 2,), np.ascontiguousarray(rows[:, 0])),))
