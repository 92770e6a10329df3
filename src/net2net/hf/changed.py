"""A larger model of transformers, built from its configuration with some of the numbers changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from net2net.errors import WidthError
from net2net.hf.parts import config_of, sub_configs
from net2net.hf.unloaded import as_initialised
from net2net.trace.alone import ALONE

_FAR = 64
"""How far from what was asked numbers are tried that would do."""


def built(model: nn.Module, target: Mapping[str, Any]) -> nn.Module:
    """A model of the same class, type and device, from the changed configuration, as its class
    initialises it.

    Raises:
        InputError: the model has no configuration of transformers.
        WidthError: the configuration has no such number, or its class builds nothing from it.
    """
    config = config_of(model, "larger models", "Grow it by widen, deepen or transfer.")
    new = changed(config, target)
    first = next(model.parameters())
    try:
        with as_loaded(first):
            student = type(model)(new)
        if first.is_meta:
            as_initialised(student)
    except Exception as error:
        asked = ", ".join(f"{name}={value!r}" for name, value in target.items())
        near = list(_neighbours(model, config, target))
        advice = f"These would do: {'; '.join(near)}." if near else "Give numbers that go together."
        raise WidthError(
            f"{type(model).__name__} cannot be built with {asked}: {type(error).__name__}: "
            f"{error!s:.300}. {advice}"
        ) from error
    return student.to(None if first.is_meta else first.device, first.dtype)


@contextmanager
def as_loaded(like: torch.Tensor) -> Iterator[None]:
    """What is built inside is of this type and, if that has no values, on ``meta``: numbers that a
    class makes of its configuration (√width in a buffer) are rounded as in a model that is loaded.
    """
    default = torch.get_default_dtype()
    with ALONE, torch.device("meta") if like.is_meta else nullcontext():
        torch.set_default_dtype(like.dtype if like.is_floating_point() else default)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def changed(config: Any, target: Mapping[str, Any]) -> Any:
    """A copy of a configuration with these values; a dict changes a configuration inside it. Lists
    with an entry for every layer follow the number of layers.

    Raises:
        WidthError: the configuration has no such number.
    """
    new = copy.deepcopy(config)
    parts = sub_configs(new)
    for name, value in target.items():
        if name in parts and isinstance(value, Mapping):
            setattr(new, name, changed(parts[name], value))
            continue
        if not hasattr(new, name):
            raise WidthError(_unknown(config, name))
        old = getattr(new, name)
        setattr(new, name, value)
        if type(old) is int and type(value) is int and "layer" in name:
            _follow(new, old, value)
    return new


def _follow(config: Any, old: int, layers: int) -> None:
    """Lists with an entry for every layer."""
    for name, value in vars(config).items():
        if isinstance(value, (list, tuple)) and len(value) == old > 1:
            setattr(config, name, type(value)(extended(value, layers)))


def extended(entries: Sequence[Any], size: int) -> list[Any]:
    """As many entries, by the shortest period that they have, or with the last one again.

    >>> extended(["near", "near", "far", "near", "near", "far"], 8)
    ['near', 'near', 'far', 'near', 'near', 'far', 'near', 'near']
    >>> extended([1, 2, 3], 4)
    [1, 2, 3, 3]
    """
    known = list(entries)
    for period in range(1, len(known) // 2 + 1):
        if all(entry == known[place % period] for place, entry in enumerate(known)):
            return [known[place % period] for place in range(size)]
    return (known + known[-1:] * size)[:size]


def _unknown(config: Any, name: str) -> str:
    inside = [part for part, inner in sub_configs(config).items() if hasattr(inner, name)]
    if inside:
        advice = f"Give {inside[0]}={{'{name}': …}}."
    else:
        known = [key for key, value in config.to_dict().items() if type(value) is int]
        known += list(config.attribute_map)
        near = get_close_matches(name, known) or sorted(known)
        advice = f"Choose one of: {', '.join(near[:12])}."
    return f"{type(config).__name__} has no '{name}'. {advice}"


def _neighbours(model: nn.Module, config: Any, target: Mapping[str, Any]) -> Iterator[str]:
    """For every number that was asked, the nearest that can be built with the others."""
    for name, value in target.items():
        if type(value) is not int:
            continue
        for step in (-1, 1):
            tried = range(value + step, max(0, value + step * _FAR), step)
            for other in tried:
                if _builds(model, config, {**target, name: other}):
                    yield f"{name}={other}"
                    break


def _builds(model: nn.Module, config: Any, target: Mapping[str, Any]) -> bool:
    try:
        with torch.device("meta"):
            type(model)(changed(config, target))
    except Exception:
        return False
    return True
