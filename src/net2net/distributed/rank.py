"""What one rank has of a tensor: made from rows of the whole, or cut out of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from net2net.recipe.axis_map import Index
from net2net.shards import here, is_sharded, positions


@torch.no_grad()
def fill(tensor: Tensor, make: Callable[[Index | None], Tensor]) -> None:
    """Fill what this rank has of a tensor, in place.

    Args:
        make: makes these rows of the whole, or all.
    """
    mine = here(tensor)
    if mine.numel() == 0:
        return
    rows = positions(tensor, 0) if is_sharded(tensor) and tensor.ndim else None
    made = make(None if rows is None or len(rows) == tensor.shape[0] else rows)
    for dim in range(1, tensor.ndim):
        made = selected(made, dim, positions(tensor, dim))
    mine.copy_(made)


def selected(tensor: Tensor, dim: int, index: Index) -> Tensor:
    """These positions along an axis; the tensor itself, if they are all."""
    if len(index) == tensor.shape[dim] and (index == np.arange(len(index))).all():
        return tensor
    return tensor.index_select(dim, torch.from_numpy(index).to(tensor.device))
