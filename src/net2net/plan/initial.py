"""How layers initialise themselves: what their ``reset_parameters`` would draw, as data; and the
recipes that shrink and perturb by it.

It is run on a student without values, and what it would write to each parameter is noted and not
done. So nothing is drawn, and the fans are those of the student's sizes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from net2net.recipe.recipe import Mean, New, Perturbed, Recipe, Spread, Uniform


def initial(student: nn.Module, names: Collection[str]) -> dict[str, New]:
    """What the owner of each parameter of these names fills it with, if it is one number, normal or
    uniform numbers around zero.

    Args:
        student: a copy of its own, of the student's sizes; on ``meta``, or with any values.
    """
    wanted = {name: one for name, one in student.named_parameters() if name in names}
    owners = {name.rpartition(".")[0] for name in wanted}
    watch = _Watch({_storage(one): (name, one.numel()) for name, one in wanted.items()})
    for path in owners:
        reset = getattr(student.get_submodule(path), "reset_parameters", None)
        if callable(reset):
            try:
                with watch:
                    reset()
            except Exception:  # it needs values: what it has not come to is measured
                continue
    return {name: one for name, one in watch.found.items() if one is not None}


def perturbed(
    recipes: Mapping[str, Recipe], student: nn.Module, shrink: float, amount: float
) -> dict[str, Recipe]:
    """The recipes, with all parameters shrunk and perturbed that are made of the teacher's.
    ``student``: as for ``initial``."""
    parameters = dict(student.named_parameters())
    laws, result = initial(student, parameters), dict(recipes)
    for name, one in parameters.items():
        law = laws.get(name) or (Spread(1.0, None) if one.ndim > 1 else None)
        if result[name].source is not None and one.is_floating_point():
            result[name] = replace(result[name], perturbed=Perturbed(shrink, amount, law))
    return result


def _storage(tensor: Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is written to parameters, by their storages, in place of writing it.

    Attributes:
        found: a parameter → what it is filled with; None: something else.
    """

    def __init__(self, parameters: dict[int, tuple[str, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameters = parameters
        self.found: dict[str, New | None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = func._schema
        if not (schema.is_mutable and args and isinstance(args[0], Tensor)):
            return func(*args, **(kwargs or {}))
        name, size = self.parameters.get(_storage(args[0]), ("", 0))
        if not name:
            return func(*args, **(kwargs or {}))
        given = {one.name: one.default_value for one in schema.arguments}
        given |= dict(zip(given, args, strict=False)) | (kwargs or {})
        made = _law(schema.name, given)
        if args[0].numel() == size:
            self.found[name] = made
        elif not isinstance(made, Mean):  # padding is a row of zeros
            self.found[name] = None
        return args[0]


def _law(operation: str, given: dict[str, Any]) -> New | None:
    """What an operation fills a tensor with."""
    match operation, given:
        case "aten::uniform_", {"from": low, "to": high} if low == -high:
            return Uniform(float(high))
        case "aten::normal_", {"mean": 0, "std": std}:
            return Spread(1.0, float(std))
        case "aten::fill_", {"value": float() | int() as value} if math.isfinite(value):
            return Mean(float(value))
        case "aten::zero_", _:
            return Mean(0.0)
    return None
