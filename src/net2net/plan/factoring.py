"""Recipes for layers that become two: their weights are factors of what there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from net2net.apply.edits import renamed
from net2net.apply.fingerprint import Fingerprint, fingerprint
from net2net.apply.split_layer import SplitLayer, split
from net2net.plan.initial import initial
from net2net.recipe.factor import Factor
from net2net.recipe.recipe import Recipe, Spread
from net2net.trace.meta_copy import meta_copy


def factoring(
    teacher: nn.Module, edits: Sequence[SplitLayer], factors: Mapping[str, Factor]
) -> tuple[Fingerprint, dict[str, Recipe]]:
    """The student's tensors, and the recipe of each.

    Args:
        factors: what makes the first weight of each layer, by the layer's path.
    """
    student, known = meta_copy(teacher), fingerprint(teacher)
    for edit in edits:
        split(student, edit)
    # new rows are as the layer initialises itself
    laws = initial(student, [f"{edit.first}.weight" for edit in edits])
    old = {now: name for name, now in renamed(edits, [*known.tensors, *known.ties]).items()}
    made: dict[str, Recipe] = {}
    for edit in edits:
        source, factor = f"{edit.at}.weight", factors[edit.at]
        source = known.ties.get(source, source)
        new = laws.get(name := f"{edit.first}.weight", Spread(1.0, None))
        made[name] = Recipe(source, new=new, factor=factor)
        made[f"{edit.second}.weight"] = Recipe(source, factor=factor.other)
    names = fingerprint(student)
    for name in names.tensors:
        if name not in made:
            made[name] = Recipe(known.ties.get(old[name], old[name]))
    return names, {name: made[name] for name in names.tensors}
