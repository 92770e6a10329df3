"""carry: a teacher's optimiser becomes its student's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from torch import nn
from torch.optim import Optimizer

from net2net.errors import OptimizerError
from net2net.optim import own
from net2net.optim.carried import Carried
from net2net.optim.state import Policy
from net2net.optim.states import grown_states
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
) -> Carried:
    """What ``Growth.carry`` does.

    Args:
        teacher: names → the parameters that the optimiser has.
    """
    check_options(state, rewarm, over, unknown)
    while isinstance(inside := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inside  # a wrapper, as accelerate's
    swap = _Exchange(plan, teacher, student, optimizer)
    groups = swap.groups()
    past = {
        name: (parameter.shape, {} if state == "drop" else optimizer.state.get(parameter, {}))
        for name, parameter in swap.teacher.items()
    }
    named, young = grown_states(plan, past, swap.student, state, unknown)
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
        self._name = {
            parameter: names[parameter]
            for group in self._groups
            for parameter in group["params"]
            if parameter in names
        }
        if not self._name:
            raise OptimizerError(
                "none of the optimiser's parameters is the teacher's. Give the optimiser that "
                "trained the model which was grown (not a copy of it), before anything else "
                "takes its parameters' places."
            )
        self.teacher = {name: parameter for parameter, name in self._name.items()}
        self._homes = own.homes(plan)
        self._sources = {name: recipe.source for name, recipe in plan.recipes.items()}
        self._frozen = teacher.keys() - self.teacher.keys()

    def groups(self) -> list[tuple[list[nn.Parameter], list[str]]]:
        """For every group the student's parameters, and their names."""
        result: list[tuple[list[nn.Parameter], list[str]]] = []
        at: dict[str, int] = {}
        for number, group in enumerate(self._groups):
            known = group.get("param_names", [""] * len(group["params"]))
            parameters, names = [], []
            for parameter, own_name in zip(group["params"], known, strict=True):
                if parameter in self._name:
                    source = self._name[parameter]
                    name = self._homes.get(source, source)
                    if name not in self.student:
                        continue  # the student has it no more
                    at[name] = number
                    parameters.append(self.student[name])
                    names.append(name)
                else:  # of something else that is trained beside
                    parameters.append(parameter)
                    names.append(own_name)
            result.append((parameters, names))
        for name, number in self._more(at):
            result[number][0].append(self.student[name])
            result[number][1].append(name)
        return result

    def _more(self, at: dict[str, int]) -> Iterator[tuple[str, int]]:
        """Parameters that the student has more, and their groups: of what they were made from, or
        of the last one before them with as many axes (decay tells weights from biases)."""
        last: dict[int, int] = {}
        for name, parameter in self.student.items():
            if name in at:
                last[parameter.ndim] = at[name]
                continue
            source = self._sources.get(name)
            if source in self._frozen or not parameter.requires_grad:
                continue
            if source in self.teacher:
                number = at[self._homes.get(source, source)]
            else:
                number = last.get(parameter.ndim, next(reversed(last.values()), 0))
            yield name, number


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
