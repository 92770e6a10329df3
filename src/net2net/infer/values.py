"""Values: what is known of a tensor of the trace, namely the units along its axes.

A *part* is a set of axes whose positions are units: ``[channels]`` of an activation, or, after
``view(batch, time, heads, head_dim)``, a block over two axes with one unit in each cell. Axes in no
part (batch, time, pixels) are what they are, and never grow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from net2net.infer.units import NO_UNIT, UnitIds


@dataclass(frozen=True)
class Part:
    """Units over some axes of a tensor. ``ids.shape`` is the sizes of ``axes``, in this order:
    the order in which the axes lay when the block was one axis, whatever was permuted since."""

    axes: tuple[int, ...]
    ids: UnitIds

    def moved(self, to: Callable[[int], int]) -> Part:
        return Part(tuple(to(axis) for axis in self.axes), self.ids)


class Along(NamedTuple):
    """The parameter axis, by number, that runs along an axis of a tensor made of parameters.

    ``divides``: dividing the parameter along it divides the tensor: ``W``, ``W + V``, ``relu(W)``,
    but not ``exp(W)``, ``W + 1`` or ``W · Wᵀ``.

    ``bent``: the first operation on the way that is not linear in the parameter, so that of noise
    on it and its opposite something stays: ``relu`` of ``relu(W)``.
    """

    number: int
    divides: bool = True
    bent: str = ""


ParameterAxes = Mapping[int, frozenset[Along]]


@dataclass(frozen=True)
class Value:
    """A tensor: its shape, its parts (disjoint), and what it is made of.

    Attributes:
        shape: its sizes.
        parts: its units; no axis is in two.
        parameter_axes: axis → the parameter axes that run along it, for tensors made of parameters
            alone; empty for activations.
        constant: all elements are equal (zeros, ones).
        depends_on_input: it is an activation.
        constant_axes: axes along which all elements are equal, for the tensor was expanded over
            them, or repeated.
        reduced: the parameter axes, by number, of what was reduced on the way to it: of the norm of
            a weight all axes of that.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    parameter_axes: ParameterAxes = field(default_factory=dict)
    constant: bool = False
    depends_on_input: bool = False
    constant_axes: frozenset[int] = frozenset()
    reduced: frozenset[int] = frozenset()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def dim(self, axis: int) -> int:
        """``axis`` counted from the front."""
        return axis + self.ndim if axis < 0 else axis

    def divides(self, axis: int) -> bool:
        """Whether parameters run along this axis that divide the tensor."""
        found = self.parameter_axes.get(self.dim(axis), frozenset())
        return bool(found) and all(one.divides for one in found)

    @property
    def parameter_numbers(self) -> set[int]:
        """The numbers of all parameter axes that it is made of."""
        along = {one.number for found in self.parameter_axes.values() for one in found}
        return along | self.reduced

    def rigid(self) -> Value:
        """The same, made of the same parameters, but dividing them does not divide it."""
        undivided = {
            axis: frozenset(one._replace(divides=False) for one in found)
            for axis, found in self.parameter_axes.items()
        }
        return replace(self, parameter_axes=undivided)

    def part(self, axis: int) -> Part | None:
        axis = self.dim(axis)
        return next((part for part in self.parts if axis in part.axes), None)

    def ids(self, axis: int) -> UnitIds | None:
        """The units along one axis, if it is a part of its own."""
        part = self.part(axis)
        return part.ids if part is not None and len(part.axes) == 1 else None

    def moved(self, shape: Sequence[int], to: Callable[[int], int]) -> Value:
        """The same tensor with its axes elsewhere."""
        return Value(
            tuple(shape),
            tuple(part.moved(to) for part in self.parts),
            {to(axis): axis_numbers for axis, axis_numbers in self.parameter_axes.items()},
            self.constant,
            self.depends_on_input,
            frozenset(map(to, self.constant_axes)),
        )

    def take(self, axis: int, index: Sequence[int] | UnitIds) -> Value:
        """The positions ``index`` of one axis, in this order (slice, flip, tile); ``NO_UNIT`` is a
        position that the tensor had not, such as padding."""
        axis = self.dim(axis)
        index = np.asarray(index, dtype=np.int64)
        shape = (*self.shape[:axis], len(index), *self.shape[axis + 1 :])
        parts = []
        for part in self.parts:
            if axis not in part.axes:
                parts.append(part)
                continue
            dim = part.axes.index(axis)
            ids = np.take(part.ids, index, axis=dim)
            ids[(slice(None),) * dim + (index == NO_UNIT,)] = NO_UNIT
            parts.append(Part(part.axes, ids))
        alike = axis in self.constant_axes or bool((index == index[:1]).all())
        constant_axes = (
            self.constant_axes | {axis}
            if alike and NO_UNIT not in index
            else self.constant_axes - {axis}
        )
        return Value(
            shape,
            tuple(parts),
            self.parameter_axes,
            self.constant,
            self.depends_on_input,
            constant_axes,
        )

    def without(self, gone: Sequence[int]) -> Value:
        """The tensor without axes that carry no units (size 1, selected, reduced)."""
        kept = [axis for axis in range(self.ndim) if axis not in gone]
        place = {axis: new for new, axis in enumerate(kept)}
        parts = []
        for part in self.parts:
            axes = tuple(place[axis] for axis in part.axes if axis in place)
            if axes:
                sizes = tuple(self.shape[axis] for axis in part.axes if axis in place)
                parts.append(Part(axes, part.ids.reshape(sizes)))
        parameter_axes = {
            place[axis]: axis_numbers
            for axis, axis_numbers in self.parameter_axes.items()
            if axis in place
        }
        return Value(
            tuple(self.shape[a] for a in kept),
            tuple(parts),
            parameter_axes,
            self.constant,
            self.depends_on_input,
            frozenset(place[axis] for axis in self.constant_axes if axis in place),
        )


def factor_groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Cut a reshape into the smallest runs of axes with equal products: ``(2,3,4)→(6,4)`` is
    ``[0,1]→[0]`` and ``[2]→[1]``. Axes of size 1 are left out."""
    groups = []
    i = j = 0
    olds = [axis for axis, size in enumerate(old) if size != 1]
    news = [axis for axis, size in enumerate(new) if size != 1]
    while i < len(olds) and j < len(news):
        left, right = [olds[i]], [news[j]]
        i, j = i + 1, j + 1
        a, b = old[left[0]], new[right[0]]
        while a != b:
            if a < b:
                left.append(olds[i])
                a *= old[olds[i]]
                i += 1
            else:
                right.append(news[j])
                b *= new[news[j]]
                j += 1
        groups.append((left, right))
    return groups


def kept_ones(old: Sequence[int], new: Sequence[int]) -> dict[int, int]:
    """Axes of size 1 that a reshape keeps: old → new, where as many elements come before."""
    places: dict[int, list[int]] = {}
    for axis, size in enumerate(new):
        if size == 1:
            places.setdefault(prod(new[:axis]), []).append(axis)
    kept = {}
    for axis, size in enumerate(old):
        if size == 1 and (found := places.get(prod(old[:axis]))):
            kept[axis] = found.pop(0)
    return kept


def cut_axes(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """The old axes, each cut where new ones begin inside it: ``(4,6)→(8,3)`` is ``(4,2,3)``. An
    axis in which that comes out even nowhere stays whole."""
    begins = {prod(new[:axis]) for axis in range(len(new))}
    result, before = [], 1
    for size in old:
        end = before * size
        marks = [before, *sorted(cut for cut in begins if before < cut < end), end]
        constant_axes = all(b % a == 0 for a, b in pairwise(marks))
        result += [b // a for a, b in pairwise(marks)] if constant_axes else [size]
        before = end
    return result


def reshape(value: Value, shape: Sequence[int], pin: Callable[[UnitIds], None]) -> Value:
    """``value`` under another shape with the same elements in the same order.

    Splits and merges of axes become splits and merges of blocks. An axis of units that is split is
    a part over two axes:

        >>> value = Value((2, 6), (Part((1,), np.arange(6)),))
        >>> reshape(value, (2, 3, 2), print).parts[0]
        Part(axes=(1, 2), ids=array([[0, 1],
               [2, 3],
               [4, 5]]))

    Channels that are flattened with their pixels repeat each number, and come out of that again:

        >>> images = Value((5, 3, 2), (Part((1,), np.arange(3)),))
        >>> flat = reshape(images, (5, 6), print)
        >>> flat.parts[0]
        Part(axes=(1,), ids=array([0, 0, 1, 1, 2, 2]))
        >>> reshape(flat, (5, 3, 2), print).parts[0]
        Part(axes=(1,), ids=array([0, 1, 2]))

    Where two independent parts merge into one axis, the units of the inner one are handed to
    ``pin``: one axis cannot grow two ways.

        >>> two = Value((3, 2), (Part((0,), np.arange(3)), Part((1,), np.arange(10, 12))))
        >>> reshape(two, (6,), print).parts[0]
        [10 11]
        Part(axes=(0,), ids=array([0, 0, 1, 1, 2, 2]))
    """
    shape = tuple(shape)
    if 0 in shape:
        return Value(shape)
    if (cut := cut_axes(value.shape, shape)) != [*value.shape]:
        value = _regrouped(value, tuple(cut), pin)  # parts that meet in no axis stay apart
    return _regrouped(value, shape, pin)


def _regrouped(value: Value, shape: tuple[int, ...], pin: Callable[[UnitIds], None]) -> Value:
    groups, ones = factor_groups(value.shape, shape), kept_ones(value.shape, shape)
    merged: set[int] = set()
    parts: list[Part] = []
    for part in sorted(value.parts, key=lambda part: min(part.axes)):
        if part.ids.size == 1:
            parts += _place_single(part, value.ndim, shape)
            continue
        touched = [group for group in groups if set(group[0]) & set(part.axes)]
        merging = {left[0] for left, _ in touched if len(left) > 1}
        if merging & merged:
            pin(part.ids)
            continue
        merged |= merging
        parts += simplify(_regroup(part, value.shape, touched, shape, ones))
    parameter_axes: dict[int, frozenset[Along]] = {}
    constant_axes = {
        axis for left, right in groups if value.constant_axes.issuperset(left) for axis in right
    }
    for left, right in groups:
        found = frozenset[Along]().union(
            *(value.parameter_axes.get(axis, frozenset()) for axis in left)
        )
        if found:
            parameter_axes.update(dict.fromkeys(right, found))
    return Value(
        shape,
        tuple(parts),
        parameter_axes,
        value.constant,
        value.depends_on_input,
        frozenset(constant_axes),
    )


def _regroup(
    part: Part,
    sizes: Sequence[int],
    groups: Sequence[tuple[list[int], list[int]]],
    shape: Sequence[int],
    ones: Mapping[int, int],
) -> Part:
    """The block over old axes, rewritten as one over the new axes of the groups it lies in."""
    if all(len(left) == len(right) == 1 for left, right in groups):
        place = {**{left[0]: right[0] for left, right in groups}, **ones}
        axes = tuple(place[axis] for axis in part.axes if axis in place)
        return Part(axes, part.ids.reshape([shape[axis] for axis in axes]))
    old = [axis for left, _ in groups for axis in left]
    new = [axis for _, right in groups for axis in right]
    order = [axis for axis in old if axis in part.axes]
    alone = [axis for axis in part.axes if axis not in order]  # size 1
    block = np.transpose(part.ids, [part.axes.index(axis) for axis in alone + order])
    block = block.reshape([sizes[axis] if axis in part.axes else 1 for axis in old])
    block = np.broadcast_to(block, [sizes[axis] for axis in old])
    new = sorted([*new, *(ones[axis] for axis in alone if axis in ones)])
    return Part(tuple(new), block.reshape([shape[axis] for axis in new]))


def simplify(part: Part) -> list[Part]:
    """Drop axes along which the number is the same: they are positions inside one unit."""
    axes, ids = list(part.axes), part.ids
    for dim in reversed(range(ids.ndim)):
        if ids.ndim > 1 < ids.shape[dim] and (ids == np.take(ids, [0], axis=dim)).all():
            ids = np.take(ids, 0, axis=dim)
            del axes[dim]
    return [] if (ids == NO_UNIT).all() else [Part(tuple(axes), ids)]


def _place_single(part: Part, ndim: int, shape: Sequence[int]) -> list[Part]:
    """A lone unit stays on the size-1 axis at the same place, counted from either end."""
    axis = part.axes[0]
    for candidate in (axis, axis - ndim + len(shape)):
        if 0 <= candidate < len(shape) and shape[candidate] == 1:
            return [Part((candidate,), part.ids.reshape(1))]
    return []
