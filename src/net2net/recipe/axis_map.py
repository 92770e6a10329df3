"""AxisMap: where the positions along one axis of a student's tensor come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from net2net.infer.units import Role

Index = NDArray[np.int64]
"""For every position of the student's axis the teacher's position, or one of these."""

NEW = -1
"""The unit copies none of the teacher's: its position holds something new."""
ABSENT = -2
"""The teacher has the unit, but not on this axis: nobody may read it, so its position is zero."""
MIXED = -3
"""The position holds the first mixture of the map; the one before this is the second, and so on."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """The mean over some positions along an axis.

    Attributes:
        positions: ``[m]``, the teacher's.
        by: what each is multiplied by first: vectors of the teacher, and where in them (``[m]``).
    """

    positions: Index
    by: tuple[tuple[str, Index], ...] = ()


@dataclass(frozen=True, eq=False)
class AxisMap:
    """One axis of one tensor: ``student = teacher[index] / divisor · scale + offset``, position by
    position.

    Even shares stay a division, for a third is no float: ``w / 3`` and ``w · ⅓`` differ in bits.

    Attributes:
        dim: the axis.
        index: ``[student's size]``, the teacher's position for each of the student's, or ``NEW``,
            ``ABSENT`` or ``MIXED``.
        role: what the tensor does with the units along the axis; a label, for reports and noise.
        divisor: ``[student's size]``, the number of copies that share a unit's weight (paper,
            equation 2), or None: 1 everywhere.
        scale: ``[student's size]``, what positions are multiplied by, to make up for a number that
            the code makes of sizes or for the deviation that a norm finds, or None: 1 everywhere.
        offset: ``[student's size]``, what is added then, or None: 0 everywhere.
        mixtures: what ``MIXED`` positions hold.
        twin: ``[student's size]``, for positions in pairs the first of the two, for others
            themselves, or None: there are no pairs. What is drawn for the first is what the second
            gets; of what reads them, its opposite.
        values: what ``NEW`` positions hold in the student, in order, or None: what is drawn. Of
            the tensor's shape, with as many positions on this axis as are ``NEW``.
    """

    dim: int
    index: Index
    role: Role
    divisor: Index | None = None
    scale: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    mixtures: tuple[Mixture, ...] = ()
    twin: Index | None = None
    values: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """The student's size."""
        return len(self.index)

    @property
    def signs(self) -> NDArray[np.float64]:
        """``[student's size]``: −1 for the second of a pair of positions that read units, 0 for
        those in no pair, 1 for others."""
        own = np.arange(len(self.index))
        if self.twin is None or self.role is not Role.CONSUMES:
            return np.ones(len(own))
        second = self.twin != own
        return np.where(second, -1.0, np.where(np.isin(own, self.twin[second]), 1.0, 0.0))

    @property
    def later_copies(self) -> NDArray[np.bool_]:
        """``[student's size]``: all but the first copy of each unit."""
        _, first = np.unique(self.index, return_index=True)
        later = np.ones(len(self.index), dtype=bool)
        later[first] = False
        return later & (self.index >= 0)


def in_pairs(index: Index) -> Index:
    """``[positions]``: the twins of positions that copy the same, two by two, in order.

    >>> in_pairs(np.array([0, 1, 0, 0, 0]))
    array([0, 1, 0, 3, 3])
    """
    twin = np.arange(len(index))
    for unit in np.unique(index[index >= 0]):
        copies = np.flatnonzero(index == unit)
        even = len(copies) // 2 * 2
        twin[copies[1:even:2]] = copies[0:even:2]
    return twin


def axis_map(dim: int, index: Index, role: Role) -> AxisMap:
    """The map that copies units, and divides what reads them among the copies (paper, equation 2:
    ``U[:, j] = W[:, g(j)] / |{x: g(x) = g(j)}|``)."""
    if role is not Role.CONSUMES:
        return AxisMap(dim, index, role)
    used = np.maximum(index, 0)
    counts = np.bincount(used[index >= 0], minlength=1)
    copies = np.where(index >= 0, counts[np.minimum(used, len(counts) - 1)], 1)
    return AxisMap(dim, index, role, copies if (copies > 1).any() else None)
