"""What rows of larger heads are multiplied by.

They are divided among the copies of each feature. And where code multiplies scores by a number that
it computes from how many features there are, such as 1/√d, the rows make up for its change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from net2net.infer.inference import Inference
from net2net.infer.units import Axis
from net2net.recipe.axis_map import AxisMap


def rescaled(
    teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap], *, strict: bool = True
) -> dict[Axis, AxisMap]:
    """The maps of axes that grow, with the scale of those that take shares."""
    found: dict[Axis, NDArray[np.float64]] = {}
    for old, new in zip(teacher.absorbers, student.absorbers, strict=strict):
        for axis, places in new.positions:
            if axis not in maps or new.trace:
                continue  # what training does with the same rows
            at, index = np.array(places), maps[axis].index
            _, source, copies = np.unique(index[at], return_inverse=True, return_counts=True)
            one = found.setdefault(axis, np.ones(len(index)))
            one[at] *= old.scale / new.scale / np.where(index[at] < 0, 1, copies[source])
    scaled = {
        axis: replace(known, scale=scale if known.scale is None else known.scale * scale)
        for axis, scale in found.items()
        if (known := maps[axis])
    }
    return {**maps, **scaled}


def followed(inference: Inference) -> set[tuple[int, int]]:
    """The operations (trace and place in it) whose numbers those rows make up for."""
    return {(one.trace, place) for one in inference.absorbers for place in one.numbers}
