"""Apart: parts of parameters as an optimiser's parameters, for one step.

What is new in a parameter is stepped with its own count if it is a tensor of its own, in the same
memory: no update has to be undone, nothing is copied. Only optimisers that treat every element
alone may step parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from net2net.optim.age import first_numbers
from net2net.optim.young import Block, Cut, part
from net2net.shards import here

ELEMENTWISE = {
    torch.optim.Adam, torch.optim.AdamW, torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam,
}  # fmt: skip
"""Optimisers with a count of steps that treat every element alone."""


class Apart:
    """Groups and states of an optimiser in which parts stand for some parameters.

    Args:
        optimizer: the one.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._whole: list[tuple[dict[str, Any], list[Tensor]]] = []
        self._added: list[dict[str, Any]] = []
        self._parts: list[Tensor] = []

    def bears(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter may be cut along its first axis: parts have to be in one piece of
        memory, with their gradients and states."""
        state = self._optimizer.state.get(parameter, {})
        if "step" not in state or not all(isinstance(one, Tensor) for one in state.values()):
            return False
        assert parameter.grad is not None
        mine, grad = here(parameter), here(parameter.grad)
        along = [mine, grad, *(here(one) for one in state.values() if one.ndim)]
        return all(
            one.layout is torch.strided and one.shape == mine.shape and one.is_contiguous()
            for one in along
        )

    def put(
        self, group: dict[str, Any], cuts: Mapping[nn.Parameter, tuple[Cut, float, float]],
        decoupled: bool,
    ) -> None:  # fmt: skip
        """Put parts in the place of some of a group's parameters.

        Args:
            cuts: parameter → its parts, the age of the new ones, and times what they are updated.
            decoupled: the group's decay is no part of the update.
        """
        by_ramp: dict[float, list[Tensor]] = {}
        for parameter, (cut, age, ramp) in cuts.items():
            for number, block in enumerate(cut.old):
                by_ramp.setdefault(1.0, []).append(self._part(parameter, block, {}, again=number))
            numbers = first_numbers(group, self._optimizer.state[parameter], age)
            for block in cut.new:
                by_ramp.setdefault(ramp, []).append(self._part(parameter, block, numbers))
        self._whole.append((group, group["params"]))
        group["params"] = [one for one in group["params"] if one not in cuts]
        for ramp, parts in by_ramp.items():
            rates = {"lr": group["lr"] * ramp} if ramp != 1 else {}
            if rates and decoupled:
                rates["weight_decay"] = group["weight_decay"] / ramp
            self._added.append({**group, **rates, "params": parts})
            self._optimizer.param_groups.append(self._added[-1])

    def _part(
        self, parameter: nn.Parameter, block: Block, numbers: Mapping[str, float], again: int = 1
    ) -> Tensor:
        """A part of a parameter, of its gradient and its state.

        Args:
            numbers: what it counts, if not what the whole does; the first part (``again=0``) counts
                for the whole.
        """
        found = part(here(parameter).detach(), block)
        assert parameter.grad is not None
        found.grad = part(here(parameter.grad).detach(), block)
        state: dict[str, Tensor] = {}
        for key, value in self._optimizer.state[parameter].items():
            if value.ndim:
                state[key] = part(here(value), block)
            elif key in numbers:
                state[key] = torch.full_like(value, numbers[key])
            else:
                state[key] = value.clone() if again else value
        self._optimizer.state[found] = state
        self._parts.append(found)
        return found

    def back(self) -> None:
        """Whole parameters again."""
        for one in self._parts:
            self._optimizer.state.pop(one, None)
        for group, parameters in self._whole:
            group["params"] = parameters
        groups = self._optimizer.param_groups
        groups[:] = [one for one in groups if not any(one is its for its in self._added)]
        self._parts, self._whole, self._added = [], [], []
