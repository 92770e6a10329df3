"""Stacks of blocks in two module trees, and which block of the student is which of the teacher's.

A stack is a ``ModuleList`` or ``Sequential``, or a module whose children are numbered (``b1``,
``b2``), at the same place in both; where names differ, lists and sequences correspond in order.
Blocks that the student has more are *added*; each names a like block of the student's to copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from net2net.errors import TransferError
from net2net.plan.orders import ORDERS
from net2net.trace.meta_copy import named_tensors

Depth = str | Mapping[str, str | None]

Kind = tuple[object, ...]

Operations = Callable[[str], object]
"""What the module at a path does."""

STACKS = (nn.ModuleList, nn.Sequential)


@dataclass(frozen=True)
class Stack:
    """One stack whose blocks do not correspond one by one.

    Attributes:
        student, teacher: its path in each.
        pairs: the student's blocks that are the teacher's, by name within the stack, in order.
        added: block that the student has more → the block that it copies, or None.
        sizes: how many blocks the teacher has, and the student.
    """

    student: str
    teacher: str
    pairs: tuple[tuple[str, str], ...]
    added: dict[str, str | None]
    sizes: tuple[int, int]


def align(
    student: nn.Module, teacher: nn.Module, depth: Depth, ops_of: tuple[Operations, Operations],
    *, exact: bool,
) -> list[Stack]:  # fmt: skip
    """All stacks that differ, the outer before the inner. ``ops_of``: what modules of each do.

    Raises:
        TransferError: a stack cannot be aligned, or ``depth`` makes no sense.
    """
    if (isinstance(depth, str) and depth not in ORDERS) or not isinstance(depth, (str, Mapping)):
        raise TransferError(
            f"depth is {depth!r}. Give one of {', '.join(map(repr, ORDERS))}, or a dict from "
            "blocks of the student to blocks of the teacher, or to None for added ones."
        )
    if not isinstance(depth, str):
        _check_blocks(depth, [path for path, _ in student.named_modules()])
    found = list(_differing(student, teacher, "", "", depth, ops_of, exact))
    if not isinstance(depth, str):
        _check_blocks(
            depth, [join(s.student, b) for s in found for b in [*dict(s.pairs), *s.added]]
        )
    return found


def _check_blocks(depth: Mapping[str, str | None], blocks: list[str]) -> None:
    for name in depth:
        if name not in blocks:
            raise TransferError(
                f"depth names '{name}', which is no block of a stack that the teacher has too. "
                "Name children of a ModuleList or Sequential of the student by their paths."
            )


def join(path: str, name: str) -> str:
    """The path of a part."""
    return f"{path}.{name}" if path else name


def _differing(
    student: nn.Module, teacher: nn.Module, at: str, of: str, depth: Depth,
    ops_of: tuple[Operations, Operations], exact: bool,
) -> Iterator[Stack]:  # fmt: skip
    new, old = dict(student.named_children()), dict(teacher.named_children())
    pairs = [(name, name) for name in new if name in old]
    ours = [name for name in new if name not in old and _holds_stack(new[name])]
    theirs = [name for name in old if name not in new and _holds_stack(old[name])]
    if len(ours) == len(theirs):  # another class, which names its stacks otherwise
        pairs += zip(ours, theirs, strict=True)
    if is_stack(student) and is_stack(teacher):
        named = not isinstance(depth, str) and any(join(at, name) in depth for name in new)
        if len(new) != len(old) or named:
            stack = _stack(new, old, at, of, depth, ops_of, exact)
            yield stack
            pairs = list(stack.pairs)
        else:
            pairs = list(zip(new, old, strict=True))
    for name, source in pairs:
        yield from _differing(
            new[name], old[source], join(at, name), join(of, source), depth, ops_of, exact
        )


def is_stack(module: nn.Module) -> bool:
    """Whether its children are blocks: by its class, or by names that count."""
    if isinstance(module, STACKS):
        return True
    found = [re.fullmatch(r"(\D*)(\d+)", name) for name in module._modules]
    counts = [(one[1], int(one[2])) for one in found if one is not None]
    in_a_row = [(counts[0][0], counts[0][1] + i) for i in range(len(found))] if counts else []
    return bool(counts) and counts == in_a_row


def _holds_stack(module: nn.Module) -> bool:
    return any(isinstance(part, STACKS) for part in module.modules())


def _stack(
    new: dict[str, nn.Module], old: dict[str, nn.Module], at: str, of: str, depth: Depth,
    ops_of: tuple[Operations, Operations], exact: bool,
) -> Stack:  # fmt: skip
    ours, theirs = _kinds(new, at, ops_of[0]), _kinds(old, of, ops_of[1])
    if not isinstance(depth, str):
        pairs = _explicit(list(new), list(old), at, of, depth)
    else:
        pairs = _pairs(ours, theirs, depth)
        pairs = pairs or _pairs([kind[:2] for kind in ours], [kind[:2] for kind in theirs], depth)
    if len(pairs) < min(len(new), len(old)) and isinstance(depth, str):
        raise TransferError(
            f"the teacher's blocks in '{of}' are not found, in their order, among the student's in "
            f"'{at}': kinds of layers, strides or names of parameters differ. Build the student "
            "from blocks of the same kinds, or say in depth which block is which."
        )
    if exact and len(pairs) < len(old):
        raise TransferError(
            f"'{of}' has {len(old)} blocks in the teacher and the student takes {len(pairs)} of "
            "them. Give the student as many or more, or pass exact=False to leave some out."
        )
    names, sources = list(new), list(old)
    kept = {i for i, _ in pairs}
    alike = [(_kind(new[name], shapes=True), kind) for name, kind in zip(names, ours, strict=True)]
    added = {
        names[i]: None if (like := _like(i, alike, sorted(kept))) is None else names[like]
        for i in range(len(names))
        if i not in kept
    }
    return Stack(
        at, of, tuple((names[i], sources[j]) for i, j in pairs), added, (len(old), len(new))
    )


def _like(index: int, kinds: Sequence[Kind], kept: list[int]) -> int | None:
    """The nearest block of the same kind and shapes, sooner one before than one behind."""
    same = [i for i in kept if kinds[i] == kinds[index]]
    return max((i for i in same if i < index), default=min(same)) if same else None


def _kinds(blocks: dict[str, nn.Module], at: str, ops_of: Operations) -> list[Kind]:
    """The kind of every block; the last number tells blocks of the same layers that do other things
    with them (every other one shifts its windows)."""
    variants: dict[Kind, list[object]] = {}
    result = []
    for name, block in blocks.items():
        kind, done = _kind(block), ops_of(join(at, name))
        known = variants.setdefault(kind, [])
        if done not in known:
            known.append(done)
        result.append((*kind, known.index(done)))
    return result


def _kind(block: nn.Module, *, shapes: bool = False) -> Kind:
    """What blocks that can stand for each other have in common. A stride tells a stage's first
    block from the others; what has no tensors is told by its class."""
    tensors = tuple((n, tuple(t.shape) if shapes else t.ndim) for n, t in named_tensors(block))
    strides = tuple(str(getattr(part, "stride", "")) for part in block.modules())
    return (tensors, strides) if tensors else (type(block), "")


def _pairs(new: list[Kind], old: list[Kind], depth: str) -> list[tuple[int, int]]:
    if len(new) >= len(old):
        return _ordered(new, old, depth)
    return [(b, a) for a, b in _ordered(old, new, depth)]


def _ordered(new: list[Kind], old: list[Kind], depth: str) -> list[tuple[int, int]]:
    """Places of the student's blocks with places of the teacher's, both ascending."""
    new_runs = [(kind, len(list(run))) for kind, run in groupby(new)]
    old_runs = [(kind, len(list(run))) for kind, run in groupby(old)]
    alike = [kind for kind, _ in new_runs] == [kind for kind, _ in old_runs]
    if not alike or any(a < b for (_, a), (_, b) in zip(new_runs, old_runs, strict=True)):
        return _subsequence(new, old)
    pairs: list[tuple[int, int]] = []
    i = j = 0
    for (_, many), (_, few) in zip(new_runs, old_runs, strict=True):
        pairs += [(i + place, j + k) for k, place in enumerate(ORDERS[depth](many, few))]
        i, j = i + many, j + few
    return pairs


def _subsequence(new: list[Kind], old: list[Kind]) -> list[tuple[int, int]]:
    """A chain of several kinds: each of the teacher's at its first place, the last at the end if it
    can stand there, so that what is added stands between."""
    pairs: list[tuple[int, int]] = []
    for j, kind in enumerate(old):
        start = pairs[-1][0] + 1 if pairs else 0
        last = j == len(old) - 1 and new[-1] == kind
        places = range(len(new) - 1, len(new)) if last else range(start, len(new))
        place = next((i for i in places if i >= start and new[i] == kind), None)
        if place is None:
            return []
        pairs.append((place, j))
    return pairs


def _explicit(
    new: list[str], old: list[str], at: str, of: str, depth: Mapping[str, str | None]
) -> list[tuple[int, int]]:
    """As the user says; blocks not spoken of are the teacher's remaining ones, in order."""
    said = {name: depth[join(at, name)] for name in new if join(at, name) in depth}
    paths = {join(of, name): name for name in old}
    for name, path in said.items():
        if path is not None and path not in paths:
            raise TransferError(
                f"depth says that '{join(at, name)}' is '{path}', which is not in the teacher's "
                f"'{of}'. Name one of: {', '.join(paths)}."
            )
    given = {name: paths[path] for name, path in said.items() if path is not None}
    rest = [name for name in old if name not in given.values()]
    free = [name for name in new if name not in said]
    given.update(zip(free, rest, strict=False))
    pairs = [(new.index(a), old.index(b)) for a, b in given.items()]
    pairs.sort()
    taken = [j for _, j in pairs]
    if taken != sorted(set(taken)) or len(free) > len(rest):
        raise TransferError(
            f"depth does not give the blocks of '{at}' in the order of the teacher's '{of}', each "
            "once. Name every added block with None, and each of the teacher's once, in order."
        )
    return pairs


def cut(meta: nn.Module, stacks: list[tuple[str, list[str], list[str]]]) -> dict[str, str]:
    """Leave only these blocks in stacks (path, blocks, their new names), in place.

    Returns:
        For every tensor that is left, its new name → its name before.
    """
    before = {id(tensor): name for name, tensor in named_tensors(meta)}
    found = [(meta.get_submodule(path), blocks, names) for path, blocks, names in stacks]
    for container, blocks, names in found:
        parts = [container.get_submodule(block) for block in blocks]
        for name in list(container._modules):
            delattr(container, name)
        for name, part in zip(names, parts, strict=True):
            container.register_module(name, part)
    return {name: before[id(tensor)] for name, tensor in named_tensors(meta)}
