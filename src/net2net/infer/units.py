"""Units, and what ties them: the ground that inference stands on.

Every position of every axis of every parameter is a *unit*, a number. Operations tie units to each
other, in two ways: they are the same (a batch norm's scale and the channel that it scales), or they
are one bundle (the 64 features of one attention head). Whatever is tied, directly or through
others, is one *component*: it is copied whole or not at all. Inside it, each unit has a *slot*.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from net2net.trace.traced_ints import Origin, TracedInt

UnitIds = NDArray[np.int64]

NO_UNIT = -1
"""The number of a position that is no unit: an input's channel, a constant."""


class Role(StrEnum):
    """What a parameter does along one of its axes with the units there."""

    PRODUCES = "produces"
    """It makes them: the rows of a weight. Copied."""
    ALIGNS = "aligns"
    """It goes with them, one position each: a bias, a norm's scale. Copied."""
    CONSUMES = "consumes"
    """It reads them: the columns of the next weight. Divided among the copies."""
    READS = "reads"
    """The same, of which something is made first that is not divided if it is: copied."""

    @property
    def reads(self) -> bool:
        """Whether it reads units, divided or not."""
        return self in {Role.CONSUMES, Role.READS}


@dataclass(frozen=True)
class Axis:
    """One axis of one parameter or buffer."""

    name: str
    dim: int

    def __str__(self) -> str:
        return f"{self.name}[{self.dim}]"


@dataclass(frozen=True)
class Norm:
    """A weight is ``scale · direction / ‖direction‖``, one norm for each position on ``dim`` (−1:
    one for all), so that ``scale`` has to follow the norm of what grows."""

    scale: str
    direction: str
    dim: int


@dataclass(frozen=True)
class SharedHeads:
    """Heads of keys or values that code shows to several queries each.

    Attributes:
        path: the module whose code does.
        axes: the parameter axes that make them.
        heads: how many there are.
        units: theirs, on those axes.
        times: to how many queries each is shown.
        told_by: what says so, if an integer of the code does.
    """

    path: str
    axes: frozenset[Axis]
    heads: int
    units: UnitIds = field(compare=False)
    times: int
    told_by: TracedInt | None


@dataclass(frozen=True)
class Tie:
    """Why units came together: the operation, its module, one of the units."""

    op: str
    path: str
    unit: int


class Units:
    """The universe of units of a model, and the relations found so far.

    There are three, from the strictest to the loosest. A *tie*: two arrays hold the same units, one
    by one (a row of a weight and its bias). *Derived*: an operation made new units of old ones, one
    for each, which are copied with them but are not the same (``relu(h)`` of ``h``: a weight that
    reads both needs both). A *bundle*: units side by side that are copied together (the features of
    one head). Nothing is merged until ``components`` and ``sames`` are asked for: relations are
    kept as pairs of arrays, and one pass over all of them finds what hangs together.

        >>> units = Units()
        >>> _, rows = units.new("a.weight", 0, 2)
        >>> _, bias = units.new("a.bias", 0, 2)
        >>> rows, bias
        (array([0, 1]), array([2, 3]))
        >>> units.tie(rows, bias, "linear", "a", "")
        >>> units.derived(rows)  # what relu makes of them
        array([4, 5])
        >>> units.sames()  # the smallest unit that each is the same as
        array([0, 1, 0, 1, 4, 5])
        >>> units.components()  # the smallest unit that each hangs together with
        array([0, 1, 0, 1, 0, 1])
        >>> units.bundle(rows, (0,))  # both are features of one head
        >>> units.components()
        array([0, 0, 0, 0, 0, 0])
    """

    def __init__(self) -> None:
        self.axes: list[Axis] = []
        self.anonymous: set[int] = set()
        self.starts: list[int] = [0]
        self.roles: dict[int, set[Role]] = defaultdict(set)
        self.gates: dict[int, int] = {}
        """Parameter axes that make each unit by several rows, one for every gate of a cell."""
        self._same: list[tuple[UnitIds, UnitIds]] = []
        self._bundled: list[tuple[UnitIds, UnitIds]] = []
        self.steps: list[tuple[UnitIds, UnitIds]] = []
        """Every renaming, in order of execution: what was renamed, and its new names."""
        self._origin = np.empty(0, dtype=np.int64)
        self._origins = 0
        """How many of them are known."""
        self._seen: set[tuple[int, int]] = set()
        self._alive: list[UnitIds] = []
        self.fixed: list[tuple[UnitIds, str]] = []
        self.unknown: dict[str, str] = {}
        """Reasons of those that an operation without a rule fixes → what to do about it."""
        self.equal_copies: list[tuple[UnitIds, str]] = []
        self.no_copies: list[tuple[UnitIds, str]] = []
        self.blocks: list[UnitIds] = []
        """Those that views make of hidden axes, one axis for each."""
        self.split_blocks: list[UnitIds] = []
        self.written_out: list[tuple[UnitIds, str]] = []
        """Units that the code cuts into so many pieces as it writes out, and which operation."""
        self.uneven: list[tuple[list[UnitIds], str]] = []
        """Pieces into which the code cuts an axis, though no larger one in proportion, and what to
        say of that."""
        self.runs: list[tuple[UnitIds, int, str]] = []
        """Units along an axis, of how many the code takes whole runs, and why."""
        self.fixed_sizes: set[tuple[int, int]] = set()
        """Neighbours on an axis that lies inside units, as what they were made from first."""
        self.told_apart: set[tuple[int, int]] = set()
        """Those on an axis of which code takes single positions."""
        self.ties: list[Tie] = []
        self.norms: dict[Norm, None] = {}
        self.bent: dict[int, str] = {}
        """Parameter axes with which units are read → an operation before that which is not linear
        in the parameter."""
        self.through: list[tuple[UnitIds, UnitIds]] = []
        """For every part of every operation's output, in order of execution: its units, and how
        many positions each has. Not of operations that move axes at the most (a view): units are
        the same ones after these as before."""
        self.read: list[UnitIds] = []
        """Units that are read whatever their number, though by no weight: by a maximum, or by who
        calls the model."""
        self.head_size_axes: set[int] = set()
        """Parameter axes on which heads grow inside: more features in each, and no more heads."""
        self.more_queries: set[int] = set()
        """Parameter axes that make heads of keys or values which are to serve more queries each."""
        self.more_groups: set[int] = set()
        """Parameter axes that make a head of keys or values that all queries share, and that grows
        with these."""
        self.dealt: dict[int, int] = {}
        """Parameter axes that make heads of keys or values, of which there are to be copies that
        share their queries → how many heads there are without them."""
        self.shared_heads: list[SharedHeads] = []
        self.against: dict[Origin, tuple[int, UnitIds]] = {}
        """Attributes that fall as these units grow, and what they are: of queries that are dealt
        out."""
        self._inside_shared: dict[tuple[str, int], UnitIds] = {}
        self.idle = False
        """While true, an operation runs whose result nobody reads: it ties, but fixes nothing."""

    def new(self, name: str, dim: int, size: int) -> tuple[int, UnitIds]:
        """Fresh units for one parameter axis: its number, and ``[size]`` numbers.

        An axis without a name belongs to no parameter: a tensor that code fills piece by piece.
        """
        if not name:
            self.anonymous.add(len(self.axes))
        start = self.starts[-1]
        self.axes.append(Axis(name, dim))
        self.starts.append(start + size)
        return len(self.axes) - 1, np.arange(start, start + size, dtype=np.int64)

    def tie(self, a: UnitIds, b: UnitIds, op: str, path: str, reason: str) -> None:
        """Positions of ``a`` and ``b`` (broadcast together) are the same units, one by one.

        Where one of them is no unit (``NO_UNIT``), the other is fixed for ``reason``.
        """
        if a is b or (id(a), id(b)) in self._seen:
            return
        self._seen.add((id(a), id(b)))
        self._alive += (a, b)  # ids stay unique only while the arrays live
        a, b = (x.reshape(-1) for x in np.broadcast_arrays(a, b))
        if a.size == 0:
            return
        if min(a.min(), b.min()) == NO_UNIT:
            lone = np.where(a == NO_UNIT, b, a)[(a == NO_UNIT) | (b == NO_UNIT)]
            self.fixed.append((lone[lone != NO_UNIT], reason))
            both = (a != NO_UNIT) & (b != NO_UNIT)
            a, b = a[both], b[both]
            if a.size == 0:
                return
        self._same.append((a, b))
        self.ties.append(Tie(op, path, int(a[0])))

    def derived(self, ids: UnitIds, *others: UnitIds) -> UnitIds:
        """New numbers for what an operation made of these units. They are one bundle with
        them, but not the same: ``x`` and ``tanh(x)`` on one axis have different slots.

        ``others``: numbers of the same shape, of what it was combined with; one unit combined with
        different ones becomes different ones.
        """
        if ids.size == 0:
            return ids
        flat = ids.reshape(-1)
        alone = not others and in_order(flat)  # each there once: memory is shared
        values, places = (flat, flat) if alone else distinct(flat)
        for other in others:
            theirs, at = distinct(other)
            pairs, places = distinct(places * len(theirs) + at)
            values = values[pairs // len(theirs)]
        none = int(np.count_nonzero(values == NO_UNIT)) if others else int(values[0] == NO_UNIT)
        _, fresh = self.new("", 0, len(values))
        origin = self.origins()
        origin[fresh[none:]] = origin[values[none:]]
        self.steps.append((values[none:], fresh[none:]))
        if none:
            fresh = np.where(values == NO_UNIT, NO_UNIT, fresh)
        alone = alone or (len(values) == ids.size and in_order(places))
        return (fresh if alone else fresh[places]).reshape(ids.shape)

    def through_op(self, ids: UnitIds) -> UnitIds:
        """New numbers for the units of an operation's output, noting how often each is
        there."""
        if ids.size == 0:
            self.through.append((ids.reshape(-1), ids.reshape(-1)))
            return ids
        result = self.derived(ids)
        _, units = self.steps[-1]
        made = self.starts[-1] - self.starts[-2]
        if result.size == made:
            count = _once(len(units))
        else:
            times = np.bincount(result[result != NO_UNIT] - self.starts[-2], minlength=made)
            count = times[made - len(units) :]
        self.through.append((units, count))
        return result

    def origins(self) -> UnitIds:
        """For every unit the one that it was made from first, by any number of operations."""
        have, want = self._origins, self.starts[-1]
        if want > len(
            self._origin
        ):  # room to spare, so that growing it piece by piece stays linear
            room = np.empty(2 * want, dtype=np.int64)
            room[:have] = self._origin[:have]
            self._origin = room
        self._origin[have:want] = np.arange(have, want)
        self._origins = want
        return self._origin[:want]

    def bundle(self, block: UnitIds, dims: tuple[int, ...]) -> None:
        """All units along ``dims`` of the block belong together: of ``[heads, features]``, over
        ``(1,)``, all features of a head."""
        for dim in dims:
            self.fix_size(block, dim)
        rows = np.moveaxis(block, dims, tuple(range(-len(dims), 0)))
        rows = rows.reshape(*rows.shape[: block.ndim - len(dims)], -1)
        first = np.broadcast_to(rows[..., :1], rows.shape).reshape(-1)
        rest = rows.reshape(-1)
        known = (first != NO_UNIT) & (rest != NO_UNIT)
        if known.any():
            self._bundled.append((first[known], rest[known]))

    def fix_size(self, block: UnitIds, dim: int) -> None:
        """Code knows the positions along this axis of the block, so their number stays."""
        if pair := self._neighbours(block, dim):
            self.fixed_sizes.add(pair)

    def tell_apart(self, block: UnitIds, dim: int) -> None:
        """Code takes single positions along this axis of the block."""
        self.fix_size(block, dim)
        if pair := self._neighbours(block, dim):
            self.told_apart.add(pair)

    def is_told_apart(self, block: UnitIds, dim: int) -> bool:
        """Whether some operation took single positions along this axis."""
        return self._neighbours(block, dim) in self.told_apart

    def has_fixed_size(self, block: UnitIds, dim: int) -> bool:
        """Whether some operation kept the size of this axis of the block: it summed over what lies
        inside units, or told positions apart."""
        return block.ndim > 1 and self._neighbours(block, dim) in self.fixed_sizes

    def _neighbours(self, block: UnitIds, dim: int) -> tuple[int, int] | None:
        if block.size == 0 or block.shape[dim] < 2:
            return None
        pair = np.moveaxis(block, dim, 0).reshape(block.shape[dim], -1)[:2, 0]
        if (pair == NO_UNIT).any():
            return None
        first, second = self.origins()[pair].tolist()
        return first, second

    def grows_head_size(self, ids: UnitIds) -> bool:
        """Whether these units were made on an axis that grows inside heads."""
        return bool(self.head_size_axes and self.head_size_axes & self.axes_of(ids))

    def axes_of(self, ids: UnitIds) -> set[int]:
        """The axes (by number) that units were made on first."""
        made = distinct(self.origins()[ids[ids != NO_UNIT]])[0]
        return set((np.searchsorted(self.starts, made, side="right") - 1).tolist())

    def inside_shared(self, path: str, count: int) -> UnitIds:
        """``[count]``: what grows inside the heads that the module at ``path`` shares, keys and
        values alike."""
        if (path, count) not in self._inside_shared:
            self._inside_shared[path, count] = self.new("", 0, count)[1]
        return self._inside_shared[path, count]

    def all_inside_shared(self, path: str) -> UnitIds:
        """Such units of one module."""
        return joined([ids for (own, _), ids in self._inside_shared.items() if own == path])

    def fix(self, ids: UnitIds, reason: str, *, idle_too: bool = False) -> None:
        """These units can be neither copied nor added to. ``idle_too``: their number alone would
        stop the code, whoever reads the result."""
        ids = ids[ids != NO_UNIT]
        if ids.size and (idle_too or not self.idle):
            self.fixed.append((ids.reshape(-1), reason))

    def require_equal_copies(self, ids: UnitIds, reason: str) -> None:
        """Every one of these units must have the same number of copies (means, layer norms). Beside
        positions that are none, which no copies balance, they stay."""
        if (ids == NO_UNIT).any():
            self.fix(ids, f"{reason}, and over positions that are no units")
            return
        if ids.size and not self.idle:
            self.equal_copies.append((ids.reshape(-1), reason))

    def align_with(self, numbers: Iterable[int]) -> None:
        """These parameter axes do something with units besides."""
        for number in numbers:
            self.roles[number].add(Role.ALIGNS)

    def refuse_copies(self, ids: UnitIds, reason: str) -> None:
        """None of these units may be there twice (sums over them)."""
        ids = ids[ids != NO_UNIT]
        if ids.size and not self.idle:
            self.no_copies.append((ids.reshape(-1), reason))

    def split_by_position(self, block: UnitIds, op: str, path: str) -> None:
        """The code cuts an axis into the rows of this block, by position. Unless rows or columns
        turn out to be bundles (heads), all units in it grow by one factor."""
        self.split_blocks.append(block.reshape(len(block), -1))
        if (known := block[block != NO_UNIT]).size:
            self.ties.append(Tie(op, path, int(known[0])))

    def take_runs(self, ids: UnitIds, length: int, reason: str) -> None:
        """The code takes whole runs of these positions: so many, or what of that their number is a
        multiple of."""
        length = gcd(ids.size, length)
        if length > 1 and not self.idle:
            self.runs.append((ids[ids != NO_UNIT], length, reason))

    def components(self) -> UnitIds:
        """The component of every unit, as the smallest unit in it."""
        return _classes(self._same + self._bundled, self.origins().copy())

    def sames(self) -> UnitIds:
        """The class of units that are the same, for every unit, as the smallest unit in it."""
        return _classes(self._same, np.arange(self.starts[-1], dtype=np.int64))


def joined(runs: Sequence[UnitIds]) -> UnitIds:
    """One after the other; none at all is an empty one."""
    return np.concatenate([np.empty(0, dtype=np.int64), *runs])


def in_blocks(
    pairs: Sequence[tuple[UnitIds, UnitIds]],
) -> Iterator[tuple[UnitIds, UnitIds, UnitIds]]:
    """Pairs of arrays of one length, many in one: the number of each pair, and both arrays. As few
    as memory allows, since an operation on small arrays takes the time of its call."""
    sizes = np.array([len(a) for a, _ in pairs], dtype=np.int64)
    block = np.cumsum(sizes) // _BLOCK
    for begin, count in zip(*runs(block), strict=True):
        some = range(begin, begin + count)
        yield (
            np.repeat(np.arange(begin, begin + count), sizes[begin : begin + count]),
            joined([pairs[number][0] for number in some]),
            joined([pairs[number][1] for number in some]),
        )


_BLOCK = 1 << 18
"""Units at once: 2 MiB an array."""


def occurrence(ids: UnitIds) -> UnitIds:
    """For every position, how many positions before it bear the same number."""
    order = np.argsort(ids, kind="stable")
    first, count = runs(ids[order])
    result = np.empty(len(ids), dtype=np.int64)
    result[order] = np.arange(len(ids)) - np.repeat(first, count)
    return result


def runs(ranked: UnitIds) -> tuple[UnitIds, UnitIds]:
    """Where each number of a sorted array begins, and how often it is there."""
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])[: len(ranked)])
    return first, np.diff(first, append=len(ranked))


@lru_cache(maxsize=1024)
def _once(size: int) -> UnitIds:
    """A count of 1 for so many units, in the memory of one."""
    return np.broadcast_to(np.int64(1), (size,))


def in_order(ids: UnitIds) -> bool:
    """Whether each number is above the one before it."""
    return bool(np.logical_and.reduce(ids[1:] > ids[:-1]))


def distinct(ids: UnitIds) -> tuple[UnitIds, UnitIds]:
    """The different numbers, in order, and for each position the number of its own.

    As ``np.unique`` does, but without sorting: an operation's numbers lie close together.
    """
    flat = ids.reshape(-1)
    if flat.size == 0:
        return flat, flat
    if in_order(flat):  # as on most axes
        return flat, np.arange(flat.size)
    low = flat.min()
    above = flat - low
    span = int(above.max()) + 1
    if span > 8 * flat.size:
        values, places = np.unique(flat, return_inverse=True)
        return values, places
    there = np.zeros(span, dtype=bool)
    there[above] = True
    return np.flatnonzero(there) + low, (np.cumsum(there) - 1)[above]


def _classes(edges: list[tuple[UnitIds, UnitIds]], parent: UnitIds) -> UnitIds:
    """The smallest unit that each is tied to, by these edges and to its ``parent``, the smallest of
    those that it is tied to so far.

    Minimum-label hooking with pointer jumping: a few whole-array passes, no loop over units.
    """
    a, b = (joined([edge[i] for edge in edges]) for i in (0, 1))
    while True:
        root_a, root_b = parent[a], parent[b]
        apart = root_a != root_b
        if not apart.any():
            return parent
        a, b = root_a[apart], root_b[apart]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(jumped := parent[parent], parent):
            parent = jumped
