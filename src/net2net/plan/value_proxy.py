"""Models with values, for code that branches on them.

Some code does what its hidden values say: a mixture of experts runs those that were chosen. Such a
model is traced with the teacher's own weights, and its student with a stand-in: weights grown by
the layout that axes usually have. If that layout is right, the stand-in computes what the teacher
computes, so it takes the same branches, and its trace says where the units lie; if it is not, the
traces do not correspond, and the growth is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
from torch import Tensor, nn

from net2net.apply.module import with_tensors
from net2net.errors import InputError
from net2net.infer.inference import Inference
from net2net.infer.units import UnitIds
from net2net.plan.widths import SpaceGrowth
from net2net.recipe.axis_map import AxisMap, axis_map
from net2net.recipe.grown import grown as grown_tensor
from net2net.trace.meta_copy import named_tensors


def with_values(model: nn.Module) -> nn.Module:
    """A copy on the CPU that shares the parameters, but not the buffers, which running changes.

    Raises:
        InputError: they have no values.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InputError(
            "the model's code branches on hidden values, and it is on meta, without any. Give it "
            "with its weights."
        )
    tensors = {name: p.detach().to("cpu") for name, p in model.named_parameters()}
    tensors |= {name: b.detach().to("cpu", copy=True) for name, b in model.named_buffers()}
    return with_tensors(model, tensors)


def value_proxy(model: nn.Module, teacher: Inference, grown: Sequence[SpaceGrowth]) -> nn.Module:
    """A student with values whose axes repeat their units in the order in which they lie."""
    wider = {group.key: one.ratio for one in grown for group in one.space.groups}
    whole = with_values(model)
    return with_tensors(whole, _grown_values(whole, teacher, wider))


def built_proxy(student: nn.Module, model: nn.Module, teacher: Inference) -> nn.Module:
    """The same of a student that its own code built: its sizes say by how much groups grow. What
    has other sizes than that makes, and single numbers, which its class makes, it keeps."""
    ours, theirs = dict(named_tensors(student)), dict(named_tensors(model))
    wider: dict[int, Fraction] = {}
    keys = list(teacher.groups)
    for axis, number in teacher.numbers.items():
        groups = np.unique(teacher.group_of[teacher.ids(number)])
        if axis.name in ours and len(groups) == 1:
            new, old = (one[axis.name].shape[axis.dim] for one in (ours, theirs))
            wider[keys[groups[0]]] = Fraction(new, old)
    tensors = {**theirs, **_grown_values(model, teacher, wider)}
    fit = {
        name: tensor.detach()
        for name, tensor in tensors.items()
        if name in ours and tensor.ndim and tensor.shape == ours[name].shape
    }
    return with_tensors(student, fit)


def _grown_values(
    model: nn.Module, teacher: Inference, wider: Mapping[int, Fraction]
) -> dict[str, Tensor]:
    """The tensors that grow. ``wider``: a group → how many times as many units it gets."""
    ratios = [wider.get(key, Fraction(1)) for key in teacher.groups]
    steps: dict[str, list[AxisMap]] = {}
    for axis, number in teacher.numbers.items():
        ids = teacher.ids(number)
        groups = teacher.group_of[ids].tolist()
        index = np.concatenate(
            [
                first + _repeated(ids[first:last], ratios[groups[first]])
                for first, last in _runs(groups)
            ]
        )
        if len(index) != len(ids):
            steps.setdefault(axis.name, []).append(axis_map(axis.dim, index, teacher.role(axis)))
    return {
        name: grown_tensor(tensor.detach(), steps[name])
        for name, tensor in named_tensors(model)
        if name in steps
    }


def _runs(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where units of one group lie side by side: first position, and the one after the last."""
    first = 0
    for place in range(1, len(groups) + 1):
        if place == len(groups) or groups[place] != groups[first]:
            yield first, place
            first = place


def _repeated(ids: UnitIds, ratio: Fraction) -> UnitIds:
    """Teacher positions of a grown run: it begins with its first unit anew in each stacked
    projection, of which each has more units (the features of a head, or pixels, lie inside)."""
    first = ids == ids[0]
    starts = np.flatnonzero(first[1:] & ~first[:-1]) + 1
    pieces = np.split(np.arange(len(ids)), starts)
    return np.concatenate([piece[_more(ids[piece], ratio)] for piece in pieces])


def _more(ids: UnitIds, ratio: Fraction) -> UnitIds:
    """Positions of a projection, ``[units, places]``, with more units."""
    units = len(np.unique(ids))
    block = np.arange(len(ids) - len(ids) % units).reshape(units, -1)
    new = int(units * ratio)
    return block[np.arange(new) % units].reshape(-1)
