"""``net2net estimate``: what a growth would cost, of which no weight is read."""

from __future__ import annotations

import json
from typing import Any

import click
import torch

from net2net.cli import options
from net2net.cli.steps import inputs_for, log_to_stderr, source_of
from net2net.cli.words import dtype_of
from net2net.hf.costs import estimated
from net2net.hf.source import Source
from net2net.hf.wish import Wish
from net2net.trace.trace import Inputs


@click.command(cls=options.Grouped)
@click.argument("source")
@options.growth
@options.reading
@options.dtype
@options.as_json
def estimate(source: str, **given: Any) -> None:
    """Print what growing SOURCE would make, and what it would cost. No weight is read."""
    log_to_stderr()
    as_json = given.pop("as_json")
    wish = options.wish_of(given)
    found, inputs = source_of(source, given)
    show_estimate(found, inputs, wish, dtype_of(given["dtype"]), as_json=as_json)


def show_estimate(
    source: Source, inputs: Inputs | None, wish: Wish, dtype: torch.dtype | None, *, as_json: bool
) -> None:
    """Print it."""
    bare = source.bare()
    given = inputs_for(source, bare, inputs)
    found = estimated(bare, given, wish, dtype=dtype, trained=source.trained())
    click.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else str(found))
