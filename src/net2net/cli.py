"""The command line: ``net2net``. The only part of the library that prints."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from net2net import METHODS, Growth, Net2NetError, Plan, __version__, spaces, verify
from net2net.hf import example_inputs, grow_checkpoint, grow_folder
from net2net.hf.checkpoint import OPTIMIZER
from net2net.hf.folder import load


class Commands(click.Group):
    """Errors that are known end in one sentence, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Net2NetError as error:
            raise click.ClickException(str(error)) from error


class Library(Commands):
    """Tells where the commands went that were here once."""

    MOVED = ("demo", "reproduce", "zoo")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.MOVED:
            raise click.ClickException(
                f"'net2net {args[0]}' is 'net2net-lab {args[0]}' now, in a distribution of its own "
                "(from a copy of the repository: pip install ./lab)."
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Library)
@click.version_option(__version__)
def main() -> None:
    """Grow trained PyTorch networks without changing what they compute."""


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@main.command()
@click.argument("source", type=FOLDER)
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "numbers",
    multiple=True,
    metavar="NAME=VALUE",
    help="A number of the configuration: hidden_size=1024, text_config.hidden_size=1024.",
)
@click.option(
    "--width", "widths", multiple=True, metavar="[GLOB=]WIDTH",
    help="A factor for all (1.5), or for modules (model.layers.*.mlp.up_proj=1.5); a whole "
    "number behind a glob is a width.",
)  # fmt: skip
@click.option(
    "--method",
    type=click.Choice([name for name, one in METHODS.items() if not one.needs_loss]),
    default="replicate",
    show_default=True,
    help="How new units are made.",
)
@click.option(
    "--optimizer",
    "state",
    type=click.Choice(["own", "scale", "drop"]),
    default="own",
    show_default=True,
    help="The state of what is new, where the source is a training checkpoint.",
)
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option("--verify/--no-verify", default=True, help="Measure what was written.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def grow(
    source: Path, target: Path, numbers: tuple[str, ...], widths: tuple[str, ...], method: str,
    state: str, seed: int, verify: bool, as_json: bool,
) -> None:  # fmt: skip
    """Grow the model in the folder SOURCE into the folder TARGET.

    Both are folders of transformers (from_pretrained reads TARGET with nothing of this library), or
    checkpoints of its Trainer, of which the optimiser grows too.
    """
    _log()
    options: dict[str, Any] = {
        "widths": _widths(widths) if widths else None, "method": method, "seed": seed,
        "verify": verify, **_numbers(numbers),
    }  # fmt: skip
    grown: Growth
    if (source / OPTIMIZER).exists():
        grown = grow_checkpoint(source, target, state=state, **options)  # type: ignore[arg-type]
    else:
        grown = grow_folder(source, target, **options)
    click.echo(grown.report.to_json() if as_json else f"{grown.report}\n\nwritten to {target}")


@main.command()
@click.argument("source", type=FOLDER)
def inspect(source: Path) -> None:
    """Print what can grow of the model in the folder SOURCE, in what steps, and why not."""
    model = load(source)
    click.echo(str(spaces(model, example_inputs(model))))


@main.command(name="verify")
@click.argument("first", type=FOLDER)
@click.argument("second", type=FOLDER)
def compare(first: Path, second: Path) -> None:
    """Print how far the models in two folders differ; the exit status is 1 if they do."""
    model = load(first)
    parity = verify(model, load(second), example_inputs(model))
    click.echo(str(parity))
    sys.exit(0 if parity.exact else 1)


def _log() -> None:
    """What is done, with its time, on the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("net2net")
    library.handlers = [handler]
    library.setLevel(logging.INFO)


def _widths(given: tuple[str, ...]) -> Any:
    """One factor, or widths by glob."""
    if len(given) == 1 and "=" not in given[0]:
        return float(_number(given[0], "--width"))
    named = [one.rpartition("=") for one in given]
    if any(not glob for glob, _, _ in named):
        raise click.BadParameter("one factor for all, or a glob for each", param_hint="--width")
    return {glob: _number(number, "--width") for glob, _, number in named}


def _numbers(given: tuple[str, ...]) -> dict[str, Any]:
    """Numbers of the configuration, also of one inside it."""
    result: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise click.BadParameter(f"'{one}' is not NAME=VALUE", param_hint="--set")
        *parts, last = name.split(".")
        inner = result
        for part in parts:
            inner = inner.setdefault(part, {})
        try:
            inner[last] = json.loads(text)
        except json.JSONDecodeError:
            inner[last] = text
    return result


def _number(text: str, option: str) -> int | float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        raise click.BadParameter(f"'{text}' is no number", param_hint=option) from None


@main.group()
def plan() -> None:
    """Plans: what a growth does to every tensor, as plain data."""


@plan.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Print the plan in FILE, which Plan.save wrote."""
    click.echo(str(Plan.load(file)))
