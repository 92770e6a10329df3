"""A checkpoint whose parameters lie in parts (a Trainer's or Accelerate's of FSDP), grown without
any model that has weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from net2net.distributed.dcp import grow_dcp
from net2net.errors import FolderError
from net2net.hf.changed import as_loaded
from net2net.hf.checked import check_said
from net2net.hf.opened import config_and_class, readable
from net2net.hf.unloaded import as_initialised
from net2net.optim.carried import CARRIED
from net2net.optim.state import Policy
from net2net.plan.plan import Plan

MODEL, OPTIMIZER = "pytorch_model_fsdp_0", "optimizer_0"
"""The folders of torch.distributed.checkpoint in it."""


def in_parts(path: Path) -> bool:
    """Whether a checkpoint is such a one."""
    return any((path / name).is_dir() for name in (MODEL, OPTIMIZER))


def blueprint(path: Path) -> nn.Module:
    """The model of a checkpoint, on ``meta``.

    Raises:
        FolderError: nothing says which it is.
    """
    if not (path / "config.json").is_file():
        raise FolderError(
            f"'{path}' holds a model in parts, and no config.json says which. Save it there: "
            "model.config.architectures = [type(model).__name__], then "
            "model.config.save_pretrained(folder)."
        )
    with readable(path):
        config, kind = config_and_class(path)
        dtype = getattr(config, "dtype", None) or torch.get_default_dtype()
        with as_loaded(torch.empty(0, dtype=dtype, device="meta")):
            model: nn.Module = kind(config)
        as_initialised(model)
    return model.eval()


def grow_parts(
    plan: Plan, student: Any, source: Path, target: Path, *, state: Policy, rewarm: float, over: int
) -> None:
    """Grow the parts of the model and of its optimiser; what says the larger model is written.

    Raises:
        FolderError: no configuration can say it, or there is no model in the source.
        OptimizerError: the optimiser's state cannot be grown.
    """
    check_said(student)
    trained = {name for name, one in student.named_parameters() if one.requires_grad}
    for name in (MODEL, OPTIMIZER):
        if name == MODEL or (source / name).is_dir():
            grow_dcp(
                plan, source / name, target / name, state=state, rewarm=rewarm, over=over,
                trained=trained,
            )  # fmt: skip
    if (target / OPTIMIZER / CARRIED).is_file():
        (target / OPTIMIZER / CARRIED).replace(target / CARRIED)
    student.config.save_pretrained(target)
