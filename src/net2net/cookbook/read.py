"""From a file to a recipe, with the line and the key of what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from net2net.cookbook.presets import PRESETS
from net2net.errors import RecipeError
from net2net.hf.plain_yaml import NotPlainError, check_plain

if TYPE_CHECKING:
    from net2net.cookbook.schema import GrowthRecipe

LARGEST = 2**20
"""Bytes beyond which a file is no recipe."""

Lines = dict[tuple[str, ...], int]
"""Where each key stands."""


def recipe_in(given: str | Path, **more: Any) -> GrowthRecipe:
    """The recipe in a file, or the preset of that name.

    Args:
        more: fields that are set on top, as if they stood in the file.

    Raises:
        RecipeError: it is none; in which line, at which key.
    """
    if str(given) in PRESETS:
        return checked({"preset": str(given)} | more, {}, f"the preset {given}")
    path = Path(given)
    if not path.is_file():
        raise RecipeError(
            f"'{path}' is no file, and no preset. Give a recipe.yaml, or one of: "
            f"{', '.join(PRESETS)}."
        )
    data, lines = parsed(path)
    return checked(data | more, lines, f"'{path}'")


def checked(data: Mapping[str, Any], lines: Lines, where: str) -> GrowthRecipe:
    """The recipe that fields make, those of its preset below them.

    Raises:
        RecipeError: a field is none, or has no such value.
    """
    try:
        from pydantic import ValidationError

        from net2net.cookbook.schema import GrowthRecipe
    except ImportError as error:
        raise RecipeError(_MISSING.format(error)) from error
    name = data.get("preset")
    if name is not None and name not in PRESETS:
        raise RecipeError(
            f"{_at(lines, ('preset',), where)}: there is no preset {name!r:.40}. Choose one of: "
            f"{', '.join(PRESETS)}."
        )
    sets = {} if name is None else dict(PRESETS[name].sets)
    try:
        return GrowthRecipe.model_validate(sets | dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        keys = tuple(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise RecipeError(
            f"{_at(lines, keys, where)}: {said:.300}. {_advice(GrowthRecipe, keys)}"
        ) from error


def parsed(path: Path) -> tuple[dict[str, Any], Lines]:
    """The fields in a file of YAML, and their lines.

    Raises:
        RecipeError: it is none, too large, or not plain.
    """
    try:
        import yaml
    except ImportError as error:
        raise RecipeError(_MISSING.format(error)) from error
    if path.stat().st_size > LARGEST:
        raise RecipeError(f"'{path}' is larger than {LARGEST:,} bytes. Give a recipe, not data.")
    try:
        text = path.read_text("utf-8")
        check_plain(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: Lines = {}
        _note(node, (), lines, path)
        data = {} if node is None else loader.construct_document(node)
    except NotPlainError as error:
        raise RecipeError(
            f"'{path}', line {error.line}: {error}, which a recipe has not. Write it out."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"'{path}'{line}: this is no YAML: {getattr(error, 'problem', None) or error!s:.200}. "
            "Give fields and values, one a line."
        ) from error
    if not isinstance(data, dict):
        raise RecipeError(f"'{path}' holds no fields. Write some: 'growth: {{widths: 1.5}}'.")
    return {str(key): value for key, value in data.items()}, lines


def _note(node: Any, at: tuple[str, ...], lines: Lines, path: Path) -> None:
    """Where each key stands.

    Raises:
        RecipeError: one stands there twice.
    """
    for key, value in node.value if getattr(node, "id", "") == "mapping" else ():
        here, line = (*at, str(key.value)), key.start_mark.line + 1
        if here in lines:
            raise RecipeError(
                f"'{path}', line {line}: '{'.'.join(here)}' is there already, in line "
                f"{lines[here]}. Keep one of them."
            )
        lines[here] = line
        _note(value, here, lines, path)


def _at(lines: Lines, keys: Sequence[str], where: str) -> str:
    """File, line and key, as far down as the file says."""
    known = next((keys[:n] for n in range(len(keys), 0, -1) if tuple(keys[:n]) in lines), ())
    line = f", line {lines[tuple(known)]}" if known else ""
    return f"{where}{line}, '{'.'.join(known or keys)}'" if keys else where


def _advice(schema: Any, keys: Sequence[str]) -> str:
    """The fields that there are, if it is not one of them."""
    fields: dict[str, Any] = schema.model_fields
    for key in keys[:-1]:
        inner = getattr(fields.get(key), "annotation", None)
        fields = getattr(inner, "model_fields", {})
    names = [field.alias or name for name, field in fields.items()]
    if not names or keys[-1] in names:
        return "Correct its value."
    near = get_close_matches(keys[-1], names)
    return f"Did you mean '{near[0]}'?" if near else f"The fields there are: {', '.join(names)}."


_MISSING = "recipes need pydantic and PyYAML: {}. Install them: pip install 'net2net[recipes]'"
