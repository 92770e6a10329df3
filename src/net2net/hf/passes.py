"""What one run of a model costs, counted on ``meta``."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

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


def cache_bytes(model: nn.Module, length: int = 16) -> tuple[int, int] | None:
    """What a model keeps of a text while it writes on: bytes for each token, and for each text
    whatever its length. None for models that keep nothing. No weight is read.
    """
    arguments = inspect.signature(model.forward).parameters
    if not {TEXT, "use_cache"} <= arguments.keys():
        return None
    sizes = []
    for tokens in (length, 2 * length):
        try:
            sizes.append(_kept(meta_copy(model), tokens))
        except Exception:  # it wants more than a text: a picture, the text of an encoder
            return None
    if not sizes[1]:
        return None
    each = (sizes[1] - sizes[0]) // length
    return each, sizes[0] - each * length


def _kept(meta: Any, tokens: int) -> int:
    with torch.no_grad(), torch.device("meta"):
        output = meta.eval()(torch.zeros(1, tokens, dtype=torch.long), use_cache=True)
    found = next(output[name] for name in ("past_key_values", "cache_params") if name in output)
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(found, set()))


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
