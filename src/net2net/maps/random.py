"""Units with weights drawn at random."""

from __future__ import annotations

import numpy as np

from net2net.recipe.axis_map import NEW, Index


def random_pad(n: int, q: int, rng: np.random.Generator, balanced: bool) -> Index:
    """The paper's baseline: new units with random weights. Does not keep the function."""
    return np.concatenate([np.arange(n), np.full(q - n, NEW)]).astype(np.int64)
