"""apply: write the student's tensors as a plan says: select, divide, done.

Memory-bound, so the order matters: columns are taken first, on the smaller matrix, and divided in
place; rows are copied last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from net2net.infer.units import Role
from net2net.trace.meta_copy import copied, named_tensors

FRESH = -1
"""In place of a teacher's position: the unit copies nothing."""
ABSENT = -2
"""The teacher has the unit, but not on this axis: nobody may read it."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers for one space or tensor: the same on every platform, whatever else grows."""
    words = [seed % 2**32, *(byte for name in names for byte in name.encode())]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass(frozen=True)
class AxisStep:
    """How one axis of one tensor grows: ``index[j]`` is the teacher's position (or ``FRESH``,
    ``ABSENT``), ``role`` what is done about the copies."""

    dim: int
    role: str
    index: np.ndarray[Any, np.dtype[np.int64]]


@torch.no_grad()
def grow_tensor(
    tensor: Tensor, steps: Sequence[AxisStep], *, name: str, noise: float, seed: int
) -> Tensor:
    """One tensor of the student, in new memory.

    Equation 2 of the paper on every axis: rows ``U[j] = W[g(j)]``; columns
    ``U[:, j] = W[:, g(j)] / |{x: g(x) = g(j)}|``.
    """
    result = tensor
    for step in sorted(steps, key=lambda step: -step.dim):
        index = torch.from_numpy(np.maximum(step.index, 0)).to(tensor.device)
        result = result.index_select(step.dim, index)
        if step.role == Role.CONSUMES:
            used = np.maximum(step.index, 0)
            copies = np.where(
                step.index >= 0, np.bincount(used[step.index >= 0], minlength=1)[used], 1
            )
            if (copies > 1).any():
                shape = [-1 if dim == step.dim else 1 for dim in range(result.ndim)]
                result /= torch.from_numpy(copies).to(result).reshape(shape)
            if (step.index == ABSENT).any():
                _region(result, step.dim, step.index == ABSENT).zero_()
    weight = any(step.role in (Role.PRODUCES, Role.CONSUMES) for step in steps) and tensor.ndim > 1
    for step in steps:
        fresh = step.index == FRESH
        if fresh.any():
            _fill_fresh(result, tensor, step.dim, fresh, name if weight else None, seed)
        if noise and step.role == Role.PRODUCES and weight:
            _add_noise(result, step, noise * float(tensor.std(correction=0)), name, seed)
    return result


@torch.no_grad()
def scale_tensor(tensor: Tensor, dim: int, by: Sequence[float]) -> None:
    """Multiply every position on one axis by a number of its own, in place."""
    shape = [-1 if axis == dim else 1 for axis in range(tensor.ndim)]
    tensor *= torch.tensor(by, dtype=torch.float64).to(tensor).reshape(shape)


@torch.no_grad()
def follow_norm(
    scale: Tensor, old: Tensor, new: Tensor, steps: Sequence[AxisStep], dim: int
) -> Tensor:
    """The ``scale`` for which ``scale · v / ‖v‖`` changes only as ``v`` does, from ``old`` to
    ``new``. ``steps``: how the scale grows."""
    before = torch.norm_except_dim(old.double(), 2, dim)
    before = grow_tensor(before, steps, name="", noise=0, seed=0)
    return (scale * (torch.norm_except_dim(new.double(), 2, dim) / before)).to(scale.dtype)


def _region(tensor: Tensor, dim: int, mask: np.ndarray[Any, Any]) -> _Rows:
    return _Rows(tensor, dim, torch.from_numpy(np.flatnonzero(mask)).to(tensor.device))


class _Rows:
    """Some positions along one axis, written without views that copies could share."""

    def __init__(self, tensor: Tensor, dim: int, rows: Tensor) -> None:
        self.tensor, self.dim, self.rows = tensor, dim, rows

    def zero_(self) -> None:
        self.tensor.index_fill_(self.dim, self.rows, 0)

    def shape(self) -> list[int]:
        return [
            len(self.rows) if dim == self.dim else size
            for dim, size in enumerate(self.tensor.shape)
        ]

    def normal(self, std: float, name: str, kind: str, seed: int) -> Tensor:
        rng = generator(seed, kind, name, str(self.dim))
        return torch.from_numpy(rng.standard_normal(self.shape()) * std).to(self.tensor)

    def put(self, values: Tensor) -> None:
        self.tensor.index_copy_(self.dim, self.rows, values)

    def add(self, values: Tensor) -> None:
        self.tensor.index_add_(self.dim, self.rows, values)


def _fill_fresh(
    result: Tensor, teacher: Tensor, dim: int, fresh: np.ndarray[Any, Any],
    name: str | None, seed: int,
) -> None:  # fmt: skip
    """New units: weights drawn with the deviation of the teacher's; biases and norms at their
    teacher's mean (a variance of new units has to be positive)."""
    rows = _region(result, dim, fresh)
    if name is not None:
        rows.put(rows.normal(float(teacher.std(correction=0)), name, "fresh", seed))
    elif result.is_floating_point():
        mean = teacher.mean(dim, keepdim=True)
        rows.put(mean.expand(rows.shape()).contiguous())


def _add_noise(result: Tensor, step: AxisStep, std: float, name: str, seed: int) -> None:
    """Symmetry breaking (section 2.3): a little noise on all but the first copy of a unit."""
    _, first = np.unique(step.index, return_index=True)
    later = np.ones(len(step.index), dtype=bool)
    later[first] = False
    later &= step.index >= 0
    if later.any():
        rows = _region(result, step.dim, later)
        rows.add(rows.normal(std, name, "noise", seed))


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model, of the same class, with these tensors; the others are cloned."""
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model):
        new = tensors[name] if name in tensors else tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = new
    return copied(model, memo)
