"""What a class builds from its configuration, with other numbers in it, and how it compares."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from net2net.apply.attributes import SetAttribute, get_attribute, set_attributes
from net2net.apply.config_numbers import Valued
from net2net.apply.unfilled import Unfilled
from net2net.errors import InputError
from net2net.infer.shown_once import shown_alike
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import META, copied, named_tensors
from net2net.trace.trace import Inputs, Ref, Trace, trace

log = logging.getLogger(__name__)

Sizes = dict[str, int]
"""What a model is, in numbers: ``name[axis]`` of tensors, and attributes that its code reads."""


def fields(config: Any, wanted: Callable[[Any], bool], prefix: str = "") -> list[str]:
    """Such fields of a configuration, of those inside it, and of its lists."""
    names = []
    for key, value in vars(config).items():
        if key.startswith("_"):
            continue
        if wanted(value):
            names.append(prefix + key)
        elif type(value) in (list, tuple):
            names += [f"{prefix}{key}.{i}" for i, x in enumerate(value) if wanted(x)]
        elif hasattr(value, "to_dict") and hasattr(value, "__dict__"):
            names += fields(value, wanted, f"{prefix}{key}.")
    return names


def is_number(value: Any) -> bool:
    """What a size may be."""
    return type(value) is int and value > 1


def is_open(value: Any) -> bool:
    """Nothing, or a single one of what may be more."""
    return value is None or (type(value) is int and value == 1)


def build(
    kind: type[nn.Module], config: Any, values: Mapping[str, float],
    dtype: torch.dtype | None = None, *, checked: bool = True,
) -> nn.Module | None:  # fmt: skip
    """A model on ``meta`` from a configuration with other values, if it can be built so.
    ``dtype``: what it is built in, if not torch's default. ``checked``: not where loading the
    configuration is refused."""
    default = torch.get_default_dtype()
    try:
        holder = _changed(config, values)
        if checked:  # some check then what to build does not
            _checked(holder.config)
        with (
            ALONE, _quiet(config), warnings.catch_warnings(), torch.random.fork_rng(devices=[]),
            META, Valued(), Unfilled(),  # type: ignore[no-untyped-call]
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            torch.set_default_dtype(dtype or default)
            return kind(holder.config)
    except Exception as error:  # its own checks, or a constructor that wants something else
        log.debug("%s is not built from its config: %s", kind.__name__, error)
        return None
    finally:
        torch.set_default_dtype(default)


def refusal(config: Any, values: Mapping[str, int]) -> str | None:
    """Why a configuration with these values is not loaded; None if it is, or cannot be made."""
    try:
        holder = _changed(config, values)
    except Exception:  # of another type: its own classes check that
        return None
    try:
        _checked(holder.config)
    except Exception as error:
        cause: BaseException = error
        while (inner := cause.__cause__ or cause.__context__) is not None:
            cause = inner
        return str(cause).strip().partition("\n")[0].rstrip(".")
    return None


def _checked(config: Any) -> None:
    """Raises what loading the configuration raises."""
    with ALONE, _quiet(config):
        type(config).from_dict(config.to_dict())


@contextmanager
def _quiet(config: Any) -> Iterator[None]:
    """Without what the libraries of a configuration log: of numbers that are but tried it is no
    news."""
    names = {kind.__module__.partition(".")[0] for kind in type(config).__mro__} - {"builtins"}
    before = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    try:
        for logger in before:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _changed(config: Any, values: Mapping[str, float]) -> Any:
    """A module that holds a copy of a configuration with other values."""
    holder: Any = nn.Module()
    holder.config = copy.deepcopy(config)
    set_attributes(holder, [SetAttribute("", f"config.{k}", v) for k, v in values.items()])
    return holder


def rebuilt(
    part: Any, values: Mapping[str, float], dtype: torch.dtype | None = None
) -> nn.Module | None:
    """What the class of a module builds from its configuration with other values, if that has
    tensors of the same sizes."""
    built = build(type(part), part.config, values, dtype)
    return built if sizes_of(built, set()) == sizes_of(part, set()) else None


def sizes_of(model: nn.Module | None, read: set[tuple[str, str]]) -> Sizes | None:
    """The sizes of a model's tensors, and these of its attributes; None if there is no model."""
    if model is None:
        return None
    sizes = {
        f"{name}[{axis}]": size
        for name, tensor in named_tensors(model)
        for axis, size in enumerate(tensor.shape)
    }
    modules = dict(model.named_modules())
    for path, attribute in read:
        value = get_attribute(modules[path], attribute) if path in modules else None
        if isinstance(value, int):
            sizes[f"{path}.{attribute}"] = int(value)
    return sizes


def same_model(whole: Any, done: Trace, path: str, built: nn.Module, inputs: Inputs) -> bool:
    """Whether what the class builds does the same operations."""
    theirs = dict(whole.get_submodule(path).named_modules())
    for name, part in built.named_modules():
        if name not in theirs:  # a module without tensors was exchanged
            return False
        part._parameters, part._buffers = theirs[name]._parameters, theirs[name]._buffers
    other: Any = built
    if path:
        other = copied(whole)
        other.set_submodule(path, built)
    try:
        again = trace(other, inputs)
    except InputError:
        return False
    ours, known = (
        [(facts(op.name, op.args), repr(op.numbers)) for op in one.ops]
        for (one,) in shown_alike([again], [done])
    )
    return ours == known


def facts(name: str, args: Mapping[str, Any]) -> tuple[str, str]:
    """An operation with its numbers, whichever tensors they are."""
    return name, repr([_without_tensors(value) for value in args.values()])


def _without_tensors(item: Any) -> Any:
    if isinstance(item, Ref):
        return "tensor"
    return [_without_tensors(x) for x in item] if isinstance(item, list) else item
