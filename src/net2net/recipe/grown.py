"""A tensor of the teacher at the student's size: units copied, shared, mixed, and zero beside.

Where all of a teacher's units lie side by side in the student, what is new is beside them: they are
copied at once, into memory that is zero. Else units are chosen along one axis after the other: as
this is bound by memory, columns first, on the smaller matrix, and divided in place; rows last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor

from net2net.recipe.axis_map import ABSENT, MIXED, AxisMap, Index, Mixture
from net2net.recipe.memory import cloned, selected, zeros_like

CACHED = 2**18
"""About so many numbers of a tensor are averaged at once."""

PIECES = 64
"""So many pieces of a tensor are copied one by one at the most."""


def grown(
    tensor: Tensor, axes: Sequence[AxisMap], rows: Index | None = None,
    vector: Callable[[str], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """The paper's equation 2 on every axis, in new memory: rows ``U[j] = W[g(j)]``, columns
    ``U[:, j] = W[:, g(j)] / |{x: g(x) = g(j)}|``.

    Args:
        rows: which of the student's these are already, if not all of the teacher's; mixed ones
            among them are left open.
        vector: reads what mixtures are weighted by.
    """
    if rows is None and (placed := _placed(tensor, axes)) is not None:
        for axis in sorted(axes, key=lambda axis: -axis.dim):
            _mix(placed, axis, placed, axis.index, vector)
        return placed
    result = tensor if axes else cloned(tensor)
    for axis in sorted(axes, key=lambda axis: -axis.dim):
        index, divisor, source = axis.index, axis.divisor, result
        if rows is not None and axis.dim == 0:
            index = index[rows]
            divisor = None if divisor is None else divisor[rows]
        else:
            result = selected(result, axis.dim, np.maximum(index, 0))
        if divisor is not None:
            result /= along(torch.from_numpy(divisor).to(result), axis.dim, result.ndim)
        if (index == ABSENT).any():
            fill(result, axis.dim, np.flatnonzero(index == ABSENT), 0)
        if source is not result:
            _mix(result, axis, source, None, vector)
    return result


def _placed(tensor: Tensor, axes: Sequence[AxisMap]) -> Tensor | None:
    """The teacher's units where the student has them, and zeros beside them: what lies side by side
    in both is copied at once. None where that are many pieces, nothing is beside them, some are to
    be divided, or mixed and not there."""
    pieces = [_pieces(axis.index) for axis in axes]
    if not (axes and 0 < math.prod(map(len, pieces)) <= PIECES):
        return None
    for axis in axes:
        mixed = [position for mixture in axis.mixtures for position in mixture.positions]
        if axis.divisor is not None or (mixed and not np.isin(mixed, axis.index).all()):
            return None
    shape = list(tensor.shape)
    for axis in axes:
        shape[axis.dim] = axis.size
    result = zeros_like(tensor, shape)
    for piece in product(*pieces):
        to, at = [slice(None)] * tensor.ndim, [slice(None)] * tensor.ndim
        for axis, (begin, first, size) in zip(axes, piece, strict=True):
            to[axis.dim], at[axis.dim] = slice(begin, begin + size), slice(first, first + size)
        result[tuple(to)] = tensor[tuple(at)]
    return result


def _pieces(index: Index) -> list[tuple[int, int, int]]:
    """Where units lie as the teacher's do: from where on in the student, from where on in the
    teacher, how many. Empty if the student has no others."""
    here = np.flatnonzero(index >= 0)
    if len(here) == len(index):
        return []
    apart = (np.diff(here) != 1) | (np.diff(index[here]) != 1)
    ends = [*np.flatnonzero(apart) + 1, len(here)]
    return [(int(here[a]), int(index[here[a]]), b - a) for a, b in pairwise([0, *ends]) if b > a]


def _mix(
    result: Tensor, axis: AxisMap, source: Tensor, places: Index | None,
    vector: Callable[[str], Tensor] | None,
) -> None:  # fmt: skip
    """Put the mixtures of an axis where they belong. ``source``: what is mixed: the teacher's, or
    what the student has of it, ``places``."""
    for number, mixture in enumerate(axis.mixtures):
        chosen = mixture.positions if places is None else _first(places)[mixture.positions]
        mean = averaged(_chosen(source, axis.dim, chosen), axis.dim, mixture, vector)
        put_at(result, axis.dim, np.flatnonzero(axis.index == MIXED - number), mean)


def _first(index: Index) -> Index:
    """Where in the student the teacher's positions are: ``[teacher's size]``, −1 for nowhere."""
    at = np.full(index.max() + 1, -1)
    here = np.flatnonzero(index >= 0)[::-1]
    at[index[here]] = here
    return at


def _chosen(tensor: Tensor, dim: int, places: Index) -> Tensor:
    if (np.diff(places) == 1).all():  # no copy
        return tensor.narrow(dim, int(places[0]), len(places))
    return selected(tensor, dim, places)


def averaged(
    chosen: Tensor, dim: int, mixture: Mixture, vector: Callable[[str], Tensor] | None
) -> Tensor:
    """The weighted mean over an axis of what was chosen, which stays as an axis of size 1. Summed
    in float64, so that it is as near to the mean of what units hold as the type allows: of some
    columns (or rows) at once, which the processor's cache holds."""
    weights = []
    for name, places in mixture.by:
        assert vector is not None
        weights.append(vector(name)[torch.from_numpy(places)])

    def of(part: Tensor) -> Tensor:
        weighted = part.double()
        for weight in weights:
            weighted = weighted * along(weight, dim, part.ndim)
        return weighted.mean(dim, keepdim=True).to(part)

    other = 1 if dim == 0 else 0
    if chosen.ndim < 2 or not chosen.numel():
        return of(chosen)
    size = max(1, CACHED * chosen.shape[other] // chosen.numel())
    return torch.cat([of(part) for part in torch.split(chosen, size, other)], other)


def put_at(result: Tensor, dim: int, at: Index, values: Tensor) -> None:
    """Put values, or one value for all, at positions of an axis."""
    if is_block(at):
        result.narrow(dim, int(at[0]), at.size).copy_(values)
        return
    size = list(result.shape)
    size[dim] = at.size
    result.index_copy_(dim, torch.from_numpy(at).to(result.device), values.expand(size))


def is_block(at: Index) -> bool:
    """Whether positions, in order, are neighbours."""
    return bool(at.size) and bool(at[-1] - at[0] == at.size - 1)


def along(vector: Tensor, dim: int, ndim: int) -> Tensor:
    """A vector as one that broadcasts along an axis of a tensor with so many."""
    return vector.reshape([-1 if axis == dim else 1 for axis in range(ndim)])


def fill(tensor: Tensor, dim: int, places: Index, value: float) -> None:
    """One number at positions of an axis."""
    tensor.index_fill_(dim, torch.from_numpy(places).to(tensor.device), value)
