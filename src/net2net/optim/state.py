"""The state of one parameter, grown by the recipe of its tensor."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.errors import OptimizerError
from net2net.infer.units import Role
from net2net.optim import own
from net2net.optim.entries import DEGREES, is_aligned, is_number
from net2net.recipe.axis_map import ABSENT, AxisMap
from net2net.recipe.recipe import Recipe
from net2net.recipe.run import grown

Policy = Literal["own", "scale", "drop"]

Factors = Mapping[int, NDArray[np.float64]]
"""Axis → ``[student's size]``: what is multiplied along it."""


def grown_state(
    name: str,
    recipe: Recipe,
    shape: torch.Size,
    state: Mapping[str, Any],
    policy: Policy,
    unknown: Literal["raise", "drop"],
) -> dict[str, Any]:
    """The student's state of a parameter, in new memory.

    Args:
        name: the student's, for messages.
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
            result[key] = _entry(recipe, value, shape, _factors(name, recipe, key, policy))
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
def _entry(recipe: Recipe, value: Tensor, shape: torch.Size, factors: Factors) -> Tensor:
    along = {axis.dim: axis for axis in recipe.axes if value.shape[axis.dim] == shape[axis.dim]}
    taken = [
        AxisMap(dim, np.where(factors[dim] == 0, ABSENT, axis.index), Role.ALIGNS)
        for dim, axis in along.items()
    ]
    result = grown(value, taken)
    for dim in along:
        factor = factors[dim]
        if ((factor != 0) & (factor != 1)).any():
            wide = [-1 if axis == dim else 1 for axis in range(result.ndim)]
            result *= torch.from_numpy(np.where(factor == 0, 1.0, factor)).to(result).view(wide)
    return result
