"""The command line: ``net2net``. The only part of the library that prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from net2net import Net2NetError, Plan, __version__


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


@main.group()
def plan() -> None:
    """Plans: what a growth does to every tensor, as plain data."""


@plan.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Print the plan in FILE, which Plan.save wrote."""
    click.echo(str(Plan.load(file)))
