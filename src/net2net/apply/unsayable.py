"""Why no change of a configuration builds a student, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from net2net.apply.attributes import get_attribute
from net2net.apply.builds import Sizes, fields, is_number
from net2net.apply.config_numbers import Remade


@dataclass(frozen=True)
class Unsayable:
    """What stands against it."""

    why: str


def refused(numbers: str, error: str) -> Unsayable:
    """Its class would build it from these numbers, and refuses them."""
    return Unsayable(f'{numbers} would, and its class refuses that: "{error}"')


def misfit(numbers: str, sizes: Sizes | None, wanted: Sizes) -> Unsayable:
    """The numbers that come closest build a tensor, or count something, otherwise."""
    first = next((key for key in wanted if sizes and sizes[key] != wanted[key]), None)
    if sizes is None or first is None:
        return Unsayable("its class builds other tensors then")
    name = first.rpartition("[")[0] or first
    would, has = (_size(name, first, of) for of in (sizes, wanted))
    return Unsayable(f"with {numbers} '{name}' would be {would}, and it is {has}")


def _size(name: str, key: str, sizes: Sizes) -> str:
    """Of a whole tensor, or of what counts."""
    axes = [str(size) for other, size in sizes.items() if other.rpartition("[")[0] == name]
    return " × ".join(axes) or str(sizes[key])


def computes_else(numbers: str, remade: Remade) -> Unsayable:
    """Of these numbers the class builds the student's tensors, and something else beside them."""
    made = {name: one for (_, name), one in remade.attributes.items() if isinstance(one[1], float)}
    for name, (old, new) in {**made, **remade.buffers}.items():
        return Unsayable(
            f"of {numbers} its class makes '{name}' {new:.6g} of {old:.6g}, and no weight makes up "
            "for that"
        )
    return Unsayable(f"of {numbers} its class builds one that does other operations")


def told(before: Any, after: Any, values: Mapping[str, float]) -> str:
    """The numbers of a configuration, with other values in it, that are not those of the one
    before."""
    new: dict[str, float] = {name: get_attribute(after, name) for name in fields(after, is_number)}
    new |= values
    other = [f"{name}={x}" for name, x in new.items() if get_attribute(before, name) != x]
    return ", ".join(other) or "its numbers as they are"
