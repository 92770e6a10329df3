"""Young: which elements of a parameter are younger than its state, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from net2net.optim.own import Runs, runs
from net2net.shards import here, is_sharded, positions

Block = tuple[tuple[int, int, int], ...]
"""A part of a tensor: axis, begin and size."""

NONE: Block = ((0, 0, 0),)
"""No row: what is stepped for the count alone."""

SMALL = 8192
"""Parts of fewer elements cost more as tensors of their own than they save."""


@dataclass(frozen=True)
class Cut:
    """A parameter in parts.

    Attributes:
        old, new: what is stepped alone: with the state's count, and with one of its own.
        within: what is young besides, within the old ones or the whole parameter.
        saved: room for it.
    """

    old: list[Block]
    new: list[Block]
    within: list[Block]
    saved: list[Tensor]


@dataclass
class Young:
    """A parameter with positions that are younger than its state.

    Attributes:
        own: axis → runs of positions that are not. An element is young unless all its positions
            are own; of a tensor that is wholly new, no positions are.
        begin: the parameter's count of steps when they were new.
    """

    own: dict[int, Runs]
    begin: float
    _cuts: dict[bool, Cut] = field(default_factory=dict)

    def cut(self, parameter: Tensor, apart: bool) -> Cut:
        """What this process has of a parameter, in parts along its first axis, unless these would
        be small; or whole. Whether in parts does not depend on what other processes have."""
        if apart not in self._cuts:
            old: list[Block] = []
            new: list[Block] = []
            rows = apart and parameter.ndim > 0 and 0 in self.own
            if rows and parameter.numel() >= SMALL * self._parts(parameter):
                old, new = split({0: self.own[0]}, parameter)
            within = [block for block in split(self.own, parameter)[1] if block not in new]
            mine = here(parameter).detach()
            saved = [torch.empty_like(part(mine, block)) for block in within]
            self._cuts[apart] = Cut((old or [NONE]) if new else [], new, within, saved)
        return self._cuts[apart]

    def _parts(self, parameter: Tensor) -> int:
        return len(self.own[0]) + len(others(self.own[0], parameter.shape[0]))


def split(own: Mapping[int, Runs], parameter: Tensor) -> tuple[list[Block], list[Block]]:
    """What this process has of a parameter: blocks whose positions are own, and the others."""
    old: list[Block] = [()]
    young: list[Block] = []
    if parameter.ndim == 0 and own:
        return young, old  # a number is wholly new
    for dim, every in sorted(own.items()):
        owned = _held(every, parameter, dim)
        left = others(owned, here(parameter).shape[dim])
        young += [(*one, (dim, a, b - a)) for one in old for a, b in left]
        old = [(*one, (dim, a, b - a)) for one in old for a, b in owned]
    return old, young


def _held(owned: Runs, parameter: Tensor, dim: int) -> Runs:
    """Where these runs along an axis are in what this process has."""
    if not is_sharded(parameter):
        return owned
    mask = np.zeros(parameter.shape[dim], dtype=bool)
    for begin, end in owned:
        mask[begin:end] = True
    return runs(mask[positions(parameter, dim)])


def others(owned: Runs, size: int) -> Runs:
    """The runs between these."""
    edges = [0, *(edge for run in owned for edge in run), size]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)


def part(tensor: Tensor, block: Block) -> Tensor:
    """A block of a tensor, in its memory."""
    for dim, begin, size in block:
        tensor = tensor.narrow(dim, begin, size)
    return tensor


def state_of(
    young: Mapping[str, Young], rewarm: float, over: int, count: int = 0
) -> dict[str, Any]:
    """What ``Carried.load_state_dict`` reads, as types of JSON."""
    return {
        "rewarm": rewarm,
        "over": over,
        "count": count,
        "young": {
            name: {
                "begin": one.begin,
                "own": [[dim, [list(run) for run in runs]] for dim, runs in one.own.items()],
            }
            for name, one in young.items()
        },
    }
