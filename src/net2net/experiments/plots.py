"""Plots: for every question, the validation accuracy of its arms during training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from net2net.experiments.arms import ARMS, Role
from net2net.experiments.plan import TEACHER
from net2net.experiments.results import Results
from net2net.experiments.tasks import TASKS

COLOURS = {
    Role.NET2NET: ("#0072b2", "#56b4e9", "#cc79a7"),
    Role.BASELINE: ("#d55e00", "#e69f00", "#009e73"),
    Role.SCRATCH: ("#777777",),
}
"""Of the arms of each role in turn. From Okabe and Ito's palette, whose colours stay apart for
colour-blind readers."""


def plot_question(results: Results, question: str, path: Path) -> None:
    """Mean curves with bands of one deviation; all of training, and beside it the top enlarged."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    whole, top = figure.subplots(1, 2)
    teacher = float(np.mean([run.final for run in results.of(TEACHER)]))
    arms = [arm for arm in results.experiment.arms_of(question) if results.of(arm)]
    best = max((_curve(results, arm)[1].max() for arm in arms), default=teacher)
    for axes in (whole, top):
        for arm, colour in _colours(arms).items():
            steps, mean, deviation = _curve(results, arm)
            axes.plot(steps, mean, color=colour, label=ARMS[arm].label, linewidth=1.8)
            axes.fill_between(
                steps, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0
            )
        axes.axhline(teacher, color="black", linestyle="--", linewidth=1, label="teacher")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("training step of the student")
        axes.set_xlim(0, results.experiment.schedule.steps)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    whole.set_ylim(0, 1.02)
    whole.set_ylabel("validation accuracy")
    margin = max(best - teacher, 0.005)
    top.set_ylim(teacher - 1.5 * margin, min(1.0, best + 0.5 * margin))
    top.set_title("around the teacher's accuracy", fontsize=10)
    whole.set_title("all of training", fontsize=10)
    whole.legend(frameon=False, loc="lower right")
    seeds = len(results.of(TEACHER))
    shown = f"mean ± deviation, {seeds} seeds" if seeds > 1 else "1 seed"
    title = TASKS[results.experiment.task].title
    figure.suptitle(f"Growing {question}: {title} ({shown})", fontsize=11)
    figure.savefig(path, dpi=130)


def _colours(arms: Sequence[str]) -> dict[str, str]:
    left = {role: cycle(colours) for role, colours in COLOURS.items()}
    return {arm: next(left[ARMS[arm].role]) for arm in arms}


def _curve(results: Results, arm: str) -> tuple[Any, Any, Any]:
    """Steps, mean accuracies and deviations of an arm."""
    runs = results.of(arm)
    accuracy = np.array([[e.val_accuracy for e in run.evaluations] for run in runs])
    deviation = accuracy.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(accuracy.shape[1])
    return [e.step for e in runs[0].evaluations], accuracy.mean(axis=0), deviation
