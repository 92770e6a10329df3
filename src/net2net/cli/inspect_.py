"""``net2net inspect``: what can grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from net2net.analysis import spaces
from net2net.cli import options
from net2net.cli.options import OUTPUT, option
from net2net.cli.steps import inputs_for, source_of
from net2net.files import write_whole
from net2net.page import spaces_page


@click.command(cls=options.Grouped)
@click.argument("source")
@options.reading
@option(
    "--html", group=OUTPUT, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a page that shows it, instead of printing.",
)  # fmt: skip
def inspect(source: str, html: Path | None, **given: Any) -> None:
    """Print what can grow of the model in SOURCE, in what steps, and why not. No weight is read."""
    found, inputs = source_of(source, given)
    bare = found.bare()
    known = spaces(bare, inputs_for(found, bare, inputs))
    if html is None:
        click.echo(str(known))
    else:
        write_whole(html, spaces_page(bare, known))
        click.echo(f"written to {html}")
