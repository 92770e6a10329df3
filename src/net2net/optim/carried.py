"""Carried: updates of new positions while they are younger than the optimiser's count of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from net2net.errors import OptimizerError
from net2net.optim.age import correction
from net2net.optim.apart import ELEMENTWISE, Apart
from net2net.optim.young import Cut, Young, part, state_of
from net2net.shards import here

NEGLIGIBLE = 1e-7
"""A correction that is nearer to 1 is none in float32."""

CARRIED = "net2net_carried.json"
"""The file of a checkpoint that says what of its optimiser is young."""


class Carried:
    """Has what is new in a student updated by its own age, as hooks around the optimiser's steps.

    Positions that a growth made have no past, and their parameter's ``step`` has: without, the
    first updates that Adam gives them are 3.2 times as large as those of a fresh Adam. New rows are
    tensors of their own during a step, with a count of their own; updates of other new positions
    are scaled behind it. What the teacher had is not touched. The hooks remove themselves when all
    corrections have become 1 (with ``rewarm`` other than 1 they stay).

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
        self._apart = Apart(optimizer)
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
        self._apart.back()
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
                # whoever saves after a step that failed
                self._optimizer.register_state_dict_pre_hook(lambda _: self._apart.back()),
            ]

    def _changes(self, name: str, one: Young) -> bool:
        """Whether the next step of a parameter is, or any later one will be."""
        parameter = self._parameters[name]
        group = self._group_of(parameter)
        (count,) = self._counts([parameter])
        return group is not None and (
            self._rewarm != 1 or abs(self._factor(parameter, group, one, count)[2] - 1) > NEGLIGIBLE
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
        if all(isinstance(one, Tensor) for one in found) and len({c.device for c in found}) == 1:
            return [float(one) for one in torch.stack(found).tolist()]
        return [None if one is None else float(one) for one in found]

    def _factor(
        self, parameter: nn.Parameter, group: Mapping[str, Any], one: Young, count: float | None
    ) -> tuple[int, float, float]:
        """How old the young elements of a parameter are after the next step, and what its update
        of them is multiplied by: for warming up again, and for their age.

        Args:
            count: the parameter's steps so far.
        """
        step = (self._count + one.begin if count is None else count) + 1
        age = max(1, round(step - one.begin))
        ramp = 1 + (self._rewarm - 1) * min(age / self._over, 1)
        state = self._optimizer.state.get(parameter, {})
        return age, ramp, correction(self._optimizer, group, state, step, age)

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._prepare(optimizer, args, kwargs, torch.compiler.is_compiling())

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # it would compile how lists change
    @torch.no_grad()
    def _prepare(self, optimizer: Optimizer, args: Any, kwargs: Any, compiled: bool) -> None:
        self._apart.back()  # of a step that failed
        self._now = {}
        names = {self._parameters[name]: name for name in self._young}
        alone = not compiled and self._may_part(args, kwargs)
        for group in list(optimizer.param_groups):
            found = [one for one in group["params"] if one in names and one.grad is not None]
            keep = 1 - _decay(optimizer, group) if found else 1.0
            cuts: dict[nn.Parameter, tuple[Cut, float, float]] = {}
            for parameter, count in zip(found, self._counts(found), strict=True):
                one = self._young[names[parameter]]
                age, ramp, size = self._factor(parameter, group, one, count)
                if self._rewarm == 1 and abs(size - 1) <= NEGLIGIBLE:
                    del self._young[names[parameter]]
                elif ramp * size != 1:
                    cut = one.cut(parameter, alone and self._apart.bears(parameter))
                    if cut.new:
                        cuts[parameter] = (cut, age - 1, ramp)
                    self._save(parameter, cut, ramp * size, keep)
            if cuts:
                self._apart.put(group, cuts, decoupled=keep != 1)

    def _may_part(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether nobody sees parts but the step: no closure (it may ask for gradients again), no
        hook between ours and the step."""
        before, after = (list(hook.hooks_dict_ref() or ()) for hook in self._hooks[:2])
        closure = any(one is not None for one in (*args[1:], *kwargs.values()))
        return (
            type(self._optimizer) in ELEMENTWISE
            and not closure
            and before[-1] == self._hooks[0].id
            and after[0] == self._hooks[1].id
        )

    def _save(self, parameter: nn.Parameter, cut: Cut, factor: float, keep: float) -> None:
        """What young elements within what is old would be without the update."""
        mine = here(parameter).detach()
        parts = [part(mine, block) for block in cut.within]
        for one, kept in zip(parts, cut.saved, strict=True):
            torch.mul(one, keep, out=kept)
        now, saved = self._now.setdefault(factor, ([], []))
        now.extend(parts)
        saved.extend(cut.saved)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._apart.back()
        self._count += 1
        for factor, (parts, saved) in self._now.items():
            if parts:
                torch._foreach_lerp_(parts, saved, 1 - factor)
        self._now = {}
        if not self._young:
            self.remove()


def _decay(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """By what fraction a step shrinks weights besides its update."""
    always = isinstance(optimizer, (torch.optim.Adafactor, torch.optim.Muon))
    if not (always or group.get("decoupled_weight_decay")):
        return 0.0
    return float(group["lr"]) * float(group["weight_decay"])
