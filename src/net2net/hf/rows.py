"""Tensors on disk, read by rows: nothing is kept in memory but what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from net2net.hf.shards import Place
from net2net.recipe.axis_map import Index
from net2net.recipe.run import Read

SMALL = 2**16
"""Elements of tensors that are kept once they were read: norms, biases."""


def whole(place: Place) -> Tensor:
    """All of a tensor.

    Raises:
        OSError: the file ends before.
    """
    made = torch.empty(place.shape, dtype=place.dtype)
    with place.file.open("rb", buffering=0) as file:
        _fill(file, place.begin, made)
    return made


def rows_of(place: Place, rows: Index) -> Tensor:
    """These rows of a tensor, in any order. Neighbours are read at once.

    Raises:
        OSError: the file ends before.
    """
    made = torch.empty((len(rows), *place.shape[1:]), dtype=place.dtype)
    size = prod(place.shape[1:]) * place.dtype.itemsize
    ends = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)]
    first = 0
    with place.file.open("rb", buffering=0) as file:
        for end in ends:
            _fill(file, place.begin + int(rows[first]) * size, made[first:end])
            first = int(end)
    return made


def _fill(file: BinaryIO, begin: int, tensor: Tensor) -> None:
    if not tensor.numel():
        return
    into = tensor.reshape(-1).view(torch.uint8).numpy().data
    file.seek(begin)
    while into:
        count = file.readinto(into)  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"'{file.name}' ended while it was read")
        into = into[count:]


def from_disk(places: Mapping[str, Place]) -> Read:
    """Reads tensors by name."""
    kept: dict[str, Tensor] = {}

    def read(name: str, rows: Index | None) -> Tensor:
        place = places[name]
        if prod(place.shape) <= SMALL:
            if name not in kept:
                kept[name] = whole(place)
            if rows is None:
                return kept[name]
            return kept[name].index_select(0, torch.from_numpy(np.ascontiguousarray(rows)))
        return whole(place) if rows is None else rows_of(place, rows)

    return read
