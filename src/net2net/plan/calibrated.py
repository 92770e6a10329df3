"""Statistics of new units behind a batch norm, measured: those of random units are nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from net2net.errors import InputError
from net2net.identity.calibrate import run_batches
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import ABSENT, NEW, Index
from net2net.recipe.recipe import Recipe
from net2net.trace.meta_copy import copied
from net2net.trace.trace import Inputs

STATISTICS = ("running_mean", "running_var")


@dataclass
class _Seen:
    """What new units of one norm were, so far: how many values each, their sums, and those of their
    squares (``[new units]``)."""

    units: Index
    count: int = 0
    sums: Tensor | None = None
    squares: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """``rows``: ``[new units, values]``."""
        self.count += rows.shape[1]
        sums, squares = rows.sum(1), rows.square().sum(1)
        self.sums = sums if self.sums is None else self.sums + sums
        self.squares = squares if self.squares is None else self.squares + squares

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each."""
        assert self.sums is not None and self.squares is not None
        mean = self.sums / self.count
        return mean, (self.squares / self.count - mean.square()).clamp_min(0)


def listed(batches: Iterable[Inputs]) -> list[Inputs]:
    """Batches to calibrate on, which may be run through more than once.

    Raises:
        InputError: they are not many.
    """
    if isinstance(batches, Tensor | Mapping) or not isinstance(batches, Iterable):
        raise InputError(
            f"calibrate is a {type(batches).__name__}. Give a list of batches, like the inputs."
        )
    return list(batches)


@torch.no_grad()
def calibrated(plan: Plan, student: nn.Module, batches: Iterable[Inputs]) -> Plan:
    """The plan, with running means and variances of new units as they are on these batches. One run
    does for all norms: each has its own before what follows is run.

    Raises:
        InputError: there are no batches, or the student does not run on one.
    """
    model = copied(student).eval()
    seen: dict[str, _Seen] = {}
    for path, part in model.named_modules():
        units = _new_units(plan, f"{path}.running_mean")
        if isinstance(part, _BatchNorm) and units.size:
            seen[path] = _Seen(units)
            part.register_forward_pre_hook(_hook(seen[path]))
    run_batches(model, batches, plan.seed)
    recipes: dict[str, Recipe] = dict(plan.recipes)
    for path, one in seen.items():
        for name, values in zip(STATISTICS, one.statistics if one.count else (), strict=False):
            recipes[f"{path}.{name}"] = _with(recipes[f"{path}.{name}"], one.units, values)
    return replace(plan, recipes=recipes)


def _new_units(plan: Plan, name: str) -> Index:
    axes = plan.recipes[name].axes if name in plan.recipes else ()
    none: Index = np.empty(0, dtype=np.int64)
    return np.flatnonzero(axes[0].index == NEW) if axes else none


def _hook(seen: _Seen) -> Any:
    def hook(part: nn.Module, args: tuple[Tensor, ...]) -> None:
        units = torch.from_numpy(seen.units).to(args[0].device)
        seen.add(args[0].double().transpose(0, 1).flatten(1)[units])
        for name, values in zip(STATISTICS, seen.statistics, strict=True):
            buffer = getattr(part, name)
            buffer[units] = values.to(buffer)

    return hook


def _with(recipe: Recipe, units: Index, values: Tensor) -> Recipe:
    """A recipe whose new positions hold these values."""
    (axis,) = recipe.axes
    index = axis.index.copy()
    index[units] = ABSENT
    offset = np.zeros(len(index)) if axis.offset is None else axis.offset.copy()
    offset[units] = values.cpu().numpy()
    new = recipe.new if (index == NEW).any() else None
    return replace(recipe, axes=(replace(axis, index=index, offset=offset),), new=new)
