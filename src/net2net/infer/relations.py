"""The relations that operations are made of: aligned products, sums over axes, pins.

A rule sees its operation as an ``OpSite``. Pointwise operations align their operands; contractions
(linear, convolution, einsum, matmul) are an aligned product followed by a sum. Nothing here knows
any particular operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from net2net.infer.shares import alone, elementwise
from net2net.infer.units import NO_UNIT, Norm, Role, UnitIds, Units, distinct
from net2net.infer.values import Along, Part, Value
from net2net.ops import Reduction
from net2net.trace.trace import Op
from net2net.trace.traced_ints import TracedInt


@dataclass(frozen=True)
class Count:
    """An integer argument of an operation that counts units (``groups``), so grows with them.
    ``size``: what the code made it of, if that is known."""

    path: str
    argument: str
    ids: UnitIds
    size: TracedInt | None = None


@dataclass
class OpSite:
    """One operation, as a rule sees it: arguments by schema name, and what may be said of them."""

    op: Op
    args: dict[str, Any]
    outputs: list[tuple[int, ...]]
    units: Units
    counts: list[Count]
    constants: dict[int, list[int]] = field(default_factory=dict)
    """Index vectors whose values are known: position among the tensor arguments → values."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Arguments that are parameters or buffers themselves → names in the state dict."""
    shared: set[int] = field(default_factory=set)
    """Parameter axes that take the shares in this operation."""
    read: set[int] = field(default_factory=set)
    """Parameter axes of what it reads units with, and that is not divided if they are."""
    made: set[int] = field(default_factory=set)
    """Parameter axes that make its output units."""
    training: bool = False
    """The model was run in training mode."""
    sums: list[tuple[UnitIds, str]] = field(default_factory=list)
    """Units that it sums over with what is made of a weight, which cannot be divided, and what to
    say of that."""
    products: list[UnitIds] = field(default_factory=list)
    """Units over which it sums a product that no parameter divides."""
    head_products: list[UnitIds] = field(default_factory=list)
    """Blocks ``[heads, features]`` over whose features it sums a product of activations."""

    def __getitem__(self, argument: str) -> Any:
        return self.args[argument]

    @property
    def name(self) -> str:
        return self.op.kind

    @property
    def where(self) -> str:
        return f"{self.name} in '{self.op.path}'" if self.op.path else self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.outputs[0]

    def tie(self, a: UnitIds, b: UnitIds, what: str = "") -> None:
        """The same units, position by position."""
        self.units.tie(
            a,
            b,
            what or self.name,
            self.op.path,
            f"{self.where} combines it with the model's input or a constant",
        )

    def fix(self, ids: UnitIds, why: str, *, idle_too: bool = False) -> None:
        """These units stay as they are."""
        self.units.fix(ids, f"{self.where} {why}", idle_too=idle_too)

    def split_by_position(self, ids: UnitIds, rows: int) -> None:
        """The code cuts this axis into ``rows`` equal pieces (halves, shuffled groups)."""
        if ids.size % rows == 0:
            self.units.split_by_position(ids.reshape(rows, -1), self.name, self.op.path)

    def pin(self, value: Value, axis: int, why: str) -> None:
        """Positions along this axis differ in meaning: inside a block they stay inside their unit,
        and an axis of its own is fixed."""
        part = value.part(axis)
        if part is None:
            return
        if len(part.axes) == 1:
            self.fix(part.ids, why)
        else:
            self.units.bundle(part.ids, (part.axes.index(value.dim(axis)),))

    def confine(self, value: Value, axes: Iterable[int], why: str) -> Value:
        """Pin axes along which the operation works (pixels), and leave them out of the parts."""
        gone = {value.dim(axis) for axis in axes}
        parts = []
        for part in value.parts:
            inside = tuple(dim for dim, axis in enumerate(part.axes) if axis in gone)
            if inside:
                for dim in inside:
                    self.pin(value, part.axes[dim], why)
                if len(inside) == len(part.axes):
                    continue
            parts.append(_first_along(part, inside))
        return replace(value, parts=tuple(parts))

    def share(self, value: Value, axis: int) -> None:
        """The parameter reads these units: its columns are divided among their copies."""
        self.shared |= _numbers(value, axis)
        for one in value.parameter_axes.get(value.dim(axis), ()):
            if one.bent:
                self.units.bent.setdefault(one.number, one.bent)

    def make(self, value: Value, axis: int) -> None:
        """The parameter makes these units."""
        self.made |= _numbers(value, axis)

    def roles(self, number: int) -> set[Role]:
        """What the parameter axis with this number does here: both, of a weight that meets its own
        transpose."""
        said = {
            Role.CONSUMES: self.shared, Role.READS: self.read - self.shared,
            Role.PRODUCES: self.made,
        }  # fmt: skip
        return {role for role, numbers in said.items() if number in numbers} or {Role.ALIGNS}

    def gate(self, value: Value, axis: int, gates: int) -> None:
        """This many rows of the parameter make one unit."""
        for number in _numbers(value, axis):
            self.units.gates[number] = gates

    def count(self, argument: str, ids: UnitIds) -> None:
        """An integer of the code counts these units."""
        if (ids != NO_UNIT).all():
            size = self.op.traced_ints.get((argument, -1))
            self.counts.append(Count(self.op.path, argument, ids.reshape(-1), size))

    def divide_by_norm(self, direction: str, scale: str, dim: int) -> None:
        """The weight is ``scale · direction / ‖direction‖`` (see ``Norm``), both arguments: its
        scale can follow if they are parameters. Else nothing grows that the norm is taken over."""
        if direction in self.parameters and scale in self.parameters:
            norm = Norm(self.parameters[scale], self.parameters[direction], dim)
            self.units.norms[norm] = None
            return
        value = self.args[direction]
        for axis in range(value.ndim):
            if axis != dim and (ids := value.ids(axis)) is not None:
                self.fix(ids, "divides by a norm over it")

    # -- products -------------------------------------------------------------------------------

    def align(
        self, operands: Sequence[tuple[Value, Sequence[int]]], shape: Sequence[int]
    ) -> list[Part]:
        """Elementwise product of operands whose axis ``i`` lies on axis ``to[i]`` of ``shape``.

        Ties the operands' units where they meet; an operand without units along an axis pins it,
        unless it holds the same all along that. Returns the parts of the product.
        """
        parts: list[Part] = []
        pinned: set[int] = set()
        for value, to in operands:
            for part in value.parts:
                stretched = [a for a in part.axes if value.shape[a] == 1 and shape[to[a]] > 1]
                if stretched and part.ids.size == 1:
                    self.fix(part.ids, "broadcasts it over a longer axis")
                    continue
                dims = [dim for dim, axis in enumerate(part.axes) if axis in stretched]
                parts.append(_first_along(part, dims).moved(to.__getitem__))
            if not value.constant:
                known = {axis for part in value.parts for axis in part.axes}
                pinned |= {
                    to[a]
                    for a in range(value.ndim)
                    if value.shape[a] > 1 and a not in known and a not in value.constant_axes
                }
        result = []
        for group in map(self._uncrossed, _overlapping(parts)):
            whole = max(group, key=lambda part: len(part.axes))
            for part in group:
                if part is not whole:
                    self._tie_parts(whole, part)
            constant = "combines it with the model's input or a constant"
            if set(whole.axes) <= pinned:  # nothing is left along which the block could grow
                self.fix(whole.ids, constant, idle_too=True)
                continue  # to what follows it is as constant as what it met
            for axis in sorted(pinned & set(whole.axes)):
                self.pin(Value(tuple(shape), (whole,)), axis, constant)
            alike = [p.ids for p in group if p is not whole and p.axes == whole.axes]
            if alike and len(distinct(whole.ids)[0]) < whole.ids.size:
                whole = Part(whole.axes, self.units.derived(whole.ids, *alike))
            result.append(whole)
        return result

    def _uncrossed(self, group: list[Part]) -> list[Part]:
        """Blocks that share their outer axes alone (features × features within a head) become one
        block over all axes: what is outside meets, and what lies inside belongs to it."""
        for number, a in enumerate(group):
            for b in group[number + 1 :]:
                shared = [axis for axis in a.axes if axis in b.axes]
                outer = len(shared)
                apart_or_nested = outer in (0, len(a.axes), len(b.axes))
                if apart_or_nested or not a.axes[:outer] == b.axes[:outer] == tuple(shared):
                    continue
                rest = [part for part in group if part is not a and part is not b]
                return self._uncrossed([*rest, self._product(a, b, outer)])
        return group

    def _product(self, a: Part, b: Part, outer: int) -> Part:
        """One unit for every pair of units of two blocks that share their ``outer`` first axes."""
        for part in (a, b):
            self.units.bundle(part.ids, tuple(range(outer, part.ids.ndim)))
        firsts = [part.ids.reshape(*part.ids.shape[:outer], -1)[..., 0] for part in (a, b)]
        self.units.bundle(np.stack(firsts, axis=-1), (outer,))
        inner = [part.ids.ndim - outer for part in (a, b)]
        left = a.ids.reshape(*a.ids.shape, *[1] * inner[1])
        middle = tuple(range(outer, outer + inner[0]))
        pairs = np.broadcast_arrays(left, np.expand_dims(b.ids, middle))
        return Part((*a.axes, *b.axes[outer:]), self.units.derived(*pairs))

    def _tie_parts(self, whole: Part, part: Part) -> None:
        """Tie a part to the block that covers its axes."""
        if not set(part.axes) <= set(whole.axes):
            self.fix(whole.ids, "crosses two blocks of units")
            self.fix(part.ids, "crosses two blocks of units")
            return
        if part.axes == whole.axes:
            self.tie(whole.ids, part.ids)
            return
        dims = [whole.axes.index(axis) for axis in part.axes]
        outer_held = all(self.units.has_fixed_size(whole.ids, dim) for dim in range(min(dims)))
        if 0 not in dims and not outer_held:
            # Per-feature values inside each unit (a scale over head_dim, shared by all heads):
            # the outer units can grow, what lies inside stays.
            self.fix(part.ids, "repeats it inside every unit of a block")
            self.units.bundle(whole.ids, tuple(dims))
            return
        ids = np.transpose(part.ids, np.argsort(dims))
        ids = ids.reshape([size if dim in dims else 1 for dim, size in enumerate(whole.ids.shape)])
        rest = tuple(dim for dim in range(whole.ids.ndim) if dim not in dims)
        if rest and self.units.grows_head_size(whole.ids):
            self.fix(part.ids, "keeps their number: what lies inside them grows")
            self.units.bundle(whole.ids, tuple(dims))
            if max(dims) == whole.ids.ndim - 1:  # it is that which it keeps
                self.fix(whole.ids, "repeats it inside every unit of a block")
            return
        if rest:  # one value for all that lies inside a unit
            self.units.bundle(whole.ids, rest)
        self.tie(_first_along(whole, rest).ids, ids.squeeze(rest))

    def pointwise(
        self,
        values: Sequence[Value | tuple[Value, Sequence[int]]],
        shape: Sequence[int] | None = None,
    ) -> Value:
        """Broadcast operands against each other, as every elementwise operation does. An operand
        that lies elsewhere comes with its axes: ``(scale, [1])`` is one value for each channel."""
        shape = tuple(self.shape if shape is None else shape)
        operands = [
            one
            if isinstance(one, tuple)
            else (one, [axis + len(shape) - one.ndim for axis in range(one.ndim)])
            for one in values
        ]
        if len(operands) == 1 and operands[0][0].shape == shape:
            (value, _), *_ = operands
            found = elementwise(self.name, self.where, self.args, operands, shape)
            return replace(value, parameter_axes=found) if found else value
        parts = self.align(operands, shape)
        return Value(
            shape,
            tuple(parts),
            elementwise(self.name, self.where, self.args, operands, shape),
            all(value.constant for value, _ in operands),
            constant_axes=alike_along(operands, shape),
        )

    # -- sums -----------------------------------------------------------------------------------

    def contract(
        self, operands: Sequence[Value], subscripts: Sequence[Sequence[Any]], out: Sequence[Any]
    ) -> Value:
        """Product of the operands, summed over every subscript that is not in ``out``.

        Subscripts are any hashable names, one for each axis (einsum's letters). A parameter that
        runs along a summed axis takes the shares: its columns are divided among the copies.
        """
        letters = list(dict.fromkeys(letter for names in subscripts for letter in names))
        sizes = {
            letter: max(
                value.shape[axis]
                for value, names in zip(operands, subscripts, strict=True)
                for axis, name in enumerate(names)
                if name == letter
            )
            for letter in letters
        }
        parts = self.align(
            [
                (value, [letters.index(name) for name in names])
                for value, names in zip(operands, subscripts, strict=True)
            ],
            [sizes[letter] for letter in letters],
        )
        summed = {index for index, letter in enumerate(letters) if letter not in out}
        parameter_axes: dict[int, frozenset[Along]] = {}
        for value, names in zip(alone(operands), subscripts, strict=True):
            for axis, name in enumerate(names):
                if name in out and axis in value.parameter_axes:
                    self.make(value, axis)
                    place = list(out).index(name)
                    if place not in parameter_axes or value.divides(axis):  # one factor takes them
                        parameter_axes[place] = value.parameter_axes[axis]
        kept = []
        for part in parts:
            gone = tuple(dim for dim, axis in enumerate(part.axes) if axis in summed)
            if gone and len(gone) == len(part.axes):
                self._sum_whole(part, operands, subscripts, letters)
            elif gone and self.units.grows_head_size(part.ids):
                self._sum_head_features(part, gone)
            else:
                if gone:
                    self.units.bundle(part.ids, gone)
                kept.append(_first_along(part, gone))
        place_of = {letters.index(letter): place for place, letter in enumerate(out)}
        return Value(
            tuple(sizes[letter] for letter in out),
            tuple(part.moved(place_of.__getitem__) for part in kept),
            parameter_axes,
        )

    def _sum_whole(
        self,
        part: Part,
        operands: Sequence[Value],
        subscripts: Sequence[Sequence[Any]],
        letters: Sequence[Any],
    ) -> None:
        """A sum over all units of a part: exact if a parameter can take the shares."""
        why, read = "sums the product of two activations over it", set[int]()
        for value, names in reversed(list(zip(alone(operands), subscripts, strict=True))):
            along = [axis for axis, name in enumerate(names) if letters.index(name) in part.axes]
            if along and all(map(value.divides, along)):
                self.share(value, along[0])
                return
            made = set[int]().union(*(_numbers(value, axis) for axis in along))
            if made or (value.parts and not (value.depends_on_input or value.constant)):
                why = "sums over it, and what is made of a weight there is not divided if that is"
            read = read or made  # of one factor, as shares
        self.read |= read
        self.products.append(part.ids.reshape(-1))
        if any(
            value.parts and not (value.depends_on_input or value.constant) for value in operands
        ):
            self.sums.append((part.ids.reshape(-1), f"{self.where} {why}"))
        else:
            self.units.refuse_copies(part.ids, f"{self.where} {why}")

    def _sum_head_features(self, part: Part, gone: tuple[int, ...]) -> None:
        """A sum over the features inside heads, of which there are to be more: exact if what made
        one of the operands can take the shares (``head_size.py``)."""
        others = tuple(dim for dim in range(part.ids.ndim) if dim not in gone)
        self.units.bundle(part.ids, others)
        features = prod(part.ids.shape[dim] for dim in gone)
        self.head_products.append(np.transpose(part.ids, others + gone).reshape(-1, features))

    def reduce(self, value: Value, dims: Sequence[int], keepdim: bool, kind: str) -> Value:
        """Reduce axes. Part of a block: the block's units stay whole. All of it: a maximum takes
        any copies, a mean needs them uniform, a sum, a norm or a variance takes none, and anything
        else fixes it."""
        dims = sorted({value.dim(axis) for axis in dims})
        parts = []
        for part in value.parts:
            gone = tuple(dim for dim, axis in enumerate(part.axes) if axis in dims)
            if not gone:
                parts.append(part)
            elif len(gone) < len(part.axes):
                self.units.bundle(part.ids, gone)
                parts.append(_first_along(part, gone))
            elif kind == Reduction.MEAN:
                self.units.require_equal_copies(part.ids, f"{self.where} averages over it")
            elif kind == Reduction.EXTREME:
                self.units.read.append(part.ids.reshape(-1))
            elif kind in {Reduction.SUM, Reduction.NORM, Reduction.VARIANCE}:
                self.units.refuse_copies(part.ids, f"{self.where} reduces it ({self.name})")
            else:
                self.fix(part.ids, f"reduces it ({self.name})")
        shape = tuple(1 if axis in dims else size for axis, size in enumerate(value.shape))
        result = Value(shape, tuple(parts))
        result = result if keepdim else result.without(dims)
        return replace(result, reduced=frozenset(value.parameter_numbers))


def _numbers(value: Value, axis: int) -> set[int]:
    return {one.number for one in value.parameter_axes.get(value.dim(axis), frozenset())}


def alike_along(
    operands: Sequence[tuple[Value, Sequence[int]]], shape: Sequence[int]
) -> frozenset[int]:
    """The axes along which all operands are the same everywhere, or are broadcast."""
    differ = {
        to[axis]
        for value, to in operands
        if not value.constant
        for axis, size in enumerate(value.shape)
        if size > 1 and axis not in value.constant_axes
    }
    return frozenset(axis for axis, size in enumerate(shape) if size > 1 and axis not in differ)


def _first_along(part: Part, dims: Sequence[int]) -> Part:
    """One representative for everything along ``dims`` (which are bundled)."""
    if not dims:
        return part
    index = tuple(0 if dim in dims else slice(None) for dim in range(part.ids.ndim))
    axes = tuple(axis for dim, axis in enumerate(part.axes) if dim not in dims)
    return Part(axes, part.ids[index])


def _overlapping(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts grouped by the axes they share."""
    groups: list[list[Part]] = []
    for part in parts:
        near = [g for g in groups if any(set(part.axes) & set(other.axes) for other in g)]
        groups = [g for g in groups if g not in near]
        groups.append([other for g in near for other in g] + [part])
    return groups
