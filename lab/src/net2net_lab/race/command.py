"""The commands: ``net2net-lab race``; ``progressive``, one arm of it by choice; and ``demo``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from net2net_lab.terminal import ended_like_ctrl_c, logging_to

if TYPE_CHECKING:
    from net2net_lab.race.engine import Engine
    from net2net_lab.race.plan import Race
    from net2net_lab.race.records import Records, Spec

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

ENGINE = click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True
)
WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True,
    help="Runs at a time, each on one core.",
)  # fmt: skip
RENDER = click.option("--render", is_flag=True, help="Draw again what was recorded; train nothing.")


def _out(default: str) -> Callable[[F], F]:
    return click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(default),
        show_default=True, help="Directory of the records, tables and plots.",
    )  # fmt: skip


@click.command()
@click.option(
    "--stage",
    "stages",
    type=click.Choice(["tune", "quarter", "half", "retune", "full", "split", "again", "frontier"]),
    multiple=True,
    help="Only this stage (may be repeated).  [default: all, in this order]",
)
@click.option("--task", "tasks", multiple=True, help="Run only this task (may be repeated).")
@ENGINE
@WORKERS
@_out("results/race")
@RENDER
def race(
    stages: tuple[str, ...], tasks: tuple[str, ...], engine: str, workers: int, out: Path,
    render: bool,
) -> None:  # fmt: skip
    """Which growth in the middle of a training is worth it, with all FLOPs counted.

    All arms run with a quarter of the budget, the best third with half, a few with all of it
    (docs/race.md). Each run is recorded as it ends; after an interruption, the same command goes
    on where it was. Run it under nice(1) beside other work.
    """
    from net2net_lab.race.engine import ENGINES
    from net2net_lab.race.plan import STAGES, Race
    from net2net_lab.race.records import read
    from net2net_lab.race.tasks import TASKS, available
    from net2net_lab.race.train import entry_of

    console = Console(stderr=True)
    for name in tasks:
        _known("task", name, TASKS)
    with logging_to(console):
        records = read(out, {name: entry_of(name) for name in TASKS})
        if not render:
            here, why = available()
            for name, reason in why.items():
                click.echo(f"{name} is left out: {reason}", err=True)
            with ended_like_ctrl_c():
                state = Race(list(here), records, only=tasks)
                for stage in stages or STAGES:
                    run_stage(state, stage, ENGINES[engine], workers, out, console)
        for path in show(records, out):
            click.echo(path)


@click.command()
@click.option("--task", default="text", show_default=True, help="One of the race's.")
@click.option(
    "--path", default="width", show_default=True,
    help="Sizes on the way: width, width-1.37, width-twice, one-deeper, half-deeper, both.",
)  # fmt: skip
@click.option(
    "--method", default="", help="Of new units, or of new blocks.  [default: fresh, zeroed-spread]"
)
@click.option(
    "--state", default="own", show_default=True,
    help="What the optimiser keeps: own, own-1.3, scale, drop.",
)  # fmt: skip
@click.option(
    "--tau", "taus", type=click.FloatRange(0, 1, min_open=True, max_open=True), multiple=True,
    default=(0.8,), show_default=True, help="When: after this part of the steps (may be repeated).",
)  # fmt: skip
@click.option(
    "--budget", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="FLOPs, in parts of the task's.",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=None,
    help="The learning rate.  [default: the middle one of the task's]",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@ENGINE
@WORKERS
@_out("net2net-progressive")
@RENDER
def progressive(
    task: str, path: str, method: str, state: str, taus: tuple[float, ...], budget: float,
    rate: float | None, seeds: int, engine: str, workers: int, out: Path, render: bool,
) -> None:  # fmt: skip
    """Grow within one run, beside a run from scratch of as many FLOPs.

    The rate warms up, is constant, and decays once, at the end; growth comes in its constant phase
    (docs/race.md: one arm of the race, of your choice). Runs that are done are kept: after an
    interruption the same command goes on where it was.
    """
    from net2net_lab.race.arms import DEEPER, METHODS, PATHS, QUESTIONS, STATES
    from net2net_lab.race.curves import draw
    from net2net_lab.race.engine import ENGINES
    from net2net_lab.race.progressive import arms, runs, table
    from net2net_lab.race.records import read
    from net2net_lab.race.tasks import TASKS
    from net2net_lab.race.train import entry_of

    console = Console(stderr=True)
    _known("task", task, TASKS)
    _known("path", path, {one: PATHS[one] for paths in QUESTIONS.values() for one in paths})
    if method:
        _known("method", method, DEEPER if path in QUESTIONS["depth"] else METHODS)
    _known("state", state, STATES)
    with logging_to(console), ended_like_ctrl_c():
        records = read(out, {task: entry_of(task)})
        specs = runs(
            task, arms(task, path, method, state, taus), budget, rate or TASKS[task].rates[1], seeds
        )
        todo = [] if render else [spec for spec in specs if spec not in records]
        if todo and (why := TASKS[task].absent()) is not None:
            raise click.ClickException(why)
        run(todo, "progressive", records, ENGINES[engine], workers, out, console)
    mine = {spec: records[spec] for spec in specs if spec in records}
    if not mine:
        raise click.ClickException(f"There are no such records in '{out}'. Leave out --render.")
    Console().print(table(mine))
    for drawn in draw(mine, out):
        click.echo(drawn)


def _known(what: str, name: str, there: Mapping[str, object]) -> None:
    """Raises:
    UsageError: it is not there.
    """
    if name not in there:
        raise click.UsageError(f"There is no {what} {name!r}: {', '.join(there)}.")


def run_stage(
    race: Race, stage: str, engine: Engine, workers: int, out: Path, console: Console
) -> None:
    """Do what a stage lacks, and what that shows to be lacking (tuning goes further)."""
    from net2net_lab.race.plan import missing

    while todo := missing(race, stage):
        log.info("%s: %d runs to do", stage, len(todo))
        run(todo, stage, race.records, engine, workers, out, console)


def run(
    specs: Sequence[Spec], what: str, records: Records, engine: Engine, workers: int, out: Path,
    console: Console,
) -> None:  # fmt: skip
    """Carry runs out, and record each as it ends."""
    from net2net_lab.race.records import append

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TextColumn("runs"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=len(specs))
        for record in engine(specs, workers):
            append(out, record)
            records[record.spec] = record
            bar.advance(task)
            told = record.fault or f"{record.loss:.4f}, {record.cpu_seconds:.0f} s"
            log.info("%s: %s", record.spec, told)


def show(records: Records, out: Path) -> list[Path]:
    """Write tables and plots."""
    from net2net.files import write_whole
    from net2net_lab.race.curves import draw
    from net2net_lab.race.ranks import first
    from net2net_lab.race.tables import tables

    if not records:
        raise click.ClickException(f"There are no records in '{out}'. Run a stage first.")
    write_whole(out / "tables.md", tables(records))
    return [out / "tables.md", *draw(first(records), out)]


@click.command()
@_out("net2net-demo")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True)
@RENDER
def demo(out: Path, seeds: int, render: bool) -> None:
    """Grow a network in the middle of its training, and compare with others at equal FLOPs.

    Runs that are done are kept: after an interruption the same command goes on where it was.
    """
    from net2net_lab.race.demo import TASK, draw, runs, table
    from net2net_lab.race.engine import ENGINES
    from net2net_lab.race.records import read
    from net2net_lab.race.train import entry_of

    console = Console(stderr=True)
    with logging_to(console), ended_like_ctrl_c():
        records = read(out, {TASK: entry_of(TASK)})
        todo = [] if render else [spec for spec in runs(seeds) if spec not in records]
        run(todo, "demo", records, ENGINES["local"], 1, out, console)
    if not records:
        raise click.ClickException(f"There are no records in '{out}'. Run it without --render.")
    Console().print(table(records))
    click.echo(draw(records, out))
