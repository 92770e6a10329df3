"""``net2net grow``: a model in, a larger model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from net2net.cli import options
from net2net.cli.estimate import show_estimate
from net2net.cli.options import OUTPUT, TARGET, option
from net2net.cli.steps import asked, log_to_stderr


@click.command(cls=options.Grouped)
@click.argument("source")
@click.argument("target", required=False)
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
@options.as_json
@click.pass_context  # fmt: skip
def grow(ctx: click.Context, /, source: str, target: str | None, **given: Any) -> None:
    """Grow the model in SOURCE into the folder TARGET, with the same outputs.

    SOURCE is a folder of transformers or a checkpoint of its Trainer (of which the optimiser grows
    too), a timm checkpoint with its config.json, a state dict with --class, or the name of a model
    on the hub; it may be left out if a recipe names it. from_pretrained reads TARGET with nothing
    of this library.
    """
    log_to_stderr()
    where = source if target is not None or given["dry_run"] else None
    one = asked(ctx, where, given)
    if given["dry_run"]:
        show_estimate(one, as_json=given["as_json"])
        return
    path = Path(target or source)
    report = one.source.grow(path, one.wish, one.inputs, one.how).report
    if one.recipe is not None:
        from net2net.cookbook.run import write_used

        write_used(one.recipe, path)
    click.echo(report.to_json() if given["as_json"] else f"{report}\n\nwritten to {path}")
