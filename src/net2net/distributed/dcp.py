"""Folders of torch.distributed.checkpoint in, folders of the student's out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from net2net.distributed.stored import Stored, write
from net2net.distributed.stored_models import grown_models
from net2net.distributed.stored_optimizers import grown_optimizers
from net2net.errors import FolderError
from net2net.files import FolderPath, written
from net2net.optim.carried import CARRIED
from net2net.optim.carry import check_options
from net2net.optim.state import Policy
from net2net.optim.young import state_of
from net2net.plan.plan import Plan


def grow_dcp(
    plan: Plan,
    source: FolderPath,
    target: FolderPath,
    *,
    state: Policy = "own",
    rewarm: float = 1.0,
    over: int = 250,
    unknown: Literal["raise", "drop"] = "raise",
    trained: Collection[str] | None = None,
) -> None:
    """Grow what ``torch.distributed.checkpoint.save`` wrote: a model, an optimiser, or both.

    In one process, whatever the number of ranks that wrote it or will read it; in memory are one
    tensor and what it is made from. State dicts are found by the teacher's names, wherever in the
    folder they are (several of one model, such as an average, all grow), and states as
    ``get_optimizer_state_dict`` names them, flattened or not. All else is copied. It is written
    beside the target, and renamed in the end: the target is whole or not there.

    With an optimiser ``net2net_carried.json`` says what is new: after loading,
    ``Carried(optimizer, student).load_state_dict(json.loads(…))`` scales its updates while it is
    young.

    Args:
        source: a folder that you trust, for torch unpickles its list of contents.
        target: a folder that is not there, or empty.
        state, rewarm, over, unknown: as for ``Growth.carry``.
        trained: names of the student's parameters that are trained. Needed only of those that the
            plan makes anew, such as what starts at zero in a new block.

    Raises:
        FolderError: the source cannot be read, holds nothing of the teacher's, or only some of its
            tensors; or the target is occupied, or cannot be written.
        PlanError: the plan keeps tensors of a student that is not here.
        OptimizerError: a state is not of the teacher's parameters, or cannot be grown.
    """
    with written(target) as folder:
        grow_into(
            folder, plan, source, state=state, rewarm=rewarm, over=over, unknown=unknown,
            trained=trained,
        )  # fmt: skip


def grow_into(
    folder: Path, plan: Plan, source: FolderPath, *, state: Policy = "own", rewarm: float = 1.0,
    over: int = 250, unknown: Literal["raise", "drop"] = "raise",
    trained: Collection[str] | None = None,
) -> None:  # fmt: skip
    """The same, into a folder that is there, for who writes more beside it."""
    check_options(state, rewarm, over, unknown)
    path = Path(source)
    stored = Stored(path)
    models = grown_models(plan, stored)
    optimizers = grown_optimizers(plan, stored, state, unknown, trained)
    if not models.replaced and not optimizers.replaced:
        raise FolderError(
            f"'{path}' holds nothing of the plan's teacher, such as "
            f"'{next(iter(plan.first.teacher.tensors), '')}'. Give the folder of its model or "
            "of its optimiser."
        )
    write(folder, stored, [models, optimizers])
    if optimizers.replaced:
        told = state_of(optimizers.young, rewarm, over)
        (folder / CARRIED).write_text(json.dumps(told), "utf-8")
    for one in sorted(path.iterdir()):
        written_already = one.suffix == ".distcp" or (folder / one.name).exists()
        if one.is_file() and not one.is_symlink() and not written_already:
            shutil.copy2(one, folder / one.name)
