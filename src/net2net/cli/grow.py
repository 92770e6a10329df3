"""``net2net grow``: a model in, a larger model out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from net2net.analysis import spaces
from net2net.cli import options
from net2net.cli.estimate import show_estimate
from net2net.cli.options import CHECKS, OUTPUT, TARGET, option
from net2net.cli.progress import bar
from net2net.cli.steps import Asked, asked, command_of, inputs_for, log_to_stderr
from net2net.files import write_whole
from net2net.hf.folder import JOBS
from net2net.page import growth_page
from net2net.report import Report


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
    "--verify",
    group=TARGET,
    is_flag=False,
    flag_value="whole",
    type=click.Choice(list(CHECKS)),
    default="whole",
    show_default=True,
    help="Measure what was written against the source: with both in memory, or else block by "
    "block; or compare samples with the plan.",
)
@option("--no-verify", group=TARGET, is_flag=True, help="Measure nothing.")
@option(
    "--jobs",
    group=TARGET,
    type=click.IntRange(1),
    default=JOBS,
    show_default=True,
    help="Blocks of rows that are made at the same time.",
)
@option("--dry-run", group=OUTPUT, is_flag=True, help="Estimate, and write nothing.")
@options.as_json
@option(
    "--report",
    group=OUTPUT,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page that shows what grew.",
)
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
    with bar() as told:
        how = replace(one.how, jobs=given["jobs"], progress=told, command=command_of(ctx))
        grown = one.source.grow(path, one.wish, one.inputs, how)
    recipe = ""
    if one.recipe is not None:
        from net2net.cookbook.run import write_used

        recipe = write_used(one.recipe, grown, path)
    if given["report"] is not None:
        write_whole(given["report"], _page(one, grown.report, recipe))
    report = grown.report
    click.echo(report.to_json() if given["as_json"] else f"{report}\n\nwritten to {path}")


def _page(one: Asked, report: Report, recipe: str) -> str:
    """What grew, with the teacher's spaces."""
    bare = one.source.bare()
    return growth_page(bare, spaces(bare, inputs_for(one.source, bare, one.inputs)), report, recipe)
