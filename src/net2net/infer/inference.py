"""What inference knows: the units of a model, their components, and the groups of these.

Components of one signature are interchangeable: they are the units of one space.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from net2net.infer.chosen import chosen
from net2net.infer.head_size import ShareAbsorber
from net2net.infer.inside import NOTHING, Inside
from net2net.infer.relations import Count
from net2net.infer.sums import Sum
from net2net.infer.units import (
    NO_UNIT,
    Axis,
    Role,
    UnitIds,
    Units,
    distinct,
    in_blocks,
    joined,
    runs,
)
from net2net.infer.values import Value
from net2net.ops import traits
from net2net.trace.graph import Graph
from net2net.trace.needed import needed
from net2net.trace.trace import Trace

HELD = "the code cuts it in proportion with units that stay as they are: "


@dataclass(frozen=True)
class Group:
    """All components of one signature.

    Attributes:
        key: the signature, a hash.
        places: parameter axis → how many positions each component has on it.
        components: in the order in which they first appear.
        fixed: why they cannot grow, or None.
        equal_copies: why all need equally many copies, or None.
        no_copies: why none may be there twice, or None.
        made_up: copies change what is computed of them, which parameters make up for.
    """

    key: int
    places: dict[Axis, int]
    components: UnitIds
    fixed: str | None
    equal_copies: str | None
    no_copies: str | None
    made_up: bool = False

    @property
    def size(self) -> int:
        return len(self.components)


@dataclass(frozen=True)
class RolesAt:
    """The parameter axes, by number, whose columns an operation reads units with, and whose rows
    it makes them with. ``sums``: the units over which it sums a product that no
    parameter divides."""

    reads: frozenset[int] = frozenset()
    makes: frozenset[int] = frozenset()
    sums: tuple[UnitIds, ...] = ()


@dataclass
class Inference:
    """The units of a model, found from its traces."""

    units: Units
    component: UnitIds
    """Component of every unit."""
    values: list[dict[int, Value]]
    """For every trace, tensor number → value."""
    traces: list[Trace]
    counts: list[Count]
    unused: list[str]
    """Parameters and buffers that no operation read."""
    inside: Inside = NOTHING
    """What grows inside heads, instead of in their number."""
    absorbers: list[ShareAbsorber] = field(default_factory=list)
    """What takes the shares of sums over the features inside heads."""
    sums: list[Sum] = field(default_factory=list)
    """Sums of whole copies, with the parameters that make up for these."""
    roles_at: list[dict[int, RolesAt]] = field(default_factory=list)
    """For every trace, operation (by position) → what it does with parameters."""
    no_new_units: dict[int, str] = field(default_factory=dict)
    """Signatures of groups of which there can be no copies → why no other new units either."""
    made_up_copies: dict[int, str] = field(default_factory=dict)
    """Signatures of groups of which equally many copies make up for what they change → what that
    is, for which there can be no others."""
    traced_with_values: bool = False
    """The model was run with values, since its code branches on them."""

    @cached_property
    def _graphs(self) -> dict[int, Graph]:
        return {id(one): Graph(one) for one in self.traces}

    def graph_of(self, trace: Trace) -> Graph:
        """Who produces and who uses the tensors of one of the traces."""
        return self._graphs[id(trace)]

    def ids(self, axis: int) -> UnitIds:
        """Components along the parameter axis with this number."""
        return self.component[self.units.starts[axis] : self.units.starts[axis + 1]]

    @cached_property
    def slot(self) -> UnitIds:
        """``[units]``: the place of every unit within its component.

        A component is copied whole, and may be several units, also on one axis. To copy it one has
        to know which of its units goes where: the one with the same slot. A gated layer of two
        features has four rows; component 0 is rows 0 and 2, value and gate, in slots 0 and 1:

            >>> import torch
            >>> from torch import nn
            >>> from net2net.analysis import analyse
            >>> gated = nn.Sequential(nn.Linear(3, 4), nn.GLU(), nn.Linear(2, 1))
            >>> found = analyse(gated, torch.zeros(1, 3))
            >>> found.ids(0), found.slots(0)  # components and slots on 0.weight[0]
            (array([0, 1, 0, 1]), array([0, 0, 1, 1]))

        Units that are the same have the same place. Others are numbered by signature, so that what
        is alike in two components, or in teacher and student, has one number; and those that are
        alike in that too (value and gate, the features of a head) in the order in which they were
        made, whatever order they are read in.
        """
        same = self.units.sames()
        classes = np.flatnonzero(same == np.arange(len(same)))  # a class is named by its first unit
        key = self._signatures(same, self._appearances(same))[classes]
        number = np.empty(len(same), dtype=np.int64)
        number[classes] = np.arange(len(classes))
        of: UnitIds = number[same]
        origin = self.units.origins()
        passing = np.flatnonzero(origin != np.arange(len(origin)))
        first, made = classes.copy(), classes.copy()
        whose = of[passing]
        first[whose] = len(origin)
        np.minimum.at(first, whose, origin[passing])
        made[whose[::-1]] = passing[::-1]  # in this order the first of each stays
        units = len(same)
        del same, number, origin, passing, whose  # of large models many megabytes each
        # Four keys as two, which are sorted in half the time. Of signatures there are the b bits
        # that the number of units leaves: of g, two are taken for alike with odds of g²/2^(b + 1).
        taken = np.uint64(units.bit_length())
        alike = self.component[classes].astype(np.uint64) << (np.uint64(64) - taken) | key >> taken
        first *= units + 1
        first += made
        del made, key
        order = np.lexsort((first, alike))
        begin, size = runs(self.component[classes][order])
        rank = np.empty(len(classes), dtype=np.int64)
        rank[order] = np.arange(len(classes)) - np.repeat(begin, size)
        slots: UnitIds = rank[of]
        return slots

    def slots(self, axis: int) -> UnitIds:
        """Slots along the parameter axis with this number."""
        return self.slot[self.units.starts[axis] : self.units.starts[axis + 1]]

    @cached_property
    def _chosen(self) -> dict[Axis, str]:
        return {axis: why for one in self.traces for axis, why in self._choices(one).items()}

    def _choices(self, one: Trace) -> dict[Axis, str]:
        some = any(traits(op.kind).chooses for op in one.ops)
        return chosen(self.graph_of(one)) if some else {}

    @cached_property
    def numbers(self) -> dict[Axis, int]:
        return {
            axis: number
            for number, axis in enumerate(self.units.axes)
            if number not in self.units.anonymous
        }

    @cached_property
    def groups(self) -> dict[int, Group]:
        """Signature → group, in the order in which they first appear."""
        owner, axis, count = self._places
        said, fixed = self._fixed
        equal_copies = self._reasons(self.units.equal_copies)
        firsts = np.zeros(len(self.component), dtype=bool)
        firsts[[found[0] for found in self.members.values()]] = True
        places: dict[int, dict[Axis, int]] = defaultdict(dict)
        for one in np.flatnonzero(firsts[owner]).tolist():  # the first tells the places of all
            places[int(owner[one])][self.units.axes[axis[one]]] = int(count[one])
        result = {}
        for key, found in self.members.items():
            lies = places[int(found[0])]
            why = _first(said, fixed[found])
            among = next((self._chosen[axis] for axis in lies if axis in self._chosen), why)
            result[key] = Group(
                key=key,
                places=lies,
                components=found,
                fixed=among if why else None,
                equal_copies=self.made_up_copies.get(key)
                or _first(self.units.equal_copies, equal_copies[found]),
                no_copies=None if key in self.made_up_copies else self.no_copies.get(key),
                made_up=key in self.made_up_copies,
            )
        return self._held(result)

    @cached_property
    def no_copies(self) -> dict[int, str]:
        """Signature → why units of this group may not be there twice."""
        said = [*self.units.no_copies, *self._tied()]
        if not said:
            return {}
        numbers = self._reasons(said)
        found = ((key, _first(said, numbers[units])) for key, units in self.members.items())
        return {key: why for key, why in found if why}

    @cached_property
    def undecided(self) -> list[int]:
        """Signatures of groups of which there can be no copies, and that nothing else keeps."""
        if not self.no_copies:
            return []
        fixed = self._reasons([*self.units.fixed, *self._unseen()])
        return [key for key in self.no_copies if (fixed[self.members[key]] == NO_UNIT).all()]

    @cached_property
    def tied(self) -> set[int]:
        """Signatures of groups on whose axes a weight both makes units and reads them."""
        numbers = self._reasons(list(self._tied()))
        found = self.members.items()
        return {key for key, units in found if (numbers[units] != NO_UNIT).any()}

    @cached_property
    def _fixed(self) -> tuple[list[tuple[UnitIds, str]], UnitIds]:
        """What was said of units that stay, and for every component the first that it is told."""
        lost = [
            (
                self.members[key],
                f"{self.no_copies[key]}; units that copy nothing will not do: {why}",
            )
            for key, why in self.no_new_units.items()
        ]
        said = [*self.units.fixed, *self._unseen(), *lost]
        return said, self._reasons(said)

    def stays(self, components: UnitIds) -> NDArray[np.bool_]:
        """Which of these cannot grow; ``NO_UNIT`` cannot."""
        reasons = self._fixed[1]
        stays: NDArray[np.bool_] = np.not_equal(
            np.where(components == NO_UNIT, 0, reasons[components]), NO_UNIT
        )
        return stays

    @cached_property
    def members(self) -> dict[int, UnitIds]:
        """Signature → the components of its group, in the order in which they first appear."""
        owned = np.zeros(len(self.component), dtype=bool)
        owned[self.component[self._named[0]]] = True
        roots = np.flatnonzero(owned)  # ascending: by first position on the first axis
        keys, first, number = np.unique(
            self._signatures(self.component, self._places)[roots],
            return_index=True,
            return_inverse=True,
        )
        ends = np.cumsum(np.bincount(number, minlength=len(keys)))
        found = np.split(roots[np.argsort(number, kind="stable")], ends[:-1])
        return {int(keys[group]): found[group] for group in np.argsort(first)}

    @cached_property
    def group_of(self) -> UnitIds:
        """Component → number of its group in ``groups``; ``NO_UNIT`` for those of no parameter."""
        result = np.full(len(self.component), NO_UNIT)
        for number, found in enumerate(self.members.values()):
            result[found] = number
        return result

    def groups_on(self, ids: UnitIds) -> list[int]:
        """The numbers of the groups that these units belong to."""
        found = distinct(self.group_of[self.component[ids]])[0].tolist()
        return [number for number in found if number != NO_UNIT]

    def _held(self, groups: dict[int, Group]) -> dict[int, Group]:
        """Units that the code cuts in proportion with units that stay have to stay as well."""
        keys = list(groups)
        cuts = [
            {keys[number] for number in self.groups_on(block[block != NO_UNIT])}
            for block in self.position_splits
        ]
        while True:
            whys = [
                next(
                    (groups[key].fixed for key in groups if key in cut and groups[key].fixed), None
                )
                for cut in cuts
            ]
            held = {
                key: why.removeprefix(HELD)
                for cut, why in zip(cuts, whys, strict=True)
                for key in cut
                if why and not groups[key].fixed
            }
            if not held:
                return groups
            groups = {
                key: replace(group, fixed=HELD + held[key]) if key in held else group
                for key, group in groups.items()
            }

    @cached_property
    def position_splits(self) -> list[UnitIds]:
        """The coupled blocks that the code cuts by position."""
        return [block for block in self.units.split_blocks if self._is_position_split(block)]

    def _is_position_split(self, block: UnitIds) -> bool:
        """Whether neither the rows of a coupled block nor its columns are bundles, but for those
        that stay aside: the one key head of many query heads, or that of each group of them."""
        if (block == NO_UNIT).any():
            return True
        components = self.component[block]
        stays = self.stays(components)
        rows = (components == components[:, :1]).all(axis=1) | stays.all(axis=1)
        keys = np.isin(components, self._keys) & stays
        columns = (components == components[:1]).all(axis=0) | keys.all(axis=0)
        return not (rows.all() or columns.all())

    @cached_property
    def _keys(self) -> UnitIds:
        """The components of heads that queries share."""
        return self.component[joined([one.units for one in self.units.shared_heads])]

    @cached_property
    def runs(self) -> list[tuple[UnitIds, int, str]]:
        """Of every axis of which code takes whole runs: how many positions each group (by number)
        has on it, the length of a run, and why."""
        return [
            (
                np.bincount(known[known != NO_UNIT], minlength=len(self.members)),
                length,
                reason,
            )
            for ids, length, reason in self.units.runs
            for known in [self.group_of[self.component[ids]]]
        ]

    @cached_property
    def group_numbers(self) -> dict[int, int]:
        """Signature → the number of its group in ``groups``."""
        return {key: number for number, key in enumerate(self.members)}

    @cached_property
    def places_of(self) -> list[dict[int, list[int]]]:
        """For every trace, tensor → the operations (by position) that read or make it."""
        result = []
        for trace in self.traces:
            places: dict[int, list[int]] = defaultdict(list)
            for position, op in enumerate(trace.ops):
                for ref in (*op.inputs, *op.outputs):
                    places[ref.id].append(position)
            result.append(dict(places))
        return result

    @cached_property
    def needed(self) -> list[set[int]]:
        """For every trace, the operations (by position) that matter."""
        return [needed(trace) for trace in self.traces]

    @cached_property
    def tensors_of(self) -> list[dict[int, dict[int, list[int]]]]:
        """For every trace, the number of a group → the tensors that it has units in, and along
        which axes."""
        group_of = self.group_of[self.component]
        result = []
        for values in self.values:
            tensors: dict[int, dict[int, list[int]]] = defaultdict(dict)
            for tensor, value in values.items():
                for part in value.parts:
                    groups = group_of[part.ids[part.ids != NO_UNIT]]
                    others = groups[1:][groups[1:] != groups[:-1]].tolist()
                    for number in {*groups[:1].tolist(), *others}:
                        tensors[number].setdefault(tensor, []).extend(part.axes)
            result.append(dict(tensors))
        return result

    @cached_property
    def _named(self) -> tuple[UnitIds, UnitIds]:
        """Every unit of a parameter axis, and the axis."""
        sizes = np.diff(self.units.starts)
        named = np.ones(len(sizes), dtype=bool)
        named[list(self.units.anonymous)] = False
        axis_of = np.repeat(np.arange(len(sizes)), sizes * named)
        return np.flatnonzero(np.repeat(named, sizes)), axis_of

    def _appearances(self, owner: UnitIds) -> tuple[UnitIds, UnitIds, UnitIds]:
        """Which owner has units on which parameter axis, and how many: three arrays of one length,
        sorted by axis."""
        units, axis = self._named
        pairs = np.sort(axis * len(owner) + owner[units], kind="stable")  # mostly sorted already
        first, count = runs(pairs)
        return pairs[first] % len(owner), pairs[first] // len(owner), count

    @cached_property
    def _places(self) -> tuple[UnitIds, UnitIds, UnitIds]:
        """Where components appear."""
        return self._appearances(self.component)

    def _signatures(
        self, owner: UnitIds, appearances: tuple[UnitIds, UnitIds, UnitIds]
    ) -> NDArray[np.uint64]:
        """``[units]``: for every owner of units (by number), a hash of the parameter axes they
        appear on and the operations they pass, and how often.

        It is a sum, over axes and operations, of 64 bits each, so the order of terms does not
        matter, and whole arrays are added at once. Axes are hashed by name, and operations by
        number, so the teacher's and the student's are the same where both are used alike.

        Two signatures that differ get one hash with odds of about 2⁻⁶⁴; of g signatures, some two
        do with odds of about g²/2⁶⁵: 3·10⁻¹² for 10⁴. Nothing compares what was hashed. Two kinds
        of units would then be one group, and one might copy the other. ``verify`` guards against
        that, since it measures the student; with ``verify=False`` nothing does.

        Args:
            owner: ``[units]``, the owner of each: its component, or its class of the same units.
            appearances: as ``_appearances`` finds them for these owners.
        """
        names = np.zeros(len(self.units.axes), dtype=np.uint64)
        for one, number in self.numbers.items():
            names[number] = _hash(str(one))
        owners, axis, count = appearances
        steps = mixed(np.arange(len(self.units.through), dtype=np.uint64))
        keys = np.zeros(len(owner), dtype=np.uint64)
        np.add.at(keys, owners, mixed(names[axis] ^ mixed(count.astype(np.uint64))))
        for step, units, times in in_blocks(self.units.through):
            np.add.at(keys, owner[units], steps[step] * times.astype(np.uint64))
        return keys

    def _reasons(self, said: Sequence[tuple[UnitIds, str]]) -> UnitIds:
        """Component → the number of the first reason given for any of its units, or ``NO_UNIT``."""
        reasons = np.full(len(self.component), NO_UNIT)
        for number in reversed(range(len(said))):
            reasons[self.component[said[number][0]]] = number
        return reasons

    def _unseen(self) -> Iterator[tuple[UnitIds, str]]:
        """The units of parameter axes that were not seen in use, with the reason."""
        for axis, number in self.numbers.items():
            if not self.units.roles.get(number):
                yield self._along(number), f"'{axis.name}' was not seen in use"

    def _tied(self) -> Iterator[tuple[UnitIds, str]]:
        """The units that a weight both makes and reads, with the reason against copies."""
        for axis, number in self.numbers.items():
            roles = self.units.roles.get(number, set())
            if Role.CONSUMES in roles and len(roles) > 1:
                both = "both makes these units and reads them (tied weights), so it can be neither"
                if Role.PRODUCES not in roles:
                    both = "reads these units, and is used otherwise as well, so it can be neither"
                yield (
                    self._along(number),
                    f"'{axis.name}' {both} copied nor divided, and no norm before it takes the "
                    "shares",
                )

    def _along(self, number: int) -> UnitIds:
        return np.arange(*self.units.starts[number : number + 2])

    @cached_property
    def outputs_of(self) -> dict[str, list[tuple[int, int]]]:
        """Path of every module that was called → what it put out: trace, and tensor in it."""
        result: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, trace in enumerate(self.traces):
            for call in trace.calls:
                result[call.path] += [(number, tensor) for tensor in call.outputs]
        return dict(result)

    @cached_property
    def makers(self) -> set[Axis]:
        """The axes along which a weight makes units."""
        return {a for a, n in self.numbers.items() if Role.PRODUCES in self.units.roles.get(n, ())}

    def bent(self, axis: Axis) -> str | None:
        """Why what reads units along this axis bears no noise of which the opposite is elsewhere
        along it, or None."""
        number = self.numbers[axis]
        if len(roles := self.units.roles.get(number, set())) > 1 and Role.CONSUMES in roles:
            return f"'{axis.name}' is no weight that reads them alone"
        if Role.READS in roles:
            return f"what is made of '{axis.name}' is not linear in it"
        where = self.units.bent.get(number)
        return where and f"{where} makes the weight, and is not linear"

    def role(self, axis: Axis) -> Role:
        """What a parameter does along this axis."""
        roles = self.units.roles.get(self.numbers[axis], set())
        order = (Role.CONSUMES, Role.READS, Role.PRODUCES)
        return next((role for role in order if role in roles), Role.ALIGNS)

    def ids_of(self, trace: int, tensor: int) -> list[UnitIds]:
        """The units along each part of a traced tensor."""
        value = self.values[trace].get(tensor)
        return [] if value is None else [part.ids.reshape(-1) for part in value.parts]


def _first(said: Sequence[tuple[UnitIds, str]], numbers: UnitIds) -> str | None:
    """The reason of the first component that has one."""
    known = numbers[numbers != NO_UNIT]
    return said[known[0]][1] if len(known) else None


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser: spreads sums of signatures over 64 bits."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x ^= x >> np.uint64(shift)
            x *= np.uint64(factor)
        x ^= x >> np.uint64(31)
    return x
