"""What commands do alike: the log, and the source with its inputs."""

from __future__ import annotations

import logging
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from torch import nn

from net2net.cli import options
from net2net.errors import RecipeError
from net2net.hf.source import Options, Source, inputs_in, open_source
from net2net.hf.wish import Wish
from net2net.trace.trace import Inputs


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """To what is the standard error at the time, which a bar takes over for a while."""

    @property
    def stream(self) -> Any:
        """Where lines go."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        """Nothing else can be chosen."""


def log_to_stderr() -> None:
    """What is done, with its time, on the standard error."""
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("net2net")
    library.handlers = [handler]
    library.setLevel(logging.INFO)


TYPED = "net2net.typed"
"""Where a context keeps all the words of the command."""


@dataclass(frozen=True)
class Asked:
    """All that was typed, read.

    Attributes:
        source, inputs: the model, and what it runs on, if that was given.
        wish: what is to grow.
        how: how the target is written.
        recipe: what was used of one.
    """

    source: Source
    inputs: Inputs | None
    wish: Wish
    how: Options
    recipe: Any = None


def asked(ctx: click.Context, where: str | None, given: dict[str, Any]) -> Asked:
    """What a growth was asked for, by options and by a recipe.

    Raises:
        Net2NetError: it does not go together, or there is no such source.
    """
    how = {"verify": "whole", "no_verify": False, "max_shard_size": "50GB", "state": "own", **given}
    if given["recipe"] is None:
        if where is None:
            raise click.UsageError("Missing argument 'TARGET'.", ctx)
        wish = options.wish_of(given)
        source, inputs = source_of(where, given)
        return Asked(source, inputs, wish, options.how_of(how))
    from net2net.cli.recipes import recipe_of

    recipe = recipe_of(ctx, given)
    where = where or recipe.source
    if where is None:
        raise RecipeError("the recipe names no source. Give SOURCE and TARGET.")
    file = None if recipe.inputs is None else Path(recipe.inputs)
    source, inputs = source_of(where, {**given, "class_name": recipe.class_name, "inputs": file})
    used = recipe.model_copy(update={"source": where})
    return Asked(source, inputs, recipe.wish(), recipe.how(), used)


def command_of(ctx: click.Context) -> str:
    """What was typed."""
    return shlex.join(["net2net", *ctx.meta.get(TYPED, ())])


def source_of(where: str, given: dict[str, Any]) -> tuple[Source, Inputs | None]:
    """A source, and the inputs that were given, by the reading options. A class that the user
    names is also looked for where the command was called."""
    class_name, file = given["class_name"], given["inputs"]
    if class_name is not None and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    source = open_source(where, class_name, trust_remote_code=given["trust_remote_code"])
    return source, None if file is None else inputs_in(file)


def inputs_for(source: Source, model: nn.Module, given: Inputs | None) -> Inputs:
    """Those that were given, or examples."""
    return source.inputs(model) if given is None else given
