"""Which numbers of a configuration say how wide and how deep its model is, found without names.

A model with few blocks is built on ``meta``, widened there, and what changed in its configuration
are the widths. Numbers that make a list of blocks longer are the depths. No weight is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from net2net.apply.attributes import get_attribute
from net2net.apply.builds import fields
from net2net.errors import Net2NetError, TransferError, WidthError
from net2net.hf.answers import Answers, gives_answers
from net2net.hf.changed import as_loaded, built
from net2net.hf.grow import made_inputs
from net2net.transfer.transfer import transfer
from net2net.widen.widen import widen

Numbers = dict[str, int]
"""Fields of a configuration, those of one inside it with dots → their values."""


def nested(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """As ``grow`` takes them: ``{"text_config": {"hidden_size": 8}}``."""
    result: dict[str, Any] = {}
    for name, value in numbers.items():
        *parts, last = name.split(".")
        inner = result
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return result


def without_weights(model: Any) -> nn.Module:
    """What the model's class builds from its configuration, on ``meta``."""
    first = torch.empty(0, dtype=next(model.parameters()).dtype, device="meta")
    with as_loaded(first):
        bare: nn.Module = type(model)(model.config)
    return bare.to(first.dtype).eval()


def with_numbers(bare: nn.Module, numbers: Mapping[str, Any]) -> nn.Module:
    """The same with other numbers.

    Raises:
        WidthError: its class builds nothing from them.
    """
    return built(bare, nested(numbers)).eval()


def width_numbers(bare: nn.Module, factor: float, multiple_of: int = 1) -> Numbers:
    """The numbers that change if all that can be is so many times as wide, with their new values;
    ``multiple_of`` as for ``widen``. ``bare``: a model on ``meta``.

    Raises:
        Net2NetError: as ``widen``.
    """
    small = with_numbers(bare, few_blocks(bare, depth_numbers(bare)))
    inputs = made_inputs(small)
    answers = gives_answers(small, inputs)
    grown = widen(
        Answers(small) if answers else small, factor, inputs, multiple_of=multiple_of,
        outputs="keep" if answers else "grow", verify=False, loadable=True,
    ).model  # fmt: skip
    before = _numbers(small)
    after: Any = grown.get_submodule("model") if answers else grown
    return {
        name: new for name, new in _numbers(after).items() if before.get(name) not in (None, new)
    }


def depth_numbers(bare: nn.Module) -> Numbers:
    """The numbers that say how many blocks a list has, each with its value now."""
    lengths = _lengths(bare)
    found = {}
    for name, value in _numbers(bare).items():
        if value not in lengths.values():
            continue
        try:
            longer = _lengths(with_numbers(bare, {name: 2 * value}))
        except Net2NetError:
            continue
        if any(length == value and longer.get(at) == 2 * value for at, length in lengths.items()):
            found[name] = value
    return found


def few_blocks(bare: nn.Module, depths: Numbers) -> Numbers:
    """As few blocks as show all kinds that there are: two periods of each."""
    period = depth_step(bare, depths)
    return {name: min(value, 2 * period) for name, value in depths.items()}


def depth_step(bare: Any, depths: Numbers) -> int:
    """After how many blocks those of other kinds come again, as lists of the configuration with an
    entry for each say."""
    return max([1, *(_period(entries) for entries in _lists(bare.config, depths.values()))])


def grows_deeper(bare: nn.Module, depths: Numbers) -> bool:
    """Whether blocks can be added that change nothing."""
    few, step = few_blocks(bare, depths), depth_step(bare, depths)
    return grows(with_numbers(bare, few), {name: value + step for name, value in few.items()})


def grows(bare: nn.Module, numbers: Numbers) -> bool:
    """Whether a model with these numbers can compute the same."""
    try:
        student = with_numbers(bare, numbers)
        transfer(bare, student, made_inputs(bare), verify=False, outputs="grow")
    except (TransferError, WidthError):
        return False
    return True


def _numbers(model: Any) -> Numbers:
    names = fields(model.config, lambda value: type(value) is int and value > 0)
    plain = [name for name in names if not name.rpartition(".")[2].isdigit()]
    return {name: get_attribute(model.config, name) for name in plain}


def _lengths(model: nn.Module) -> dict[str, int]:
    """Lists of blocks, the outermost."""
    found: dict[str, int] = {}
    for path, part in model.named_modules():
        inside = any(path.startswith(f"{other}.") for other in found)
        if isinstance(part, nn.ModuleList | nn.Sequential) and not inside:
            found[path] = len(part)
    return found


def _lists(config: Any, lengths: Iterable[int]) -> list[list[Any]]:
    known = set(lengths)
    return [
        list(value) for value in vars(config).values()
        if isinstance(value, (list, tuple)) and len(value) in known
    ]  # fmt: skip


def _period(entries: list[Any]) -> int:
    """The shortest that divides them evenly; 1 of such as never repeat."""
    for period in range(1, len(entries) // 2 + 1):
        if all(entry == entries[place % period] for place, entry in enumerate(entries)):
            return period
    return 1
