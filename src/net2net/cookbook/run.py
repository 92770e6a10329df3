"""Carry a recipe out."""

from __future__ import annotations

from pathlib import Path

from net2net.cookbook.read import recipe_in
from net2net.cookbook.schema import GrowthRecipe
from net2net.errors import RecipeError
from net2net.files import write_whole
from net2net.growth import Growth
from net2net.hf.source import inputs_in, open_source
from net2net.maps.methods import METHODS

USED = "recipe.yaml"
"""What a target calls the recipe that it was made by."""


def run(recipe: str | Path | GrowthRecipe, target: str | Path, source: str | None = None) -> Growth:
    """Grow what a recipe says into a folder, which then has the recipe in it.

    Args:
        recipe: a file, or what is in one.
        target: a folder that is not there, or empty.
        source: instead of the recipe's.

    Raises:
        RecipeError: it is no recipe, or names no source.
        Net2NetError: as the growth itself.
    """
    known = recipe if isinstance(recipe, GrowthRecipe) else recipe_in(recipe)
    if source is not None:
        known = known.model_copy(update={"source": source})
    if known.source is None:
        raise RecipeError("the recipe names no source. Write one ('source: FOLDER'), or give it.")
    inputs = None if known.inputs is None else inputs_in(Path(known.inputs))
    found = open_source(known.source, known.class_name)
    grown = found.grow(target, known.wish(), inputs, known.how())
    write_used(known, grown, Path(target))
    return grown


def write_used(recipe: GrowthRecipe, grown: Growth, target: Path) -> str:
    """Put a recipe into the folder that it made, what ``auto`` was by its name; its text."""
    import yaml

    plan = grown.plan
    while plan.previous is not None:
        plan = plan.previous
    method = plan.method if plan.method in METHODS else recipe.method  # deeper blocks have none
    used = recipe.model_copy(update={"method": method})
    data = used.model_dump(by_alias=True, exclude_defaults=True)
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    write_whole(target / USED, text)
    return text
