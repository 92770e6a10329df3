"""Recipe: all that makes one tensor of a student, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from net2net.infer.units import Role
from net2net.recipe.axis_map import NEW, AxisMap
from net2net.recipe.factor import Factor
from net2net.recipe.fill import Fill
from net2net.recipe.stacked import Stacked

CHUNK = 2**20
"""About how many elements are measured at once."""


@dataclass(frozen=True)
class Spread:
    """Normal numbers around zero: ``fraction`` times the deviation of the source. ``deviation``:
    that, or None to measure it when the recipe is run, which takes the whole source."""

    fraction: float
    deviation: float | None


@dataclass(frozen=True)
class Uniform:
    """Numbers spread evenly between ``-bound`` and ``bound``."""

    bound: float


@dataclass(frozen=True)
class Mean:
    """The mean of the source, or None to measure it when the recipe is run."""

    value: float | None


New = Spread | Uniform | Mean
"""What positions hold that copy nothing."""


@dataclass(frozen=True)
class Perturbed:
    """Everything is multiplied by ``shrink``, and ``amount`` times ``law`` added; None: nothing."""

    shrink: float
    amount: float
    law: New | None


@dataclass(frozen=True)
class FollowedNorm:
    """The tensor is the scale of ``scale · direction / ‖direction‖``, and has to follow the norm.

    ``direction``: that tensor of the student; ``dim``: one norm for each position on it (−1: one
    for all)."""

    direction: str
    dim: int


@dataclass(frozen=True, eq=False)
class Recipe:
    """How one tensor of the student is made. What is done, in this order:

    Attributes:
        source: the teacher's tensor that it starts from. None: it is made anew, by ``fill``, or
            without one stays what it is in the student that the user built.
        factor: which of two weights, whose product the source is, it is; or None: it is the source.
        axes: the maps of the axes that grow, in ascending order: positions are selected, divided.
        new: what positions that copy nothing (``NEW``) hold.
        noise: added to all but the first copy of each unit that the tensor produces (paper,
            section 2.3), or None.
        pair: added to one of two copies of each unit that the tensor reads, and taken from the
            other, or None.
        perturbed: how all of it is shrunk and perturbed then, or None.
        stacked: what it is made of in place of one source, or None.
        norm: followed afterwards, if the tensor is the scale of a normalised weight.
        fill: what the tensor is overwritten with in the end, or None.
        added: it is of a block that was added, and another goes on as what the source was.
    """

    source: str | None
    axes: tuple[AxisMap, ...] = ()
    new: New | None = None
    noise: Spread | None = None
    norm: FollowedNorm | None = None
    fill: Fill | None = None
    pair: Spread | None = None
    perturbed: Perturbed | None = None
    factor: Factor | None = None
    stacked: Stacked | None = None
    added: bool = False

    @property
    def reads(self) -> frozenset[str]:
        """The teacher's tensors that it needs, but for those of a norm that it follows."""
        sources = () if self.source is None else (self.source,)
        weighted = (name for a in self.axes for mixture in a.mixtures for name, _ in mixture.by)
        return frozenset((*sources, *weighted))

    @property
    def copies(self) -> bool:
        """Whether it is the source as it is."""
        done = self.axes or self.perturbed or self.norm or self.fill or self.factor
        return self.source is not None and not done

    @property
    def kept(self) -> bool:
        """Whether it stays what it is in the student that the user built."""
        return self.source is None and self.fill is None and self.stacked is None


def recipe(
    source: str, tensor: Tensor, axes: Sequence[AxisMap], *, noise: float = 0.0, pair: float = 0.0,
    initial: New | None = None,
) -> Recipe:  # fmt: skip
    """The recipe for a tensor of which these axes grow.

    New units are as ``initial`` says. Without, those of a weight are drawn with the deviation of
    the teacher's; biases and norms are set to the teacher's mean (a variance of new units has to be
    positive).

    Args:
        tensor: the teacher's, to measure. On ``meta``: measured when the recipe is run.
        axes: in ascending order.
        noise: standard deviation of the noise, relative to the tensor's own.
        pair: the same for what copies' readers get with opposite signs.
    """
    weight = tensor.ndim > 1 and any(axis.role is not Role.ALIGNS for axis in axes)
    new: New | None = None
    if any((axis.index == NEW).any() for axis in axes):
        new = initial or (Spread(1.0, deviation(tensor)) if weight else Mean(mean(tensor)))
    noisy = weight and any(
        axis.role is Role.PRODUCES and axis.later_copies.any() for axis in axes if noise
    )
    spread = Spread(noise, deviation(tensor)) if noisy else None
    paired = weight and any(
        axis.role is Role.CONSUMES and axis.twin is not None for axis in axes if pair
    )
    opposite = Spread(pair, deviation(tensor)) if paired else None
    return Recipe(source, tuple(axes), new, spread, pair=opposite)


@torch.no_grad()
def deviation(tensor: Tensor) -> float | None:
    """The standard deviation of all elements; None without values."""
    if tensor.is_meta:
        return None
    return deviation_of(tensor[a:b] if tensor.ndim else tensor for a, b in chunks(tensor.shape))


def chunks(shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of rows, each of about ``CHUNK`` elements."""
    rows = max(1, CHUNK // max(1, math.prod(shape[1:])))
    size = shape[0] if shape else 1
    yield from ((first, min(first + rows, size)) for first in range(0, size, rows))


@torch.no_grad()
def deviation_of(parts: Iterable[Tensor]) -> float:
    """The standard deviation of the elements of all parts, one after the other in float64: that of
    ``deviation`` if they are the ``chunks`` of a tensor, of which no more is in memory."""
    count, middle, squares = 0, 0.0, 0.0
    for part in parts:
        numbers, size = part.to(torch.float64, copy=True).reshape(-1), part.numel()
        mean = float(numbers.mean())
        numbers -= mean
        apart = mean - middle
        squares += float(numbers @ numbers) + apart * apart * count * size / (count + size)
        middle += apart * size / (count + size)
        count += size
    return math.sqrt(squares / count) if count else math.nan


@torch.no_grad()
def mean(tensor: Tensor) -> float | None:
    """The mean of all elements; of integers and flags (masks) the nearest; None without values."""
    if tensor.is_meta:
        return None
    value = float(tensor.double().mean())
    return value if tensor.is_floating_point() else float(round(value))
