"""Positions of units that copy nothing: from what they have to hold to the map of an axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from net2net.infer.inference import Group, Inference
from net2net.infer.new_units import Positions, Put
from net2net.infer.units import Axis, Role, UnitIds, occurrence
from net2net.recipe.axis_map import ABSENT, MIXED, NEW, AxisMap, Mixture


def with_new(
    one: AxisMap, axis: Axis, teacher: Inference, student: Inference, origin: Group, group: Group,
    wanted: Mapping[Axis, Positions],
) -> AxisMap:  # fmt: skip
    """The map of an axis on which a group has units that copy nothing.

    Args:
        one: the map so far, where those are ``NEW``.
        origin, group: the teacher's group and the student's.
        wanted: what parameter axes hold for them.
    """
    units = student.ids(student.numbers[axis])
    mine = np.isin(units, group.components)
    fresh = mine & (one.index == NEW)
    idle = Positions(Put.ZERO if one.role is Role.CONSUMES else Put.DRAWN)
    said = wanted.get(axis, idle)
    index, mixtures = one.index.copy(), one.mixtures
    if said.put in {Put.ZERO, Put.ONE}:
        index[fresh] = ABSENT
    elif said.put is Put.MEAN:
        found, which = _mixtures(axis, teacher, student, origin, fresh, said)
        index[fresh] = MIXED - len(mixtures) - which
        mixtures = (*mixtures, *found)
    scaled = mine & ~fresh if said.put in {Put.DRAWN, Put.ONE} else mine
    offset = np.where(scaled, said.offset, 0.0)
    if said.put is Put.ONE:
        offset[fresh] = said.factor
    return replace(
        one,
        index=index,
        scale=_combined(one.scale, np.where(scaled, said.factor, 1.0), 1.0, np.multiply),
        offset=_combined(one.offset, offset, 0.0, np.add),
        mixtures=mixtures,
    )


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
    kinds, which = np.unique(new_place[fresh], axis=0, return_inverse=True)
    found = []
    for kind in kinds:
        positions = np.flatnonzero(theirs & (old_place == kind).all(axis=1))
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
