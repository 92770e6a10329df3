"""Inputs as plain data: what a model was run on, without the values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from net2net.errors import InputError


def spec_of(item: Any) -> Any:
    """JSON types for tensors, numbers and strings in tuples, lists and dicts.

    Raises:
        InputError: there is something else in them.
    """
    if isinstance(item, Tensor):
        return {"tensor": list(item.shape), "type": str(item.dtype).removeprefix("torch.")}
    if isinstance(item, Mapping) and all(isinstance(key, str) for key in item):
        return {"dict": {key: spec_of(value) for key, value in item.items()}}
    if type(item) in (list, tuple):
        return {type(item).__name__: [spec_of(x) for x in item]}
    if item is None or isinstance(item, (bool, int, float, str)):
        return item
    raise InputError(
        f"the inputs hold a {type(item).__name__}, which a plan cannot write down. "
        "Give tensors, numbers and strings in tuples, lists and dicts."
    )


def from_spec(data: Any, device: torch.device) -> Any:
    """Inputs of the shapes and types that were described; all tensors hold zeros."""
    if not isinstance(data, dict):
        return data
    ((kind, content), *_) = data.items()
    if kind == "tensor":
        return torch.zeros(content, dtype=getattr(torch, data["type"]), device=device)
    if kind == "dict":
        return {key: from_spec(value, device) for key, value in content.items()}
    return {"list": list, "tuple": tuple}[kind](from_spec(x, device) for x in content)
