"""What copies of a unit are worth to those who read it: numbers that sum to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from net2net.recipe.axis_map import Index


def uneven(source: Index, rng: np.random.Generator) -> NDArray[np.float64]:
    """``[units]``: a weight for each, to be divided by the sum over the copies of one unit. Those
    of an exponential law make shares that are evenly spread over all that sum to one."""
    return rng.standard_exponential(len(source))


def one_sided(source: Index, rng: np.random.Generator) -> NDArray[np.float64]:
    """``[units]``: 1 for the first copy of each unit and 0 for the others."""
    weights = np.zeros(len(source))
    weights[np.unique(source, return_index=True)[1]] = 1
    return weights


SHARES = {"uneven": uneven, "one_sided": one_sided}


def shared(index: Index, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[positions]``: the share of every position of an axis, so that those that copy one position
    sum to one; even ones where all weights of one are zero.

        >>> shared(np.array([0, 1, 0]), np.array([3.0, 1.0, 1.0]))
        array([0.75, 1.  , 0.25])

    Args:
        index: ``[positions]``, which position each copies; negative: none.
        weights: ``[positions]``.
    """
    known, place = np.maximum(index, 0), index >= 0
    size = int(known.max(initial=0)) + 1
    total = np.bincount(known[place], weights[place], size)
    count = np.bincount(known[place], minlength=size)
    sums = total[known]
    result = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), 1 / count[known].clip(1))
    return np.where(place, result, 1.0)
