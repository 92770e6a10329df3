"""The group of all commands: known errors end in a sentence."""

from __future__ import annotations

from typing import Any

import click

import net2net
from net2net.cli.estimate import estimate
from net2net.cli.grow import grow
from net2net.cli.inspect_ import inspect
from net2net.cli.plan import plan
from net2net.cli.steps import TYPED
from net2net.cli.verify_ import verify
from net2net.errors import Net2NetError


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = list(args)
        return super().parse_args(ctx, args)

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
@click.version_option(net2net.__version__)
def main() -> None:
    """Grow trained PyTorch networks without changing what they compute."""


for command in (grow, estimate, inspect, verify, plan):
    main.add_command(command)
