"""The demo: a perceptron grows in depth in the middle of its training, with the optimiser carried
over, beside one that has all its layers from the beginning and one that never gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

from rich.table import Table

from net2net_lab.experiments.show.formats import flops, probability
from net2net_lab.race.arms import SCRATCH, SHALLOW, Arm
from net2net_lab.race.curves import draw_budgets
from net2net_lab.race.ranks import loss, raced
from net2net_lab.race.records import Records, Spec
from net2net_lab.race.statistics import compared
from net2net_lab.race.verdict import budgets, to_reach

TASK = "mlp"

GROWN = Arm("half-deeper", "identity", "", "own", 0.5)

ARMS = {
    SCRATCH: "five from the beginning",
    GROWN: "three, grown to five",
    SHALLOW: "three to the end",
}

RATES = {0.25: 0.008, 0.5: 0.008, 1.0: 0.004}
"""By budget, of the three that all arms were tried with (0.002, 0.004, 0.008; seeds from 100 on)
the best for the one from scratch."""


def runs(seeds: int) -> list[Spec]:
    """What the demo trains."""
    return [
        Spec(TASK, arm, seed, budget, rate)
        for seed in range(seeds)
        for budget, rate in RATES.items()
        for arm in ARMS
    ]


def table(records: Records) -> Table:
    """What was measured, for a terminal."""
    spent = [
        flops(max((one.allowed for one in found.values()), default=0))
        for found in (raced(records, TASK, budget, SCRATCH) for budget in RATES)
    ]
    shown = Table(
        title="Layers of a perceptron on handwritten digits: validation loss by FLOPs spent",
        caption="Mean ± deviation over the seeds. FLOPs are all that were spent, with three layers "
        "too. p: paired t-test against the first row. Saved: FLOPs to what the first row reaches "
        "with most (loss and FLOPs in logarithms, straight between budgets).",
    )
    for name in ("hidden layers", *(f"{one}FLOP" for one in spent), "saved"):
        shown.add_column(name, justify="left" if name == "hidden layers" else "right")
    for arm, what in ARMS.items():
        shown.add_row(what, *_cells(records, arm), _saved(records, arm))
    return shown


def _cells(records: Records, arm: Arm) -> Iterator[str]:
    for budget in RATES:
        found = raced(records, TASK, budget, arm)
        losses = [one.loss for one in found.values() if one.loss is not None]
        if not losses:
            yield "–"
            continue
        spread = f" ± {stdev(losses):.3f}" if len(losses) > 1 else ""
        p = compared(found, raced(records, TASK, budget, SCRATCH)).t
        test = "" if arm == SCRATCH else f"\np {probability(p)}"
        yield f"{fmean(losses):.3f}{spread}{test}"


def _saved(records: Records, arm: Arm) -> str:
    target = loss(raced(records, TASK, 1.0, SCRATCH))
    at = None if arm == SCRATCH else to_reach(budgets(records, TASK, arm), target)
    return "" if at is None else f"{100 * (1 - at):.0f} %"


def draw(records: Records, out: Path) -> Path:
    """Losses against FLOPs."""
    path = out / "demo.png"
    draw_budgets(records, TASK, path, ARMS.__getitem__)
    return path
