"""A list of blocks with more of them, each of the structure of one that is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from net2net.trace.meta_copy import meta_copy


@dataclass(frozen=True)
class ExtendList:
    """A ``ModuleList`` or ``Sequential`` gets blocks.

    Attributes:
        at: its path.
        blocks: for every block of the longer list its name, and the name of the block that it is
            (where that comes first) or has the structure of: ``(("0", "0"), ("1", "0"), ("2",
            "1"))`` puts a block like ``0`` between ``0`` and ``1``, which becomes ``2``.
    """

    at: str
    blocks: tuple[tuple[str, str], ...]

    @property
    def moved(self) -> dict[str, str]:
        """Names of blocks before → after, in order."""
        found: dict[str, str] = {}
        for new, old in self.blocks:
            found.setdefault(old, new)
        return found

    @property
    def sources(self) -> list[int]:
        """For every block which one it was, or is like, by number."""
        places = {old: place for place, old in enumerate(self.moved)}
        return [places[old] for _, old in self.blocks]

    @property
    def added(self) -> dict[str, str]:
        """Names of new blocks → of the blocks before that they are like."""
        moved = self.moved
        return {new: old for new, old in self.blocks if moved[old] != new}

    def renamed(self, name: str) -> str:
        """The name in the student of what was named so before."""
        start = f"{self.at}." if self.at else ""
        block, dot, rest = name.removeprefix(start).partition(".")
        if not name.startswith(start) or block not in self.moved:
            return name
        return f"{start}{self.moved[block]}{dot}{rest}"

    def origin(self, name: str) -> str:
        """What it was named before, or what that was named which it is like: of a name in the
        student."""
        start = f"{self.at}." if self.at else ""
        block, dot, rest = name.removeprefix(start).partition(".")
        if not name.startswith(start) or block not in (like := dict(self.blocks)):
            return name
        return f"{start}{like[block]}{dot}{rest}"


def extend(student: nn.Module, edit: ExtendList) -> None:
    """Put blocks into a list of the student's, with tensors on ``meta``.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: the edit does not fit the student.
    """
    part = student.get_submodule(edit.at)
    if not isinstance(part, (nn.ModuleList, nn.Sequential)):
        raise TypeError(f"it is a {type(part).__name__}, which holds no blocks in a row")
    old, names = dict(part._modules), [new for new, _ in edit.blocks]
    if edit.moved.keys() != old.keys() or len({*names}) != len(names):
        raise ValueError(f"its blocks {list(old)} become {names}")
    if isinstance(part, nn.ModuleList) and names != [str(i) for i in range(len(names))]:
        raise ValueError(f"{names} are no numbers in a row")
    for name in old:
        delattr(part, name)
    for name, like in edit.blocks:
        block = old[like]
        if name in edit.added and block is not None:
            block = meta_copy(block, kept=_kept(block, student, old.values()))
        part.add_module(name, block)


def _kept(
    block: nn.Module, student: nn.Module, blocks: Iterable[nn.Module | None]
) -> dict[int, Any]:
    """What a block holds and something else of the student does too (a configuration, a module of
    positions): a copy of the block holds the same."""
    inside = set(block.modules())
    others = [part for one in (student, *blocks) if one is not None for part in one.modules()]
    elsewhere = {id(x) for part in others if part not in inside for x in _held(part)}
    return {id(x): x for part in inside for x in _held(part) if id(x) in elsewhere}


def _held(part: nn.Module) -> Iterator[Any]:
    """Modules, tensors and objects of its own that a module holds."""
    for name, value in vars(part).items():
        if name in {"_modules", "_parameters", "_buffers"}:
            yield from (x for x in value.values() if x is not None)
        elif not name.startswith("_") and hasattr(value, "__dict__"):
            yield value
