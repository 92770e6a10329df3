"""``net2net inspect``: what can grow."""

from __future__ import annotations

from typing import Any

import click

from net2net import spaces
from net2net.cli import options
from net2net.cli.steps import inputs_for, source_of


@click.command(cls=options.Grouped)
@click.argument("source")
@options.reading
def inspect(source: str, **given: Any) -> None:
    """Print what can grow of the model in SOURCE, in what steps, and why not. No weight is read."""
    found, inputs = source_of(source, given)
    bare = found.bare()
    click.echo(str(spaces(bare, inputs_for(found, bare, inputs))))
