"""The command line: ``net2net-lab demo``, ``reproduce``, ``race``, ``progressive``, ``symmetry``,
``sizes``, ``zoo``."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from net2net import METHODS
from net2net.cli import Commands
from net2net_lab import __version__
from net2net_lab.experiments.commands import reproduce
from net2net_lab.race.command import demo, progressive, race
from net2net_lab.terminal import ended_like_ctrl_c, logging_to
from net2net_lab.zoo.records import FACTOR, METHOD

if TYPE_CHECKING:
    from net2net_lab.zoo.records import Key as Model
    from net2net_lab.zoo.records import Record
    from net2net_lab.zoo.run import Limits

INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended."""


class Resuming(Commands):
    """Ctrl-C ends in a sentence as well: every command goes on where it was."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted. The same command goes on from here.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Resuming)
@click.version_option(__version__)
def main() -> None:
    """The experiments of the Net2Net paper, and a zoo of models that are grown."""


main.add_command(demo)
main.add_command(reproduce)
main.add_command(race)
main.add_command(progressive)


def table_at(path: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option that says where a table is written."""
    return click.option(
        "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path(path),
        show_default=True, help="The table; the records lie beside it (.jsonl).",
    )  # fmt: skip


@main.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@table_at("docs/symmetry.md")
def symmetry(seeds: int, out: Path) -> None:
    """Table how far the new units of every method separate from those that they are like."""
    from net2net_lab.experiments.symmetry import measure, table, write

    with logging_to(Console(stderr=True)):
        found = list(measure(seeds))
    write(found, out.with_suffix(".jsonl"), out)
    click.echo(table(found) + str(out))


@main.command()
@click.option("--only", multiple=True, help="Only families that match this glob (may be repeated).")
@table_at("docs/sizes.md")
@click.option("--again", is_flag=True, help="Measure what has a record, too.")
@click.option("--seconds", type=click.FloatRange(min=1), default=300.0, show_default=True)
def sizes(only: tuple[str, ...], out: Path, again: bool, seconds: float) -> None:
    """Table which sizes of timm's families can be transferred into the next.

    Each pair runs in a process of its own. What is measured is kept, and the same command goes on
    from there.
    """
    from net2net_lab.sizes.pairs import pairs
    from net2net_lab.sizes.run import measured, read, write

    path = out.with_suffix(".jsonl")
    known = read(path)
    wanted = [
        one
        for one in pairs()
        if (again or one not in known) and (not only or any(fnmatch(one.family, p) for p in only))
    ]
    for found in measured(wanted, seconds):
        known[found.pair] = found
        write(known, path, out)
        click.echo(found, err=True)
    write(known, path, out)
    click.echo(out)


@main.command()
@click.option(
    "--family",
    "families",
    type=click.Choice(["torchvision", "timm", "transformers"]),
    multiple=True,
    help="Only this library (may be repeated).  [default: all]",
)
@click.option(
    "--only",
    multiple=True,
    help="Only models that match this glob; with a slash, group/model (may be repeated).",
)
@click.option(
    "--factor",
    type=click.FloatRange(min=1, min_open=True),
    default=FACTOR,
    show_default=True,
    help="What every space is widened by.",
)
@click.option(
    "--method",
    type=click.Choice([name for name, one in METHODS.items() if one.exact and not one.needs_loss]),
    default=METHOD,
    show_default=True,
    help="How new units are made.",
)
@click.option(
    "--json",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the records, one line each.  [default: docs/zoo.jsonl, with another factor or "
    "method in its name]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The tables.  [default: as the records, .md]",
)
@click.option("--render-only", is_flag=True, help="Draw the tables again; measure nothing.")
@click.option(
    "--again",
    type=click.Choice(["missing", "changed", "failed", "all"]),
    default="changed",
    show_default=True,
    help="Which records to replace: none; those of other versions or sources of the libraries; "
    "those that are not ok; all. What has no record is measured in any case.",
)
@click.option("--seconds", type=click.FloatRange(min=1), default=300.0, show_default=True)
@click.option(
    "--memory", type=click.FloatRange(min=1), default=10.0, show_default=True, help="In GiB."
)
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
def zoo(
    families: tuple[str, ...],
    only: tuple[str, ...],
    factor: float,
    method: str,
    path: Path | None,
    out: Path | None,
    render_only: bool,
    again: str,
    seconds: float,
    memory: float,
    jobs: int,
) -> None:
    """Widen every model of torchvision, timm and transformers, and table what happens.

    Each model runs in a process of its own, with a limit of time and memory. Measured models are
    kept: after an interruption the same command goes on where it was. A record is valid for the
    versions and the sources that it was measured with; --again says what to do with the others.
    """
    from net2net.files import write_whole
    from net2net_lab.zoo.families import MODULES
    from net2net_lab.zoo.records import RecordsError, read
    from net2net_lab.zoo.render import counts, render
    from net2net_lab.zoo.run import GIB, Limits, models

    console = Console(stderr=True)
    usual = (factor, method) == (FACTOR, METHOD)
    path = path or Path("docs", "zoo.jsonl" if usual else f"zoo-{factor:g}-{method}.jsonl")
    out = out or path.with_suffix(".md")
    with logging_to(console):
        if render_only:
            records = read(path)
            if not records:
                raise RecordsError(
                    f"There are no records in '{path}'. Measure first, without --render-only."
                )
            shown = [one for one in records.values() if not families or one.key.family in families]
        else:
            wanted = models(families or tuple(MODULES), only, factor, method)
            if not wanted:
                raise RecordsError(
                    f"No model matches {' or '.join(only)}. Give a glob such as 'resnet*'."
                )
            limits = Limits(seconds, int(memory * GIB), jobs)
            with ended_like_ctrl_c():
                records = _run_zoo(wanted, path, console, again, limits)
            shown = [records[key] for key, _ in wanted]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, render(records.values()))
    for name in MODULES:
        part = [record for record in shown if record.key.family == name]
        if part:
            click.echo(f"{name}: {counts(part)}")
    click.echo(out)


def _run_zoo(
    wanted: list[tuple[Model, dict[str, str]]],
    path: Path,
    console: Console,
    again: str,
    limits: Limits,
) -> dict[Model, Record]:
    from net2net_lab.zoo.run import run_zoo

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TextColumn("models"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("")

        def progress(done: int, total: int, record: Record | None) -> None:
            name = f"{record.key!s:<40}" if record else ""
            bar.update(task, completed=done, total=total, description=name)

        return run_zoo(wanted, path, progress, again=again, limits=limits)
