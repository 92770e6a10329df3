"""One way to grow within a run, of one's own choice, beside what does not grow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from net2net.errors import Net2NetError
from net2net_lab.experiments.show.formats import flops, probability
from net2net_lab.race.arms import QUESTIONS, SCRATCH, SHALLOW, SMALL, Arm, streams
from net2net_lab.race.ranks import raced
from net2net_lab.race.records import Records, Spec
from net2net_lab.race.statistics import compared, holm
from net2net_lab.race.tables import cells
from net2net_lab.race.tasks import TASKS


class NoArmError(Net2NetError):
    """A way to grow that a task's network does not have."""


def arms(task: str, path: str, method: str, state: str, taus: Sequence[float]) -> list[Arm]:
    """From scratch, what it begins as to the end, and grown at each of these times.

    Raises:
        NoArmError: the task's network cannot grow so.
    """
    wide = path not in QUESTIONS["depth"]
    method = method or ("fresh" if wide else "zeroed-spread")
    grown = []
    for tau in taus:
        wanted = Arm(path, method, streams(method)[0] if wide else "", state, tau)
        if (arm := wanted.on(TASKS[task])) is None:
            raise NoArmError(
                f"'{task}' cannot grow along the path '{path}'. Take --path width or one-deeper."
            )
        grown.append(arm)
    small = [one for one in (SMALL, SHALLOW) if one.sizes[0] == grown[0].sizes[0]]
    return [SCRATCH, *small, *grown]


def runs(task: str, some: Sequence[Arm], budget: float, rate: float, seeds: int) -> list[Spec]:
    """Every arm with every seed."""
    return [Spec(task, arm, seed, budget, rate) for seed in range(seeds) for arm in some]


def table(records: Records) -> Table:
    """Final losses at equal FLOPs, for a terminal. ``records``: of runs of one command."""
    task, budget = next((spec.task, spec.budget) for spec in records)
    some = list(dict.fromkeys(spec.arm for spec in records))
    found = {arm: raced(records, task, budget, arm) for arm in some}
    spent = max((one.allowed for of in found.values() for one in of.values()), default=0)
    shown = Table(
        title=f"{TASKS[task].title}: validation loss after {flops(spent)}FLOP",
        caption="All FLOPs are counted, the smaller network's with them. Mean ± deviation over the "
        "seeds; jump: what growing added at once; p: paired t-test against from scratch, by Holm's "
        "correction over the rows.",
        box=None,
    )
    shown.add_column("arm", no_wrap=True)
    for name in ("parameters", "seeds", "loss", "accuracy", "jump", "p"):
        shown.add_column(name, justify="right")
    ps = holm([compared(found[arm], found[SCRATCH]).t for arm in some])
    for arm, p in zip(some, ps, strict=True):
        done = list(found[arm].values())
        seeds, losses, accuracy, _, jump = cells(done)
        sizes = " → ".join(f"{phase.parameters:,}" for phase in done[0].phases) if done else "–"
        shown.add_row(
            str(arm), sizes, seeds, losses, accuracy, jump, "" if arm == SCRATCH else probability(p)
        )
    return shown
