"""Which new units a group gets: those of the method, or the nearest that keep what is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from net2net.errors import GraphMismatchError
from net2net.infer.flow import follow
from net2net.infer.inference import Group, Inference
from net2net.infer.new_units import Enlarged, NotPossible, Positions
from net2net.infer.units import Axis
from net2net.maps.copy import replicate
from net2net.maps.methods import Method
from net2net.recipe.axis_map import NEW, Index


@dataclass(frozen=True)
class Growing:
    """A group that gets new units.

    Attributes:
        origin: the teacher's group.
        new: units afterwards.
        known: the teacher has units of this very kind; else only copies will do.
        balanced: deal copies out evenly.
        strict: keep what is computed.
    """

    origin: Group
    new: int
    known: bool
    balanced: bool
    strict: bool


@dataclass(frozen=True, eq=False)
class Chosen:
    """The new units of one group.

    Attributes:
        index: ``[units afterwards]``, which of the teacher's each copies, or ``NEW``.
        positions: what parameter axes hold for those that are ``NEW``; None: what is drawn.
        instead: why it is not what the method says, or ``""``.
    """

    index: Index
    positions: Mapping[Axis, Positions] | None = None
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
    if not method.exact or not growing.known:
        index = replicate(n, q, rng, growing.balanced or origin.equal_copies is not None)
        drawn = np.where(np.arange(q) < n, index, NEW) if method.incoming == "random" else index
        return Chosen(drawn)
    why: list[str] = []
    for way in _ways(growing, method):
        if way is None:
            even = growing.balanced or origin.equal_copies is not None
            index = replicate(n, q, rng, even)
            return Chosen(index, None, _instead("copies", why, method))
        try:
            positions = follow(teacher, way, student.traces)
        except NotPossible as error:
            why.append(str(error))
            continue
        index = np.concatenate(
            [replicate(n, n * way.copies, rng, True), np.full(q - n * way.copies, NEW)]
        )
        return Chosen(
            index,
            positions,
            _instead("units that copy nothing", why, method) or _padded(growing, method),
        )
    if not growing.strict:
        return Chosen(replicate(n, q, rng, growing.balanced))
    reason = origin.no_copies or origin.equal_copies
    raise GraphMismatchError(
        f"{named}: {n} units cannot become {q}. {reason}, so copies would have to be equally many; "
        f"and of other new units, {why[-1]}. Choose another width for this space.",
        set(map(str, origin.places)),
    )


def _ways(growing: Growing, method: Method) -> Iterator[Enlarged | None]:
    """From the method's own on; None: copies alone."""
    origin, n, q = growing.origin, growing.origin.size, growing.new
    copied = not origin.no_copies and not (origin.equal_copies and q % n)
    padded = method.norms == "pad" or not origin.equal_copies or not copied
    if method.incoming == "zero" and padded:
        yield Enlarged(origin.key, n, 1, q, readers_get_zero=True)
    if method.incoming in {"zero", "random"} and padded:
        yield Enlarged(origin.key, n, 1, q)
    if copied:
        yield None
    else:
        yield Enlarged(origin.key, n, 1 if origin.no_copies else q // n, q)


def _padded(growing: Growing, method: Method) -> str:
    """Why some units are no copies where all should be."""
    origin = growing.origin
    if method.incoming != "copy":
        return ""
    if origin.no_copies:
        return f"new units copy nothing, for {origin.no_copies}"
    more = growing.new % origin.size
    return (
        f"{more} of {growing.new} units copy nothing, for {origin.equal_copies}, so copies have to "
        "be equally many"
    )


def _instead(taken: str, why: list[str], method: Method) -> str:
    return f"{taken}, for of {method.incoming} ones, {why[0]}" if why else ""
