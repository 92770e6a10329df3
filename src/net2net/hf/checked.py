"""Whether a student that was written is what it should be: in shapes, and in what is on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from net2net.apply.fingerprint import TensorSpec
from net2net.errors import FolderError
from net2net.hf.rows import rows_of, whole
from net2net.hf.shards import tensors_in
from net2net.hf.stream import bytes_of
from net2net.recipe.draw import generator
from net2net.recipe.run import Read
from net2net.trace.meta_copy import named_tensors

ROWS = 8
"""How many rows of each tensor are looked at."""


def check_said(student: Any) -> None:
    """Raises:
    FolderError: what is built from a student's configuration has other tensors.
    """
    shapes = {name: tensor.shape for name, tensor in named_tensors(student)}
    with torch.device("meta"):
        said = {n: t.shape for n, t in named_tensors(type(student)(student.config))}
    if said != shapes:
        odd = min(n for n in {*said, *shapes} if said.get(n) != shapes.get(n))
        raise FolderError(
            f"no configuration of {type(student).__name__} says this student: '{odd}' is "
            f"{tuple(shapes.get(odd, ()))} in it, and {tuple(said.get(odd, ()))} in what is built "
            "from its config. Choose widths that a configuration can say, or keep the plan and "
            "apply it to the model (Plan.save)."
        )


def check_sampled(
    make: Read, known: Mapping[str, TensorSpec], files: Mapping[str, Mapping[str, str]],
    folder: Path, seed: int,
) -> str:  # fmt: skip
    """Compare some rows of every tensor that was written with what the plan makes; what to say.

    Raises:
        FolderError: some differ.
    """
    compared = 0
    for file, names in files.items():
        places = tensors_in(folder / file)
        for name, own in names.items():
            place, rows = places[name], _some(known[own], seed, own)
            there = whole(place) if rows is None else rows_of(place, rows)
            expected = make(own, rows)
            compared += expected.numel()
            if bytes_of(there) != bytes_of(expected):
                raise FolderError(
                    f"'{name}' in '{file}' is not what the plan makes of it. The disk may be "
                    "damaged: grow the model again, onto another one."
                )
    tensors = sum(map(len, files.values()))
    return f"sampled: {compared:,} elements of {tensors:,} tensors on disk are as planned"


def _some(known: TensorSpec, seed: int, name: str) -> Any:
    """Numbers of rows, in order; None: all of them."""
    if not known.shape or known.shape[0] <= ROWS:
        return None
    chosen = generator(seed, "sampled", name).choice(known.shape[0], ROWS, replace=False)
    return np.sort(chosen)
