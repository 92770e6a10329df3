"""Whether the files of a checkpoint are of one step and of one optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from net2net.errors import OptimizerError

SCHEDULERS = ("scheduler.pt", "scheduler.bin")
"""What a Trainer's and Accelerate's schedule are called."""


def check_agreed(folder: Path, optimizer: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Compare an optimiser's state with the schedule beside it, and both with the Trainer's state.
    Steps may be fewer than the Trainer's (some were skipped, states began anew), and not more.

    Args:
        trained: the Trainer's state, if there is one.

    Raises:
        OptimizerError: the schedule has other groups, or a file is of a later step.
    """
    groups = len(optimizer["param_groups"])
    steps = {"optimiser": _steps(optimizer)}
    for file in (folder / name for name in SCHEDULERS if (folder / name).is_file()):
        schedule = _schedule(file)
        rates = schedule.get("base_lrs", schedule.get("min_lrs"))
        if isinstance(rates, list) and len(rates) != groups:
            raise OptimizerError(
                f"'{file}' has rates of {len(rates)} groups, and the optimiser has {groups}. "
                "Take both from one checkpoint, or remove the schedule to start it anew."
            )
        steps["schedule"] = float(schedule.get("last_epoch", 0))
    at = float(trained.get("global_step", float("inf")))
    if late := [what for what, step in steps.items() if step > at]:
        raise OptimizerError(
            f"the {late[0]} in '{folder}' has made {steps[late[0]]:.0f} steps, and the Trainer "
            f"{at:.0f}. Take all files from one checkpoint."
        )


def _steps(optimizer: Mapping[str, Any]) -> float:
    return max((float(one.get("step", 0)) for one in optimizer["state"].values()), default=0.0)


def _schedule(file: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # of pickle, of zip, or it is something else
        raise OptimizerError(
            f"'{file}' is not the state of a schedule: {type(error).__name__}: {error!s:.200}. "
            "Save the checkpoint again, or remove the file to start the schedule anew."
        ) from error
