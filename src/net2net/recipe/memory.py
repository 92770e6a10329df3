"""Large tensors on the CPU, in memory that is quick to write for the first time.

The system hands out fresh memory page by page, when each is first written to: with pages of 4 KiB
that takes longer than the write. numpy asks Linux for pages of 2 MiB where an array is large, and
torch does not. So numpy makes what is large; all else is torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from net2net.infer.units import UnitIds

LARGE = 2**22
"""From so many bytes on numpy asks for large pages."""

_INTS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By how many bytes a number has, a type of as many that numpy knows."""


def empty_like(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of this shape, of the type (but for ``dtype``) and on the device of another, whose
    numbers are what happens to be there."""
    kind = dtype or like.dtype
    if not _large(like, shape, kind):
        return like.new_empty(tuple(shape), dtype=kind)
    return torch.from_numpy(np.empty(shape, f"i{kind.itemsize}")).view(kind)


def zeros_like(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of zeros of this shape, of the type and on the device of another."""
    if not _large(like, shape, like.dtype):
        return like.new_zeros(tuple(shape))
    return torch.from_numpy(np.zeros(shape, f"i{like.itemsize}")).view(like.dtype)


def cloned(tensor: Tensor) -> Tensor:
    """A copy."""
    if not tensor.is_contiguous() or not _by_numpy(tensor):
        return tensor.clone()  # its numbers lie as before
    return empty_like(tensor, tensor.shape).copy_(tensor)


def selected(tensor: Tensor, dim: int, index: UnitIds) -> Tensor:
    """These positions of an axis, in new memory."""
    kind, plain = tensor.dtype, _by_numpy(tensor) and tensor.numel() > 0
    if plain and dim and kind.itemsize in _INTS and kind is not torch.float32:
        numbers = tensor.detach().view(_INTS[kind.itemsize]).numpy()
        return torch.from_numpy(numbers.take(index, dim)).view(kind)  # thrice as fast
    places = torch.from_numpy(np.ascontiguousarray(index)).to(tensor.device)
    if not plain:
        return tensor.index_select(dim, places)
    shape = list(tensor.shape)
    shape[dim] = len(index)
    return torch.index_select(tensor.detach(), dim, places, out=empty_like(tensor, shape))


def as_array(tensor: Tensor) -> NDArray[np.float32] | None:
    """The memory of a tensor of float32 that lies in order, as an array; None of others."""
    plain = _by_numpy(tensor) and tensor.dtype is torch.float32 and tensor.is_contiguous()
    return tensor.detach().numpy() if plain else None


def _large(like: Tensor, shape: Sequence[int], kind: torch.dtype) -> bool:
    size = prod(shape) * kind.itemsize
    return _by_numpy(like) and kind.itemsize in _INTS and size >= LARGE


def _by_numpy(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu"
    return plain and not tensor.is_complex() and not tensor.is_quantized
