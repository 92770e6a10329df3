"""What one run of a model costs, counted on ``meta``."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from net2net.errors import InputError
from net2net.trace.flops import flops
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, split_inputs, trace

TEXT = "input_ids"
"""The argument that tokens are given in."""


def samples_in(inputs: Inputs) -> tuple[int, str]:
    """How many tokens inputs have (of the decoder, where there are two texts), or else how many
    samples; and what they are."""
    args, named = split_inputs(inputs)
    for name in (f"decoder_{TEXT}", TEXT):
        if name in named:
            return int(named[name].numel()), "token"
    first = next((one for one in (*args, *named.values()) if isinstance(one, Tensor)), None)
    return (len(first) if first is not None and first.ndim else 1), "sample"


def flops_per_pass(model: nn.Module, inputs: Inputs) -> tuple[float, str]:
    """Forward FLOPs of a token or of a sample, and which of them."""
    count, unit = samples_in(inputs)
    return flops(trace(meta_copy(model), inputs)) / count, unit


def cache_bytes(model: nn.Module, inputs: Inputs) -> tuple[int, int] | None:
    """What a model keeps of a text while it writes on: bytes for each token, and for each text
    whatever its length. None for models that keep nothing. No weight is read.
    """
    _, named = split_inputs(inputs)
    name = next((one for one in (f"decoder_{TEXT}", TEXT) if one in named), None)
    if name is None or "use_cache" not in inspect.signature(model.forward).parameters:
        return None
    texts, length = named[name].shape
    longer = torch.cat([named[name]] * 2, 1)
    try:
        short, long = (_kept(model, {**named, name: ids}) for ids in (named[name], longer))
    except InputError:  # it takes no longer text
        return None
    each = (long - short) // length
    return (each // texts, (short - each * length) // texts) if long else None


def _kept(model: nn.Module, inputs: dict[str, Any]) -> int:
    """Bytes of all caches in the output."""
    found: list[Tensor] = []

    def look(module: nn.Module, args: Any, output: Any) -> None:
        seen: set[int] = set()
        for name in ("past_key_values", "cache_params"):
            if name in output:
                found.extend(_tensors(output[name], seen))

    meta = meta_copy(model)
    meta.register_forward_hook(look)
    trace(meta, {**inputs, "use_cache": True})
    return sum(tensor.numel() * tensor.element_size() for tensor in found)


def _tensors(item: Any, seen: set[int]) -> list[Tensor]:
    """All that an object holds, each once."""
    if id(item) in seen or isinstance(item, (str, bytes, type)):
        return []
    seen.add(id(item))
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        inside = list(item.values())
    elif isinstance(item, (list, tuple)):
        inside = list(item)
    else:
        inside = list(getattr(item, "__dict__", {}).values())
    return [tensor for one in inside for tensor in _tensors(one, seen)]
