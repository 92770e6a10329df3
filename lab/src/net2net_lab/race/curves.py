"""Curves of the race: loss against FLOPs at each budget, and final losses against budgets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from net2net.files import write_whole
from net2net_lab.race.arms import PADDED, REFERENCE, SCRATCH, SHALLOW, SMALL, Arm
from net2net_lab.race.ranks import loss, raced
from net2net_lab.race.records import Records
from net2net_lab.race.tables import racing
from net2net_lab.race.tasks import TASKS
from net2net_lab.race.verdict import budgets

SHOWN = 5
"""The best so many arms, besides those that are always shown."""

ALWAYS = {
    SCRATCH: "#777777",
    SMALL: "#000000",
    SHALLOW: "#6f4e37",
    REFERENCE: "#d55e00",
    PADDED: "#e69f00",
}
MARKS = [digit * 10.0**power for power in range(-3, 2) for digit in (1, 1.2, 1.5, 2, 3, 5, 7)]
"""Losses that an axis may be marked at."""

OTHERS = ("#0072b2", "#56b4e9", "#cc79a7", "#009e73", "#f0e442")
"""From Okabe and Ito's palette, whose colours stay apart for colour-blind readers."""


def draw(records: Records, out: Path) -> list[Path]:
    """A plot for each task and budget, and one for each task that has several budgets."""
    written = []
    for task in TASKS:
        there = sorted({spec.budget for spec in records if racing(records, task, spec.budget)})
        for budget in there:
            path = out / f"{task}-{budget:g}.png"
            _training(records, task, budget, path)
            written.append(path)
        if len(there) > 1:
            path = out / f"{task}-budgets.png"
            draw_budgets(records, task, path)
            written.append(path)
    return written


def _training(records: Records, task: str, budget: float, path: Path) -> None:
    figure, axes = _figure(f"{TASKS[task].title}, × {budget:g} of the budget")
    arms = _shown(records, task, budget)
    for arm, colour in _coloured(task, arms):
        runs = [one for one in raced(records, task, budget, arm).values() if one.loss is not None]
        count = min((len(one.curve) for one in runs), default=0)
        if not count:
            continue
        losses = np.array([[value for _, value in one.curve[:count]] for one in runs])
        spent = [at for at, _ in runs[0].curve[:count]]
        mean = losses.mean(0)
        axes.plot(spent, mean, color=colour, label=str(arm), linewidth=1.6, marker=".")
        if len(runs) > 1:
            band = losses.std(0, ddof=1)
            axes.fill_between(spent, mean - band, mean + band, color=colour, alpha=0.15, lw=0)
    axes.set_xlabel("floating-point operations, the small network's with them")
    axes.set_yscale("log")
    _save(figure, axes, path)


def draw_budgets(
    records: Records, task: str, path: Path, called: Callable[[Arm], str] = str
) -> None:
    """Final losses against budgets, of what has run at several."""
    figure, axes = _figure(f"{TASKS[task].title}: final losses")
    several = [arm for arm in racing(records, task) if len(budgets(records, task, arm)) > 1]
    best = sorted(several, key=lambda arm: budgets(records, task, arm)[-1][::-1])
    kept = [arm for arm in best if arm not in _always(task)][:SHOWN]
    for arm, colour in _coloured(task, [*(one for one in _always(task) if one in several), *kept]):
        x, y = zip(*budgets(records, task, arm), strict=True)
        axes.plot(x, y, color=colour, label=called(arm), linewidth=1.6, marker=".")
    axes.set_xlabel("floating-point operations, in parts of the full budget")
    axes.set_xscale("log")
    axes.set_yscale("log")
    there = sorted({budget for arm in several for budget, _ in budgets(records, task, arm)})
    axes.set_xticks(there, [f"{one:g}" for one in there])
    axes.minorticks_off()
    values = [value for arm in several for _, value in budgets(records, task, arm)]
    marks = [one for one in MARKS if min(values) * 0.9 < one < max(values) * 1.1]
    axes.set_yticks(marks, [f"{one:g}" for one in marks])
    _save(figure, axes, path)


def _always(task: str) -> dict[Arm, str]:
    return {
        there: colour
        for arm, colour in ALWAYS.items()
        if (there := arm.on(TASKS[task])) is not None
    }


def _shown(records: Records, task: str, budget: float) -> list[Arm]:
    arms = racing(records, task, budget)
    always = [arm for arm in _always(task) if arm in arms]
    others = sorted(
        (arm for arm in arms if arm not in always),
        key=lambda arm: loss(raced(records, task, budget, arm)),
    )
    return [*always, *others[:SHOWN]]


def _coloured(task: str, arms: Sequence[Arm]) -> Iterable[tuple[Arm, str]]:
    left = cycle(OTHERS)
    return [(arm, _always(task).get(arm) or next(left)) for arm in arms]


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_ylabel("validation loss")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, axes: Any, path: Path) -> None:
    axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "net2net"}):
        figure.savefig(buffer, format="png", dpi=100)
    write_whole(path, buffer.getvalue())
