"""Recipes for a model whose axes grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import nn

from net2net.apply.fingerprint import Fingerprint, fingerprint
from net2net.infer.units import Axis, Norm
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.fill import Constant
from net2net.recipe.recipe import FollowedNorm, New, Recipe, recipe
from net2net.trace.meta_copy import named_tensors


def by_tensor(maps: Mapping[Axis, AxisMap]) -> dict[str, list[AxisMap]]:
    """The maps of every tensor, by axis in ascending order."""
    found: dict[str, list[AxisMap]] = {}
    for axis, one in sorted(maps.items(), key=lambda item: item[0].dim):
        found.setdefault(axis.name, []).append(one)
    return found


def widening(
    model: nn.Module,
    maps: Mapping[Axis, AxisMap],
    norms: Iterable[Norm],
    noise: float,
    pair: float = 0.0,
    initial: Mapping[str, New] | None = None,
    buffers: Mapping[str, float] | None = None,
) -> tuple[Fingerprint, dict[str, Recipe]]:
    """The student's tensors, and the recipe of each.

    Args:
        norms: weights that are divided by their norm, whose scales have to follow.
        noise: relative deviation of the noise on copies.
        pair: the same of what copies' readers get with opposite signs.
        initial: what new positions of tensors hold, where it is not measured on the teacher.
        buffers: of one number each that get another.
    """
    grown, known = by_tensor(maps), fingerprint(model)
    tensors, recipes = dict(known.tensors), dict[str, Recipe]()
    for name, tensor in named_tensors(model):
        axes = grown.get(name, [])
        drawn = (initial or {}).get(name)
        recipes[name] = (
            recipe(name, tensor, axes, noise=noise, pair=pair, initial=drawn)
            if axes
            else Recipe(name)
        )
        sizes = dict(enumerate(tensor.shape)) | {axis.dim: axis.size for axis in axes}
        tensors[name] = replace(known.tensors[name], shape=tuple(sizes.values()))
    for name, value in (buffers or {}).items():
        recipes[name] = Recipe(name, fill=Constant(value))
    for norm in norms:
        if norm.direction in grown:
            follows = FollowedNorm(norm.direction, norm.dim)
            recipes[norm.scale] = replace(recipes[norm.scale], norm=follows)
    return replace(known, tensors=tensors), recipes
