"""How the numbers of a tensor lie in memory: a student's as its teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def laid_out_like(tensor: Tensor, teacher: Tensor) -> Tensor:
    """The same values, channels last if the teacher's lie so."""
    kind = _CHANNELS_LAST.get(tensor.ndim)
    if kind is None or teacher.ndim != tensor.ndim or teacher.is_contiguous():
        return tensor
    return (
        tensor.contiguous(memory_format=kind)
        if teacher.is_contiguous(memory_format=kind)
        else tensor
    )
