"""The state of one parameter, grown by the recipe of its tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.errors import OptimizerError
from net2net.optim import own
from net2net.optim.entries import DEGREES, is_aligned, is_number
from net2net.optim.own import runs
from net2net.recipe.axis_map import Index
from net2net.recipe.memory import selected, zeros_like
from net2net.recipe.recipe import Recipe

Policy = Literal["own", "scale", "drop"]

Factors = Mapping[int, NDArray[np.float64]]
"""Axis → ``[student's size]``: what is multiplied along it."""

Along = Mapping[int, tuple[Index, NDArray[np.float64]]]
"""Axis that grows → for each of the student's positions where it is from, and times what."""

Make = Callable[[str, Tensor, Along], Tensor]
"""Makes one tensor of the state of the student's parameter of a name, from the teacher's."""


def grown_state(
    name: str,
    recipe: Recipe,
    shape: torch.Size,
    state: Mapping[str, Any],
    policy: Policy,
    unknown: Literal["raise", "drop"],
    make: Make,
) -> dict[str, Any]:
    """The student's state of a parameter, in new memory.

    Args:
        name: the student's.
        shape: the teacher's.

    Raises:
        OptimizerError: an entry is of a kind that is not known, or has no scaled form.
    """
    result: dict[str, Any] = {}
    for key, value in state.items():
        if is_number(value):
            result[key] = value.clone() if isinstance(value, Tensor) else copy.copy(value)
        elif is_aligned(value, shape):
            if policy == "scale" and key not in DEGREES and recipe.axes:
                raise OptimizerError(
                    f"how '{key}' of '{name}' follows gradients is not known, so it cannot be "
                    'scaled. Choose state="own" or "drop".'
                )
            factors = _factors(name, recipe, key, policy)
            along = {
                axis.dim: (axis.index, factors[axis.dim])
                for axis in recipe.axes
                if value.shape[axis.dim] == shape[axis.dim]
            }
            result[key] = make(name, value, along)
        elif unknown == "raise":
            what = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else value
            raise OptimizerError(
                f"the optimiser's '{key}' of '{name}' is {what!s:.60}, which does not lie along "
                f"the parameter ({tuple(shape)}): it is compressed, or of a kind that is not "
                'known. Pass unknown="drop" to start such parameters\' state anew, or state="drop".'
            )
        else:
            return {}
    return result


def _factors(name: str, recipe: Recipe, key: str, policy: Policy) -> Factors:
    if policy == "own":
        return {dim: mask.astype(float) for dim, mask in own.masks(recipe).items()}
    gradient, weight = DEGREES.get(key, (0, 0))
    ofs = own.gradients(name, recipe), own.weights(recipe)
    return {
        axis.dim: ofs[0][axis.dim] ** gradient * ofs[1][axis.dim] ** weight
        * (axis.index >= 0)
        for axis in recipe.axes
    }  # fmt: skip


@torch.no_grad()
def entry(name: str, value: Tensor, along: Along) -> Tensor:
    """One tensor of the state: selected like the parameter, times what is along each axis. Much of
    it is zero, so what is not is written into zeros."""
    result = zeros_like(value, sizes(value, along))
    for pieces in product(*(_pieces(*one) for one in along.values())):
        source, target = value, result
        for dim, (begin, taken, factor) in zip(along, pieces, strict=True):
            target = target.narrow(dim, begin, len(taken))
            if (np.diff(taken) == 1).all():
                source = source.narrow(dim, int(taken[0]), len(taken))
            else:
                source = selected(source, dim, taken)
            if (factor != 1).any():
                wide = [-1 if axis == dim else 1 for axis in range(value.ndim)]
                source = source * torch.from_numpy(factor).to(value).view(wide)
        target.copy_(source)
    return result


def sizes(value: Tensor, along: Along) -> list[int]:
    """The shape that a tensor of the state grows to."""
    return [len(along[dim][0]) if dim in along else size for dim, size in enumerate(value.shape)]


Piece = tuple[int, Index, NDArray[np.float64]]
"""Positions in a row that hold something: where they begin, where each is from, times what."""


def _pieces(index: Index, factor: NDArray[np.float64]) -> list[Piece]:
    return [(a, index[a:b], factor[a:b]) for a, b in runs(factor != 0)]
