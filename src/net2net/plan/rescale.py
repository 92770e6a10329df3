"""What rows of larger heads are multiplied by.

They are divided among the copies of each feature. And where code multiplies scores by a number that
it computes from how many features there are, such as 1/√d, the rows make up for its change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Inference
from net2net.infer.units import Axis
from net2net.recipe.axis_map import AxisMap
from net2net.trace.trace import Op


def rescaled(
    teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap], *, strict: bool = True
) -> dict[Axis, AxisMap]:
    """The maps of axes that grow, with the scale of those that take shares. ``strict=False`` lets
    other numbers differ, which changes what is computed.

    Raises:
        GraphMismatchError: the student's code computes another number where none was followed.
    """
    found: dict[Axis, NDArray[np.float64]] = {}
    if strict:
        _check_numbers(teacher, student)
    for old, new in zip(teacher.absorbers, student.absorbers, strict=strict):
        for axis, places in new.positions:
            if axis not in maps or new.trace:
                continue  # what training does with the same rows
            at, index = np.array(places), maps[axis].index
            _, source, copies = np.unique(index[at], return_inverse=True, return_counts=True)
            one = found.setdefault(axis, np.ones(len(index)))
            one[at] *= old.scale / new.scale / np.where(index[at] < 0, 1, copies[source])
    scaled = {axis: replace(maps[axis], scale=scale) for axis, scale in found.items()}
    return {**maps, **scaled}


def _check_numbers(teacher: Inference, student: Inference) -> None:
    followed = {(one.trace, place) for one in student.absorbers for place in one.numbers}
    traces = zip(teacher.traces, student.traces, strict=True)
    for number, (old, new) in enumerate(traces if student.absorbers else ()):
        for place, (a, b) in enumerate(zip(old.ops, new.ops, strict=True)):
            if (number, place) not in followed and _numbers(a) != _numbers(b):
                raise GraphMismatchError(
                    f"{a.name} in '{a.path}' gets a number that the code computes from the size of "
                    f"heads ({_numbers(a)}, then {_numbers(b)}), where no weight can make up for "
                    "it. Keep the size of heads, and let their number grow.",
                    module=a.path,
                )


def _numbers(op: Op) -> list[float]:
    """The numbers among an operation's arguments that are no sizes."""
    other = op.args.get("other")
    return [
        *(x for x in op.args.values() if isinstance(x, float)),
        *([float(other)] if isinstance(other, int) else []),
    ]
