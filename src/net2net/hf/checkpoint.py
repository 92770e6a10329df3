"""A Trainer's checkpoint in, one from which a larger model's Trainer goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from net2net.errors import FolderError, OptimizerError
from net2net.files import FolderPath, written
from net2net.growth import Growth
from net2net.hf.folder import finished, grown_model, load, save
from net2net.hf.grow import made_inputs
from net2net.hf.lineage import Hashing, Source
from net2net.hf.opened import json_in
from net2net.hf.wish import Wish
from net2net.maps.methods import Method
from net2net.optim.carried import CARRIED, Carried, state_of
from net2net.optim.carry import check_options
from net2net.optim.state import Policy
from net2net.optim.states import grown_states
from net2net.plan.plan import Plan
from net2net.plan.widths import Widths
from net2net.trace.trace import Inputs

OPTIMIZER, TRAINER = "optimizer.pt", "trainer_state.json"
SHARDED = ("optimizer_0", "pytorch_model_fsdp_0")
"""What a checkpoint of sharded parameters has instead."""


def grow_checkpoint(
    source: FolderPath,
    target: FolderPath,
    *,
    widths: Widths | None = None,
    inputs: Inputs | None = None,
    method: str | Method = "replicate",
    state: Policy = "own",
    rewarm: float = 1.0,
    over: int = 250,
    seed: int = 0,
    verify: bool = True,
    wish: Wish | None = None,
    max_shard_size: int | str = "50GB",
    command: str = "",
    **numbers: Any,
) -> Growth:
    """Grow a Trainer's checkpoint, so that
    ``Trainer(model=larger, …).train(resume_from_checkpoint=target)`` goes on at the next step.

    As ``grow_folder``, and the optimiser's state is grown as by ``Growth.carry``. The schedule and
    random states stay, steps and FLOPs count on, and the best metric is cleared, for it was the
    teacher's. With ``state="own"`` a file says what is new; ``carried(optimizer, model, target)``
    scales its updates while it is young.

    Args:
        source: a checkpoint of one process, with or without an optimiser.
        target, widths, numbers, inputs, method, seed, verify, wish, max_shard_size, command: as
            for ``grow_folder``.
        state, rewarm, over: as for ``Growth.carry``.

    Raises:
        FolderError: as ``grow_folder``, or the checkpoint is of sharded parameters.
        OptimizerError: the optimiser's state is not of the model's parameters, or cannot be grown.
    """
    check_options(state, rewarm, over, "raise")
    path = Path(source)
    if sharded := [name for name in SHARDED if (path / name).exists()]:
        raise FolderError(
            f"'{path}' holds sharded states ('{sharded[0]}'). Save the whole state in one process."
        )
    with written(target) as folder:
        origin = Source.of(path)
        model = load(path)
        hashes = Hashing(origin)
        given = made_inputs(model) if inputs is None else inputs
        grown = grown_model(
            model, given, widths, numbers, wish, method=method, seed=seed, verify=verify
        )
        if (path / OPTIMIZER).is_file():
            saved = _saved(path / OPTIMIZER)
            larger, young = grown_optimizer(saved, grown.plan, model, grown.model, state)
            torch.save(larger, folder / OPTIMIZER)
            told = state_of(young, rewarm, over)
            (folder / CARRIED).write_text(json.dumps(told), "utf-8")
        if (path / TRAINER).is_file():
            done = json_in(path / TRAINER)
            (folder / TRAINER).write_text(json.dumps(_counted_on(done, grown), indent=2), "utf-8")
        grown = save(model, grown, given, folder, verify=verify, max_shard_size=max_shard_size)
        return finished(grown, origin, hashes, command, folder)


def _saved(path: Path) -> dict[str, Any]:
    """An optimiser's state dict. Nothing in it is executed.

    Raises:
        FolderError: it is none.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if {"state", "param_groups"} <= found.keys():
            return dict(found)
        why = f"it holds {sorted(map(str, found))[:3]}"
    except Exception as error:  # of zip, of pickle
        why = f"{type(error).__name__}: {error!s:.200}"
    raise FolderError(
        f"'{path}' is no optimiser's state dict ({why}). Save the checkpoint again, or take the "
        "file out of the folder to grow the model alone."
    )


def carried(optimizer: torch.optim.Optimizer, model: nn.Module, folder: FolderPath) -> Carried:
    """The handle for an optimiser that was loaded from a checkpoint which ``grow_checkpoint``
    wrote: call it when training has begun (``TrainerCallback.on_train_begin``).

    Raises:
        FolderError: the folder has no such file.
    """
    path = Path(folder) / CARRIED
    if not path.is_file():
        raise FolderError(f"'{path}' is not there. Give a folder that grow_checkpoint wrote.")
    while isinstance(inside := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inside
    handle = Carried(optimizer, model)
    handle.load_state_dict(json.loads(path.read_text("utf-8")))
    return handle


def grown_optimizer(
    saved: Mapping[str, Any], plan: Plan, teacher: nn.Module, student: nn.Module, state: Policy
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict of the student's optimiser, and what of it is young. Parameters are numbers, in
    the order of the Trainer's groups: those that decay, and those that do not.

    Raises:
        OptimizerError: it is not of the teacher's parameters, or cannot be grown.
    """
    old, new = _groups(teacher), _groups(student)
    counts = [len(group["params"]) for group in saved["param_groups"]]
    if counts != list(map(len, old)):
        raise OptimizerError(
            f"the optimiser has groups of {counts} parameters, and a Trainer's would have "
            f"{list(map(len, old))}. Grow a checkpoint that the Trainer's own optimiser wrote, or "
            "carry the optimiser over in memory (Growth.carry)."
        )
    parameters = dict(teacher.named_parameters())
    past = {}
    for group, names in zip(saved["param_groups"], old, strict=True):
        for number, name in zip(group["params"], names, strict=True):
            held = saved["state"].get(number, {})
            past[name] = (parameters[name].shape, {} if state == "drop" else held)
    ours = dict(student.named_parameters())
    states, young = grown_states(plan, past, ours, state, "raise")
    number = 0
    result: dict[str, Any] = {"state": {}, "param_groups": []}
    for group, names in zip(saved["param_groups"], new, strict=True):
        at = range(number, number + len(names))
        number += len(names)
        result["param_groups"].append({**group, "params": list(at)})
        result["state"] |= {
            place: states[name] for place, name in zip(at, names, strict=True) if name in states
        }
    return result, young


def _groups(model: nn.Module) -> list[list[str]]:
    """The names of a Trainer's two groups, in order."""
    from transformers import Trainer

    rule: Any = Trainer.get_decay_parameter_names  # a method that asks nothing of its object

    decay = set(rule(None, model))
    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    return [[n for n in trained if n in decay], [n for n in trained if n not in decay]]


def _counted_on(done: dict[str, Any], grown: Growth) -> dict[str, Any]:
    """The Trainer's state: steps and FLOPs count on, what was best was the teacher's."""
    before, after = grown.report.parameters
    line = {
        "step": done.get("global_step", 0), "epoch": done.get("epoch", 0.0),
        "net2net": grown.report.asked, "parameters_before": before, "parameters_after": after,
    }  # fmt: skip
    cleared = {name: None for name in done if name.startswith("best_")}
    return {**done, **cleared, "log_history": [*done.get("log_history", []), line]}
