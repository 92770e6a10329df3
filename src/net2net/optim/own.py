"""Which positions of a grown tensor are the teacher's own, and what gradients they get."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from net2net.apply.edits import renamed
from net2net.apply.extend_list import ExtendList
from net2net.errors import OptimizerError
from net2net.infer.units import Role
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.recipe import Recipe

Runs = tuple[tuple[int, int], ...]
"""Positions in a row: where each run begins, and where it has ended."""


def runs(mask: NDArray[np.bool_]) -> Runs:
    """Where a mask holds.

    >>> runs(np.array([True, True, False, True]))
    ((0, 2), (3, 4))
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2))


def homes(plan: Plan) -> dict[str, str]:
    """The teacher's tensors → the one of the student's that each goes on as. Other tensors made
    from it are copies (those of a new block), or factors of it."""
    made: dict[str, list[str]] = {}
    for name, recipe in plan.recipes.items():
        whole = recipe.fill is None and recipe.factor is None and not recipe.added
        if recipe.source is not None and whole:
            made.setdefault(recipe.source, []).append(name)
    names = renamed(plan.edits, plan.teacher.tensors)
    return {
        source: names[source] if names[source] in copies else copies[0]
        for source, copies in made.items()
    }


def origin(plan: Plan, name: str) -> str | None:
    """The teacher's tensor that one of the student's was made from, or has the place of in a new
    block that is like an old one; None where there is none."""
    if (source := plan.recipes[name].source) is not None:
        return source
    for edit in reversed(plan.edits):
        if isinstance(edit, ExtendList):
            name = edit.origin(name)
    return name if name in plan.teacher.tensors and not plan.built else None


def own(axis: AxisMap) -> NDArray[np.bool_]:
    """``[student's size]``: the positions that go on as what they were, the first copy of each."""
    return (axis.index >= 0) & ~axis.later_copies


def gradients(name: str, recipe: Recipe) -> dict[int, NDArray[np.float64]]:
    """Axis → ``[student's size]``: what gradients at its positions are, times the teacher's (the
    product over axes); 0 at positions that copy none.

    Of k copies of a unit with even shares each gets a k-th, where it is made; what reads them gets
    the teacher's. Where weights are multiplied by a factor, and what they make is divided by it
    behind them, gradients are divided by it.

    Raises:
        OptimizerError: copies have uneven shares.
    """
    result = {}
    for axis in recipe.axes:
        copied = axis.index >= 0
        factor = np.where(copied, 1.0, 0.0)
        counts = np.bincount(axis.index[copied], minlength=1)[np.maximum(axis.index, 0)]
        if axis.role is not Role.CONSUMES:
            factor /= counts.clip(1)
        elif axis.divisor is None and (counts[copied] > 1).any():
            raise OptimizerError(
                f"copies of what '{name}' reads have uneven shares, so gradients are not the "
                'teacher\'s times a number. Choose state="own" or "drop".'
            )
        if axis.scale is not None:
            factor = np.divide(factor, axis.scale, where=axis.scale != 0, out=factor * 0)
        result[axis.dim] = factor
    return result


def weights(recipe: Recipe) -> dict[int, NDArray[np.float64]]:
    """Axis → ``[student's size]``: what weights at its positions are, times the teacher's."""
    result = {}
    for axis in recipe.axes:
        factor = np.where(axis.index >= 0, 1.0, 0.0)
        factor = factor if axis.divisor is None else factor / axis.divisor
        result[axis.dim] = factor if axis.scale is None else factor * axis.scale
    return result


def masks(recipe: Recipe) -> Mapping[int, NDArray[np.bool_]]:
    """Axis → ``[student's size]``: which positions are own. An element is if all its positions
    are."""
    return {axis.dim: own(axis) for axis in recipe.axes}
