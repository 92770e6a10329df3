"""Recipes for inserted layers: what was there is copied under its new name, what is new filled."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from net2net.apply.edits import renamed
from net2net.apply.fingerprint import Fingerprint, fingerprint
from net2net.errors import PlanError
from net2net.identity.insertion import Insertion, fills, insert
from net2net.recipe.recipe import Recipe
from net2net.trace.meta_copy import meta_copy, named_tensors


def deepening(
    teacher: nn.Module, insertions: Sequence[Insertion]
) -> tuple[Fingerprint, dict[str, Recipe]]:
    """The student's tensors, and the recipe of each.

    Raises:
        PlanError: the insertions do not fit the teacher.
    """
    student = meta_copy(teacher)
    names = renamed(insertions, [name for name, _ in named_tensors(teacher)])
    made = {now: Recipe(name) for name, now in names.items()}
    for number, one in enumerate(insertions):
        try:
            insert(student, teacher, one)
            new = list(fills(teacher, one))
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise PlanError(
                f"the plan's layers do not fit after '{one.at}': {error}. "
                "The plan is damaged: make it again."
            ) from error
        later = renamed(insertions[number + 1 :], [name for name, _, _ in new])
        for name, like, fill in new:
            made[later[name]] = Recipe(like if fill is None else None, fill=fill)
    known = fingerprint(student)
    return known, {name: made[name] for name in known.tensors}
