"""A list of blocks with more of them, each of the structure of one that is there."""

from __future__ import annotations

from dataclasses import dataclass

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
        """Names of blocks before → after."""
        return {old: new for new, old in reversed(self.blocks)}

    @property
    def added(self) -> dict[str, str]:
        """Names of new blocks → of the blocks before that they are like."""
        return {new: old for new, old in self.blocks if self.moved[old] != new}

    def renamed(self, name: str) -> str:
        """The name in the student of what was named so before."""
        start = f"{self.at}." if self.at else ""
        block, dot, rest = name.removeprefix(start).partition(".")
        if not name.startswith(start) or block not in self.moved:
            return name
        return f"{start}{self.moved[block]}{dot}{rest}"


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
        new = meta_copy(block) if name in edit.added and block is not None else block
        part.add_module(name, new)
