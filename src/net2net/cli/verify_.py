"""``net2net verify``: how far two models differ."""

from __future__ import annotations

import sys
from typing import Any

import click

from net2net import verify as measured
from net2net.cli import options
from net2net.cli.steps import inputs_for, source_of


@click.command(name="verify", cls=options.Grouped)
@click.argument("first")
@click.argument("second")
@options.reading
def verify(first: str, second: str, **given: Any) -> None:
    """Print how far the models in FIRST and SECOND differ; the exit status is 1 if they do.

    What grows in the output (hidden features) cannot be compared so: grow measures it.
    """
    (one, inputs), (other, _) = source_of(first, dict(given)), source_of(second, dict(given))
    model = one.model()
    parity = measured(model, other.model(), inputs_for(one, model, inputs))
    click.echo(str(parity))
    sys.exit(0 if parity.exact else 1)
