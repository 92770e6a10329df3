"""A model's own outputs, where they may grow: which of the teacher's positions each position of the
student's repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Inference
from net2net.infer.units import NO_UNIT, Axis, UnitIds
from net2net.infer.values import Part, Value
from net2net.plan.match import positions
from net2net.recipe.axis_map import ABSENT, NEW, AxisMap

OutputMaps = Mapping[str, Mapping[int, Sequence[int]]]
"""Where in the output → axis → for each of the student's positions the teacher's, or −1."""


def output_maps(
    teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap]
) -> dict[str, dict[int, tuple[int, ...]]]:
    """The axes of the model's outputs that grew.

    ``maps``: how the parameters grew.

    Raises:
        GraphMismatchError: a position of the student's output stands for none of the teacher's.
    """
    source = _sources(teacher, student, maps)
    result: dict[str, dict[int, tuple[int, ...]]] = {}
    for where, old, value in _ends(teacher, student):
        for part, before in zip(value.parts, old.parts, strict=True):
            if part.ids.shape != before.ids.shape:
                found = _block(teacher, student, before, part, source, where)
                result.setdefault(where, {}).update(found)
    return result


def _ends(teacher: Inference, student: Inference) -> Iterator[tuple[str, Value, Value]]:
    """What the teacher and the student put out, in evaluation mode, and where in the output."""
    for number, trace in enumerate(teacher.traces):
        for where, tensor in () if trace.training else trace.outputs.items():
            old = teacher.values[number].get(tensor)
            new = student.values[number].get(student.traces[number].outputs[where])
            if old is not None and new is not None:
                yield where, old, new


def _sources(teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap]) -> UnitIds:
    """For every component of the student, the teacher's that it is made from."""
    source = np.full(len(student.component), ABSENT, dtype=np.int64)
    for axis, number in student.numbers.items():
        old, new = teacher.ids(teacher.numbers[axis]), student.ids(number)
        index = maps[axis].index if axis in maps else np.arange(len(new))
        source[new[index >= 0]] = old[index[index >= 0]]
        made = axis not in maps or not maps[axis].role.reads
        fresh = new[(index < 0) if made else (index == NEW)]
        source[fresh] = np.maximum(source[fresh], NEW)
    return source


def _block(
    teacher: Inference, student: Inference, old: Part, new: Part, source: UnitIds, where: str
) -> dict[int, tuple[int, ...]]:
    """One map an axis: a block (heads, features of one) has to grow along each by itself."""
    have, want = old.ids.reshape(-1), new.ids.reshape(-1)
    flat = positions(*_named(teacher, have), *_named(student, want), source)
    fresh = (flat == NEW).reshape(new.ids.shape)
    places = np.unravel_index(np.maximum(flat, 0), old.ids.shape)
    result, apart = {}, (flat == ABSENT).any() or (want == NO_UNIT).any() or (have == NO_UNIT).any()
    for dim, axis in enumerate(new.axes):
        block = places[dim].reshape(new.ids.shape)
        rows = np.moveaxis(block, dim, 0).reshape(block.shape[dim], -1)
        made = np.moveaxis(fresh, dim, 0).reshape(len(rows), -1).all(1)
        apart |= (rows != rows[:, :1])[~made].any()
        index = np.where(made, NEW, rows[:, 0])
        if new.ids.shape[dim] != old.ids.shape[dim]:
            result[axis] = tuple(index.tolist())
    if apart:
        raise GraphMismatchError(
            f"output{where}: its positions cannot be traced to the teacher's, axis by axis. "
            'Leave its units as they are, or pass outputs="keep".'
        )
    return result


def _named(inference: Inference, ids: UnitIds) -> tuple[UnitIds, UnitIds]:
    """Component and slot of every unit."""
    return inference.component[ids], inference.slot[ids]


def counterparts(old: Tensor, new: Tensor, maps: Mapping[int, Sequence[int]]) -> tuple[Tensor, ...]:
    """The teacher's output as wide as the student's, by its maps; both without units that started
    afresh."""
    for axis, index in maps.items():
        known = torch.tensor(index) >= 0
        old = old.index_select(axis, torch.tensor(index)[known].to(old.device))
        new = new.index_select(axis, known.nonzero()[:, 0].to(new.device))
    return old, new
