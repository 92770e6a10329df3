"""The state dicts of models in a folder, grown tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import cast

import torch
from torch import Tensor

from net2net.distributed.stored import Entry, Grown, Place, Stored
from net2net.errors import FolderError
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import Index
from net2net.recipe.run import Read, reader


def grown_models(plan: Plan, stored: Stored) -> Grown:
    """Every state dict in the folder that has the teacher's tensors.

    Raises:
        FolderError: one has some of them, or of other shapes.
    """
    known = plan.first.teacher
    names = {*known.tensors, *known.ties}
    found: dict[Place, dict[str, Place]] = {}
    for place, entry in stored.entries.items():
        if place[-1] in names and isinstance(entry, Tensor):
            found.setdefault(place[:-1], {})[str(place[-1])] = place
    replaced: set[Place] = set()
    entries: dict[Place, tuple[Entry, Callable[[], Entry]]] = {}
    for at, places in found.items():
        places = {known.ties.get(name, name): place for name, place in places.items()}
        _check(plan, stored, at, places)
        replaced |= {place for place in stored.entries if place[:-1] == at and place[-1] in names}
        entries |= _grown(plan, stored, at, places)
    return Grown(frozenset(replaced), entries)


def _check(plan: Plan, stored: Stored, at: Place, places: dict[str, Place]) -> None:
    for name, spec in plan.first.teacher.tensors.items():
        there = stored.entries[places[name]] if name in places else None
        shape = tuple(there.shape) if isinstance(there, Tensor) else None
        if shape != spec.shape and (spec.persistent or shape is not None):
            raise FolderError(
                f"the plan's teacher has '{name}' of shape {spec.shape}, and in '{stored.folder}', "
                f"at '{'.'.join(map(str, at))}', it is {shape}. Give the plan of this model."
            )


def _grown(
    plan: Plan, stored: Stored, at: Place, places: dict[str, Place]
) -> dict[Place, tuple[Entry, Callable[[], Entry]]]:
    @lru_cache(maxsize=1)
    def whole(name: str) -> Tensor:
        return stored.tensors([places[name]])[0]

    def read(name: str, rows: Index | None) -> Tensor:
        return reader({name: whole(name)})(name, rows)

    types = {name: cast("Tensor", stored.entries[place]).dtype for name, place in places.items()}
    usual = next((one for one in types.values() if one.is_floating_point), torch.float32)
    make: Read = plan.reader_from(read, torch.empty(0, dtype=usual))
    result: dict[Place, tuple[Entry, Callable[[], Entry]]] = {}
    for name, spec in plan.student.tensors.items():
        if not spec.persistent:
            continue
        if lacking := [one for one in plan.sources(name) if one not in places]:
            raise FolderError(
                f"'{name}' is made from '{lacking[0]}', which state dicts do not hold. Apply the "
                "plan to the model."
            )
        dtype = _dtype(plan, name, types, usual)
        promised = torch.empty(spec.shape, dtype=dtype, device="meta")
        for one in (name, *(tie for tie, first in plan.student.ties.items() if first == name)):
            result[(*at, one)] = (promised, partial(make, name, None))
    return result


def _dtype(plan: Plan, name: str, types: dict[str, torch.dtype], usual: torch.dtype) -> torch.dtype:
    """Of what is made: that of its source, or of the weights if it is made anew."""
    source = plan.recipes[name].source
    if source is None:
        known = plan.student.tensors[name].dtype
        return usual if known is None or known == plan.student.dtype else known
    return types[source] if plan.previous is None else _dtype(plan.previous, source, types, usual)
