"""Layers of a model that were exchanged for others that hold them, as adapters do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from net2net.apply.builds import build
from net2net.trace.meta_copy import copied, named_tensors

Exchanged = Mapping[str, str]
"""Where a layer was exchanged → where in the new one it is held."""


def exchanged(model: Any) -> Exchanged:
    """The layers of a model that its class, built from its configuration, has in the place of what
    is there; none where it is not that they are held."""
    built, found = build(type(model), model.config, {}), dict[str, str]()
    theirs = dict(model.named_modules())
    for path, part in () if built is None else built.named_modules():
        if path.startswith(tuple(f"{one}." for one in found)):
            continue
        if path not in theirs:
            return {}
        if _shapes(theirs[path], deep=False) != (own := _shapes(part, deep=False)):
            inside = list(theirs[path].named_modules())[1:]
            held = [name for name, one in inside if _shapes(one) == own]
            if len(held) != 1:
                return {}
            found[path] = held[0]
    return found


def _shapes(part: nn.Module, *, deep: bool = True) -> dict[str, tuple[int, ...]]:
    """Of a module's tensors, by name; without ``deep`` not of those of its children."""
    return {
        name: tuple(tensor.shape) for name, tensor in named_tensors(part) if deep or "." not in name
    }


def put_back(model: nn.Module, layers: Exchanged) -> nn.Module:
    """As the class builds it: the same tensors, without what holds these layers."""
    if not layers:
        return model
    result = copied(model, {id(tensor): tensor for _, tensor in named_tensors(model)})
    for path, inner in layers.items():
        result.set_submodule(path, result.get_submodule(f"{path}.{inner}"))
    return result


def put_in(built: nn.Module, model: nn.Module, layers: Exchanged) -> nn.Module:
    """What the class built, with a model's layers in the place of these; in place."""
    for path in layers:
        built.set_submodule(path, model.get_submodule(path))
    return built
