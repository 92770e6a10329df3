"""Carried: updates of new positions while they are younger than the optimiser's count of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    _known: list[Block] | None = None

    def parts(self, parameter: Tensor) -> list[Tensor]:
        """The young elements of what this process has of a parameter, each once, in its memory."""
        if self._known is None:
            self._known = list(self.blocks(parameter))
        return [_part(here(parameter).detach(), block) for block in self._known]

    def blocks(self, parameter: Tensor) -> Iterator[Block]:
        """Where they are."""
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
        self._now: dict[float, tuple[list[Tensor], list[Tensor]]] = {}

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
        (count,) = self._counts([parameter])
        return group is not None and (
            self._rewarm != 1 or abs(self._factor(parameter, group, one, count) - 1) > NEGLIGIBLE
        )

    def _group_of(self, parameter: nn.Parameter) -> dict[str, Any] | None:
        for group in self._optimizer.param_groups:
            if any(one is parameter for one in group["params"]):
                return group
        return None

    def _counts(self, parameters: Sequence[nn.Parameter]) -> list[float | None]:
        """How many steps each has made, where that is counted. Counts on an accelerator are read
        at once, for each reading waits for it."""
        found = [self._optimizer.state.get(one, {}).get("step") for one in parameters]
        away = [one for one in found if isinstance(one, Tensor) and one.device.type != "cpu"]
        if away and len({one.device for one in away}) == 1:
            read = iter(torch.stack(away).tolist())
            found = [next(read) if any(one is its for its in away) else one for one in found]
        return [None if one is None else float(one) for one in found]

    def _factor(
        self, parameter: nn.Parameter, group: Mapping[str, Any], one: Young, count: float | None
    ) -> float:
        """What the next update of its young elements is multiplied by.

        Args:
            count: the parameter's steps so far.
        """
        step = (self._count + one.begin if count is None else count) + 1
        age = max(1, round(step - one.begin))
        ramp = 1 + (self._rewarm - 1) * min(age / self._over, 1)
        state = self._optimizer.state.get(parameter, {})
        return ramp * correction(self._optimizer, group, state, step, age)

    @torch.no_grad()
    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._now = {}
        names = {self._parameters[name]: name for name in self._young}
        for group in optimizer.param_groups:
            found = [one for one in group["params"] if one in names and one.grad is not None]
            keep = 1 - _decay(optimizer, group) if found else 1.0
            known: dict[tuple[float | None, float], float] = {}
            for parameter, count in zip(found, self._counts(found), strict=True):
                name = names[parameter]
                one = self._young[name]
                if (count, one.begin) not in known:
                    known[count, one.begin] = self._factor(parameter, group, one, count)
                factor = known[count, one.begin]
                if self._rewarm == 1 and abs(factor - 1) <= NEGLIGIBLE:
                    del self._young[name]
                elif factor != 1:
                    self._save(parameter, one, factor, keep)

    def _save(self, parameter: nn.Parameter, one: Young, factor: float, keep: float) -> None:
        """What the young elements would be without the update."""
        parts = one.parts(parameter)
        if not one.saved:
            one.saved = [torch.empty_like(part) for part in parts]
        for part, kept in zip(parts, one.saved, strict=True):
            torch.mul(part, keep, out=kept)
        at = self._now.setdefault(factor, ([], []))
        at[0].extend(parts)
        at[1].extend(one.saved)

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._count += 1
        for factor, (parts, saved) in self._now.items():
            torch._foreach_lerp_(parts, saved, 1 - factor)
        self._now = {}
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
