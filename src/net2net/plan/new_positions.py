"""Positions of units that copy nothing: from what they have to hold to the map of an axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from net2net.infer.inference import Group, Inference
from net2net.infer.new_units.holds import Positions, Put
from net2net.infer.units import Axis, UnitIds, occurrence
from net2net.recipe.axis_map import ABSENT, MIXED, NEW, AxisMap, Mixture


@dataclass(frozen=True, eq=False)
class NewUnits:
    """Units of a group that copy nothing.

    Attributes:
        positions: what parameter axes hold for them; empty where the function is not kept.
        paired: they are alike two by two, and read with opposite signs.
        columns: ``[units afterwards]``, the teacher's unit whose columns those have who read each,
            or None.
        read_factor: what all who read the group are multiplied by, where the function is not kept.
    """

    positions: Mapping[Axis, Positions]
    paired: bool = False
    columns: UnitIds | None = None
    read_factor: float = 1.0


def with_new(
    one: AxisMap, axis: Axis, teacher: Inference, student: Inference, origin: Group, group: Group,
    new: NewUnits,
) -> AxisMap:  # fmt: skip
    """The map of an axis on which a group has units that copy nothing.

    Args:
        one: the map so far, where those are ``NEW``.
        origin, group: the teacher's group and the student's.
        new: what they are.
    """
    wanted = new.positions
    units = student.ids(student.numbers[axis])
    mine = np.isin(units, group.components)
    fresh = mine & (one.index == NEW)
    idle = Positions(Put.DRAWN)
    if one.role.reads:
        idle = Positions(Put.ZERO if wanted else Put.UNREAD, new.read_factor, reads=True)
    said = wanted.get(axis, idle)
    index, mixtures, twin = one.index.copy(), one.mixtures, one.twin
    reads = said.reads and one.role.reads
    if new.paired and said.put is not Put.MEAN and (reads or said.put is Put.DRAWN):
        twin = np.arange(len(index)) if twin is None else twin.copy()
        twin[fresh] = _twins(axis, student, group, fresh)
        alone = (
            fresh & (np.bincount(twin, minlength=len(twin)) == 1) & (twin == np.arange(len(twin)))
        )
        if said.put is Put.ZERO:  # else the unit is zero itself, whatever its columns are
            index[alone & reads] = ABSENT
    elif said.put in {Put.ZERO, Put.ONE}:
        index[fresh] = ABSENT
    elif said.put is Put.MEAN:
        found, which = _mixtures(axis, teacher, student, origin, fresh, said)
        index[fresh] = MIXED - len(mixtures) - which
        mixtures = (*mixtures, *found)
    scaled = mine & ~fresh if said.put in {Put.DRAWN, Put.ONE} else mine
    offset = np.where(scaled, said.offset, 0.0)
    if said.put is Put.ONE:
        offset[fresh] = said.factor
    if reads and new.columns is not None and said.put is Put.UNREAD:
        index[fresh] = _columns(axis, teacher, student, group, fresh, new.columns)
    return replace(
        one,
        index=index,
        scale=_combined(one.scale, np.where(scaled, said.factor, 1.0), 1.0, np.multiply),
        offset=_combined(one.offset, offset, 0.0, np.add),
        mixtures=mixtures,
        twin=twin,
    )


def _twins(axis: Axis, student: Inference, group: Group, fresh: NDArray[np.bool_]) -> UnitIds:
    """For positions of new units the first of each pair's, at the same place in it."""
    number = student.numbers[axis]
    order, place = _ordered(student, number, group, fresh)
    first = order.min(initial=group.size)
    theirs = order - (order - first) % 2
    twins: UnitIds = np.flatnonzero(fresh)[_where(order, place, theirs, place)]
    return twins


def _where(units: UnitIds, places: UnitIds, wanted: UnitIds, at: UnitIds) -> UnitIds:
    """``[n]``: which of these units (``[m]``, at ``places``, ``[m, 2]``) is the wanted one
    (``[n]``) at the wanted place (``[n, 2]``)."""
    strides = np.maximum(places.max(axis=0, initial=0), at.max(axis=0, initial=0)) + 1
    have, want = (
        (one * strides[0] + place[:, 0]) * strides[1] + place[:, 1]
        for one, place in ((units, places), (wanted, at))
    )
    order = np.argsort(have)
    found: UnitIds = order[np.searchsorted(have[order], want)]
    assert np.array_equal(have[found], want)
    return found


def _ordered(
    student: Inference, number: int, group: Group, fresh: NDArray[np.bool_]
) -> tuple[UnitIds, UnitIds]:
    """For positions of new units: the how manyth of the group, and the place in it."""
    units = student.ids(number)
    rank = np.empty(int(group.components.max()) + 1, dtype=np.int64)
    rank[group.components] = np.arange(group.size)
    return rank[units[fresh]], _places(units, student.slots(number))[fresh]


def _columns(
    axis: Axis, teacher: Inference, student: Inference, group: Group, fresh: NDArray[np.bool_],
    columns: UnitIds,
) -> UnitIds:  # fmt: skip
    """For positions of new units the teacher's positions of the units whose columns they repeat."""
    order, place = _ordered(student, student.numbers[axis], group, fresh)
    number = teacher.numbers[axis]
    old, old_place = teacher.ids(number), _places(teacher.ids(number), teacher.slots(number))
    return _where(old, old_place, columns[order], place)


def _combined(
    known: NDArray[np.float64] | None, more: NDArray[np.float64], idle: float, how: np.ufunc
) -> NDArray[np.float64] | None:
    if (more == idle).all():
        return known
    result: NDArray[np.float64] = more if known is None else how(known, more)
    return result


def _mixtures(
    axis: Axis, teacher: Inference, student: Inference, origin: Group, fresh: NDArray[np.bool_],
    said: Positions,
) -> tuple[tuple[Mixture, ...], UnitIds]:  # fmt: skip
    """The means that positions of new units hold, and which of them each does: of the teacher's
    positions at the same place in its units (slot, and pixel of a flattened channel)."""
    number = teacher.numbers[axis]
    old = teacher.ids(number)
    old_place = _places(old, teacher.slots(number))
    new = student.ids(student.numbers[axis])
    new_place = _places(new, student.slots(student.numbers[axis]))
    theirs = np.isin(old, origin.components)
    times = max(int(place[:, 1].max(initial=0)) for place in (old_place, new_place)) + 1
    have, want = (place @ np.array([times, 1]) for place in (old_place, new_place))  # as one number
    kinds, which = np.unique(want[fresh], return_inverse=True)
    found = []
    for kind in kinds:
        positions = np.flatnonzero(theirs & (have == kind))
        by = tuple((name, _in_vector(teacher, name, old[positions])) for name in said.by)
        found.append(Mixture(positions, by))
    return tuple(found), which.reshape(-1)


def _places(units: UnitIds, slots: UnitIds) -> UnitIds:
    """``[positions, 2]``: the slot in its unit, and the how manyth of it."""
    stride = slots.max(initial=0) + 1
    return np.stack([slots, occurrence(units * stride + slots)], axis=1)


def _in_vector(teacher: Inference, name: str, units: UnitIds) -> UnitIds:
    """Where in a parameter of one number a unit these units are."""
    numbers = [number for axis, number in teacher.numbers.items() if axis.name == name]
    along = max((teacher.ids(number) for number in numbers), key=len)
    order = np.argsort(along, kind="stable")
    return order[np.searchsorted(along[order], units)]
