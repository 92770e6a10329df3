"""What new units of a group may hold, and what that makes of every parameter.

A copy holds what its original holds. Other new units hold zero, or the mean of the old ones, or
anything at all, and what they may hold differs from place to place: before a layer norm the mean
(which that subtracts), behind it zero. Following the group through the trace ends at parameters:
what their positions for new units hold, and by what number those for old units are multiplied,
since a norm over more units divides by another deviation.

Of n units that become q by adding means, a layer norm finds the variance n/q of what it was. With
all that is written into the stream times √(q/n), it finds the same again: no ε has to change, and
what scales the output (γ, or the columns of who reads it) is multiplied by √(n/q). An RMS norm
does so with zeros in place of means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from net2net.infer.units import Axis
from net2net.trace.graph import Node


class Holds(StrEnum):
    """What new units hold in a tensor."""

    ZERO = "zero"
    MEAN = "mean"
    """The mean of the old units."""
    ANYTHING = "anything"


@dataclass(frozen=True)
class State:
    """A group's units in one tensor.

    Attributes:
        holds: what new units hold.
        factor: what the values of old units are multiplied by.
        by: parameters, one number a unit, that the old units are multiplied by before their mean is
            taken: those that follow on the way to where the plain mean is needed.
    """

    holds: Holds
    factor: float = 1.0
    by: tuple[str, ...] = ()


class Put(StrEnum):
    """What positions of new units on a parameter's axis hold."""

    ZERO = "zero"
    ONE = "one"
    MEAN = "mean"
    """The mean over the positions of old units."""
    DRAWN = "drawn"
    UNREAD = "unread"
    """What they are multiplied with is zero, so they hold anything."""


@dataclass(frozen=True)
class Positions:
    """One axis of a parameter, where it has units of the group.

    Attributes:
        put: what positions of new units hold.
        factor: what positions of old units are multiplied by.
        offset: what is added to them then.
        by: as in ``State``, for a mean.
        reads: it is read with here: columns of a weight.
    """

    put: Put
    factor: float = 1.0
    offset: float = 0.0
    by: tuple[str, ...] = ()
    reads: bool = False


@dataclass(frozen=True)
class Held:
    """What parameter axes hold for new units; the operations (trace and place in it) whose
    numbers, made of sizes, that makes up for; what other parameters are multiplied by; what
    numbers that modules keep (their path, the attribute) become; and where numbers stay that would
    have to change."""

    positions: dict[Axis, Positions]
    numbers: frozenset[tuple[int, int]]
    multiplied: dict[str, float]
    kept: dict[tuple[str, str], float]
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enlarged:
    """A group that grows by units that copy nothing.

    Attributes:
        key: the group's.
        old: units before.
        copies: how often each of them is there afterwards.
        new: units afterwards, with those that copy nothing.
        readers_get_zero: what reads new units shall read zeros, so that its columns can be
            anything.
        closest: what is made of zeros and means is taken for what is demanded of it.
        copied: all new units are copies, of every unit equally many if any sum or mean is over
            them. What they hold is known then, but sums are so many times as large.
        smaller: before sums of copies, they are made as many times smaller; else what is made of
            the sums is.
        eps: what is normalised is not scaled; the number that is added to its variance is, if the
            module keeps it.
        left: if no module keeps it, it stays, and what is computed changes by that.
    """

    key: int
    old: int
    copies: int
    new: int
    readers_get_zero: bool = False
    closest: bool = False
    copied: bool = False
    smaller: bool = False
    eps: bool = False
    left: bool = False

    @property
    def ratio(self) -> float:
        """By how much a mean over all units shrinks where new ones are zero."""
        return 1.0 if self.copied else self.new / (self.old * self.copies)

    @property
    def times(self) -> float:
        """By how much a sum over all units grows."""
        return self.copies if self.copied else 1.0


def whole_copies(key: int, old: int, copies: int) -> tuple[Enlarged, Enlarged]:
    """The ways to make up for what equally many copies of a group change."""
    one = Enlarged(key, old, copies, old * copies, copied=True)
    return one, replace(one, smaller=True)


def set_or_scaled(one: Enlarged) -> tuple[Enlarged, Enlarged]:
    """The ways to keep what norms put out: by weights alone, or with another ε."""
    return one, replace(one, eps=True)


def with_eps_left(one: Enlarged) -> Enlarged:
    """The way that lets an ε be that is written into the code."""
    return replace(one, eps=True, left=True)


class NotPossible(Exception):
    """New units of this group cannot be had without changing what is computed: why."""


@dataclass(frozen=True)
class Demand:
    """What has to be held in a tensor; None: whatever."""

    holds: Holds | None = None
    factor: float | None = None
    by: tuple[str, ...] = ()


class Scaled(Exception):
    """What a tensor holds has to be multiplied by this, for it meets units that are."""

    def __init__(self, node: Node, factor: float) -> None:
        super().__init__(node, factor)
        self.node, self.factor = node, factor


def same(a: float, b: float) -> bool:
    """Whether two factors are one, but for rounding."""
    return math.isclose(a, b, rel_tol=1e-12)
