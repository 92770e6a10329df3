"""Which new units a group gets: those of the method, or the nearest that keep what is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Group, Inference
from net2net.infer.new_units.follow import follow
from net2net.infer.new_units.holds import (
    Enlarged,
    NotPossible,
    set_or_scaled,
    whole_copies,
    with_eps_left,
)
from net2net.infer.spaces import eps_stays
from net2net.infer.units import UnitIds
from net2net.maps.copy import replicate
from net2net.maps.methods import Method
from net2net.plan.new_positions import NewUnits
from net2net.recipe.axis_map import NEW, Index

Closest = Literal["pads", "copies"]
"""New units that come close to what is computed, where none keep it."""

CHANGES = "change what is computed, as little as they can"


@dataclass(frozen=True)
class Growing:
    """A group that gets new units.

    Attributes:
        origin: the teacher's group.
        new: units afterwards.
        known: the teacher has units of this very kind; else only copies will do.
        balanced: deal copies out evenly.
        closest: what to take where nothing keeps what is computed; None: raise.
        claimed: operations (trace and place in it) whose numbers other groups make up for.
        numbers: the student's code computes with other numbers than the teacher's.
        sets: numbers that the student's modules keep may be set.
        leaves: an ε that would have to change may stay.
    """

    origin: Group
    new: int
    known: bool
    balanced: bool
    closest: Closest | None
    claimed: frozenset[tuple[int, int]] = frozenset()
    numbers: bool = False
    sets: bool = True
    leaves: bool = False


@dataclass(frozen=True, eq=False)
class Chosen:
    """The new units of one group.

    Attributes:
        index: ``[units afterwards]``, which of the teacher's each copies, or ``NEW``.
        new: what those are that are ``NEW``; None: there are none, or all they have is drawn.
        numbers: operations (trace and place in it) whose numbers are made up for.
        multiplied: other parameters, and what they are multiplied by.
        kept: numbers that modules keep (path, attribute), and what they become.
        left: an ε stays that would have to change.
        instead: why it is not what the method says, or ``""``.
    """

    index: Index
    new: NewUnits | None = None
    numbers: frozenset[tuple[int, int]] = frozenset()
    multiplied: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[tuple[str, str], float] = field(default_factory=dict)
    left: bool = False
    instead: str = ""


def choose(
    teacher: Inference, student: Inference, growing: Growing, method: Method,
    rng: np.random.Generator, named: str,
) -> Chosen:  # fmt: skip
    """The first way that keeps what is computed, from the method's own on.

    Raises:
        GraphMismatchError: there is none.
    """
    origin, n, q = growing.origin, growing.origin.size, growing.new
    if not method.exact_before_noise or not (growing.known or origin.made_up):
        index = replicate(n, q, rng, growing.balanced or origin.equal_copies is not None)
        if method.incoming == "copy":
            return Chosen(index)
        return Chosen(np.where(np.arange(q) < n, index, NEW), _inexact(growing, method, rng))
    why: list[str] = []
    last = ""
    for way in _ways(growing, method):
        if way is None:
            even = growing.balanced or origin.equal_copies is not None
            index = replicate(n, q, rng, even)
            return Chosen(index, instead=_instead("copies", why, method))
        try:
            held = follow(teacher, way, student.traces, growing.claimed)
            if held.kept and not growing.sets:
                raise NotPossible(_set_first(held.kept))
        except NotPossible as error:
            last = str(error)
            why += [] if way.copied else [last]
            continue
        if way.copied:
            index = replicate(n, q, rng, growing.balanced or origin.equal_copies is not None)
            new, instead = NewUnits(held.positions), _instead("copies", why, method)
            return Chosen(index, new, held.numbers, held.multiplied, instead=instead)
        index = np.concatenate(
            [replicate(n, n * way.copies, rng, True), np.full(q - n * way.copies, NEW)]
        )
        bent = _bent(teacher, growing, method)
        new = NewUnits(
            held.positions, paired=method.outgoing == "pair" and not bent,
            columns=_columns(growing, method, rng),
        )  # fmt: skip
        instead = _padded(growing, method, way) or _instead("random units", why, method) or bent
        if way.closest:
            instead = f"{q - n * way.copies} of {q} units {CHANGES}: {last}"
        if held.left:
            instead = f"what is computed changes: {eps_stays(held.left)}"
        return Chosen(
            index, new, held.numbers, held.multiplied, held.kept, bool(held.left), instead
        )
    reason = origin.no_copies or origin.equal_copies
    if growing.closest:
        return Chosen(replicate(n, q, rng, growing.balanced), instead=f"copies {CHANGES}: {reason}")
    raise GraphMismatchError(
        f"{named}: {n} units cannot become {q}. {reason}, so copies would have to be equally many; "
        f"and of other new units, {last}. Choose another width for this space"
        f"{_multiples(n, q) if origin.equal_copies and not origin.no_copies else ''}.",
        set(map(str, origin.places)),
        why=f"{reason}, and of other new units, {last}",
    )


def _set_first(kept: Mapping[tuple[str, str], float]) -> str:
    """Which numbers the student would need, which is the user's own."""
    named = (f"{'.'.join(filter(None, one))} = {number:.6g}" for one, number in kept.items())
    return f"the student would need {', '.join(named)}"


def _multiples(units: int, asked: int) -> str:
    """Those that are next to what was asked for.

    >>> _multiples(96, 128), _multiples(4, 10)
    (' (192 units would do)', ' (8 or 12 units would do)')
    """
    times = asked // units
    near = " or ".join(str(units * k) for k in (times, times + 1) if k > 1)
    return f" ({near} units would do)"


def _ways(growing: Growing, method: Method) -> Iterator[Enlarged | None]:
    """From the method's own on; None: copies alone."""
    origin, n, q = growing.origin, growing.origin.size, growing.new
    copied = not origin.no_copies and not (origin.equal_copies and q % n)
    padded = method.norms == "pad" or not origin.equal_copies or not copied
    if method.incoming == "zero" and padded:
        yield from set_or_scaled(Enlarged(origin.key, n, 1, q, readers_get_zero=True))
    pads = method.norms == "pad" and origin.equal_copies
    if pads or (method.incoming != "copy" and padded):
        yield from set_or_scaled(Enlarged(origin.key, n, 1, q))
    if copied and origin.made_up:
        yield from whole_copies(origin.key, n, q // n)
        return
    if copied:
        if growing.numbers:
            yield Enlarged(origin.key, n, q // n, q, copied=True)
        yield None
        return
    last = Enlarged(origin.key, n, 1 if origin.no_copies else q // n, q)
    yield from set_or_scaled(last)
    if growing.leaves:
        yield with_eps_left(last)
    if growing.closest == "pads":
        yield replace(last, closest=True)


def _bent(teacher: Inference, growing: Growing, method: Method) -> str:
    """Why new units are not read in pairs of which one takes what the other gives, or ``""``."""
    said = (teacher.bent(axis) for axis in growing.origin.places)
    why = next((one for one in said if one), None)
    paired = method.outgoing == "pair"
    return f"units that nobody reads, for pairs will not do: {why}" if why and paired else ""


def _columns(growing: Growing, method: Method, rng: np.random.Generator) -> UnitIds | None:
    """The units whose columns those have who read new ones, if they are copied."""
    if method.outgoing != "copy":
        return None
    return rng.choice(growing.origin.components, growing.new)


def _inexact(growing: Growing, method: Method, rng: np.random.Generator) -> NewUnits | None:
    """New units that do not keep what is computed; None: all they have is drawn."""
    factor = math.sqrt(growing.origin.size / growing.new) if method.rescale else 1.0
    if method.outgoing == "random" and factor == 1:
        return None
    return NewUnits({}, columns=_columns(growing, method, rng), read_factor=factor)


def _padded(growing: Growing, method: Method, way: Enlarged) -> str:
    """Why some units are no copies where all should be."""
    origin = growing.origin
    if method.incoming != "copy":
        return ""
    if origin.no_copies:
        return f"new units copy nothing, for {origin.no_copies}"
    more = growing.new - origin.size * way.copies
    pads = method.norms == "pad" and way.copies == 1
    asked = "and the method pads there" if pads else "so copies have to be equally many"
    return f"{more} of {growing.new} units copy nothing, for {origin.equal_copies}, {asked}"


def _instead(taken: str, why: list[str], method: Method) -> str:
    kinds = {"zero": "zero ones", "copy": "units that copy nothing"}
    kind = kinds.get(method.incoming, "random ones")
    return f"{taken}, for {kind} will not do: {why[0]}" if why else ""
