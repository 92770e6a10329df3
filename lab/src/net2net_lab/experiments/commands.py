"""The commands of the experiments: ``net2net-lab reproduce``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from net2net_lab.terminal import ended_like_ctrl_c, logging_to

if TYPE_CHECKING:
    from net2net_lab.experiments.plan import Experiment, Key
    from net2net_lab.experiments.run.results import Results

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


def _out(default: Path | None) -> Callable[[Function], Function]:
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        default=default,
        show_default=str(default) if default else "net2net-FIGURE-DATA",
        help="Directory for records, plots and report.",
    )


_render_only = click.option(
    "--render-only", is_flag=True, help="Draw again what was recorded; train nothing."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
_seeds = click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)


@click.group()
def reproduce() -> None:
    """The paper's experiments, on data and a network of your choice.

    Interrupted or killed, the same command goes on where it was.
    """


FIGURES = {
    "starts": "On handwritten digits, in a minute: a trained network becomes twice as wide, and "
    "deeper, by all kinds of starts.",
    "wider": "Figure 4: from a narrow network to the standard one, by Net2WiderNet, by random pad "
    "and from scratch.",
    "deeper": "Figure 5: two more pairs of layers wherever one stands, as identities and from "
    "scratch.",
    "explore": "Figure 6: the standard network grows beyond itself, in width and in depth; beside "
    "them the original, trained on.",
    "prediction": "Section 2.1: a student from scratch that also predicts the teacher's hidden "
    "layers, against Net2WiderNet and from scratch.",
    "related": "The related work: distillation into the student, and new units beside old weights "
    "that are frozen (as in cascade-correlation), against Net2WiderNet and from scratch.",
    "lifelong": "The introduction's lifelong learning: the training data grow in stages, and the "
    "network with them; against a small one, a large one, and from scratch at every stage.",
    "keras": "The example that came with Keras, with its own network, settings and baselines, on "
    "5,000 digits of MNIST.",
}

OWN = {"starts": {"task": "digits", "model": "convnet"}, "keras": {"task": "keras-mnist"}}
"""Figures that have their own data and network."""


def _any_data(command: Function) -> Function:
    """The options of figures that are for any data."""
    for option in (
        click.option(
            "--model", help="A network, or module:attribute of your own.  [default: by the data]"
        ),
        click.option(
            "--data-dir",
            type=click.Path(),
            help="Where the files of fashion-mnist are, or the sources of stdlib-text.",
        ),
        click.option(
            "--data",
            "task",
            default="fashion-mnist",
            show_default=True,
            help="digits, mnist5k, fashion-mnist, stdlib-text, or the PATH of a text file or a "
            "folder of images.",
        ),
    ):
        command = option(command)
    return command


def _figure(name: str, text: str) -> None:
    own = OWN.get(name, {})

    @_seeds
    @click.option("--steps", type=click.IntRange(min=1), help="Of every model and stage.")
    @click.option(
        "--epochs", type=click.FloatRange(min=0, min_open=True), help="In place of steps."
    )
    @click.option("--batch-size", type=click.IntRange(min=1))
    @click.option(
        "--optimizer",
        type=click.Choice(["rmsprop", "sgd", "adamw"]),
        help="[default: by the data]",
    )
    @click.option(
        "--lr",
        type=click.FloatRange(min=0, min_open=True),
        help="The teacher's; students have parts of it.  [default: by data and optimizer]",
    )
    @click.option(
        "--schedule",
        "decay",
        type=click.Choice(["cosine", "constant"]),
        help="Of the learning rate.  [default: by the data]",
    )
    @click.option("--device", default="cpu", show_default=True)
    @click.option(
        "--autocast", type=click.Choice(["bf16"]), help="Compute in bfloat16 where that is safe."
    )
    @click.option("--compile", is_flag=True, help="Use torch.compile.")
    @click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes.  [default: one for each core; on an accelerator 1]",
    )
    @_out(None)
    @_render_only
    @_json
    def command(
        out: Path | None, render_only: bool, as_json: bool, workers: int | None,
        task: str = own.get("task", ""), model: str | None = own.get("model"),
        data_dir: str | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        from net2net_lab.experiments.run.results import load_results

        place = out or Path(f"net2net-{name}-{Path(task).resolve().stem}")
        with _console() as console:
            if render_only:
                results = load_results(place)
            else:
                experiment = _experiment(name, task, data_dir=data_dir, model=model, **options)
                if workers is None:
                    workers = _cores() if experiment.machine.device == "cpu" else 1
                results = _run(experiment, place, console, workers)
            _show(results, place, as_json)

    reproduce.command(name, help=text)(command if name in OWN else _any_data(command))


for _name, _text in FIGURES.items():
    _figure(_name, _text)


@reproduce.command()
@click.argument(
    "directories", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path)
)
@_json
def render(directories: tuple[Path, ...], as_json: bool) -> None:
    """Draw plots, tables and reports of these directories again, from their records alone."""
    from net2net_lab.experiments.run.results import load_results

    with _console():
        for out in directories:
            _show(load_results(out), out, as_json)


def _experiment(
    figure: str, task: str, *, data_dir: str | None, model: str | None, seeds: int,
    steps: int | None, epochs: float | None, batch_size: int | None, optimizer: str | None,
    lr: float | None, decay: str | None, device: str, autocast: str | None, compile: bool,
) -> Experiment:  # fmt: skip
    """What the options say; what they don't, the task's entry does."""
    from net2net_lab.experiments.machine import Machine
    from net2net_lab.experiments.plan import Experiment
    from net2net_lab.experiments.schedule import OPTIMISERS, Schedule
    from net2net_lab.experiments.tasks import load, task_named

    if steps is not None and epochs is not None:
        raise click.UsageError("Give --steps or --epochs, not both.")
    entry = task_named(task)
    usual = entry.schedule
    batch_size = batch_size or usual.batch_size
    optimizer = optimizer or usual.optimizer
    if epochs is not None:
        size = load(task, data_dir).size
        steps = max(1, round(epochs * (size // min(batch_size, size))))
    steps = steps or usual.steps
    if lr is None:
        lr = usual.lr if optimizer == usual.optimizer else OPTIMISERS[optimizer].lr
    schedule = Schedule(
        steps=steps,
        every=max(1, steps // (usual.steps // usual.every)),
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        decay=decay or usual.decay,
    )
    return Experiment(
        figure=figure,
        task=task,
        model=model or entry.network,
        seeds=tuple(range(seeds)),
        schedule=schedule,
        machine=Machine(device, autocast is not None, compile),
        data_dir=data_dir,
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _console() -> Iterator[Console]:
    console = Console(stderr=True)
    with logging_to(console), ended_like_ctrl_c():
        yield console


def _run(experiment: Experiment, out: Path, console: Console, workers: int) -> Results:
    from net2net_lab.experiments.run.estimate import Estimate
    from net2net_lab.experiments.run.run import run_experiment

    estimate = Estimate({key: experiment.steps_of(key) for key in experiment.keys}, workers)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=experiment.steps, left="")

        def progress(key: Key, steps: int) -> None:
            estimate.update(key, steps)
            bar.update(task, advance=steps, description=f"{key!s:<22}", left=str(estimate))
            if steps and estimate.is_done(key):
                logger.info("%d of %d runs, %s", *estimate.runs(), estimate)

        return run_experiment(experiment, out, progress, workers)


def _show(results: Results, out: Path, as_json: bool) -> None:
    """Draw, and print what was found."""
    from net2net_lab.experiments.show.report import render
    from net2net_lab.experiments.show.tables import print_tables

    rendered = render(results, out)
    if as_json:
        click.echo(json.dumps(asdict(rendered.summary), indent=2))
        return
    print_tables(rendered.summary)
    for path in (*rendered.plots, rendered.tables, rendered.report):
        click.echo(path)
