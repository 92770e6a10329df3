"""The table of spaces: what can grow, what grows with it, and why not where it can't."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from math import gcd, lcm

from net2net.errors import UnknownModuleError
from net2net.infer.inference import Group, Inference
from net2net.infer.new_units.follow import what_stays, why_not
from net2net.infer.size_uses import SizeUse
from net2net.infer.together import Together
from net2net.infer.units import Axis, Role
from net2net.tables import format_table, html_table


class Kind(StrEnum):
    """A kind of new units."""

    COPY = "copy"
    """Copies, which share what is read of their original."""
    RANDOM = "random"
    """Made at random, and read by nobody at first: zero or the mean where a norm needs that."""
    ZERO = "zero"
    """Zero wherever they are read, so that they can be read at random (the mean before a norm)."""


@dataclass(frozen=True)
class Space:
    """Units that can only grow together.

    Attributes:
        name: the first module that makes these units.
        size: positions along that module's output axis (channels, features).
        units_step: what one unit more adds to it, or the units of a whole run.
        axes: every parameter axis in it → how many of its positions belong to the space.
        modules: the modules that make its units.
        ties: what ties them, as ``operation in 'module'`` or ``'module.attribute'``, a size that
            the code gives several.
        reason: why it cannot grow, or None.
        runs: why it grows by whole runs of units, or None.
        split_by_position: the code cuts its axes by position, so only a trial shows which
            sizes it admits.
        split_between_bundles: the code splits its axes, though only between bundles (heads).
        pieces: the operation that cuts its axes into so many pieces as the code writes out, or
            None.
        gates: axes that make each unit by several rows, one a gate → how many.
        lead: the first parameter that makes its units.
        unread: as far as is seen, nothing reads its units.
        exact: sizes are admissible at which what is computed is kept, rather than all at which
            every unit is whole.
        measured: what is computed is measured, so that it may change by an ε that stays.
    """

    name: str
    size: int
    units_step: int
    axes: dict[Axis, int]
    modules: tuple[str, ...]
    ties: tuple[str, ...]
    reason: str | None
    runs: str | None
    split_by_position: bool
    split_between_bundles: bool
    pieces: str | None
    groups: tuple[Group, ...]
    gates: dict[Axis, int]
    lead: str
    unread: bool
    exact: bool
    measured: bool
    inference: Inference = field(repr=False, compare=False)

    @property
    def growable(self) -> bool:
        return self.reason is None

    @property
    def step(self) -> int:
        """A grown size is a multiple of this (heads and groups grow whole; a space that is averaged
        over grows by whole multiples of itself)."""
        multiples = self.growable and self.exact and self.equal_copies
        near = self.measured and self.what_stays
        return self.size if multiples and not near else self.units_step

    @cached_property
    def equal_copies(self) -> str | None:
        """Why it grows by whole multiples only, or None."""
        if not self.growable or self.size == self.units_step:
            return next((group.equal_copies for group in self.groups if group.equal_copies), None)
        for group in self.groups:
            if group.equal_copies and (why := why_not(self.inference, group.key)):
                return f"{group.equal_copies}; units that copy nothing will not do: {why}"
        return None

    @cached_property
    def kinds(self) -> dict[Kind, int]:
        """What new units it can have → in what steps it grows by them; not those that it cannot."""
        if not self.growable:
            return {}
        kinds = _copies(self.groups, self.units_step, self.size)
        for kind in (Kind.RANDOM, Kind.ZERO):
            if self.why_not(kind) is None:
                kinds[kind] = self.units_step
        return kinds

    def why_not(self, kind: Kind) -> str | None:
        """Why it can have no new units of this kind, besides copies, or None."""
        zero = Kind(kind) is Kind.ZERO
        said = (why_not(self.inference, group.key, zero=zero) for group in self.groups)
        return next((why for why in said if why), None)

    @cached_property
    def what_stays(self) -> tuple[str, ...]:
        """Of which operations the ε would have to change at other widths than whole multiples, and
        stays, as it is written into the code: only that changes what is computed there. Empty: at
        other widths all is kept, or other things change as well."""
        if not self.equal_copies:
            return ()
        found = [what_stays(self.inference, group.key) for group in self.groups]
        stay = [one for one in found if one is not None]
        return tuple(dict.fromkeys(sum(stay, ()))) if len(stay) == len(found) else ()

    def made_by(self, module: str) -> int:
        """Positions along the output axes of a module (of the first, if several)."""
        axis = self.axis_of(module)
        return self.size if axis is None else self.axes[axis] // self.gates.get(axis, 1)

    def axis_of(self, module: str) -> Axis | None:
        """The first axis that a module or parameter of this name has in it."""
        inside = f"{module}."
        return next((a for a in self.axes if a.name == module or a.name.startswith(inside)), None)


class Spaces:
    """All spaces of a model, printable, indexable by name or position.

    Attributes:
        of_group: signature → the space that the group is in.
        size_uses: what code reads as sizes.
    """

    def __init__(self, spaces: list[Space], size_uses: list[SizeUse]) -> None:
        self._spaces = spaces
        self.size_uses = size_uses
        self.of_group = {group.key: space for space in spaces for group in space.groups}

    def __len__(self) -> int:
        return len(self._spaces)

    def __iter__(self) -> Iterator[Space]:
        return iter(self._spaces)

    def __getitem__(self, which: str | int) -> Space:
        if isinstance(which, int):
            return self._spaces[which]
        for space in self._spaces:
            if which == space.name or which in space.modules:
                return space
        raise UnknownModuleError(
            f"no space is made by module '{which}'. "
            f"The spaces are: {', '.join(space.name for space in self._spaces)}."
        )

    @property
    def growable(self) -> list[Space]:
        return [space for space in self._spaces if space.growable]

    def _table(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("space", "size", *(f"{kind} by" for kind in Kind), "axes", "made by", "growable")
        ]
        for space in self._spaces:
            modules = ", ".join(space.modules[:3]) + (", …" if len(space.modules) > 3 else "")
            note = space.reason or (
                f"by whole multiples: {space.equal_copies}" if space.equal_copies else ""
            )
            if space.what_stays:
                note += f"; by others if what changes is measured: {eps_stays(space.what_stays)}"
            rows.append((
                space.name, str(space.size), *(str(space.kinds.get(kind, "–")) for kind in Kind),
                str(len(space.axes)), modules,
                "yes" + (f" ({note})" if note else "") if space.growable else f"no: {note}",
            ))  # fmt: skip
        return rows

    def __str__(self) -> str:
        return format_table(self._table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self._table())


def eps_stays(where: Sequence[str]) -> str:
    """What is said of norms whose ε would have to change."""
    return f"the ε of {', '.join(where)} is written into the code, and stays as it is"


def module_of(tensor: str, called: Collection[str]) -> str:
    """``layer1.conv1`` of ``layer1.conv1.weight``; a parameter that no layer owns (the model's
    own, or a list's) stands for itself."""
    module = tensor.rpartition(".")[0]
    return module if module and module in called else tensor


def spaces_of(inference: Inference, *, exact: bool = True, measured: bool = False) -> Spaces:
    """Gather groups of components into spaces. ``exact=False``: their steps are such that every
    unit is whole, whether what is computed is kept or not. ``measured``: as in ``Space``."""
    together = Together(inference)
    ties = together.ties()
    cut = together.leaders(inference.position_splits)
    split = together.leaders(inference.units.split_blocks)
    read = together.leaders(inference.units.read)
    pieces = {
        key: where for ids, where in inference.units.written_out for key in together.leaders([ids])
    }
    stays = together.held()
    found = [
        _space(
            inference,
            gathered,
            ties.get(key, ()),
            key in cut,
            key in split,
            pieces.get(key),
            key in read,
            stays.get(key),
            exact,
            measured,
        )
        for key, gathered in together.members().items()
    ]
    spaces = _distinct([space for space in found if space is not None])
    return Spaces(spaces, together.size_uses)


def _copies(groups: Sequence[Group], step: int, size: int) -> dict[Kind, int]:
    """In what steps groups that grow together grow by copies, if they can."""
    if any(group.no_copies for group in groups):
        return {}
    return {Kind.COPY: size if any(group.equal_copies for group in groups) else step}


def _units_step(
    inference: Inference, groups: Sequence[Group], size: int, parts: int
) -> tuple[int, str | None]:
    """What has to be added to a space of this size at a time, which is one of its equal parts or
    several: as many as make whole runs, where code takes such; and why."""
    own = [inference.group_numbers[group.key] for group in groups]
    times, why = 1, None
    for positions, length, reason in inference.runs:
        count = int(positions[own].sum())
        least = gcd(count, length) // gcd(count // parts, length)
        if count and times % least:
            times, why = lcm(times, least), reason
    return size // parts * times, why


def _distinct(spaces: list[Space]) -> list[Space]:
    """Where one module makes several spaces (a cell, and the state projected from it), all but the
    first are named by the parameter that makes them."""
    names: set[str] = set()
    result = []
    for space in spaces:
        if space.growable and space.name in names:
            space = replace(space, name=space.lead)
        elif space.growable:
            names.add(space.name)
        result.append(space)
    return result


def _space(
    inference: Inference, groups: list[Group], ties: tuple[str, ...], cut: bool, split: bool,
    pieces: str | None, read: bool, stays: str | None, exact: bool, measured: bool,
) -> Space | None:  # fmt: skip
    units: dict[Axis, int] = {}
    axes: dict[Axis, int] = {}
    for group in groups:
        for axis, positions in group.places.items():
            units[axis] = units.get(axis, 0) + group.size
            axes[axis] = axes.get(axis, 0) + group.size * positions
    roles = {axis: inference.role(axis) for axis in axes}
    if all(role is Role.ALIGNS for role in roles.values()):
        return None  # kernel positions, table rows: nobody would call these a space
    makers = [axis for axis in axes if axis in inference.makers]
    called = inference.outputs_of
    lead = (makers or list(axes))[0]
    reason = next((group.fixed for group in groups if group.fixed), stays)
    if reason is None and not makers and all(role.reads for role in roles.values()):
        reason = "no weight makes these units"
    read = read or any(group.equal_copies or group.no_copies for group in groups)
    unread = not (read or any(role.reads for role in roles.values()))
    lengths = {axis: len(inference.ids(inference.numbers[axis])) for axis in makers}
    if reason is None and unread and any(axes[axis] < lengths[axis] for axis in makers):
        reason = "nothing reads these units, unlike their neighbours"
    gates = {
        axis: inference.units.gates[inference.numbers[axis]]
        for axis in makers
        if inference.numbers[axis] in inference.units.gates
    }
    size = axes[lead] // gates.get(lead, 1)
    units_step, runs = _units_step(inference, groups, size, gcd(*units.values()))
    return Space(
        name=module_of(lead.name, called),
        size=size,
        units_step=units_step,
        axes=axes,
        modules=tuple(dict.fromkeys(module_of(axis.name, called) for axis in makers)),
        ties=ties,
        reason=reason,
        runs=runs,
        split_by_position=cut,
        split_between_bundles=split,
        pieces=pieces,
        groups=tuple(groups),
        gates=gates,
        lead=lead.name,
        unread=unread,
        exact=exact,
        measured=measured,
        inference=inference,
    )
