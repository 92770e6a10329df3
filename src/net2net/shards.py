"""Tensors of which a process has a part (torch's DTensor): the part, where it lies, the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Any) -> TypeGuard[DTensor]:
    """Whether other processes have parts of it, or copies that go with it."""
    return hasattr(tensor, "device_mesh")


def here(tensor: Tensor) -> Tensor:
    """What this process has of it, in the same memory."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of it. Every process that has a part has to call this."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def positions(tensor: Tensor, dim: int) -> NDArray[np.int64]:
    """Which positions along an axis this process has, in their order there."""
    every = torch.arange(tensor.shape[dim])
    if not is_sharded(tensor):
        return cast("NDArray[np.int64]", every.numpy())
    from torch.distributed.tensor import distribute_tensor

    along = [_first_axis(one, dim) for one in tensor.placements]
    mesh = tensor.device_mesh
    mine = distribute_tensor(every.to(mesh.device_type), mesh, along, src_data_rank=None)
    return cast("NDArray[np.int64]", mine.to_local().cpu().numpy())


def _first_axis(placement: Any, dim: int) -> Any:
    """What becomes of a tensor of one axis under a placement, of which this axis is the first."""
    from torch.distributed.tensor import Replicate, Shard

    if getattr(placement, "dim", None) != dim:
        return Replicate()
    if hasattr(placement, "split_factor"):  # rows that were dealt out before in another order
        return type(placement)(0, split_factor=placement.split_factor)
    return Shard(0)
