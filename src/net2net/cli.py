"""The command line: ``net2net demo``, ``net2net zoo``. The only part of the library that prints."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from net2net.errors import Net2NetError

if TYPE_CHECKING:
    from net2net.experiments.plan import Experiment, Key
    from net2net.experiments.report import Rendered
    from net2net.experiments.results import Results
    from net2net.experiments.summary import Question, Summary
    from net2net.zoo.records import Key as Model
    from net2net.zoo.records import Record
    from net2net.zoo.run import Limits

INTERRUPTED = 130
"""Exit status of a program that Ctrl-C ended."""


class Commands(click.Group):
    """Errors that are known end in one sentence, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Net2NetError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted. The same command goes on from here.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands)
@click.version_option(package_name="net2net")
def main() -> None:
    """Grow trained PyTorch networks without changing what they compute."""


@main.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("net2net-demo"),
    show_default=True,
    help="Directory for records, plots and report.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Training steps of every model.  [default: 300]"
)
@click.option("--render-only", is_flag=True, help="Draw again what was recorded; train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def demo(out: Path, seeds: int, steps: int | None, render_only: bool, as_json: bool) -> None:
    """Grow a small network on handwritten digits, and compare with other starts.

    Complete runs are kept: after an interruption the same command goes on where it was.
    """
    _require("sklearn", "matplotlib", "jinja2")
    from net2net.experiments.plan import Experiment
    from net2net.experiments.report import render
    from net2net.experiments.results import load_results

    console = Console(stderr=True)
    with _logging_to(console):
        if render_only:
            results = load_results(out)
        else:
            experiment = Experiment(seeds=tuple(range(seeds)))
            if steps is not None:
                schedule = replace(experiment.schedule, steps=steps)
                experiment = replace(experiment, schedule=schedule)
            results = _run(experiment, out, console)
        rendered = render(results, out)
    if as_json:
        click.echo(json.dumps(asdict(rendered.summary), indent=2))
    else:
        _print(rendered)


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
    "--json",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/zoo.jsonl"),
    show_default=True,
    help="File of the records, one line each.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/zoo.md"),
    show_default=True,
    help="The tables.",
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
    path: Path,
    out: Path,
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
    from net2net.plan import write_whole
    from net2net.zoo.families import MODULES
    from net2net.zoo.records import RecordsError, read
    from net2net.zoo.render import counts, render
    from net2net.zoo.run import GIB, Limits, models

    console = Console(stderr=True)
    with _logging_to(console):
        if render_only:
            records = read(path)
            if not records:
                raise RecordsError(
                    f"There are no records in '{path}'. Measure first, without --render-only."
                )
            shown = [one for one in records.values() if not families or one.key.family in families]
        else:
            wanted = models(families or tuple(MODULES), only)
            if not wanted:
                raise RecordsError(
                    f"No model matches {' or '.join(only)}. Give a glob such as 'resnet*'."
                )
            limits = Limits(seconds, int(memory * GIB), jobs)
            with _ended_like_ctrl_c():
                records = _run_zoo(wanted, path, console, again, limits)
            shown = [records[key] for key, _ in wanted]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, render(records.values()))
    for name in MODULES:
        part = [record for record in shown if record.key.family == name]
        if part:
            click.echo(f"{name}: {counts(part)}")
    click.echo(out)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Who asks the program to end (``kill``, a job's time limit) ends its workers as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run_zoo(
    wanted: list[tuple[Model, dict[str, str]]],
    path: Path,
    console: Console,
    again: str,
    limits: Limits,
) -> dict[Model, Record]:
    from net2net.zoo.run import run_zoo

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


def _require(*modules: str) -> None:
    """The experiments' libraries are an extra: growing a model needs none of them."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise click.ClickException(
            f"The demo needs {', '.join(missing)}. Install them: pip install 'net2net[demo]'"
        )


@contextmanager
def _logging_to(console: Console) -> Iterator[None]:
    """Show the library's messages; those that only tell of progress if there is no bar."""
    logger = logging.getLogger("net2net")
    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    before = logger.level
    logger.setLevel(logging.WARNING if console.is_terminal else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _run(experiment: Experiment, out: Path, console: Console) -> Results:
    from net2net.experiments.run import run_experiment

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TextColumn("steps"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=experiment.steps)

        def progress(key: Key, steps: int) -> None:
            bar.update(task, advance=steps, description=f"{key!s:<20}")

        return run_experiment(experiment, out, progress)


def _print(rendered: Rendered) -> None:
    from net2net.experiments.findings import findings, percent

    console = Console()
    summary = rendered.summary
    console.print(
        f"Teacher: {percent(summary.teacher)} % validation accuracy, "
        f"{summary.teacher_parameters:,} parameters, seeds {len(summary.seeds)}",
        highlight=False,
    )
    found = findings(summary)
    for question in summary.questions:
        console.print(_table(question, summary))
        for sentence in found[question.name]:
            console.print(f"• {sentence}", highlight=False)
    if summary.missing:
        console.print(f"Not complete: {', '.join(summary.missing)}", highlight=False)
    for path in (*rendered.plots, rendered.report):
        click.echo(path)


def _table(question: Question, summary: Summary) -> Table:
    from net2net.experiments.findings import percent, steps

    table = Table(
        title=f"\nGrowing {question.name}: validation accuracy in %",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("student", no_wrap=True)
    for step in summary.checkpoints:
        table.add_column(f"step {step}", justify="right", no_wrap=True)
    table.add_column("to teacher's", justify="right", no_wrap=True)
    for row in question.rows:
        accuracies = [percent(row.accuracy[step]) for step in summary.checkpoints]
        table.add_row(row.label, *accuracies, steps(row.to_teacher))
    return table
