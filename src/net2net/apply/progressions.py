"""Numbers that tell the blocks of a list apart by their places: ``layer_idx`` counts them, a rate
of stochastic depth rises from the first to the last. In a longer list they are others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from net2net.apply.attributes import SetAttribute
from net2net.apply.extend_list import ExtendList

Numbers = Mapping[tuple[str, str], int | float]
"""Module inside a block, attribute → its value."""


def numbers_of(block: nn.Module) -> dict[tuple[str, str], int | float]:
    """The numbers that a block's modules keep."""
    return {
        (path, name): value
        for path, part in block.named_modules()
        for name, value in vars(part).items()
        if type(value) in (int, float) and not name.startswith("_")
    }


def places_of(blocks: Sequence[Numbers]) -> dict[str, int]:
    """Attributes that are the number of the block, wherever they are, up to what is added (0: it
    counts from 0)."""
    found: dict[str, set[int | float]] = {}
    seen: dict[str, set[int]] = {}
    for place, numbers in enumerate(blocks):
        for (_, name), value in numbers.items():
            found.setdefault(name, set()).add(value - place)
            seen.setdefault(name, set()).add(place)
    return {
        name: int(first)
        for name, offsets in found.items()
        if len(seen[name]) > 1 and len(offsets) == 1 and type(first := min(offsets)) is int
    }


def progressions(model: nn.Module, edit: ExtendList) -> dict[str, list[SetAttribute]]:
    """What to set in the blocks of the longer list, by attribute.

    Args:
        model: before the edit.
    """
    stack = model.get_submodule(edit.at)
    old = {name: numbers_of(block) for name, block in stack.named_children()}
    start = f"{edit.at}." if edit.at else ""
    found: dict[str, list[SetAttribute]] = {}
    counted = places_of(list(old.values()))
    rising = _rising(list(old.values()))
    for place, (new, like) in enumerate(edit.blocks):
        for (path, name), value in old[like].items():
            wanted: int | float = value
            if name in counted:
                wanted = place + counted[name]
            elif (path, name) in rising:
                first, last = rising[path, name]
                wanted = first + (last - first) * place / (len(edit.blocks) - 1)
            if wanted != value:
                where = ".".join(filter(None, (f"{start}{new}", path)))
                found.setdefault(name, []).append(SetAttribute(where, name, wanted))
    return found


def _rising(blocks: Sequence[Numbers]) -> dict[tuple[str, str], tuple[float, float]]:
    """Fractions that rise or fall by equal steps: those of the first block and the last. Where the
    first has none (nothing is dropped there), it has 0."""
    found = {}
    for key in blocks[-1]:
        values = [blocks[0].get(key, 0.0), *(one.get(key) for one in blocks[1:])]
        numbers = [value for value in values if type(value) is float]
        first, last = numbers[:1], numbers[-1:]
        if len(numbers) < len(blocks) or first == last:
            continue
        step = (last[0] - first[0]) / (len(blocks) - 1)
        if all(abs(value - first[0] - i * step) < 1e-6 for i, value in enumerate(numbers)):
            found[key] = (first[0], last[0])
    return found
