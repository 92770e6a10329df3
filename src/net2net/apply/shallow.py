"""A configuration of few blocks: what repeats eighty times is built twice."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from net2net.apply.attributes import get_attribute

_BLOCKS = 2
"""How many of each list stay: every other may differ."""


def shallow(
    config: Any, now: Mapping[str, int], numbers: Sequence[str],
    sizes: Callable[[Any], Mapping[str, int] | None],
) -> tuple[Any, Mapping[str, int], frozenset[str]]:  # fmt: skip
    """A configuration whose lists of blocks are short, with its sizes and the numbers that say how
    long they are; the same one where there are none.

    It builds some of the tensors and no others, of the same sizes: what holds for the model holds
    for it. The reverse is to be checked.

    Args:
        now: the sizes (``name[axis]``) that the configuration is built with.
        numbers: its fields that are numbers.
        sizes: those of a configuration; None if nothing is built from it.
    """
    counts = set[str]()
    lengths = _lengths(now)
    for name in numbers:
        in_a_list = name.rpartition(".")[2].isdigit()
        if not in_a_list and (length := get_attribute(config, name)) in lengths:
            fewer = _shorter(config, name, length)
            found = sizes(fewer)
            if found is not None and found.items() < now.items():
                config, now = fewer, found
                counts.add(name)
    return config, now, frozenset(counts)


def _lengths(names: Iterable[str]) -> set[int]:
    """Of the lists that tensors are in, by their names, where they are longer than need be."""
    last: dict[str, int] = {}
    for name in names:
        for number in re.finditer(r"(?:^|(?<=\.))\d+(?=\.)", name):
            before = name[: number.start()]
            last[before] = max(last.get(before, 0), int(number[0]))
    return {one + 1 for one in last.values() if one >= _BLOCKS}


def _shorter(config: Any, name: str, length: int) -> Any:
    """A copy in which this number is small, and lists beside it with an entry for each block are as
    short."""
    result = copy.deepcopy(config)
    path, _, field = name.rpartition(".")
    holder = get_attribute(result, path) if path else result
    for key, value in vars(holder).items():
        if type(value) in (list, tuple) and len(value) == length:
            setattr(holder, key, value[:_BLOCKS])
    setattr(holder, field, _BLOCKS)
    return result
