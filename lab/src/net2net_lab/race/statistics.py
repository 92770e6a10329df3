"""Whether one arm is better than another: paired over the seeds, corrected for how many are
asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from net2net_lab.experiments.show.summary import paired_p
from net2net_lab.race.records import Record


@dataclass(frozen=True)
class Comparison:
    """Of final losses, ours minus theirs, so that less than zero is better.

    Attributes:
        seeds: that both have.
        difference: the mean.
        effect: Cohen's d of the differences: their mean in their deviations.
        t: p-value of a two-sided paired t-test.
        wilcoxon: of Wilcoxon's signed-rank test, exact. Five seeds cannot make it less than 1/16.
    """

    seeds: int
    difference: float | None = None
    effect: float | None = None
    t: float | None = None
    wilcoxon: float | None = None


def compared(ours: Mapping[int, Record], theirs: Mapping[int, Record]) -> Comparison:
    """Runs by seed; what has no meaning (one seed, no difference) is None."""
    pairs = [
        (one.loss, theirs[seed].loss)
        for seed, one in sorted(ours.items())
        if seed in theirs and one.loss is not None and theirs[seed].loss is not None
    ]
    if not pairs:
        return Comparison(0)
    mine, yours = zip(*pairs, strict=True)
    differences = [a - b for a, b in zip(mine, yours, strict=True)]
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return Comparison(
        len(pairs),
        fmean(differences),
        fmean(differences) / spread if spread else None,
        paired_p(mine, yours),
        _wilcoxon(differences),
    )


def _wilcoxon(differences: Sequence[float]) -> float | None:
    from scipy.stats import wilcoxon

    if len(differences) < 2 or not all(differences):
        return None
    return float(wilcoxon(differences, method="exact").pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for how many there are (Holm, 1979); None stays and does not count.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((value, at) for at, value in enumerate(values) if value is not None)
    result: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (value, at) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        result[at] = least
    return result
