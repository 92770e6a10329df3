"""Which blocks a longer stack has: where the new ones stand, and which each copies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from net2net.apply.extend_list import ExtendList
from net2net.deepen.how import WHOLE, How, Order
from net2net.deepen.kinds import Period, kinds_of, period_of
from net2net.errors import DepthError
from net2net.plan.orders import ORDERS
from net2net.trace.trace import Trace


def longer(
    model: nn.Module, path: str, asked: int | float, how: How, traces: Sequence[Trace]
) -> ExtendList | None:
    """The stack with more blocks; None if a factor adds none.

    Raises:
        DepthError: it cannot have as many.
    """
    order, copy = how.order, how.copy
    listed = not isinstance(order, str)
    names = list(model.get_submodule(path)._modules)
    period = period_of(kinds_of(model, path, traces))
    count = _count(path, asked, len(names), 1 if listed else period.size)
    if not count:
        return None
    if copy in WHOLE:
        sources = _whole(path, copy, count, len(names), period)
    elif listed:
        sources = _behind(path, count, len(names), order)
    else:
        sources = _in_order(count, len(names), period, str(order))
    new = _names(names, sources)
    return ExtendList(path, tuple((a, names[b]) for a, b in zip(new, sources, strict=True)))


def _count(path: str, asked: int | float, blocks: int, size: int) -> int:
    """How many blocks to add: those asked for, or the nearest to a factor."""
    if isinstance(asked, float):
        return round(blocks * (asked - 1) / size) * size
    if asked % size:
        near = [count for count in (asked - asked % size, asked - asked % size + size) if count]
        raise DepthError(
            f"the blocks of '{path}' come again after {size}, so {asked} more would stand where "
            f"the code expects others. Add {' or '.join(map(str, near))}, or say behind which "
            "blocks in order=[…]."
        )
    return asked


def _in_order(count: int, blocks: int, period: Period, order: str) -> list[int]:
    """For every place the block that stands there or is copied: whole periods, each new one behind
    the one that it copies."""
    old = ORDERS[order](period.groups + count // period.size, period.groups)
    groups: list[int] = []
    for place in range(period.groups + count // period.size):
        groups.append(old.index(place) if place in old else groups[-1])
    inner = [
        period.start + group * period.size + place
        for group in groups
        for place in range(period.size)
    ]
    after = period.start + period.groups * period.size
    return [*range(period.start), *inner, *range(after, blocks)]


def _behind(path: str, count: int, blocks: int, order: Order) -> list[int]:
    """Each new block behind the one of this number, which it copies."""
    if len(order) != count or not all(type(i) is int and 0 <= i < blocks for i in order):
        raise DepthError(
            f"order is {list(order)!r:.80}, and '{path}' gets {count} blocks behind some of its "
            f"{blocks}. Give as many numbers of blocks, from 0 to {blocks - 1}."
        )
    return sorted([*range(blocks), *map(int, order)])


def _whole(path: str, copy: str, count: int, blocks: int, period: Period) -> list[int]:
    """``stack``: all of them again and again (G_stack). ``overlap``: the first and the last of two
    copies (depth up-scaling). What stands only at the beginning or the end stays there."""
    many = period.groups * period.size
    inner = list(range(period.start, period.start + many))
    total = many + count
    if copy == "stack":
        found = [inner[place % many] for place in range(total)]
    else:
        if count > many:
            raise DepthError(
                f"'{path}' has {many} blocks that can be there twice, and {count} more were asked "
                f'for. Add at most {many}, or pass copy="stack".'
            )
        first = -(-total // (2 * period.size)) * period.size
        found = [*inner[:first], *inner[many - (total - first) :]]
    return [*range(period.start), *found, *range(period.start + many, blocks)]


def _names(names: Sequence[str], sources: Sequence[int]) -> list[str]:
    """Names that count go on counting; others stay, and a new block is called by what it copies."""
    counted = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    first = counted[0]
    if first is not None:
        prefix, start = first[1], int(first[2])
        if list(names) == [f"{prefix}{start + i}" for i in range(len(names))]:
            return [f"{prefix}{start + i}" for i in range(len(sources))]
    taken, found = set(names), list[str]()
    for source in sources:
        name, number = names[source], 2
        if name in found:
            while (name := f"{names[source]}_{number}") in taken:
                number += 1
        taken.add(name)
        found.append(name)
    return found
