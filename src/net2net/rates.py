"""lr_groups: rates by what parameters do, where widths have grown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from net2net.errors import OptimizerError
from net2net.growth import Growth
from net2net.infer.units import Role
from net2net.plan.plan import Plan

RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""Options of a group that are multiplied: also those that schedulers keep there."""


def lr_groups(grown: Growth, optimizer: Optimizer, *, new: float = 1.0) -> dict[str, float]:
    """Divide the groups of an Adam-like optimiser by role, in place, with rates that follow widths.

    A rate that was good for the teacher is for a student r times as wide, as μP has it for Adam
    (Yang et al., 2021, arXiv 2203.03466, table 3):

    ======== ================================================== ========================
    role     parameters                                         rate
    ======== ================================================== ========================
    input    embeddings, biases, norms, all that reads no units as it was
             which grew
    hidden   weights from units that grew to units              divided by r, what they
                                                                read being r times as much
    read-out weights from units that grew to outputs            divided by r
    new      parameters of blocks that the teacher had not      multiplied by ``new``
    ======== ================================================== ========================

    Each group stays, with ``role`` among its options, and is followed by those divided off it; the
    state is not touched. A schedule has a rate for every group: make it anew afterwards, with
    ``last_epoch`` of the old one, from which it goes on (rates that it starts from are multiplied
    too).

    Args:
        grown: a growth whose student the optimiser trains (after ``grown.carry(optimizer)``).
        new: for whole parameters that are new. What is new of others has ``rewarm`` of ``carry``.

    Returns:
        By parameter, what its rate was multiplied by.

    Raises:
        OptimizerError: the optimiser has none of the student's parameters, or is SGD, whose rates
            follow other laws.
    """
    if isinstance(optimizer, torch.optim.SGD):
        raise OptimizerError(
            "the rates are those of Adam and its like, and the optimiser is SGD, where hidden "
            "weights keep theirs. Choose the groups' rates by hand."
        )
    names = {parameter: name for name, parameter in grown.model.named_parameters()}
    groups: list[dict[str, Any]] = []
    factors: dict[str, float] = {}
    for group in optimizer.param_groups:
        parts: dict[tuple[str, float], list[int]] = {}
        for place, parameter in enumerate(group["params"]):
            name = names.get(parameter)
            key = ("other", 1.0) if name is None else role(grown.plan, name, parameter, new)
            parts.setdefault(key, []).append(place)
            if name is not None:
                factors[name] = key[1]
        groups += list(_divided(group, parts))
    if not factors:
        raise OptimizerError(
            "none of the optimiser's parameters is the student's. Carry it over first "
            "(grown.carry(optimizer))."
        )
    optimizer.param_groups[:] = groups
    return factors


def role(plan: Plan, name: str, parameter: nn.Parameter, new: float) -> tuple[str, float]:
    """What a parameter of the student's does, and what its rate is multiplied by."""
    recipe = plan.recipes[name]
    if recipe.source is None or recipe.fill is not None:
        return "new", new
    before = plan.teacher.tensors[recipe.source].shape
    wider = 1.0
    for axis in recipe.axes:
        if axis.role.reads:
            wider *= axis.size / before[axis.dim]
    if wider == 1:
        return "input", 1.0
    makes = any(axis.role is Role.PRODUCES for axis in recipe.axes)
    return "hidden" if makes else "read-out", 1 / wider


def _divided(
    group: dict[str, Any], parts: dict[tuple[str, float], list[int]]
) -> Iterator[dict[str, Any]]:
    """The group itself with its first part, then groups of the same options."""
    options = {key: value for key, value in group.items() if key not in {"params", "param_names"}}
    lists = {key: group[key] for key in ("params", "param_names") if key in group}
    for number, ((what, factor), places) in enumerate(parts.items()):
        one = group if number == 0 else dict(options)
        one |= {key: [held[place] for place in places] for key, held in lists.items()}
        one |= {key: options[key] * factor for key in RATES if key in options}
        one["role"] = what
        yield one
    if not parts:
        yield group
