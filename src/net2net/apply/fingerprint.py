"""Fingerprint: the names, shapes and types of a model's tensors, by which a plan knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from net2net.errors import PlanError
from net2net.trace.meta_copy import named_tensors

LARGEST = 2**48
"""No tensor has as many numbers: a plan that says so is damaged."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: its shape, its type (None: unknown), and whether a state dict holds it."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None = None
    persistent: bool = True

    @property
    def count(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes its elements take (4 each, if the type is unknown)."""
        return self.count * (4 if self.dtype is None else self.dtype.itemsize)


@dataclass(frozen=True)
class Fingerprint:
    """All tensors of a model.

    Attributes:
        tensors: parameters, then buffers, each under its first name.
        ties: other names of tied tensors → their first.
    """

    tensors: Mapping[str, TensorSpec]
    ties: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: spec.shape for name, spec in self.tensors.items()}

    @property
    def dtype(self) -> torch.dtype | None:
        """The type of the weights: of the first tensor of floating-point numbers."""
        types = (spec.dtype for spec in self.tensors.values())
        return next((one for one in types if one is not None and one.is_floating_point), None)

    def check(self, shapes: Mapping[str, tuple[int, ...]], whose: str, advice: str) -> None:
        """Raises:
        PlanError: a model has other tensors, or of other shapes. It names the first.
        """
        ours = self.shapes
        for name in [*ours, *shapes]:
            if ours.get(name) != shapes.get(name):
                here, there = (
                    None if shape is None else list(shape)
                    for shape in (ours.get(name), shapes.get(name))
                )
                raise PlanError(
                    f"the plan was made for a {whose} with '{name}' of shape {here}, and here it "
                    f"is {there}. {advice}"
                )


def fingerprint(model: nn.Module) -> Fingerprint:
    """What a plan knows of a model's tensors."""
    named = dict(named_tensors(model))
    first = {id(tensor): name for name, tensor in named.items()}
    passing = {
        f"{path}.{name}" if path else name
        for path, part in model.named_modules()
        for name in part._non_persistent_buffers_set
    }
    every = (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    )
    return Fingerprint(
        {
            name: TensorSpec(tuple(t.shape), t.dtype, name not in passing)
            for name, t in named.items()
        },
        {name: first[id(t)] for name, t in every if name not in named},
    )


def to_data(one: Fingerprint) -> dict[str, Any]:
    """A fingerprint as JSON types."""
    return {
        "tensors": {
            name: [
                list(spec.shape),
                None if spec.dtype is None else str(spec.dtype).removeprefix("torch."),
                *([] if spec.persistent else ["not persistent"]),
            ]
            for name, spec in one.tensors.items()
        },
        "ties": dict(one.ties),
    }


def from_data(data: dict[str, Any]) -> Fingerprint:
    """A fingerprint from JSON types.

    Raises:
        PlanError: it is none.
    """
    tensors = {}
    for name, (shape, kind, *rest) in data["tensors"].items():
        dtype = None if kind is None else getattr(torch, str(kind), None)
        sizes = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        sizes = sizes and prod(shape) < LARGEST
        if not sizes or not (kind is None or isinstance(dtype, torch.dtype)):
            raise PlanError(
                f"the plan has '{name}' of shape {shape!r:.80} and type {kind!r:.40}. "
                "The plan is damaged: make it again."
            )
        tensors[name] = TensorSpec(tuple(shape), dtype, not rest)
    ties = data["ties"]
    if not all(isinstance(x, str) and y in tensors for x, y in ties.items()):
        raise PlanError("the plan ties names that it does not have. It is damaged: make it again.")
    return Fingerprint(tensors, dict(ties))


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
