"""What a source is, and the model in it: a folder of transformers, a Trainer's checkpoint, a
checkpoint of timm, or a state dict or a distributed checkpoint with the class that the user names.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from net2net.distributed.dcp import grow_into
from net2net.distributed.stored import Stored
from net2net.errors import FolderError, InputError
from net2net.files import FolderPath, written
from net2net.growth import Growth
from net2net.hf.card import CARD, write_card
from net2net.hf.changed import as_loaded
from net2net.hf.checkpoint import OPTIMIZERS, TRAINER, grow_checkpoint
from net2net.hf.folder import JOBS, Check, grow_folder, load
from net2net.hf.grow import made_inputs
from net2net.hf.lineage import Hashing, write_lineage
from net2net.hf.lineage import Source as Origin
from net2net.hf.opened import config_and_class, json_in
from net2net.hf.sharded import in_parts
from net2net.hf.stream import Told
from net2net.hf.wish import Wish, grown
from net2net.optim.state import Policy
from net2net.plan.plan import Plan
from net2net.trace.trace import Inputs
from net2net.verify import verify as measured

log = logging.getLogger(__name__)

DTYPES = {
    "float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}  # fmt: skip
"""Types that weights may have, by name."""

CONFIG, PLAN, WEIGHTS = "config.json", "plan.json", "model.safetensors"
METADATA = ".metadata"
"""What torch.distributed.checkpoint calls its list of contents."""

READ = (
    f"By the class that the source is of, of which the plan makes the larger model: "
    f'`net2net.Plan.load("{PLAN}").apply(model)`, then `model.load_state_dict(…)`.'
)
"""What a card says of weights without a configuration that tells their sizes."""

FILES = (WEIGHTS, "pytorch_model.bin")
"""What the weights beside a timm configuration may be called."""


_ELSEWHERE = {
    "cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay",
}  # fmt: skip
"""Arguments of timm with which it would read something else, or fetch it."""


@dataclass(frozen=True)
class Options:
    """How a target is written.

    Attributes:
        verify: measure the teacher against what was read again from it.
        dtype: of its weights, if not the source's.
        max_shard_size: of one file of weights.
        state, rewarm, over: of what is new in an optimiser that grows as well, as for
            ``Growth.carry``.
        jobs, progress, command: as for ``grow_folder``.
    """

    verify: Check = True
    dtype: torch.dtype | None = None
    max_shard_size: str = "50GB"
    state: Policy = "own"
    rewarm: float = 1.0
    over: int = 250
    jobs: int = JOBS
    progress: Told | None = None
    command: str = ""


class Folder:
    """A folder of transformers, or a checkpoint of its Trainer.

    Args:
        path: the folder.
        trust_remote_code: run the code that it brings.
    """

    def __init__(self, path: Path, *, trust_remote_code: bool = False) -> None:
        self.path, self.trusted = path, trust_remote_code

    def model(self) -> nn.Module:
        """With its weights."""
        return load(self.path, trust_remote_code=self.trusted)

    def bare(self) -> nn.Module:
        """On ``meta``, of which no weight is read."""
        try:
            _, kind = config_and_class(self.path, trust_remote_code=self.trusted)
            config = kind.config_class.from_pretrained(self.path, local_files_only=True)
            dtype = getattr(config, "dtype", None) or torch.get_default_dtype()
            with as_loaded(torch.empty(0, dtype=dtype, device="meta")):
                model: nn.Module = kind(config)
        except Exception as error:
            raise FolderError(
                f"no model is built from '{self.path / CONFIG}': {type(error).__name__}: "
                f"{error!s:.300}. Check that from_pretrained reads the folder."
            ) from error
        return model.to(dtype).eval()

    def inputs(self, model: nn.Module) -> Inputs:
        """Examples."""
        return made_inputs(model)

    def trained(self) -> dict[str, Any]:
        """A Trainer's state, or nothing."""
        path = self.path / TRAINER
        return dict(json_in(path)) if path.is_file() else {}

    def grow(self, target: FolderPath, wish: Wish, inputs: Inputs | None, how: Options) -> Growth:
        """The larger model, written into a folder of the same kind.

        Raises:
            Net2NetError: as ``grow_folder`` and ``grow_checkpoint``.
        """
        if in_parts(self.path) or any((self.path / name).exists() for name in OPTIMIZERS):
            if how.dtype is not None or self.trusted:
                raise InputError(
                    "a training checkpoint keeps its type, and its class is one of transformers'. "
                    "Leave out --dtype and --trust-remote-code."
                )
            return grow_checkpoint(
                self.path, target, wish=wish, inputs=inputs, state=how.state, rewarm=how.rewarm,
                over=how.over, verify=bool(how.verify), max_shard_size=how.max_shard_size,
                command=how.command,
            )  # fmt: skip
        return grow_folder(
            self.path, target, wish=wish, inputs=inputs, verify=how.verify, dtype=how.dtype,
            max_shard_size=how.max_shard_size, trust_remote_code=self.trusted, jobs=how.jobs,
            progress=how.progress, command=how.command,
        )  # fmt: skip


class StateDict:
    """Weights of a model that a function builds, as a file; or a folder that grew from such, with
    its plan.

    Args:
        path: a ``.safetensors``, a pickled state dict, or a folder.
        build: makes the teacher.
        kept: files of the folder that go with it.
        example: makes inputs, if anything can.
        library: what the model is of, or empty.
    """

    def __init__(
        self, path: Path, build: Callable[[], nn.Module],
        kept: tuple[str, ...] = (), example: Callable[[], Inputs] | None = None, library: str = "",
    ) -> None:  # fmt: skip
        self.path, self.build, self.kept, self.example = path, build, kept, example
        self.library = library

    def model(self) -> nn.Module:
        """With its weights.

        Raises:
            FolderError: they are not those of the model.
        """
        model = self._grown(self.build())
        try:
            model.load_state_dict(self._tensors(model))
        except RuntimeError as error:
            raise FolderError(
                f"the weights in '{self.path}' are not those of {type(model).__name__}: "
                f"{error!s:.300}. Name the class that they were saved from."
            ) from error
        return model.eval()

    def bare(self) -> nn.Module:
        """On ``meta``."""
        with torch.device("meta"):
            return self._grown(self.build()).eval()

    def inputs(self, model: nn.Module) -> Inputs:
        """Examples, where the source tells of what.

        Raises:
            InputError: it does not.
        """
        if self.example is not None:
            return self.example()
        return made_inputs(model)

    def trained(self) -> dict[str, Any]:
        """Nothing is known."""
        return {}

    def grow(self, target: FolderPath, wish: Wish, inputs: Inputs | None, how: Options) -> Growth:
        """The larger model's weights and the plan, in a folder: the same class reads it again.

        Raises:
            Net2NetError: as ``widen`` and ``deepen``, or the target is occupied.
        """
        from safetensors.torch import save_model

        with written(target) as folder:
            origin = Origin.of(self.path)
            hashes = Hashing(origin)
            model = self.model() if how.dtype is None else self.model().to(how.dtype)
            given = self.inputs(model) if inputs is None else inputs
            growth = grown(model, given, wish, verify=bool(how.verify))
            before = self._plan()
            plan = growth.plan if before is None else before.then(growth.plan)
            save_model(growth.model, str(folder / WEIGHTS), {"format": "pt"})
            plan.save(folder / PLAN)
            for name in (*self.kept, CARD):
                if (self.path / name).is_file():
                    (folder / name).write_bytes((self.path / name).read_bytes())
            report = growth.report
            if how.verify:
                again = StateDict(folder, self.build).model().to(next(model.parameters()).dtype)
                parity = measured(model, again, given, outputs=growth.outputs)
                report = replace(report, parity=parity)
            growth = replace(growth, report=report)
            origin.check_same()
            write_lineage(growth, origin, hashes.result(), how.command, folder)
            write_card(growth, origin.name, how.command, folder, self.library, READ)
            return growth

    def _plan(self) -> Plan | None:
        inside = self.path / PLAN
        return Plan.load(inside) if inside.is_file() else None

    def _grown(self, model: nn.Module) -> nn.Module:
        plan = self._plan()
        return model if plan is None else plan.apply(model)

    def _tensors(self, model: nn.Module) -> Mapping[str, Tensor]:
        return tensors_in(self._weights())

    def _weights(self) -> Path:
        if self.path.is_file():
            return self.path
        found = next((self.path / name for name in FILES if (self.path / name).is_file()), None)
        if found is None:
            raise FolderError(
                f"'{self.path}' has no {' and no '.join(FILES)}. Save the model there."
            )
        return found


class Distributed(StateDict):
    """A folder of torch.distributed.checkpoint, with the class of its model."""

    def grow(self, target: FolderPath, wish: Wish, inputs: Inputs | None, how: Options) -> Growth:
        """The larger model and its optimiser, in a folder of the same kind, with the plan. Without
        ``verify`` no more than a tensor is in memory at once.

        Raises:
            Net2NetError: as ``grow_dcp``, ``widen`` and ``deepen``.
        """
        if how.dtype is not None:
            raise InputError("a distributed checkpoint keeps its type. Leave out --dtype.")
        origin = Origin.of(self.path)
        hashes = Hashing(origin)
        model = self.model() if how.verify else self.bare()
        given = self.inputs(model) if inputs is None else inputs
        growth = grown(model, given, wish, verify=bool(how.verify))
        before, plan = self._plan(), growth.plan
        with written(target) as folder:
            grow_into(folder, plan, self.path, state=how.state, rewarm=how.rewarm, over=how.over)
            origin.check_same()
            (plan if before is None else before.then(plan)).save(folder / PLAN)
            write_lineage(growth, origin, hashes.result(), how.command, folder)
            write_card(growth, origin.name, how.command, folder, self.library, READ)
        return growth

    def _tensors(self, model: nn.Module) -> Mapping[str, Tensor]:
        """The first that are all of the model's, wherever in the folder they are.

        Raises:
            FolderError: there are none.
        """
        stored, names = Stored(self.path), list(model.state_dict())
        for at in dict.fromkeys(place[:-1] for place in stored.entries):
            places = [(*at, name) for name in names]
            if all(isinstance(stored.entries.get(place), Tensor) for place in places):
                return dict(zip(names, stored.tensors(places), strict=True))
        raise FolderError(
            f"'{self.path}' holds no state dict with all tensors of {type(model).__name__}, such "
            f"as '{names[0] if names else ''}'. Name the class that it was saved from."
        )


Source = Folder | StateDict


def open_source(
    where: str, class_name: str | None = None, *, trust_remote_code: bool = False
) -> Source:
    """What a command is given.

    Args:
        where: a folder, a file of weights, or the name of a model on the hub, which
            huggingface_hub has or fetches.
        class_name: ``module:attribute``, called without arguments, makes the model.
        trust_remote_code: run the code that a folder of transformers brings.

    Raises:
        FolderError: there is nothing, or nothing that can be read.
    """
    path = Path(where)
    if not path.exists():
        path = _fetched(where)
    if trust_remote_code:
        log.warning("code that '%s' brings is run, and may do anything: read it first", where)
    distributed = (path / METADATA).is_file()
    if class_name is not None:
        return (Distributed if distributed else StateDict)(path, named(class_name))
    if distributed:
        raise FolderError(
            f"'{path}' is a distributed checkpoint, and nothing says of which model. Name its "
            "class: --class module:attribute."
        )
    if path.is_file():
        raise FolderError(
            f"'{path}' is a file of weights, and nothing says of which model. Name its class: "
            "--class module:attribute."
        )
    if (arguments := _timm(path)) is not None:
        build = partial(_timm_model, arguments)
        return StateDict(path, build, (CONFIG,), partial(_pictures, arguments), "timm")
    return Folder(path, trust_remote_code=trust_remote_code)


def named(class_name: str) -> Callable[[], nn.Module]:
    """The function or class that ``module:attribute`` names.

    Raises:
        FolderError: there is none.
    """
    module, _, attribute = class_name.partition(":")
    try:
        made: Callable[[], nn.Module] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise FolderError(
            f"'{class_name}' is not found: {error}. Give module:attribute, which Python can import "
            "(PYTHONPATH) and which makes the model when it is called without arguments."
        ) from error
    return made


def tensors_in(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by name. Nothing in it is executed.

    Raises:
        FolderError: it holds no such.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of safetensors, of zip, of pickle
        raise FolderError(
            f"'{path}' cannot be read: {type(error).__name__}: {error!s:.300}. Save the state dict "
            "again (safetensors.torch.save_file, or torch.save(model.state_dict(), …))."
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(one, Tensor) for one in found.values()):
        raise FolderError(
            f"'{path}' holds a {type(found).__name__}, and no tensors by name. Save "
            "model.state_dict() alone."
        )
    return dict(found)


def inputs_in(path: Path) -> Inputs:
    """What ``--inputs`` names: tensors by the name of their argument, one tensor, or a tuple.

    Raises:
        FolderError: nothing of that is in it.
    """
    if path.suffix == ".safetensors":
        return tensors_in(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FolderError(
            f"'{path}' cannot be read: {type(error).__name__}: {error!s:.300}. Save a tensor, a "
            "tuple or a dict of tensors with torch.save."
        ) from error
    given: Inputs = found
    return given


def _fetched(name: str) -> Path:
    """Where huggingface_hub keeps a model.

    Raises:
        FolderError: it is neither a path nor the name of a model that can be had.
    """
    error: Exception | None = None
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        try:
            from huggingface_hub import snapshot_download

            return Path(snapshot_download(name))
        except Exception as failed:  # of the network, of the hub, or it is not installed
            error = failed
    why = f", and cannot be had from the hub ({type(error).__name__})" if error else ""
    raise FolderError(
        f"'{name}' is not there{why}. Give a folder, a file of weights, or OWNER/NAME of the hub."
    ) from error


def _timm(folder: Path) -> dict[str, Any] | None:
    """A timm configuration, if a folder has one."""
    path = folder / CONFIG
    config = json_in(path) if path.is_file() else {}
    return config if isinstance(config, dict) and "architecture" in config else None


def _timm_model(config: Mapping[str, Any]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise FolderError(
            f"the model is one of timm, which cannot be imported: {error}. Install it: "
            "pip install timm"
        ) from error
    given = {name: config[name] for name in ("num_classes", "global_pool") if name in config}
    name, more = config["architecture"], config.get("model_args", {})
    if not isinstance(name, str) or not timm.is_model(name) or _ELSEWHERE & set(more):
        raise FolderError(
            f"'{name!s:.80}' with {sorted(more)} is no architecture of timm's own, or asks for "
            "weights from elsewhere, which a folder may not. Take that out of its config.json."
        )
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **given, **more)
    except Exception as error:
        raise FolderError(
            f"timm makes no model of this configuration: {type(error).__name__}: {error!s:.300}. "
            "Check its architecture and model_args."
        ) from error
    return model


def _pictures(config: Mapping[str, Any]) -> Tensor:
    """As large as the configuration says; the same on every call."""
    size = config.get("model_args", {}).get("img_size")
    shape = config.get("pretrained_cfg", {}).get("input_size", (3, 224, 224))
    if size is not None:
        shape = (shape[0], size, size)
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
