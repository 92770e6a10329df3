"""Fills: what a tensor holds whatever the teacher's held: values that make layers and norms return
what they are given, or branches return zero, and zeros between groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from net2net.errors import PlanError


@dataclass(frozen=True)
class Constant:
    """One number everywhere."""

    value: float

    def write(self, tensor: Tensor, rows: Sequence[int]) -> None:
        tensor.fill_(self.value)


@dataclass(frozen=True)
class Values:
    """A vector, number by number."""

    values: tuple[float, ...]

    def write(self, tensor: Tensor, rows: Sequence[int]) -> None:
        tensor.copy_(torch.tensor([self.values[row] for row in rows], dtype=torch.float64))


@dataclass(frozen=True)
class Eye:
    """The weight of a layer that returns its input, ``[outputs, inputs per group, *kernel]``: row
    j repeats feature ``features[j]`` (None: feature j), read at the tap ``centre`` of the kernel
    (None: the middle)."""

    features: tuple[int, ...] | None = None
    centre: tuple[int, ...] | None = None

    def write(self, tensor: Tensor, rows: Sequence[int]) -> None:
        tensor.zero_()
        middle = tuple((size - 1) // 2 for size in tensor.shape[2:])
        tap = middle if self.centre is None else self.centre
        for place, row in enumerate(rows):
            feature = row if self.features is None else self.features[row]
            tensor[(place, feature % tensor.shape[1], *tap)] = 1


@dataclass(frozen=True)
class Undo:
    """The scale of a batch norm that undoes itself, γ = √(σ² + ε) (paper, section 2.4), computed in
    the tensor's own type as the norm does. ``variance``: σ² of every feature (None: 1)."""

    eps: float
    variance: tuple[float, ...] | None = None

    def write(self, tensor: Tensor, rows: Sequence[int]) -> None:
        known = torch.ones(len(rows), dtype=torch.float64)
        if self.variance is not None:
            known = torch.tensor([self.variance[row] for row in rows], dtype=torch.float64)
        tensor.copy_((known.to(tensor) + self.eps).sqrt())


@dataclass(frozen=True)
class Diagonal:
    """Zero, but for blocks of so many rows and columns along the diagonal, which begins again at
    the first column: what is there stays.

    >>> weight = torch.ones(6, 4)
    >>> Diagonal(rows=2, columns=2).write(weight, range(6))
    >>> weight
    tensor([[1., 1., 0., 0.],
            [1., 1., 0., 0.],
            [0., 0., 1., 1.],
            [0., 0., 1., 1.],
            [1., 1., 0., 0.],
            [1., 1., 0., 0.]])
    """

    rows: int
    columns: int

    def write(self, tensor: Tensor, rows: Sequence[int]) -> None:
        at = torch.tensor(rows, dtype=torch.int64)[:, None] // self.rows
        block = torch.arange(tensor.shape[1]) // self.columns
        outside = (block != at % (tensor.shape[1] // self.columns)).to(tensor.device)
        tensor.masked_fill_(outside.reshape(*outside.shape, *[1] * (tensor.ndim - 2)), 0)


Fill = Constant | Values | Eye | Undo | Diagonal


def to_data(fill: Fill) -> list[Any]:
    """A fill as JSON types: its kind, and its fields."""
    fields = (list(x) if isinstance(x, tuple) else x for x in vars(fill).values())
    return [type(fill).__name__.lower(), *fields]


def from_data(data: Any) -> Fill:
    """A fill from JSON types.

    Raises:
        PlanError: there is no such fill.
    """
    match data:
        case ["constant", float() | int() as value] if math.isfinite(value):
            return Constant(value)
        case ["values", list() as values] if _numbers(values):
            return Values(tuple(values))
        case ["eye", features, centre] if _integers(features) and _integers(centre):
            return Eye(_tuple(features), _tuple(centre))
        case ["undo", float() as eps, variance] if variance is None or _numbers(variance):
            return Undo(eps, _tuple(variance))
        case ["diagonal", int() as rows, int() as columns] if rows > 0 and columns > 0:
            return Diagonal(rows, columns)
    raise PlanError(
        f"a tensor is overwritten with {data!r:.80}, which is no fill. "
        "The plan is damaged: make it again."
    )


def _numbers(items: Any) -> bool:
    return isinstance(items, list) and all(type(x) in (int, float) for x in items)


def _integers(items: Any) -> bool:
    return items is None or (isinstance(items, list) and all(type(x) is int for x in items))


def _tuple(items: list[Any] | None) -> tuple[Any, ...] | None:
    return None if items is None else tuple(items)
