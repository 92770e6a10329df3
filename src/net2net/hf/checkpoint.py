"""A Trainer's checkpoint in, one from which a larger model's Trainer goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from net2net.errors import FolderError, OptimizerError
from net2net.files import FolderPath, told_as_os_error, written
from net2net.growth import Growth
from net2net.hf.agreed import check_agreed
from net2net.hf.folder import finished, grown_model, load, save
from net2net.hf.grow import made_inputs
from net2net.hf.lineage import Hashing, Source
from net2net.hf.opened import json_in
from net2net.hf.sharded import blueprint, grow_parts, in_parts
from net2net.hf.wish import Wish
from net2net.maps.methods import Method
from net2net.optim.carried import CARRIED, Carried
from net2net.optim.carry import check_options
from net2net.optim.state import Policy
from net2net.optim.states import grown_states
from net2net.optim.young import state_of
from net2net.plan.plan import Plan
from net2net.plan.widths import Widths
from net2net.trace.trace import Inputs
from net2net.transfer.longer import NewOutputs

OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
"""What a Trainer's and Accelerate's optimiser are called."""

TRAINER = "trainer_state.json"


def grow_checkpoint(
    source: FolderPath,
    target: FolderPath,
    *,
    widths: Widths | None = None,
    inputs: Inputs | None = None,
    method: str | Method = "auto",
    state: Policy = "own",
    rewarm: float = 1.0,
    over: int = 250,
    seed: int = 0,
    verify: bool = True,
    wish: Wish | None = None,
    max_shard_size: int | str = "50GB",
    command: str = "",
    new_outputs: NewOutputs | None = None,
    **numbers: Any,
) -> Growth:
    """Grow a Trainer's checkpoint, so that
    ``Trainer(model=larger, …).train(resume_from_checkpoint=target)`` goes on at the next step; or
    one of Accelerate's (``load_state``), beside which the model's config.json was saved.

    As ``grow_folder``, and the optimiser's state is grown as by ``Growth.carry``. The schedule and
    random states stay, steps and FLOPs count on, and the best metric is cleared, for it was the
    teacher's. With ``state="own"`` a file says what is new; ``carried(optimizer, model, target)``
    scales its updates while it is young.

    Of FSDP in parts no weight is read but to be grown, tensor by tensor, and nothing is measured.

    Args:
        source: a checkpoint, with or without an optimiser: of one process, or of FSDP (with a
            config.json).
        target, widths, numbers, inputs, method, seed, verify, wish, max_shard_size, command,
            new_outputs: as for ``grow_folder``.
        state, rewarm, over: as for ``Growth.carry``.

    Raises:
        FolderError: as ``grow_folder``.
        OptimizerError: the optimiser's state is not of the model's parameters, or cannot be grown.
    """
    check_options(state, rewarm, over, "raise")
    path = Path(source)
    parts = in_parts(path)
    done = _trained(path / TRAINER)
    optimizers = {name: _saved(path / name) for name in OPTIMIZERS if (path / name).is_file()}
    for saved in optimizers.values():
        check_agreed(path, saved, done)
    with written(target) as folder:
        origin = Source.of(path)
        model = blueprint(path) if parts else load(path)
        hashes = Hashing(origin)
        given = made_inputs(model) if inputs is None else inputs
        grown = grown_model(
            model, given, widths, numbers, wish, new_outputs, method=method, seed=seed,
            verify=verify and not parts,
        )  # fmt: skip
        for file, saved in optimizers.items():
            larger, young = grown_optimizer(saved, grown.plan, model, grown.model, state)
            with told_as_os_error(RuntimeError):
                torch.save(larger, folder / file)
            told = state_of(young, rewarm, over)
            (folder / CARRIED).write_text(json.dumps(told), "utf-8")
        if done:
            (folder / TRAINER).write_text(json.dumps(_counted_on(done, grown), indent=2), "utf-8")
        if parts:
            grow_parts(grown.plan, grown.model, path, folder, state=state, rewarm=rewarm, over=over)
        else:
            grown = save(model, grown, given, folder, verify=verify, max_shard_size=max_shard_size)
        return finished(grown, origin, hashes, command, folder)


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
    counts = [len(group["params"]) for group in saved["param_groups"]]
    known = [(one, _order(teacher, one)) for one in (True, False)]
    ways = [(one, groups) for one, groups in known if list(map(len, groups)) == counts]
    if not ways:
        raise OptimizerError(
            f"the optimiser has groups of {counts} parameters, and a Trainer's would have "
            f"{list(map(len, known[0][1]))}, or all in one. Grow a checkpoint of such an "
            "optimiser, or carry it over in memory (Growth.carry)."
        )
    by_decay, old = ways[0]
    new = _order(student, by_decay)
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


def _trained(file: Path) -> dict[str, Any]:
    """The Trainer's state, or nothing.

    Raises:
        FolderError: the file holds none.
    """
    try:
        return dict(json_in(file)) if file.is_file() else {}
    except (ValueError, TypeError) as error:
        raise FolderError(f"'{file}' is damaged: {error}. Save the checkpoint again.") from error


def _saved(file: Path) -> dict[str, Any]:
    """An optimiser's state dict.

    Raises:
        OptimizerError: the file holds none.
    """
    try:
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        numbers = [number for group in found["param_groups"] for number in group["params"]]
        if len(set(numbers)) == len(numbers) and found["state"].keys() <= set(numbers):
            return found
        wrong = "a parameter is in two groups, or in none"
    except Exception as error:  # of pickle, of zip, or it is something else
        wrong = f"{type(error).__name__}: {error!s:.200}"
    raise OptimizerError(
        f"'{file}' is not the state of an optimiser: {wrong}. Save the checkpoint again, or remove "
        "the file to start the optimiser anew."
    )


def _order(model: nn.Module, by_decay: bool) -> list[list[str]]:
    """The names of a Trainer's two groups, in order; or those of all in one."""
    from transformers import Trainer

    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    if not by_decay:
        return [trained]
    rule: Any = Trainer.get_decay_parameter_names  # a method that asks nothing of its object
    decay = set(rule(None, model))
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
