"""Numbers and names as they are written in tables and sentences."""

from __future__ import annotations

from net2net_lab.experiments.show.summary import Stat, StepsTo, Summary


def spread(stat: Stat, digits: int, scale: float = 1) -> str:
    """Mean ± deviation, with so many digits behind the point."""
    text = f"{scale * stat.mean:.{digits}f}"
    return text if stat.deviation is None else f"{text} ± {scale * stat.deviation:.{digits}f}"


def percent(stat: Stat) -> str:
    """An accuracy, in percent."""
    return spread(stat, 1, 100)


def steps(to: StepsTo | None) -> str:
    """Steps to an accuracy, and in how many seeds it was reached if not in all."""
    if to is None:
        return "–"
    if to.steps is None:
        return "never"
    text = spread(to.steps, 0)
    return text if to.reached == to.seeds else f"{text} ({to.reached}/{to.seeds})"


def loss(stat: Stat | None) -> str:
    """A loss."""
    return "–" if stat is None else spread(stat, 3)


def heading(summary: Summary, step: int) -> str:
    """What a checkpoint is called."""
    if not summary.shares:
        return f"step {step}"
    return f"{100 * summary.shares[summary.checkpoints.index(step)]:g} % data"


def flops(value: float) -> str:
    """A number of operations with three digits."""
    for prefix, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= unit:
            return f"{value / unit:.3g} {prefix}"
    return f"{value:.3g}"


def flops_to(to: StepsTo | None, before: int = 0) -> str:
    """Operations to an accuracy, if need be with those that were spent before."""
    if to is None or to.flops is None:
        return steps(to)
    text = flops(to.flops.mean + before)
    return text if to.reached == to.seeds else f"{text} ({to.reached}/{to.seeds})"


def saved(stat: Stat | None) -> str:
    """Part of the compute that was saved, in percent; negative if more was spent."""
    return "–" if stat is None else f"{spread(stat, 0, 100)} %"


def probability(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def called(label: str) -> str:
    """An arm in a sentence."""
    return f"the student {label}" if label.startswith("from scratch") else label
