"""``net2net estimate``: what a growth would cost, of which no weight is read."""

from __future__ import annotations

import json
from typing import Any

import click

from net2net.cli import options
from net2net.cli.steps import Asked, asked, inputs_for, log_to_stderr
from net2net.hf.costs import estimated


@click.command(cls=options.Grouped)
@click.argument("source")
@options.growth
@options.reading
@options.dtype
@options.as_json
@click.pass_context
def estimate(ctx: click.Context, /, source: str, **given: Any) -> None:
    """Print what growing SOURCE would make, and what it would cost. No weight is read."""
    log_to_stderr()
    show_estimate(asked(ctx, source, given), as_json=given["as_json"])


def show_estimate(one: Asked, *, as_json: bool) -> None:
    """Print it."""
    bare = one.source.bare()
    inputs = inputs_for(one.source, bare, one.inputs)
    found = estimated(bare, inputs, one.wish, dtype=one.how.dtype, trained=one.source.trained())
    click.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else str(found))
