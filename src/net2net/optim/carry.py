"""carry: a teacher's optimiser becomes its student's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Literal, cast, get_args

from torch import nn
from torch.optim import Optimizer

from net2net.errors import OptimizerError
from net2net.optim import own
from net2net.optim.carried import Carried
from net2net.optim.groups import grown_groups
from net2net.optim.state import Make, Policy, entry
from net2net.optim.states import Past, grown_states
from net2net.plan.plan import Plan


def carry(
    plan: Plan,
    teacher: Mapping[str, nn.Parameter],
    student: nn.Module,
    optimizer: Optimizer,
    *,
    state: Policy,
    rewarm: float,
    over: int,
    unknown: Literal["raise", "drop"],
    known: Callable[[Past], Past] = lambda past: past,
    make: Make = entry,
) -> Carried:
    """What ``Growth.carry`` does.

    Args:
        teacher: names → the parameters that the optimiser has.
        known: what is known of the teacher's states, if not this process alone has them, and
        make: makes each tensor of the student's then.
    """
    check_options(state, rewarm, over, unknown)
    check_single(plan)
    while isinstance(inside := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inside  # a wrapper, as accelerate's
    swap = _Exchange(plan, teacher, student, optimizer)
    groups = swap.groups()
    past = {
        name: (parameter.shape, {} if state == "drop" else optimizer.state.get(parameter, {}))
        for name, parameter in swap.teacher.items()
    }
    named, young = grown_states(plan, known(past), swap.student, state, unknown, make)
    states = {swap.student[name]: one for name, one in named.items()}
    handle = Carried(optimizer, student)
    # nothing has changed so far, and nothing below fails
    for group, (parameters, names) in zip(optimizer.param_groups, groups, strict=True):
        group["params"][:] = parameters
        if "param_names" in group:
            group["param_names"][:] = names
    for parameter in swap.teacher.values():
        optimizer.state.pop(parameter, None)
    for parameter, one in states.items():
        optimizer.state[parameter] = one
    handle.begin(young, rewarm, over)
    return handle


class _Exchange:
    """Which of the student's parameters stand where the teacher's are."""

    def __init__(
        self, plan: Plan, teacher: Mapping[str, nn.Parameter], student: nn.Module,
        optimizer: Optimizer,
    ) -> None:  # fmt: skip
        self.student = dict(student.named_parameters())
        self._groups = optimizer.param_groups
        names = {parameter: name for name, parameter in teacher.items()}
        known = [one for group in self._groups for one in group["params"] if one in names]
        self._name = {one: names[one] for one in known}
        if len(known) > len(self._name):
            ((twice, _),) = Counter(known).most_common(1)
            raise OptimizerError(
                f"'{names[twice]}' is in the optimiser's groups twice. Take one of both out."
            )
        if not self._name:
            raise OptimizerError(
                "none of the optimiser's parameters is the teacher's. Give the optimiser that "
                "trained the model which was grown (not a copy of it), before anything else "
                "takes its parameters' places."
            )
        self.teacher = {name: parameter for parameter, name in self._name.items()}
        self._left = teacher.keys() - self.teacher.keys()
        self._plan = plan

    def groups(self) -> list[tuple[list[nn.Parameter], list[str]]]:
        """For every group the student's parameters, and their names."""
        homes = own.homes(self._plan)
        there = {homes.get(name, name) for name in self.teacher}
        axes = {
            name: one.ndim
            for name, one in self.student.items()
            if one.requires_grad or name in there
        }
        beside: dict[nn.Parameter, str] = {}
        groups: list[list[Hashable]] = []
        for group in self._groups:
            groups.append([self._name.get(one, one) for one in group["params"]])
            beside |= dict(zip(group["params"], group.get("param_names", ()), strict=False))
        return [
            (
                [self.student[one] if isinstance(one, str) else one for one in group],
                [one if isinstance(one, str) else beside.get(one, "") for one in group],
            )
            for group in cast(
                "list[list[str | nn.Parameter]]",
                grown_groups(self._plan, groups, axes, self._left),
            )
        ]


def check_single(plan: Plan) -> None:
    """Raises:
    OptimizerError: the plan is of growths in a row.
    """
    if plan.previous is not None:
        raise OptimizerError(
            "the plan is of several growths in a row, and states are grown by one. Carry the "
            "optimiser over growth by growth."
        )


def check_options(state: str, rewarm: float, over: int, unknown: str) -> None:
    """Raises:
    OptimizerError: one of the options of ``Growth.carry`` has a value that it cannot have.
    """
    for name, value, allowed in (
        ("state", state, get_args(Policy)), ("unknown", unknown, ("raise", "drop")),
    ):  # fmt: skip
        if value not in allowed:
            raise OptimizerError(f"{name} is {value!r:.40}. Choose one of: {', '.join(allowed)}.")
    if type(rewarm) not in (int, float) or not 0 < rewarm < math.inf:
        raise OptimizerError(f"rewarm is {rewarm!r:.40}. Give a positive factor, such as 1.3.")
    if type(over) is not int or over < 1:
        raise OptimizerError(f"over is {over!r:.40}. Give a number of steps, at least 1.")
