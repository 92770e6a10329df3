"""Carried: updates of new positions while they are younger than the optimiser's count of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from net2net.errors import OptimizerError
from net2net.optim.age import correction
from net2net.optim.own import Runs, runs
from net2net.shards import here, is_sharded, positions

NEGLIGIBLE = 1e-7
"""A correction that is nearer to 1 is none in float32."""

CARRIED = "net2net_carried.json"
"""The file of a checkpoint that says what of its optimiser is young."""

Block = tuple[tuple[int, int, int], ...]
"""A part of a tensor: axis, begin and size."""


@dataclass
class Young:
    """A parameter with positions that are younger than its state.

    Attributes:
        own: axis → runs of positions that are not. An element is young unless all its positions
            are own; of a tensor that is wholly new, no positions are.
        begin: the parameter's count of steps when they were new.
    """

    own: dict[int, Runs]
    begin: float
    saved: list[Tensor] = field(default_factory=list)

    def blocks(self, parameter: Tensor) -> Iterator[Block]:
        """The young elements of what this process has of a parameter, each once."""
        before: list[Block] = [()]
        for dim, every in sorted(self.own.items()):
            owned = _held(every, parameter, dim)
            for one in before:
                for begin, end in others(owned, here(parameter).shape[dim]):
                    yield (*one, (dim, begin, end - begin))
            before = [(*one, (dim, a, b - a)) for one in before for a, b in owned]


def _held(owned: Runs, parameter: Tensor, dim: int) -> Runs:
    """Where these runs along an axis are in what this process has."""
    if not is_sharded(parameter):
        return owned
    mask = np.zeros(parameter.shape[dim], dtype=bool)
    for begin, end in owned:
        mask[begin:end] = True
    return runs(mask[positions(parameter, dim)])


def others(owned: Runs, size: int) -> Runs:
    """The runs between these."""
    edges = [0, *(edge for run in owned for edge in run), size]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)


def state_of(
    young: Mapping[str, Young], rewarm: float, over: int, count: int = 0
) -> dict[str, Any]:
    """What ``Carried.load_state_dict`` reads, as types of JSON."""
    return {
        "rewarm": rewarm,
        "over": over,
        "count": count,
        "young": {
            name: {
                "begin": one.begin,
                "own": [[dim, [list(run) for run in runs]] for dim, runs in one.own.items()],
            }
            for name, one in young.items()
        },
    }


class Carried:
    """Scales the updates of what is new in a student, as hooks around the optimiser's steps.

    Positions that a growth made have no past, and their parameter's ``step`` has: without, the
    first updates that Adam gives them are 3.2 times as large as those of a fresh Adam. What the
    teacher had is not touched. The hooks remove themselves when all corrections have become 1 (with
    ``rewarm`` other than 1 they stay).

    To go on after an interruption, load the student and the optimiser's state as always, and then
    ``Carried(optimizer, student).load_state_dict(saved)``.

    Args:
        optimizer: the student's.
        model: the student, whose names of parameters the state is kept by.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module) -> None:
        self._optimizer = optimizer
        self._parameters = dict(model.named_parameters())
        self._young: dict[str, Young] = {}
        self._count = 0
        self._rewarm = 1.0
        self._over = 1
        self._hooks: list[RemovableHandle] = []
        self._now: list[tuple[nn.Parameter, Young, float, float, list[Block]]] = []

    @property
    def active(self) -> bool:
        """Whether steps are still changed."""
        return bool(self._hooks)

    def begin(self, young: Mapping[str, Young], rewarm: float, over: int) -> None:
        """Watch these parameters; ``rewarm`` and ``over`` as for ``Growth.carry``."""
        self._young, self._rewarm, self._over = dict(young), rewarm, over
        self._attach()

    def remove(self) -> None:
        """Change no more steps."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._young.clear()
        self._now.clear()

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs, as types of JSON."""
        return state_of(self._young, self._rewarm, self._over, self._count)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another left off.

        Raises:
            OptimizerError: it is no such state, or one of another model.
        """
        try:
            young = {
                name: Young(
                    {
                        int(dim): tuple((int(a), int(b)) for a, b in owned)
                        for dim, owned in one["own"]
                    },
                    float(one["begin"]),
                )
                for name, one in state["young"].items()
            }
            rewarm, over, count = float(state["rewarm"]), int(state["over"]), int(state["count"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptimizerError(
                f"this is no state of Carried: {type(error).__name__}: {error}. "
                "Give what Carried.state_dict returned."
            ) from error
        for name, one in young.items():
            shape = self._parameters[name].shape if name in self._parameters else None
            if shape is None or any(
                dim >= len(shape) or (owned and owned[-1][1] > shape[dim])
                for dim, owned in one.own.items()
            ):
                raise OptimizerError(
                    f"the state is of '{name}', which this model has not, or of another size. "
                    "Load it for the student that it was saved for."
                )
        self.remove()
        self._count = count
        self.begin(young, rewarm, over)

    def _attach(self) -> None:
        if any(self._changes(name, one) for name, one in self._young.items()):
            self._hooks = [
                self._optimizer.register_step_pre_hook(self._before),
                self._optimizer.register_step_post_hook(self._after),
            ]

    def _changes(self, name: str, one: Young) -> bool:
        """Whether the next step of a parameter is, or any later one will be."""
        parameter = self._parameters[name]
        group = self._group_of(parameter)
        return group is not None and (
            self._rewarm != 1 or abs(self._factor(parameter, group, one) - 1) > NEGLIGIBLE
        )

    def _group_of(self, parameter: nn.Parameter) -> dict[str, Any] | None:
        for group in self._optimizer.param_groups:
            if any(one is parameter for one in group["params"]):
                return group
        return None

    def _factor(self, parameter: nn.Parameter, group: Mapping[str, Any], one: Young) -> float:
        """What the next update of its young elements is multiplied by."""
        state = self._optimizer.state.get(parameter, {})
        step = float(state.get("step", self._count + one.begin)) + 1
        age = max(1, round(step - one.begin))
        ramp = 1 + (self._rewarm - 1) * min(age / self._over, 1)
        return ramp * correction(self._optimizer, group, state, step, age)

    @torch.no_grad()
    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._now = []
        names = {parameter: name for name, parameter in self._parameters.items()}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                one = self._young.get(names.get(parameter, ""))
                if one is None or parameter.grad is None:
                    continue
                factor = self._factor(parameter, group, one)
                if self._rewarm == 1 and abs(factor - 1) <= NEGLIGIBLE:
                    del self._young[names[parameter]]
                elif factor != 1 and (blocks := list(one.blocks(parameter))):
                    keep = 1 - _decay(optimizer, group)
                    self._save(parameter, one, blocks)
                    self._now.append((parameter, one, factor, keep, blocks))

    def _save(self, parameter: nn.Parameter, one: Young, blocks: list[Block]) -> None:
        parts = [_part(here(parameter), block) for block in blocks]
        if not one.saved:
            one.saved = [torch.empty_like(part) for part in parts]
        torch._foreach_copy_(one.saved, parts)

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._count += 1
        for parameter, one, factor, keep, blocks in self._now:
            parts = [_part(here(parameter), block) for block in blocks]
            if keep != 1:
                torch._foreach_mul_(one.saved, keep)
            torch._foreach_lerp_(parts, one.saved, 1 - factor)
        self._now = []
        if not self._young:
            self.remove()


def _part(tensor: Tensor, block: Block) -> Tensor:
    for dim, begin, size in block:
        tensor = tensor.narrow(dim, begin, size)
    return tensor


def _decay(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """By what fraction a step shrinks weights besides its update."""
    always = isinstance(optimizer, (torch.optim.Adafactor, torch.optim.Muon))
    if not (always or group.get("decoupled_weight_decay")):
        return 0.0
    return float(group["lr"]) * float(group["weight_decay"])
