"""The states of all parameters, by name: those of an optimiser, or of a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch

from net2net.optim import own
from net2net.optim.state import Make, Policy, entry, grown_state
from net2net.optim.young import Young
from net2net.plan.plan import Plan
from net2net.recipe.recipe import Recipe

Past = Mapping[str, tuple[torch.Size, Mapping[str, Any]]]
"""By the names of the teacher's parameters that were trained: their shapes, and states."""


def grown_states(
    plan: Plan, past: Past, parameters: Collection[str], state: Policy,
    unknown: Literal["raise", "drop"], make: Make = entry,
) -> tuple[dict[str, dict[str, Any]], dict[str, Young]]:  # fmt: skip
    """By the student's names: the state of what has a past, and what of each has none.

    Args:
        parameters: the student's.
        make: makes each tensor, where that takes more than what is in memory.

    Raises:
        OptimizerError: a state cannot be grown.
    """
    homes = own.homes(plan)
    states: dict[str, dict[str, Any]] = {}
    young: dict[str, Young] = {}
    for name, recipe in plan.recipes.items():
        if name not in parameters:
            continue
        source = recipe.source or ""
        whole = source not in past or homes.get(source) != name
        shape, before = past.get(source, (torch.Size(), {}))
        if before and not whole:
            states[name] = grown_state(name, recipe, shape, before, state, unknown, make)
        begin = float(states.get(name, {}).get("step", 0.0))
        if (one := _young(recipe, begin, state, whole=whole)) is not None:
            young[name] = one
    return states, young


def _young(recipe: Recipe, begin: float, state: Policy, *, whole: bool) -> Young | None:
    """What of a parameter has no past."""
    if whole:
        return Young({0: ()}, 0.0)
    masks = {
        axis.dim: axis.index >= 0 if state == "scale" else own.own(axis) for axis in recipe.axes
    }
    new = {dim: own.runs(mask) for dim, mask in masks.items() if not mask.all()}
    every = {dim: new.get(dim, own.runs(mask)) for dim, mask in masks.items()} if new else {}
    return Young(every, begin) if every else None
