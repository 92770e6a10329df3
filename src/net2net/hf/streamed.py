"""Growth of a folder's model tensor by tensor: the analysis needs no weights, and the plan makes
blocks of rows of those on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from net2net.errors import FolderError, InputError
from net2net.files import write_whole
from net2net.growth import Growth
from net2net.hf.checked import check_said, check_sampled
from net2net.hf.grow import made_inputs
from net2net.hf.journal import Journal
from net2net.hf.lineage import Source, versions
from net2net.hf.opened import Opened, readable
from net2net.hf.rows import from_disk
from net2net.hf.saved import NotAsItIsError, Saved, save_config, saved
from net2net.hf.shards import INDEX
from net2net.hf.stream import Told, Writer
from net2net.hf.unloaded import Unloaded, unloaded
from net2net.plan.plan import Plan
from net2net.recipe.run import Read
from net2net.stages import stage
from net2net.trace.trace import Inputs

Grow = Callable[[nn.Module, Inputs], Growth]
"""Grows a model without weights."""


def without_weights(there: Opened) -> Unloaded:
    """The model of a folder, on ``meta``.

    Raises:
        FolderError: some of it is missing.
        NotAsItIsError: its tensors are on disk in another form.
    """
    if there.places is None:
        raise NotAsItIsError("its weights are pickled")
    with readable(there.folder), stage("made the model without its weights"):
        found = unloaded(there.kind, there.config, there.places)
    check_missing(there.folder, found.missing)
    if found.lost:
        raise NotAsItIsError(
            f"'{found.lost[0]}' is on disk in another form than in the model, or of another type"
        )
    return found


def check_missing(folder: Path, missing: tuple[str, ...]) -> None:
    """Raises:
    FolderError: some tensors of the model are not in the folder.
    """
    if missing:
        raise FolderError(
            f"'{folder}' lacks {len(missing)} of the model's tensors, such as '{missing[0]}'. "
            "Save the whole model again."
        )


def planned(found: Unloaded, inputs: Inputs | None, grow: Grow) -> tuple[Growth, Inputs]:
    """The growth, whose student is on ``meta``, and what it runs on.

    Raises:
        NotAsItIsError: it needs values to run.
        Net2NetError: it does not grow so.
    """
    try:
        given = made_inputs(found.model) if inputs is None else inputs
        return grow(found.model, given), given
    except InputError as error:
        raise NotAsItIsError(f"without values, {error}") from error


def streamed(
    grown: Growth, found: Unloaded, origin: Source, folder: Path, *, sampled: bool,
    max_shard_size: int | str, jobs: int, progress: Told | None,
) -> Growth:  # fmt: skip
    """Write the student's files, configuration and all, and compare what is on disk if ``sampled``.

    Raises:
        NotAsItIsError: the student cannot be had tensor by tensor.
        FolderError: no configuration can say it, or it cannot be written.
    """
    student, plan = grown.model, grown.plan
    check_said(student)
    saves = saved(student, max_shard_size)
    make = _maker(plan, found)
    with stage("wrote the student"):
        journal = Journal(folder, _key(plan, saves, origin))
        known = plan.student.tensors
        Writer(make, known, jobs, progress).write(saves.files, journal)
        if saves.index is not None:
            write_whole(folder / INDEX, json.dumps(saves.index, indent=2, sort_keys=True) + "\n")
        save_config(student, folder)
    if not sampled:
        return grown
    with stage("compared what is on disk with the plan"):
        note = check_sampled(make, known, saves.files, folder, plan.seed)
    return replace(grown, report=replace(grown.report, notes=(*grown.report.notes, note)))


def _maker(plan: Plan, found: Unloaded) -> Read:
    """Makes the student's tensors of those on disk.

    Raises:
        NotAsItIsError: some of them the student's class makes.
    """
    for name, one in plan.recipes.items():
        if one.kept and plan.student.tensors[name].persistent:
            raise NotAsItIsError(f"'{name}' stays what the student's class makes")
    read, like = from_disk(found.places), torch.empty(0, dtype=plan.first.teacher.dtype)
    return plan.measured(read, like).reader_from(read, like)


def _key(plan: Plan, saves: Saved, origin: Source) -> str:
    """Of all that the student's files depend on."""
    parts = [plan.to_json(), saves.files, saves.index, dict(origin.files), versions()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
