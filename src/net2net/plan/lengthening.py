"""Recipes for longer lists of blocks: what was there keeps its values under its new name, a new
block has those of the one that it is like, but for what makes it return its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from net2net.apply.extend_list import ExtendList
from net2net.apply.fingerprint import Fingerprint, fingerprint
from net2net.infer.units import Role
from net2net.recipe.axis_map import NEW, AxisMap
from net2net.recipe.fill import Fill
from net2net.recipe.recipe import Recipe, Spread, deviation
from net2net.trace.meta_copy import named_tensors


def lengthening(
    teacher: nn.Module, student: nn.Module, edits: Sequence[ExtendList],
    fills: Mapping[str, Fill], *, drawn: bool = False,
) -> tuple[Fingerprint, dict[str, Recipe]]:  # fmt: skip
    """The student's tensors, and the recipe of each.

    Args:
        student: the teacher with longer lists, without values.
        fills: what tensors are overwritten with.
        drawn: the weights of new blocks are drawn anew, with the deviation of those that they
            would copy.
    """
    known, old = fingerprint(student), dict(named_tensors(teacher))
    ties = fingerprint(teacher).ties
    recipes = {}
    for name in known.tensors:
        origin = source_of(name, edits)
        source = ties.get(origin, origin)
        if name in fills:
            recipes[name] = Recipe(None, fill=fills[name])
        elif drawn and _is_new(name, edits) and _is_weight(old[source]):
            rows = AxisMap(0, np.full(len(old[source]), NEW), Role.PRODUCES)
            recipes[name] = Recipe(source, (rows,), Spread(1.0, deviation(old[source])))
        else:
            recipes[name] = Recipe(source)
    return known, recipes


def source_of(name: str, edits: Sequence[ExtendList]) -> str:
    """The teacher's name of a tensor of the student, or of what it is like."""
    for edit in reversed(edits):
        name = edit.origin(name)
    return name


def _is_new(name: str, edits: Sequence[ExtendList]) -> bool:
    return any(name.startswith(f"{edit.at}.{block}.") for edit in edits for block in edit.added)


def _is_weight(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) and tensor.ndim > 1
