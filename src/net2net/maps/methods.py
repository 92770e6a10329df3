"""Growth methods by name: which teacher unit each student unit is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from net2net.errors import UnknownMethodError
from net2net.maps.copy import replicate
from net2net.maps.random import random_pad
from net2net.recipe.axis_map import Index


@dataclass(frozen=True)
class Method:
    """How the units of a space that grows are made.

    Attributes:
        index: from the teacher's number of units n, the student's q ≥ n, a generator and whether
            copies are dealt out evenly, to ``[q]``: the paper's random mapping g (equation 2),
            ``index[j] = g(j)``, 0-based; ``NEW`` marks a unit that copies nothing. The first n are
            the teacher's own.
        exact: the student computes the teacher's function (before noise).
    """

    index: Callable[[int, int, np.random.Generator, bool], Index]
    exact: bool


METHODS = {
    "replicate": Method(replicate, exact=True),
    "random_pad": Method(random_pad, exact=False),
}


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
