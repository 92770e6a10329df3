"""``net2net grow``: a model in, a larger model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from net2net.cli import options
from net2net.cli.estimate import show_estimate
from net2net.cli.options import OUTPUT, TARGET, option
from net2net.cli.steps import log_to_stderr, source_of
from net2net.cli.words import dtype_of
from net2net.hf.source import Options


@click.command(cls=options.Grouped)
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@options.growth
@options.reading
@options.dtype
@option(
    "--max-shard-size",
    group=TARGET,
    default="50GB",
    show_default=True,
    help="Of one file of weights.",
)
@option(
    "--optimizer",
    "state",
    group=TARGET,
    type=click.Choice(["own", "scale", "drop"]),
    default="own",
    show_default=True,
    help="The state of what is new, where the source is a training checkpoint.",
)
@option(
    "--verify/--no-verify",
    group=TARGET,
    default=True,
    help="Measure what was written against the source.",
)
@option("--dry-run", group=OUTPUT, is_flag=True, help="Estimate, and write nothing.")
@options.as_json  # fmt: skip
def grow(source: str, target: Path, **given: Any) -> None:
    """Grow the model in SOURCE into the folder TARGET, with the same outputs.

    SOURCE is a folder of transformers or a checkpoint of its Trainer (of which the optimiser grows
    too), a timm checkpoint with its config.json, a state dict with --class, or the name of a model
    on the hub. from_pretrained reads TARGET with nothing of this library.
    """
    log_to_stderr()
    as_json, dry_run = given.pop("as_json"), given.pop("dry_run")
    wish = options.wish_of(given)
    found, inputs = source_of(source, given)
    how = Options(
        given["verify"], dtype_of(given["dtype"]), given["max_shard_size"], given["state"]
    )
    if dry_run:
        show_estimate(found, inputs, wish, how.dtype, as_json=as_json)
        return
    report = found.grow(target, wish, inputs, how).report
    click.echo(report.to_json() if as_json else f"{report}\n\nwritten to {target}")
