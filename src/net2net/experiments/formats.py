"""Numbers and names as they are written in tables and sentences."""

from __future__ import annotations

from net2net.experiments.summary import Stat, StepsTo, Summary


def percent(stat: Stat) -> str:
    """Mean ± deviation of an accuracy, in percent."""
    text = f"{100 * stat.mean:.1f}"
    return text if stat.deviation is None else f"{text} ± {100 * stat.deviation:.1f}"


def steps(to: StepsTo | None) -> str:
    """Steps to an accuracy, and in how many seeds it was reached if not in all."""
    if to is None:
        return "–"
    if to.steps is None:
        return "never"
    text = f"{to.steps.mean:.0f}"
    if to.steps.deviation is not None:
        text += f" ± {to.steps.deviation:.0f}"
    return text if to.reached == to.seeds else f"{text} ({to.reached}/{to.seeds})"


def loss(stat: Stat | None) -> str:
    """Mean ± deviation of a loss."""
    if stat is None:
        return "–"
    text = f"{stat.mean:.3f}"
    return text if stat.deviation is None else f"{text} ± {stat.deviation:.3f}"


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
    if stat is None:
        return "–"
    text = f"{100 * stat.mean:.0f} %"
    return text if stat.deviation is None else f"{text[:-2]} ± {100 * stat.deviation:.0f} %"


def probability(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def called(label: str) -> str:
    """An arm in a sentence."""
    return f"the student {label}" if label.startswith("from scratch") else label
