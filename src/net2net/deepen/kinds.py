"""What tells the blocks of a stack apart, and after how many of them it begins anew.

Every other block of a Swin shifts its windows, every sixth of a Gemma looks at all positions, the
first of a ResNet's stage halves the map. Blocks that come again and again are added in whole
periods; what stands only at the beginning or the end is not added.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from net2net.apply.progressions import numbers_of, places_of
from net2net.trace.trace import Op, Trace


@dataclass(frozen=True)
class Kind:
    """Of one block: ``form``, its class and parameters; ``way``, what it does with them."""

    form: Hashable
    way: Hashable


@dataclass(frozen=True)
class Period:
    """The blocks from ``start`` on come again after ``size``, ``groups`` times."""

    start: int
    size: int
    groups: int


def kinds_of(model: nn.Module, path: str, traces: Sequence[Trace]) -> list[Kind]:
    """The kinds of all blocks in a stack."""
    blocks = dict(model.get_submodule(path)._modules)
    parts = [block for block in blocks.values() if block is not None]
    done: dict[str, set[str]] = {name: set() for name in blocks}
    for op in (op for trace in traces for op in _on_hidden_values(trace)):
        if op.path.startswith(f"{path}."):
            done[op.path.removeprefix(f"{path}.").partition(".")[0]].add(op.name)
    return [
        Kind(
            (type(part), tuple((n, tuple(p.shape)) for n, p in part.named_parameters())),
            (frozenset(done[name]), tuple(n for n, _ in part.named_buffers()), telling),
        )
        for name, part, telling in zip(blocks, parts, _telling(parts), strict=True)
    ]


def _on_hidden_values(trace: Trace) -> Iterator[Op]:
    """Operations on what parameters made. Others (positions, masks) may be done once for all
    blocks, by the first."""
    made = set(trace.names)
    for op in trace.ops:
        if any(ref.id in made for ref in op.inputs):
            made.update(ref.id for ref in op.outputs)
            yield op


Key = tuple[str, str]
"""Module inside a block, attribute."""


def _telling(blocks: Sequence[nn.Module]) -> list[Hashable]:
    """Attributes of every block, but for those that all have alike, or that say where it stands: no
    two have them alike."""
    found = [dict(_attributes(block)) for block in blocks]
    counted = places_of([numbers_of(block) for block in blocks])
    telling = []
    for key in dict.fromkeys(key for one in found for key in one):
        values = {one.get(key) for one in found}
        apart = len(values) == len(found) > 2
        if len(values) > 1 and not apart and key[1] not in counted:
            telling.append(key)
    return [tuple(one.get(key) for key in telling) for one in found]


def _attributes(block: nn.Module) -> Iterator[tuple[Key, Hashable]]:
    """Plain attributes of all modules inside. Fractions (of stochastic depth) tell no kinds, nor do
    numbers in names."""
    for path, part in block.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_") or name == "training":
                continue
            if isinstance(value, str):
                yield (path, name), re.sub(r"\d+", "#", value)
            elif value is None or isinstance(value, int):
                yield (path, name), repr(value)
            elif isinstance(value, (list, tuple)) and all(isinstance(x, int) for x in value):
                yield (path, name), tuple(value)


def period_of(kinds: Sequence[Kind]) -> Period:
    """The shortest period that leaves fewest blocks out at both ends. Blocks that come once and
    differ in their tensors are none; where they differ in what they do, all are one period."""
    one_form = len({kind.form for kind in kinds}) == 1
    found = []
    for start in range(1 if len(set(kinds)) == 1 else len(kinds)):
        for size in range(1, len(kinds) - start + 1):
            end = start + size
            while end < len(kinds) and kinds[end] == kinds[end - size]:
                end += 1
            left_out = start + len(kinds) - end
            preferred = (-size, start) if one_form else (size, -start)
            found.append((left_out + size, preferred, Period(start, size, (end - start) // size)))
            if end == len(kinds):
                break  # a longer one leaves out no fewer
    return min(found, key=lambda one: one[:2])[2]
