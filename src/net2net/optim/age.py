"""How large the updates of young positions would be, had they their own count of steps.

Adam divides its means by ``1 - β^t``, with one ``t`` for a tensor. A position whose means were zero
at step ``T - t`` is younger: it gets the update of an old one. The ratio of both is what
``correction`` gives; its update times that is a young one's, but for ε.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer


def correction(
    optimizer: Optimizer, group: Mapping[str, Any], state: Mapping[str, Any], step: float, age: int
) -> float:
    """What updates of positions of this age are multiplied by; 1 where nothing depends on it.

    Args:
        group: the parameter's.
        state: the parameter's.
        step: the tensor's count, after the step.
        age: steps since the positions were new, at least 1.
    """
    if "betas" not in group or "step" not in state or step <= age:
        return 1.0
    return _size(optimizer, group, state, age) / _size(optimizer, group, state, step)


def first_numbers(
    group: Mapping[str, Any], state: Mapping[str, Any], age: float
) -> dict[str, float]:
    """What a state of this age counts."""
    numbers = {"step": age}
    if "mu_product" in state:
        first, decay = float(group["betas"][0]), float(group["momentum_decay"])
        numbers["mu_product"] = _product(first, decay, int(age))
    return numbers


def _size(
    optimizer: Optimizer, group: Mapping[str, Any], state: Mapping[str, Any], step: float
) -> float:
    """What a step of this number multiplies mean / √(mean of squares) by, but for the rate."""
    first, second = (float(beta) for beta in group["betas"])
    if "exp_inf" in state:  # Adamax
        return 1 / (1 - math.pow(first, step))
    if "exp_avg_sq" not in state:  # Lion
        return 1.0
    squares = math.sqrt(1 - math.pow(second, step))
    if "mu_product" in state:  # NAdam; its share of the newest gradient is left as it is
        return squares / (1 - _product(first, float(group["momentum_decay"]), int(step) + 1))
    if isinstance(optimizer, torch.optim.RAdam):
        return squares / (1 - math.pow(first, step)) * _rectified(second, step)
    return squares / (1 - math.pow(first, step))


def _product(beta: float, decay: float, steps: int) -> float:
    """NAdam's product of its β over the steps so far (Dozat, 2016)."""
    product = 1.0
    for step in range(1, steps + 1):
        product *= beta * (1 - 0.5 * 0.96 ** (step * decay))
        if product < 1e-12:
            break
    return product


def _rectified(beta: float, step: float) -> float:
    """RAdam's factor (Liu et al., 2020, algorithm 2); 0 in the first steps, in which the variance
    is not known, and where it does not divide."""
    most = 2 / (1 - beta) - 1
    length = most - 2 * step * beta**step / (1 - beta**step)
    if length <= 5:
        return 0.0
    return math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
