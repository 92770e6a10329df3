"""Growth methods: which teacher unit each student unit is made from.

A map is the paper's random mapping g (equation 2), ``source[j] = g(j)``, 0-based; ``NEW`` marks a
unit that copies nothing. The first n units are always the teacher's own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from net2net.errors import UnknownMethodError
from net2net.recipe.axis_map import NEW, Index

Method = Callable[[int, int, np.random.Generator, bool], Index]


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


def random_pad(n: int, q: int, rng: np.random.Generator, balanced: bool) -> Index:
    """The paper's baseline: new units with random weights. Does not keep the function."""
    return np.concatenate([np.arange(n), np.full(q - n, NEW)]).astype(np.int64)


METHODS: dict[str, Method] = {"replicate": replicate, "random_pad": random_pad}

PRESERVING = frozenset({"replicate"})
"""Methods whose students compute the teacher's function (before noise)."""


def method_named(name: str) -> Method:
    """The growth method of this name.

    Raises:
        UnknownMethodError: there is none.
    """
    if name not in METHODS:
        raise UnknownMethodError(
            f"there is no growth method '{name}'. Choose one of: {', '.join(METHODS)}."
        )
    return METHODS[name]
