"""A recipe and what was typed besides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from net2net.cli import options
from net2net.cli.words import depths_of, numbers_of, widths_of
from net2net.cookbook.read import recipe_in

if TYPE_CHECKING:
    from net2net.cookbook.schema import GrowthRecipe

_SAME = ("method", "seed", "dtype", "max_shard_size", "new_outputs")


def recipe_of(ctx: click.Context, given: dict[str, Any]) -> GrowthRecipe:
    """The recipe that was named, below what was typed.

    Raises:
        RecipeError: it is none.
    """
    typed = {
        name: value
        for name, value in given.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    more: dict[str, Any] = {name: typed[name] for name in _SAME if name in typed}
    if "class_name" in typed:
        more["class"] = typed["class_name"]
    if "inputs" in typed:
        more["inputs"] = str(typed["inputs"])
    if typed.keys() & {"verify", "no_verify"}:
        more["verify"] = options.check_of(given)
    if "state" in typed:
        more["optimizer"] = {"state": typed["state"]}
    if growth := _growth(typed, given):
        more["growth"] = growth
    return recipe_in(given["recipe"], **more)


def _growth(typed: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "widths" in typed:
        found["widths"] = widths_of(typed["widths"])
    if "depths" in typed:
        found["depths"] = depths_of(typed["depths"])
    if "numbers" in typed:
        found["config"] = numbers_of(typed["numbers"])
    kind, size = options.budget_of(given)
    if kind is not None:
        found["budget"] = {kind: size}
    if "multiple_of" in typed:
        found["multiple_of"] = typed["multiple_of"]
    return found
