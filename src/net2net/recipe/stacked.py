"""A tensor that holds several of the teacher's: experts, each a copy of one MLP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.recipe.draw import drawn, normal


@dataclass(frozen=True)
class Stacked:
    """Tensors of the teacher joined into one, and as many copies of that along a new first axis.

    Attributes:
        parts: the teacher's tensors.
        dim: the axis that they are joined on.
        mixed: their positions on it take turns; else they lie behind each other.
        transposed: then the two axes are exchanged.
        copies: how many, or None: there is one, and no new axis.
        scale: what all is multiplied by.
        noise: on all copies but the first, relative to the deviation of the teacher's numbers.
        first: the one without a new axis is the first copy, and gets no noise.
    """

    parts: tuple[str, ...]
    dim: int = 0
    mixed: bool = False
    transposed: bool = False
    copies: int | None = None
    scale: float = 1.0
    noise: float = 0.0
    first: bool = True

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """One copy, without noise."""
        one = torch.cat(list(parts), self.dim)
        if self.mixed:
            one = torch.stack(list(parts), self.dim + 1).flatten(self.dim, self.dim + 1)
        return (one.T if self.transposed else one) * self.scale

    def made(
        self, read: Callable[[str], Tensor], name: str, seed: int, rows: NDArray[np.int64]
    ) -> Tensor:
        """These rows of the tensor of this name."""
        parts = [read(part) for part in self.parts]
        one = self.joined(parts)
        if self.copies is None:
            result = one[torch.from_numpy(rows).to(one.device)]
            later = np.full(len(rows), not self.first)
        else:
            result = one.expand(len(rows), *one.shape).clone()
            later = rows > 0
        if self.noise and later.any():
            size = self.noise * float(one.double().std(correction=0))
            numbers = drawn(normal, seed, ("noise", name), rows[later], result.shape[1:]) * size
            result[torch.from_numpy(np.flatnonzero(later))] += torch.from_numpy(numbers).to(result)
        return result.contiguous()
