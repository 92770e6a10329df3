"""Plots: for every question, the curves of its arms against steps and against compute."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from net2net.files import write_whole
from net2net_lab.experiments.methods import Role
from net2net_lab.experiments.plan import TEACHER
from net2net_lab.experiments.run.results import Results
from net2net_lab.experiments.tasks import title

COLOURS = {
    Role.NET2NET: ("#0072b2", "#56b4e9", "#cc79a7"),
    Role.BASELINE: ("#d55e00", "#e69f00", "#009e73"),
    Role.SCRATCH: ("#777777", "#8c564b"),
    Role.TEACHER: ("#000000",),
}
"""Of the arms of each role in turn. From Okabe and Ito's palette, whose colours stay apart for
colour-blind readers."""

STEPS, COMPUTE = "training step", "floating-point operations"


def plot_question(results: Results, question: str, path: Path) -> None:
    """Mean curves with bands of one deviation, as PNG and as SVG."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    (training, whole, top), (train_flops, val_flops, all_flops) = figure.subplots(2, 3)
    arms = [arm for arm in results.experiment.arms_of(question) if results.of(arm)]
    final = float(np.mean([run.final for run in results.of(TEACHER)]))
    shown = [(training, "train_accuracy"), (whole, "val_accuracy"), (top, "val_accuracy")]
    steps = results.experiment.schedule.steps
    for axes, what in shown:
        _curves(axes, results, arms, what, STEPS)
        axes.set_xlim(0, steps * len(results.experiment.entry.shares))
        for stage in range(1, len(results.experiment.entry.shares)):
            axes.axvline(stage * steps, color="black", linewidth=0.6, alpha=0.4)
    for axes, what in ((train_flops, "train_accuracy"), (val_flops, "val_accuracy")):
        _curves(axes, results, arms, what, COMPUTE)
    _curves(all_flops, results, arms, "val_accuracy", COMPUTE, teacher_first=True)
    training.set_title("training accuracy")
    whole.set_title("validation accuracy")
    top.set_title("the same, around the teacher's")
    train_flops.set_title("training accuracy, by compute")
    val_flops.set_title("validation accuracy, by the student's compute")
    all_flops.set_title("validation accuracy, with the teacher's compute")
    for axes in (whole, top, val_flops, all_flops):
        axes.axhline(final, color="black", linestyle="--", linewidth=1, label="teacher's accuracy")
    best = max([final, *(float(_curve(results, arm, "val_accuracy")[0].max()) for arm in arms)])
    margin = max(best - final, 0.005)
    top.set_ylim(final - 1.5 * margin, min(1.0, best + 0.5 * margin))
    whole.legend(frameon=False, loc="lower right", fontsize=8)
    seeds = len(results.of(TEACHER))
    count = f"mean ± deviation, {seeds} seeds" if seeds > 1 else "1 seed"
    task = title(results.experiment.task)
    figure.suptitle(f"{question.capitalize()} students: {task} ({count})", fontsize=13)
    # Drawn again from the same records, the files are the same.
    with matplotlib.rc_context({"svg.hashsalt": "net2net"}):
        for kind, options in (("png", {"dpi": 100}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            write_whole(path.with_suffix(f".{kind}"), buffer.getvalue())


def _curves(
    axes: Any, results: Results, arms: Sequence[str], what: str, unit: str,
    teacher_first: bool = False,
) -> None:  # fmt: skip
    """All arms, and the teacher's own training; beside them, or before those that need it."""
    teacher = results.of(TEACHER)[0]
    for arm, colour in {TEACHER: "black", **_colours(results, arms)}.items():
        mean, deviation = _curve(results, arm, what)
        runs = results.of(arm)
        at = [e.step for e in runs[0].evaluations]
        x = np.array([runs[0].flops_at(step) for step in at] if unit == COMPUTE else at, float)
        if teacher_first and arm != TEACHER and results.adds_teacher(arm):
            x += teacher.flops
        style = ":" if arm == TEACHER else "-"
        label = "teacher" if arm == TEACHER else results.experiment.arms[arm].label
        axes.plot(x, mean, style, color=colour, label=label, linewidth=1.6)
        if arm != TEACHER:
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0
            )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(results: Results, arms: Sequence[str]) -> dict[str, str]:
    left = {role: cycle(colours) for role, colours in COLOURS.items()}
    return {arm: next(left[results.experiment.arms[arm].role]) for arm in arms}


def _curve(results: Results, arm: str, what: str) -> tuple[Any, Any]:
    """Mean and deviation of an arm at its evaluations; not a number before training, where nothing
    is known of the batches."""
    runs = results.of(arm)
    found = np.array([[getattr(e, what) for e in run.evaluations] for run in runs], float)
    deviation = found.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(found.shape[1])
    return found.mean(axis=0), deviation
