"""A base model into the same with a head: the part of the student that the teacher is."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from net2net.apply.fingerprint import fingerprint
from net2net.errors import TransferError
from net2net.plan.plan import Plan
from net2net.recipe.recipe import Recipe
from net2net.trace.meta_copy import named_tensors
from net2net.transfer.stacks import STACKS


def base_of(teacher: nn.Module, student: nn.Module) -> str:
    """The path of the only part of the student that is of the teacher's class, or nothing."""
    kind = type(teacher)
    if isinstance(teacher, STACKS) or type(student) is kind:
        return ""
    paths = [path for path, part in student.named_modules() if type(part) is kind]
    return paths[0] if len(paths) == 1 else ""


def headed(plan: Plan, student: nn.Module, path: str) -> tuple[Plan, str]:
    """The plan for a part of the student as one for all of it, in which all else stays what it is;
    and what to say of that.

    Raises:
        TransferError: what stays has no values.
    """
    known = fingerprint(student)
    made = {f"{path}.{name}": _renamed(one, path) for name, one in plan.recipes.items()}
    # what the part shares with the head may go by the head's name
    made = {known.ties.get(name, name): one for name, one in made.items()}
    own = [name for name in known.tensors if name not in made]
    tensors = dict(named_tensors(student))
    if meta := [name for name in own if tensors[name].is_meta]:
        raise TransferError(
            f"'{meta[0]}' is in no '{path}', which the teacher is, and it is on meta, without "
            "values to start from. Build the student on a real device."
        )
    recipes = {name: made.get(name, Recipe(None)) for name in known.tensors}
    said = ", ".join(own[:4]) + (", …" if len(own) > 4 else "")
    note = f"the teacher is the student's '{path}'" + (
        f", whose outputs were compared; the student's own values stay in {said}" if own else ""
    )
    return replace(plan, student=known, recipes=recipes), note


def _renamed(one: Recipe, path: str) -> Recipe:
    if one.norm is None:
        return one
    return replace(one, norm=replace(one.norm, direction=f"{path}.{one.norm.direction}"))
