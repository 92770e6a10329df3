"""How far rounding alone takes a model's outputs: measured, by runs that round otherwise.

This is Monte Carlo arithmetic: what every operation puts out is moved at random by up to one unit
in its last place, and so is every weight. What the outputs differ by then is what another order of
sums, or weights of which a third is no number of their type, can explain.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

RUNS = 3
"""How often a model runs with other roundings."""
TIMES = 4.0
"""How many times that is allowed: two models differ by the roundings of both, those inside sums
count as one each time, and a few runs do not show the largest."""
LEAST = 16.0
"""How many units in the last place are always allowed."""


class Jitter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Moves what operations put out by up to one unit in the last place. ``seed``: of which way;
    the model's own random numbers are as they were."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def moved(self, tensor: Tensor) -> Tensor:
        """A tensor with other last places."""
        if not tensor.is_floating_point() or tensor.is_meta:
            return tensor
        device = tensor.device
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        noise = torch.rand(
            tensor.shape, generator=self._generators[device], device=device, dtype=torch.float32
        )
        step = torch.finfo(tensor.dtype).eps * (2 * noise - 1)
        made = tensor.double() * (1 + step.double())
        limits = torch.finfo(tensor.dtype)  # a mask of the least number stays one
        return torch.where(
            tensor.isfinite(), made.clamp(limits.min, limits.max).to(tensor.dtype), tensor
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        looks = any(one.alias_info is not None for one in func._schema.returns)
        computes = any(isinstance(item, Tensor) for item in args) and not looks
        return tree_map(self._maybe, result) if computes else result

    def _maybe(self, item: Any) -> Any:
        return self.moved(item) if isinstance(item, Tensor) else item


def tolerated(noise: float, dtype: torch.dtype) -> float:
    """The largest relative difference that rounding explains, of a model that it moves so far."""
    return max(TIMES * noise, LEAST * torch.finfo(dtype).eps)
