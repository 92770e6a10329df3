"""Numbers that modules keep by name, which no code reads as sizes: set on the student, with what
was made of them.

A layer with adapters beside it keeps ``ranks["default"]``, as wide as ``down["default"]`` is; a
``scales["default"]`` that its code computes with, and ``sizes["default"]``, of which that was made
(size / rank). Where the rank grows and the scale does not, the size has to grow too: what is built
anew from both would have another scale. A configuration may say both once more for all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from torch import Tensor, nn

from net2net.apply.attributes import SetAttribute
from net2net.trace.meta_copy import named_tensors

Number = int | float


@dataclass(frozen=True)
class Kept:
    """``attribute[key]`` of the module at a path, or a field of it; ``new`` is None where it cannot
    be told what it has to be."""

    path: str
    attribute: str
    key: str
    old: Number
    new: Number | None
    field: str = ""

    @property
    def name(self) -> str:
        return ".".join(filter(None, (self.path, self.attribute)))

    @property
    def edit(self) -> SetAttribute:
        name = ".".join(filter(None, (self.attribute, self.key, self.field)))
        return SetAttribute(self.path, name, self.new)


def kept_numbers(
    model: nn.Module, shapes: Mapping[str, Sequence[int]]
) -> tuple[list[SetAttribute], tuple[str, ...]]:
    """What to set, and notes on numbers that stay though what they count grows.

    Args:
        shapes: the tensors that grow, and their new shapes.
    """
    names = {id(tensor): name for name, tensor in named_tensors(model)}

    def rows(tensor: Tensor) -> tuple[int, int]:
        """Before and after."""
        return tensor.shape[0], shapes.get(names[id(tensor)], tensor.shape)[0]

    found = []
    for path, part in model.named_modules():
        for key, tensors in _by_name(part).items():
            wide = {rows(tensor) for tensor in tensors if tensor.ndim}
            new = _new(_numbers(part, key), wide)
            found += [Kept(path, name, key, *numbers) for name, numbers in new.items()]
    whole = [one for one in found if one.new is not None]
    whole += _in_configurations(model, whole)
    notes = [
        f"'{one.name}' says {one.old} for '{one.key}', and that is wider now: other numbers there "
        "may be made of it, so it stays as it is"
        for one in found
        if one.new is None
    ]
    notes += [
        f"{one.field} is {one.old} in '{one.name}' for '{one.key}', and not all layers that say so "
        "have one number now, so it stays as it is"
        for one in whole
        if one.new is None
    ]
    more = f" ({len(notes) - 1} more like it)" if len(notes) > 1 else ""
    return [one.edit for one in whole if one.new is not None], tuple(x + more for x in notes[:1])


def _by_name(part: nn.Module) -> dict[str, list[Tensor]]:
    """The weights that a module holds by names of its own."""
    found: dict[str, list[Tensor]] = {}
    for child in part.children():
        if isinstance(child, nn.ModuleDict):
            for key, layer in child.items():
                if (weight := layer._parameters.get("weight")) is not None:
                    found.setdefault(key, []).append(weight)
        elif isinstance(child, nn.ParameterDict):
            for key, parameter in child.items():
                if isinstance(parameter, Tensor):
                    found.setdefault(key, []).append(parameter)
    return found


def _numbers(part: nn.Module, key: str) -> dict[str, Number]:
    """What a module keeps under a name."""
    held = {name: x for name, x in vars(part).items() if isinstance(x, dict) and name[0] != "_"}
    return {name: x[key] for name, x in held.items() if type(x.get(key)) in (int, float)}


def _new(
    numbers: Mapping[str, Number], wide: set[tuple[int, int]]
) -> dict[str, tuple[Number, Number | None]]:
    """Numbers under one name that change: what they are and become. ``wide``: the rows of the
    weights of that name, before and after."""
    counts = {
        x: {new for old, new in wide if old == x}
        for x in numbers.values()
        if type(x) is int and any(old == x != new for old, new in wide)
    }
    scaled = any(isinstance(x, float) for x in numbers.values())
    ways = [
        way
        for old, (new, *others) in counts.items()
        if not others and (way := _with_what_is_made(numbers, old, new)) is not None
    ]
    if counts and (not ways or (scaled and len(ways) > 1)):
        name, old = next((name, x) for name, x in numbers.items() if x in counts)
        return {name: (old, None)}
    return {name: change for way in ways for name, change in way.items()}


def _with_what_is_made(
    numbers: Mapping[str, Number], old: int, new: int
) -> dict[str, tuple[Number, Number | None]] | None:
    """If the numbers that are ``old`` become ``new``: these, and those that change with them so
    that scales stay. None if a scale is no quotient of another number and this one."""
    changed: dict[str, tuple[Number, Number | None]] = {
        name: (old, new) for name, x in numbers.items() if x == old and type(x) is int
    }
    for scale in numbers.values():
        if isinstance(scale, float):
            made = {name: x for name, x in numbers.items() if isclose(x, scale * old)}
            changed |= {name: (x, _like(x, scale * new)) for name, x in made.items()}
            if not made:
                return None
    return None if any(x is None for _, x in changed.values()) else changed


def _like(old: Number, new: float) -> Number | None:
    """Of the same type; None if it is no whole number."""
    if isinstance(old, float):
        return new
    return round(new) if isclose(new, round(new)) else None


def _in_configurations(model: nn.Module, told: Sequence[Kept]) -> Iterator[Kept]:
    """Fields that say the same by name once more: ``configs["default"].ranks``."""
    if not told:
        return
    now = {(one.path, one.attribute, one.key): one.new for one in told}
    old = {(one.attribute, one.key): one.old for one in told}
    said: dict[tuple[str, str], set[Any]] = {same: set() for same in old}
    for path, part in model.named_modules():
        for name, key in old:
            numbers = _numbers(part, key)
            if name in numbers:
                said[name, key].add(now.get((path, name, key), numbers[name]))
    for path, part in model.named_modules():
        held = {name: x for name, x in vars(part).items() if isinstance(x, dict) and name[0] != "_"}
        for attribute, by_name in held.items():
            for (name, key), number in old.items():
                if getattr(by_name.get(key), "__dict__", {}).get(name) == number:
                    (new,) = said[name, key] if len(said[name, key]) == 1 else (None,)
                    yield Kept(path, attribute, key, number, new, name)
