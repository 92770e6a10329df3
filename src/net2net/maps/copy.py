"""Copies of the teacher's units: what Net2WiderNet makes (paper, section 2.3)."""

from __future__ import annotations

import numpy as np

from net2net.recipe.axis_map import Index


def replicate(n: int, q: int, rng: np.random.Generator, balanced: bool) -> Index:
    """Net2WiderNet: new units copy old ones, chosen at random.

    ``balanced`` deals the copies out evenly (every unit is copied before one is copied again); else
    each is an independent uniform sample, as in the paper.
    """
    extra = q - n
    if balanced:
        deals = [rng.permutation(n) for _ in range(-(-extra // n))]
        chosen = np.concatenate(deals)[:extra] if deals else np.empty(0, dtype=np.int64)
    else:
        chosen = rng.integers(0, n, size=extra)
    return np.concatenate([np.arange(n), chosen]).astype(np.int64)
