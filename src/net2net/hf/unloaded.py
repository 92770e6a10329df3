"""A folder's model without its weights: on ``meta``, with buffers as its class makes them, and
where on disk each of its tensors lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from net2net.errors import FolderError
from net2net.hf.rows import whole
from net2net.hf.shards import Place
from net2net.trace.meta_copy import named_tensors

SPARE = 2**24
"""How many elements a model may have beyond what its folder holds some times over."""

DEEP = 1000
"""How many layers a configuration may name beyond the tensors that its folder holds."""


@dataclass(frozen=True, eq=False)
class Unloaded:
    """A model without weights, and where they are.

    Attributes:
        model: on ``meta``, but for its buffers; in evaluation mode.
        places: its tensors that are on disk as they are in the model, by their names in it.
        lost: those that are on disk in another form, or of another type.
        missing: those that are not there.
    """

    model: nn.Module
    places: Mapping[str, Place]
    lost: tuple[str, ...]
    missing: tuple[str, ...]


def unloaded(kind: Any, config: Any, stored: Mapping[str, Place]) -> Unloaded:
    """The model that ``kind.from_pretrained`` would load, renamed as transformers renames.

    transformers loads tensors without values. Where one of the model's shares its storage with one
    of these, it is that one under another name; where it was made of some, it is not.

    Raises:
        FolderError: its configuration asks for much more than there is.
    """
    disk = {
        name: torch.empty(one.shape, dtype=one.dtype, device="meta") for name, one in stored.items()
    }
    elements = sum(tensor.numel() for tensor in disk.values())
    with at_most(elements), _SamePadded():
        model, told = kind.from_pretrained(
            None, config=config, state_dict=dict(disk), device_map="meta", dtype="auto",
            output_loading_info=True,
        )  # fmt: skip
    by_storage = {_storage(tensor): name for name, tensor in disk.items()}
    places: dict[str, Place] = {}
    lost = []
    saved = model.state_dict(keep_vars=True)
    for name, tensor in named_tensors(model):
        if name not in saved:
            continue
        own = by_storage.get(_storage(tensor)) if tensor.is_meta else None
        if own is None or not _is(tensor, disk[own]):
            lost.append(name)
        else:
            places[name] = stored[own]
    with_buffers(model, places, elements)
    return Unloaded(model, places, tuple(lost), tuple(sorted(told["missing_keys"])))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _is(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one storage are the same."""
    return one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype


class _SamePadded(TorchFunctionMode):
    """What is padded by nothing stays the same tensor: so are biases when weights are tied."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.pad and len(args) > 1 and not any(args[1]):
            return args[0]
        return func(*args, **(kwargs or {}))


def as_initialised(model: nn.Module) -> None:
    """Give the buffers of a new model on ``meta`` values, in place. No parameter is allocated."""
    for parameter in model.parameters():
        parameter._is_hf_initialized = True  # type: ignore[attr-defined]
    with_buffers(model, {}, sum(parameter.numel() for parameter in model.parameters()))


def with_buffers(model: Any, places: Mapping[str, Place], elements: int) -> None:
    """Give the buffers of a model on ``meta`` values, in place: those on disk are read, the others
    are what its class initialises them with, as in ``from_pretrained``.

    Raises:
        FolderError: they would take much more than the ``elements`` of the model.
    """
    made = {name: buffer for name, buffer in model.named_buffers() if buffer.is_meta}
    if sum(buffer.numel() for buffer in made.values()) > 4 * elements + SPARE:
        largest = max(made, key=lambda name: made[name].numel())
        raise FolderError(
            f"config.json asks for a buffer '{largest}' of {tuple(made[largest].shape)} in a model "
            f"of {elements:,} parameters. Correct config.json."
        )
    anew = set()
    for name, buffer in made.items():
        path, _, own = name.rpartition(".")
        part = model.get_submodule(path)
        value = whole(places[name]) if name in places else torch.empty_like(buffer, device="cpu")
        value._is_hf_initialized = name in places  # type: ignore[attr-defined]
        part._buffers[own] = value
        anew.add(part)
    for part in anew:
        part._is_hf_initialized = False
    model.initialize_weights()


def check_depth(said: Any, tensors: int) -> None:
    """Look at a configuration as it is written, before anything is made of it.

    Raises:
        FolderError: it asks for many more layers than the folder holds tensors.
    """
    if isinstance(said, list):
        said = dict(enumerate(said))
    if not isinstance(said, dict):
        return
    for name, value in said.items():
        if "layer" in str(name) and type(value) is int and value > tensors + DEEP:
            raise FolderError(
                f"config.json says {name}={value:,}, and the folder holds {tensors:,} tensors. "
                "Correct config.json."
            )
        check_depth(value, tensors)


@contextmanager
def at_most(elements: int) -> Iterator[None]:
    """Models that are built here have no more than some times as many elements, and some to spare.

    Raises:
        FolderError: one has; while it is built.
    """
    built = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal built
        built += 0 if parameter is None else parameter.numel()
        if built > 4 * elements + SPARE:
            raise FolderError(
                f"config.json asks for a model of more than {built:,} parameters, and the folder "
                f"holds {elements:,}. Correct config.json."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
