"""What optimisers keep of each parameter: of which degree it is in gradients and in weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

DEGREES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("exp_avg", "momentum_buffer", "grad_avg", "exp_inf", "prev"), (1, 0)),
    **dict.fromkeys(("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"), (2, 0)),
    **dict.fromkeys(("row_var", "col_var", "variance"), (2, 0)),  # Adafactor's
    "acc_delta": (0, 2),  # Adadelta's, of updates
    **dict.fromkeys(("ax", "step_size"), (0, 1)),  # of ASGD and Rprop
}
"""Entry → its degree in gradients, and in weights: twice the gradient makes four times
``exp_avg_sq``."""


def is_number(value: Any) -> bool:
    """Whether it counts (steps) and belongs to no position."""
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, Tensor) and value.ndim == 0)
    )


def is_aligned(value: Any, shape: Sequence[int]) -> bool:
    """Whether it lies along the axes of a parameter of this shape, all of them or factored (an
    axis of one). Bytes are compressed, and do not."""
    return (
        isinstance(value, Tensor)
        and (value.is_floating_point() or value.dtype == torch.bool)
        and value.ndim == len(shape)
        and all(size in {1, wanted} for size, wanted in zip(value.shape, shape, strict=True))
    )


FIRST = {"step": 0.0, "mu_product": 1.0}
"""Numbers that count → what they are at first (``mu_product`` is NAdam's)."""
