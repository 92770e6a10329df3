"""Match the units of two inferences: from the teacher's graph and the student's to one map per
parameter axis.

Nothing is assumed about how a layout grows (flattened, interleaved, shuffled, stacked): the student
was traced at its new sizes, so both graphs say where their units lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Group, Inference, mixed
from net2net.infer.units import Axis, Role, UnitIds, in_blocks, joined, occurrence
from net2net.maps.methods import Method
from net2net.maps.shares import SHARES, shared
from net2net.plan.choose import Chosen, Closest, Growing, choose
from net2net.plan.new_positions import NewUnits, with_new
from net2net.plan.numbers import changes
from net2net.plan.rescale import followed
from net2net.recipe.axis_map import ABSENT, NEW, AxisMap, axis_map, in_pairs
from net2net.recipe.draw import generator

ALIKE = "shares that are alike, for opposite noise will not do"
"""What is said of copies that no noise tells apart."""


@dataclass(frozen=True, eq=False)
class Matched:
    """How a student is made from its teacher.

    Attributes:
        maps: of every parameter axis that grows.
        taken: what was taken where the method could not be: the axes, and why.
        numbers: operations (trace and place in it) whose numbers new units make up for.
        multiplied: parameters that make up for the number of units besides those that they have,
            and what they are multiplied by.
        kept: numbers that modules keep (path, attribute), and what they become.
        left: an ε stays that would have to change.
    """

    maps: dict[Axis, AxisMap]
    taken: tuple[tuple[frozenset[Axis], str], ...] = ()
    numbers: frozenset[tuple[int, int]] = frozenset()
    multiplied: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[tuple[str, str], float] = field(default_factory=dict)
    left: bool = False


def match(
    teacher: Inference, student: Inference, *, method: Method, balanced: bool, seed: int,
    strict: bool = True, closest: Closest | None = None, sets: bool = True, leaves: bool = False,
) -> Matched:  # fmt: skip
    """A map for every parameter axis that grows.

    Args:
        strict: without, axes may shrink, and units be read otherwise than the teacher's, which
            changes it more.
        closest: the new units of groups of which none keep what is computed.
        sets: numbers that the student's modules keep may be set.
        leaves: an ε that would have to change may stay.

    Raises:
        GraphMismatchError: the student has too few units of a kind, or of a kind that the teacher
            has not; or no new units of a kind keep what is computed.
    """
    found = _match_units(teacher, student, method, balanced, seed, strict, closest, sets, leaves)
    source = found.source
    if strict:
        _check_order(teacher, student, source)
    maps: dict[Axis, AxisMap] = {}
    alike: list[tuple[frozenset[Axis], str]] = []
    grown_on: dict[Axis, list[tuple[Group, Group, NewUnits]]] = defaultdict(list)
    for group, origin, chosen in found.grown:
        if chosen.new is not None:
            for axis in group.places:
                grown_on[axis].append((group, origin, chosen.new))
    for axis, number in student.numbers.items():
        old_number = teacher.numbers[axis]
        old, new = teacher.ids(old_number), student.ids(number)
        old_slots, slots = teacher.slots(old_number), student.slots(number)
        if np.array_equal(source[new], old) and np.array_equal(slots, old_slots):
            continue  # the same units in the same order
        index = positions(old, old_slots, new, slots, source)
        role = student.role(axis)
        if strict and role == Role.CONSUMES and not np.isin(np.arange(len(old)), index).all():
            raise GraphMismatchError(
                f"some of the {len(old)} positions of {axis} have no counterpart in the student. "
                "Choose another width for this space.",
                {str(axis)},
            )
        if role is Role.READS and (index == ABSENT).any():
            raise GraphMismatchError(
                f"some units on {axis} would be read by nobody, and what is made of zeros there is "
                "not zero. Choose another width for this space.",
                {str(axis)},
            )
        if not role.reads:
            index[index == ABSENT] = NEW
        one = axis_map(axis.dim, index, role)
        if method.pair and one.divisor is not None:
            if (why := student.bent(axis)) is None:
                one = replace(one, twin=in_pairs(index))
            else:
                alike.append((frozenset([axis]), f"{ALIKE}: {why}"))
        if found.weights is not None and one.divisor is not None:
            one = replace(one, divisor=None, scale=shared(index, found.weights[new]))
        for group, origin, new_units in grown_on.get(axis, ()):
            one = with_new(one, axis, teacher, student, origin, group, new_units)
        maps[axis] = one
    taken = (
        *(
            (frozenset(group.places), chosen.instead)
            for group, _, chosen in found.grown
            if chosen.instead
        ),
        *alike,
    )
    numbers = frozenset[tuple[int, int]]().union(*(one.numbers for _, _, one in found.grown))
    multiplied: dict[str, float] = {}
    for _, _, chosen in found.grown:
        for name, factor in chosen.multiplied.items():
            multiplied[name] = multiplied.get(name, 1.0) * factor
    kept: dict[tuple[str, str], float] = {}
    for _, _, chosen in found.grown:
        for which, value in chosen.kept.items():
            if kept.setdefault(which, value) != value:
                raise GraphMismatchError(
                    f"'{'.'.join(which)}' would have to be {kept[which]:.6g} for some units and "
                    f"{value:.6g} for others. Choose another width for one of the spaces.",
                    module=which[0],
                )
    left = any(chosen.left for _, _, chosen in found.grown)
    return Matched(maps, taken, numbers, multiplied, kept, left)


@dataclass(frozen=True, eq=False)
class _Units:
    """What the student's units are made from.

    Attributes:
        source: for every component, the teacher's, ``NEW`` or ``ABSENT``.
        grown: the groups that grow, with the teacher's and how.
        weights: for every component, what its shares are in proportion to; None: even.
    """

    source: NDArray[np.int64]
    grown: list[tuple[Group, Group, Chosen]]
    weights: NDArray[np.float64] | None


def _match_units(
    teacher: Inference,
    student: Inference,
    method: Method,
    balanced: bool,
    seed: int,
    strict: bool,
    closest: Closest | None,
    sets: bool,
    leaves: bool,
) -> _Units:
    """For every student component, the teacher's component that it is made from."""
    source = np.full(len(student.component), ABSENT, dtype=np.int64)
    weights = np.ones(len(student.component)) if method.shares != "even" else None
    grown: list[tuple[Group, Group, Chosen]] = []
    seen: dict[str, int] = {}
    scaled = followed(student)
    numbers = any(
        (number, change.place) not in scaled
        for number, pair in enumerate(zip(teacher.traces, student.traces, strict=False))
        for change in changes(*pair)
    )
    for key, group in student.groups.items():
        origin = teacher.groups.get(key) or (
            _alike(teacher, student, group) if strict else _same_axes(teacher, group)
        )
        if origin is None:
            continue
        n, q = origin.size, group.size
        if strict and q < n and key in teacher.groups:
            raise GraphMismatchError(
                f"{_describe(group)}: the teacher has {n} units of this kind, the student {q}. "
                "Choose another width for this space.",
                set(map(str, group.places)),
            )
        if strict and q != n and (origin.fixed or group.fixed):
            raise GraphMismatchError(
                f"{_describe(group)}: grew from {n} to {q} units, but "
                f"{origin.fixed or group.fixed}. Choose another width for this space.",
                set(map(str, group.places)),
            )
        name = str(next(iter(group.places)))
        nth = seen[name] = seen.get(name, -1) + 1
        if q <= n:
            index = np.arange(q)
        else:
            rng = generator(seed, name, str(nth))
            claimed = frozenset(scaled).union(*(one.numbers for _, _, one in grown))
            growing = Growing(
                origin, q, key in teacher.groups, balanced, closest, claimed, numbers, sets, leaves
            )
            chosen = choose(teacher, student, growing, method, rng, _describe(group))
            grown.append((group, origin, chosen))
            index = chosen.index
            if weights is not None:
                weights[group.components] = SHARES[method.shares](index, rng)
        source[group.components] = np.where(
            index == NEW, NEW, origin.components[np.maximum(index, 0)]
        )
    return _Units(source, grown, weights)


def _check_order(teacher: Inference, student: Inference, source: NDArray[np.int64]) -> None:
    """Units of one component have to meet in the student as they do in the teacher.

    Groups count: so many units on these axes, through these operations. Where code adds channels in
    another order to themselves, that is not enough. ``h + h.flip(1) * shuffled(h, 2)`` of 6
    channels adds h₅·h₀ to h₀ and h₀·h₅ to h₅; of 10, h₆·h₆ to h₃ and h₃·h₃ to h₆. Both are a
    component of two units with one signature; but if 3 and 6 copied 0 and 5, the student would add
    the square of one where the teacher adds the product of both.

    So every step of a unit through an operation (``_passages``) that a component takes in the
    student has to be one that the component which it copies takes in the teacher.

    Args:
        source: ``[the student's units]``, the teacher's component for each component.

    Raises:
        GraphMismatchError: some step is not.
    """
    every = np.arange(len(teacher.component))
    same_kind = np.zeros(len(source), dtype=bool)
    for key in teacher.groups.keys() & student.groups.keys():
        same_kind[student.groups[key].components] = True
    # Components whose steps add up to the same hash meet alike: the rest is looked at one by one.
    total_have, total_want = _totals(teacher, every), _totals(student, source)
    same_kind &= (source >= 0) & (total_want != total_have[np.maximum(source, 0)])
    if not same_kind.any():
        return
    have = np.concatenate([found for found, _ in _passages(teacher, every)])
    doubtful = ((found, whose, same_kind[whose]) for found, whose in _passages(student, source))
    lost = joined([whose[some][~np.isin(found[some], have)] for found, whose, some in doubtful])
    if len(lost):
        group = list(student.groups.values())[student.group_of[lost[0]]]
        raise GraphMismatchError(
            f"{_describe(group)}: the code orders them in a way that differs at this width. "
            "Choose another width for this space.",
            set(map(str, group.places)),
        )


def _passages(
    inference: Inference, source: UnitIds
) -> Iterator[tuple[NDArray[np.uint64], UnitIds]]:
    """``[units]`` twice, for some operations after the other: for every unit's step a hash, and the
    unit's own component.

    A step is a unit going through an operation, from one number to the next (``Units.steps``). The
    hash is of the operation's number, the teacher's component, and the slots before and after: what
    it is called in teacher and student alike. In ``_check_order``'s example, {3, 6} takes steps
    that {0, 5} does not.

    A step that the teacher has not passes for one of its n with odds of about n/2⁶⁴; the student is
    then measured by ``verify``, as any.

    Args:
        source: ``[units]``, for every component the teacher's.
    """
    for number, old, new in in_blocks(inference.units.steps):
        owner = inference.component[old]
        result = number.astype(np.uint64) * _FACTOR
        for column in (source[owner], inference.slot[old], inference.slot[new]):
            result = (result + column.astype(np.uint64)) * _FACTOR
        yield mixed(result), owner


_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def _totals(inference: Inference, source: UnitIds) -> NDArray[np.uint64]:
    """``[units]``: the sum of the hashes of all steps of every component."""
    result = np.zeros(len(inference.component), dtype=np.uint64)
    for found, owner in _passages(inference, source):
        np.add.at(result, owner, found)
    return result


def _alike(teacher: Inference, student: Inference, group: Group) -> Group | None:
    """The teacher's units that are made alike, though they are not read alike.

    Where code cuts an axis by position (channel shuffle, then chunk), some student units end on
    another side of the cut than any teacher unit of their make. They copy one that everything
    which makes and follows them makes and follows too, and that other weights read; failing that,
    they start afresh. Either way nobody reads them: their columns are zero.
    """
    if group.fixed:
        known = any(one.fixed == group.fixed for one in teacher.groups.values())  # as outputs
        said = (
            f"the student's graph ties these units in a way that the teacher's does not "
            f"({group.fixed}). Choose another width for this space."
            if known
            else f"of these there can be no more, since at the student's widths {group.fixed}, "
            "which does not show at the teacher's (of a single head, say). "
            "Leave this space as it is."
        )
        raise GraphMismatchError(
            f"{_describe(group)}: {said}",
            set(map(str, group.places)),
            why="" if known else group.fixed,
        )
    kept = {axis: k for axis, k in group.places.items() if not student.role(axis).reads}
    read = group.places.keys() - kept.keys()
    alike = [
        one
        for one in teacher.groups.values()
        if kept.items() <= one.places.items() and not read & one.places.keys() and not one.fixed
    ]
    return max(alike, key=lambda one: one.size, default=None)


def _same_axes(teacher: Inference, group: Group) -> Group | None:
    """The teacher's units on the same parameter axes, whatever operations they pass."""
    alike = [one for one in teacher.groups.values() if one.places.keys() == group.places.keys()]
    return max(alike, key=lambda one: one.size, default=None)


def _describe(group: Group) -> str:
    axes = ", ".join(map(str, list(group.places)[:3]))
    return f"units on {axes}" + (", …" if len(group.places) > 3 else "")


def positions(
    old: UnitIds, old_slots: UnitIds, new: UnitIds, slots: UnitIds, source: UnitIds
) -> UnitIds:
    """Teacher position for every student position: the same unit, the same slot in it, and, where
    that appears several times (pixels of a flattened channel), the same time.

    Two channels of two pixels each become three, of which the last copies channel 0:

        >>> none = np.zeros(6, dtype=np.int64)
        >>> old, new = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
        >>> positions(old, none[:4], new, none, source=np.array([0, 1, 0]))
        array([0, 1, 2, 3, 0, 1])

    Args:
        old, old_slots: ``[the teacher's size]``, component and slot along its axis.
        new, slots: ``[the student's size]``, the same along the student's.
        source: the teacher's component for each of the student's, ``NEW`` or ``ABSENT``.

    Returns:
        ``[the student's size]``: positions, ``NEW`` for units that copy nothing, and ``ABSENT``
        where what is copied is not on this axis.
    """
    stride = max(old_slots.max(initial=0), slots.max(initial=0)) + 1
    have = old * stride + old_slots
    wanted = source[new]
    want = np.where(wanted >= 0, wanted * stride + slots, wanted)
    order = np.argsort(have, kind="stable")
    ranked = have[order]
    place = np.searchsorted(ranked, want) + occurrence(new * stride + slots)
    inside = np.minimum(place, len(have) - 1)
    found = (place < len(have)) & (ranked[inside] == want) if len(have) else np.zeros(0, bool)
    return np.where(found, order[inside], np.where(wanted == NEW, NEW, ABSENT))
