"""Factor: one of two weights whose product a weight is, by its singular value decomposition.

W = U Σ Vᵀ, of its rows by all its other axes together; balanced, so that one of the two is √Σ Vᵀ
and the other U √Σ. No two of that inner width come closer to W (Eckart and Young). Decomposed in
float64 on the CPU, wherever the weight lies, so that one machine makes the same bits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Of a weight with groups of rows, each of which is decomposed by itself.

    Attributes:
        values: ``[groups, n]``, the singular values, in descending order.
        ranks: of each group, how many of them are not rounding of the weight's type.
    """

    values: Tensor
    ranks: tuple[int, ...]

    def left_out(self, each: int) -> float:
        """‖W − W₂ W₁‖ / ‖W‖ (Frobenius) for as many values kept of each group."""
        whole = float(self.values.norm())
        return float(self.values[:, each:].norm()) / whole if whole else 0.0


@torch.no_grad()
def spectrum(weight: Tensor, groups: int) -> Spectrum:
    """The singular values of a weight ``[outputs, inputs per group, *kernel]``.

    Raises:
        RuntimeError: it holds a number that is not finite, or has no such groups.
    """
    return _spectrum(weight, torch.linalg.svdvals(_matrices(weight, groups)))


Factors = tuple[Tensor, Spectrum, Tensor]
"""U ``[groups, rows, n]``, the singular values, and Vᵀ ``[groups, n, columns]``."""


@torch.no_grad()
def decomposed(weight: Tensor, groups: int) -> Factors:
    """As ``spectrum``, with the factors."""
    left, values, right = torch.linalg.svd(_matrices(weight, groups), full_matrices=False)
    largest = right.gather(2, right.abs().argmax(2, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0)  # else the library that decomposes would choose it
    return left * sign.mT, _spectrum(weight, values), right * sign


def _matrices(weight: Tensor, groups: int) -> Tensor:
    return weight.detach().cpu().double().reshape(groups, weight.shape[0] // groups, -1)


def _spectrum(weight: Tensor, values: Tensor) -> Spectrum:
    size = max(weight.shape[0], weight[0].numel())
    rounding = torch.finfo(weight.dtype).eps * size**0.5
    ranks = (values > rounding * values.amax(1, keepdim=True)).sum(1)
    return Spectrum(values, tuple(ranks.tolist()))


@dataclass(frozen=True)
class Factor:
    """Which of the two weights of a source, and what stands between them.

    Inner units beyond the rank are read by nobody yet: the first weight has new rows for them, and
    the second columns of zeros.

    Attributes:
        second: the one that reads the inner units, ``U √Σ``; else the one that makes them.
        groups: of a convolution.
        gain: an activation φ stands between, with φ(v) − φ(−v) = gain · v, so that every singular
            value has two inner units, v and −v. None: nothing does.
    """

    second: bool
    groups: int = 1
    gain: float | None = None

    @property
    def other(self) -> Factor:
        """What the other of the two is."""
        return replace(self, second=not self.second)

    @property
    def units(self) -> int:
        """Inner units for one singular value."""
        return 1 if self.gain is None else 2

    def made(self, found: Factors, shape: Sequence[int]) -> tuple[Tensor, NDArray[np.bool_]]:
        """The weight in float64, and for each of its rows whether it is new (and zero so far).

        Args:
            found: of the source, by ``decomposed``.
            shape: ``[inner, inputs per group, *kernel]`` of the first, ``[outputs, inner per group,
                1, …]`` of the second.
        """
        each = shape[1] if self.second else shape[0] // self.groups
        left, known, right = found
        part = left.mT if self.second else right  # [groups, n, …]
        made = part.new_zeros(self.groups, each, part.shape[2])
        new = np.ones((self.groups, each), dtype=bool)
        for group, rank in enumerate(known.ranks):
            many = min(rank, each // self.units)
            rows = part[group, :many] * known.values[group, :many, None].sqrt()
            if self.gain is not None:
                rows = torch.stack([rows, -rows], 1).flatten(0, 1)
            made[group, : len(rows)] = rows / self.gain if self.second and self.gain else rows
            new[group, : len(rows)] = False
        if self.second:
            return made.mT.reshape(tuple(shape)), np.zeros(shape[0], dtype=bool)
        return made.reshape(tuple(shape)), new.reshape(-1)
