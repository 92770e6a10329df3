"""A model's folder in, a larger model's folder out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from net2net.errors import FolderError, InputError
from net2net.files import FolderPath, written
from net2net.growth import Growth
from net2net.hf.grow import grow, made_inputs
from net2net.hf.wish import Wish
from net2net.hf.wish import grown as wished
from net2net.maps.methods import Method
from net2net.plan.widths import Widths
from net2net.report import Report
from net2net.stages import stage
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs
from net2net.verify import verify as measured
from net2net.widen.widen import widen

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.index.json", "*.msgpack", "*.h5")
"""Names of files that hold the teacher's weights, which are not copied."""

LINEAGE = "net2net.json"
"""The file that says what a folder was grown from, and how."""


def grow_folder(
    source: FolderPath,
    target: FolderPath,
    *,
    widths: Widths | None = None,
    inputs: Inputs | None = None,
    method: str | Method = "replicate",
    seed: int = 0,
    verify: bool = True,
    wish: Wish | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = "50GB",
    trust_remote_code: bool = False,
    **numbers: Any,
) -> Growth:
    """Grow a model that ``save_pretrained`` wrote into a folder that ``from_pretrained`` reads.

    Tokenizers, processors and all other files are copied, but for the weights; ``net2net.json``
    says what the folder was grown from. Everything is written beside the target, read again and
    measured, and renamed in the end: the target is whole or not there.

    Args:
        source: the folder of a model of transformers. Nothing in it is executed, weights that are
            pickled are read as tensors alone, and nothing is fetched.
        target: a folder that is not there, or empty.
        widths: as for ``widen``; or
        numbers: the configuration's own, as for ``grow`` (``hidden_size=1024``).
        inputs: what the model runs on. None: examples are made.
        method, seed: as for ``widen``.
        verify: measure the teacher against what was read again from the target.
        wish: all of what is asked at once, instead of widths, numbers, method and seed.
        dtype: of the target's weights, if not the source's.
        max_shard_size: of one file of weights, as for ``save_pretrained``.
        trust_remote_code: run the code that the folder brings, which may do anything.

    Raises:
        FolderError: the source holds no model that can be read, the target is occupied, or no
            configuration can say the student.
        Net2NetError: as ``widen`` and ``grow``.
    """
    with written(target) as folder:
        model = load(source, dtype, trust_remote_code=trust_remote_code)
        given = made_inputs(model) if inputs is None else inputs
        grown = grown_model(
            model, given, widths, numbers, wish, method=method, seed=seed, verify=verify
        )
        return save(
            model, grown, given, Path(source), folder, verify=verify,
            max_shard_size=max_shard_size, trust_remote_code=trust_remote_code,
        )  # fmt: skip


def grown_model(
    model: nn.Module, inputs: Inputs, widths: Widths | None, numbers: dict[str, Any],
    wish: Wish | None = None, **options: Any,
) -> Growth:  # fmt: skip
    """By a wish, by widths or by numbers of the configuration.

    Raises:
        InputError: both were given, or neither.
    """
    if wish is not None and widths is None and not numbers:
        return wished(model, inputs, wish, verify=options["verify"])
    if (widths is None) == (not numbers):
        raise InputError(
            "a folder grows by widths or by numbers of its configuration, and "
            f"{'both were' if numbers else 'neither was'} given. Give one of them."
        )
    return (
        grow(model, inputs, **options, **numbers)
        if widths is None
        else widen(model, widths, inputs, **options)
    )


def load(
    source: FolderPath, dtype: torch.dtype | None = None, *, trust_remote_code: bool = False
) -> nn.Module:
    """The model in a folder, of the class and (if no other is given) the type that its
    configuration names.

    Raises:
        FolderError: there is none, or it needs code of its own.
    """
    path = Path(source)
    if not (path / "config.json").is_file():
        raise FolderError(
            f"'{path}' has no config.json, so it holds no model of transformers. Give a folder "
            "that save_pretrained wrote."
        )
    try:
        kind = class_of(path, trust_remote_code=trust_remote_code)
        with stage("read the model"):
            model, told = kind.from_pretrained(
                path, dtype=dtype or "auto", local_files_only=True, output_loading_info=True
            )
    except ImportError as error:
        raise FolderError(
            f"transformers cannot be imported: {error}. Install it: pip install 'net2net[hf]'"
        ) from error
    except Exception as error:
        raise FolderError(
            f"the model in '{path}' cannot be read: {type(error).__name__}: {error!s:.300}. Check "
            "that its class (architectures in config.json) is one of transformers' own and that "
            "from_pretrained reads it."
        ) from error
    if missing := sorted(told["missing_keys"]):
        raise FolderError(
            f"'{path}' lacks {len(missing)} of the model's tensors, such as '{missing[0]}'. "
            "Save the whole model again."
        )
    found: nn.Module = model
    return found


def class_of(path: Path, *, trust_remote_code: bool = False) -> Any:
    """The class of transformers that a folder's configuration names, or of code in the folder."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        path,
        local_files_only=True,
        trust_remote_code=trust_remote_code,  # and nobody is asked
    )
    (name,) = config.architectures or [""]
    own = getattr(config, "auto_map", {})
    if trust_remote_code and (found := [at for at in own.values() if at.endswith(f".{name}")]):
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        return get_class_from_dynamic_module(found[0], path, local_files_only=True)
    return getattr(transformers, name)


def save(
    model: nn.Module, grown: Growth, inputs: Inputs, source: Path, folder: Path, *, verify: bool,
    max_shard_size: int | str = "50GB", trust_remote_code: bool = False,
) -> Growth:  # fmt: skip
    """Write the student and all that a model's folder has besides, and read it again.

    Raises:
        FolderError: no configuration can say it.
    """
    student: Any = grown.model
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
    with stage("wrote the student"):
        student.save_pretrained(folder, max_shard_size=max_shard_size)
        copy_others(source, folder)
    report = grown.report
    if verify:
        again = load(folder, trust_remote_code=trust_remote_code)
        report = _compared(model, again, grown, inputs)
    lineage = {
        "plan": {"kind": grown.plan.kind, "method": grown.plan.method, "seed": grown.plan.seed},
        "source": source.name, "report": report.to_dict(),
    }  # fmt: skip
    (folder / LINEAGE).write_text(json.dumps(lineage, indent=1), "utf-8")
    return replace(grown, report=report)


def _compared(model: nn.Module, again: nn.Module, grown: Growth, inputs: Inputs) -> Report:
    report, parity = grown.report, measured(model, again, inputs, outputs=grown.outputs)
    if report.parity is not None and report.parity.exact and not parity.exact:
        raise FolderError(
            f"read again from the folder, the student differs: {parity}. Its class computes "
            "something from its configuration that the growth made up for otherwise. Choose "
            "other widths."
        )
    return replace(report, parity=parity)


def copy_others(source: Path, folder: Path) -> None:
    """Copy the files that are neither weights nor already there. What a link leads to is copied
    only from inside the folder."""
    for path in sorted(source.iterdir()):
        skip = any(path.match(name) for name in WEIGHTS) or (folder / path.name).exists()
        inside = path.resolve().parent == source.resolve()
        if path.is_file() and inside and not skip:
            shutil.copy2(path, folder / path.name)
