"""A model's folder in, a larger model's folder out."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from net2net.errors import FolderError, InputError
from net2net.files import FolderPath, emptied, told_as_os_error, written
from net2net.growth import Growth
from net2net.hf.blockwise import verify_on_disk
from net2net.hf.card import write_card
from net2net.hf.checked import check_said
from net2net.hf.grow import grow, made_inputs
from net2net.hf.lineage import Hashing, Source, write_lineage
from net2net.hf.memory import fits
from net2net.hf.opened import Opened, opened, readable
from net2net.hf.saved import NotAsItIsError
from net2net.hf.stream import Told
from net2net.hf.streamed import check_missing, planned, streamed, without_weights
from net2net.hf.unloaded import Unloaded, at_most
from net2net.hf.wish import Wish
from net2net.hf.wish import grown as wished
from net2net.maps.methods import Method, method_of
from net2net.plan.widths import Widths
from net2net.stages import stage
from net2net.trace.trace import Inputs
from net2net.transfer.longer import NewOutputs
from net2net.verify import Parity
from net2net.verify import verify as measured
from net2net.widen.widen import widen

log = logging.getLogger("net2net")

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.index.json", "*.msgpack", "*.h5")
"""Names of files that hold the teacher's weights, which are not copied."""

JOBS = 2
"""Blocks of rows that are made at the same time."""

Check = bool | Literal["blocks", "sampled"]
"""Whether and how what was written is compared with the teacher."""

OWN = ("generation_config.json",)
"""Files that stay what the teacher has, whatever its class makes of them."""


def grow_folder(
    source: FolderPath,
    target: FolderPath,
    *,
    widths: Widths | None = None,
    inputs: Inputs | None = None,
    method: str | Method = "auto",
    seed: int = 0,
    verify: Check = True,
    wish: Wish | None = None,
    dtype: torch.dtype | None = None,
    max_shard_size: int | str = "50GB",
    trust_remote_code: bool = False,
    jobs: int = JOBS,
    progress: Told | None = None,
    command: str = "",
    new_outputs: NewOutputs | None = None,
    **numbers: Any,
) -> Growth:
    """Grow a model that ``save_pretrained`` wrote into a folder that ``from_pretrained`` reads.

    Where the model's tensors are on disk as they are in the model, they are read, grown and written
    in blocks of rows, and no more than some of these are in memory: ``Growth.model`` is on ``meta``
    then. Else (merged experts, other types, pickled weights) all of it is read first; the log says
    so, and the bits are the same.

    Tokenizers, processors and all other files are copied, but for the weights; ``net2net.json``
    says what the folder was grown from. Everything is written beside the target, read again and
    measured, and renamed in the end: the target is whole or not there. After an interruption the
    same call goes on from the files that are done.

    Args:
        source: the folder of a model of transformers. Nothing in it is executed, weights that are
            pickled are read as tensors alone, and nothing is fetched.
        target: a folder that is not there, or empty.
        widths: as for ``widen``; or
        numbers: the configuration's own, as for ``grow`` (``hidden_size=1024``).
        inputs: what the model runs on. None: examples are made.
        method, seed: as for ``widen``.
        verify: measure the teacher against what was read again from the target. Where the memory
            cannot hold both in float64, and with ``"blocks"``, weights stay on disk but for those
            of the part that runs. With ``"sampled"`` nothing runs, and rows of every tensor are
            read again and compared with the plan.
        wish: all of what is asked at once, instead of widths, numbers, method and seed.
        dtype: of the target's weights, if not the source's.
        max_shard_size: of one file of weights, as for ``save_pretrained``.
        trust_remote_code: run the code that the folder brings, which may do anything.
        jobs: how many blocks are made at the same time.
        progress: is told of every block that is written.
        command: what was called, for ``net2net.json``.
        new_outputs: as for ``grow``, where numbers add words or classes.

    Raises:
        FolderError: the source holds no model that can be read, or changes meanwhile; the target is
            occupied, or cannot be written; or no configuration can say the student.
        Net2NetError: as ``widen`` and ``grow``.
    """
    check_asked(widths, numbers, wish, new_outputs)
    path = Path(source)
    with written(target) as folder:
        there = opened(path, trust_remote_code=trust_remote_code)
        origin = Source.of(path)
        hashes = Hashing(origin)

        def grow_it(model: nn.Module, given: Inputs, verify: bool = False) -> Growth:
            return grown_model(
                model, given, widths, numbers, wish, new_outputs, method=method, seed=seed,
                verify=verify,
            )  # fmt: skip

        try:
            if dtype is not None:
                raise NotAsItIsError("weights of another type are made of whole ones")
            if trust_remote_code:
                raise NotAsItIsError("code of the folder's own may need values")
            found = without_weights(there)
            grown, given = planned(found, inputs, grow_it)
            whole = verify is True and fits(found.model, grown.model)
            grown = streamed(
                grown, found, origin, folder, sampled=verify == "sampled",
                max_shard_size=max_shard_size, jobs=jobs, progress=progress,
            )  # fmt: skip
            way = method_of(method if wish is None else wish.method)
            exact = way.exact and not way.noise and (wish is None or wish.exact)
            if whole:
                grown = _read_again(load(path), grown, given, folder, exact=exact)
            elif verify and verify != "sampled":
                grown = _read_in_blocks(found, grown, given, folder, exact=exact)
        except NotAsItIsError as why:
            log.info("in memory, and not tensor by tensor: %s", why)
            emptied(folder)
            model = _loaded(there, dtype)
            given = made_inputs(model) if inputs is None else inputs
            grown = grow_it(model, given, bool(verify))
            grown = save(
                model, grown, given, folder, verify=bool(verify), max_shard_size=max_shard_size,
                trust_remote_code=trust_remote_code,
            )  # fmt: skip
        return finished(grown, origin, hashes, command, folder)


def finished(grown: Growth, origin: Source, hashes: Hashing, command: str, folder: Path) -> Growth:
    """The growth, with all that a model's folder has besides in it, if the source is what it was.

    Raises:
        FolderError: it changed.
    """
    copy_others(origin.folder, folder)
    origin.check_same()
    write_lineage(grown, origin, hashes.result(), command, folder)
    write_card(grown, origin.name, command, folder)
    return grown


def check_asked(
    widths: Widths | None, numbers: dict[str, Any], wish: Wish | None,
    new_outputs: NewOutputs | None = None,
) -> None:  # fmt: skip
    """Raises:
    InputError: widths and numbers were both given, or neither; or new outputs without numbers.
    """
    if new_outputs is not None and not numbers:
        raise InputError(
            "new_outputs was given, and no number of the configuration that adds any. Give one "
            "(vocab_size=50304), or leave it out; a wish has its own."
        )
    if wish is not None and widths is None and not numbers:
        return
    if (widths is None) == (not numbers):
        raise InputError(
            "a folder grows by widths or by numbers of its configuration, and "
            f"{'both were' if numbers else 'neither was'} given. Give one of them."
        )


def grown_model(
    model: nn.Module, inputs: Inputs, widths: Widths | None, numbers: dict[str, Any],
    wish: Wish | None = None, new_outputs: NewOutputs | None = None, **options: Any,
) -> Growth:  # fmt: skip
    """By a wish, by widths or by numbers of the configuration.

    Raises:
        InputError: both were given, or neither.
    """
    check_asked(widths, numbers, wish, new_outputs)
    if wish is not None:
        return wished(model, inputs, wish, verify=options["verify"])
    return (
        grow(model, inputs, new_outputs=new_outputs, **options, **numbers)
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
    return _loaded(opened(Path(source), trust_remote_code=trust_remote_code), dtype)


def _loaded(there: Opened, dtype: torch.dtype | None = None) -> nn.Module:
    with readable(there.folder), at_most(there.elements), stage("read the model"):
        model, told = there.kind.from_pretrained(
            there.folder, dtype=dtype or "auto", local_files_only=True, output_loading_info=True
        )
    check_missing(there.folder, tuple(sorted(told["missing_keys"])))
    found: nn.Module = model
    return found


def save(
    model: nn.Module, grown: Growth, inputs: Inputs, folder: Path, *, verify: bool,
    max_shard_size: int | str = "50GB", trust_remote_code: bool = False,
) -> Growth:  # fmt: skip
    """Write the student, and read it again.

    Raises:
        FolderError: no configuration can say it.
    """
    from safetensors import SafetensorError

    student: Any = grown.model
    check_said(student)
    with stage("wrote the student"), told_as_os_error(SafetensorError):
        student.save_pretrained(folder, max_shard_size=max_shard_size)
    if not verify:
        return grown
    exact = grown.report.parity is not None and grown.report.parity.exact
    return _read_again(
        model, grown, inputs, folder, exact=exact, trust_remote_code=trust_remote_code
    )


def _read_again(
    model: nn.Module, grown: Growth, inputs: Inputs, folder: Path, *, exact: bool,
    trust_remote_code: bool = False,
) -> Growth:  # fmt: skip
    """The growth, with what was measured.

    Raises:
        FolderError: the student should be exact, and is not.
    """
    with stage("read and measured the student"):
        again = load(folder, trust_remote_code=trust_remote_code)
        parity = measured(model, again, inputs, outputs=grown.outputs)
    return _measured(grown, parity, exact)


def _read_in_blocks(
    teacher: Unloaded, grown: Growth, inputs: Inputs, folder: Path, *, exact: bool
) -> Growth:
    """The growth, with what was measured while both models were on disk.

    Raises:
        FolderError: the student should be exact, and is not.
    """
    with stage("measured the student block by block"):
        student = without_weights(opened(folder))
        parity = verify_on_disk(teacher, student, inputs, grown.outputs)
    return _measured(grown, parity, exact)


def _measured(grown: Growth, parity: Parity, exact: bool) -> Growth:
    if exact and not parity.exact:
        raise FolderError(
            f"read again from the folder, the student differs: {parity}. Its class computes "
            "something from its configuration that the growth made up for otherwise. Choose "
            "other widths."
        )
    return replace(grown, report=replace(grown.report, parity=parity))


def copy_others(source: Path, folder: Path) -> None:
    """Copy the files that are neither weights nor already there. What a link leads to is copied
    only from inside the folder, or from where the hub's cache has the files of such folders."""
    for path in sorted(source.iterdir()):
        there = (folder / path.name).exists() and path.name not in OWN
        skip = any(path.match(name) for name in WEIGHTS) or there
        if path.is_file() and _inside(path, source) and not skip:
            shutil.copy2(path, folder / path.name)


def _inside(path: Path, folder: Path) -> bool:
    home = path.resolve().parent
    cached = folder.resolve().parent
    return home == folder.resolve() or (
        cached.name == "snapshots" and home == cached.parent / "blobs"
    )
