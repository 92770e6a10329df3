"""What a copy of a model shares with it: locks, generators, open files, which have no copies."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def share(model: nn.Module, memo: dict[int, Any]) -> None:
    """Put into ``memo``, as standing for itself, all that a model holds and that cannot be copied:
    the innermost objects that can not, whatever they are, but for modules and tensors."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    shared: dict[int, Any] = {}
    _share(model, {**tensors, **memo}, shared, set())
    memo.update(shared)


def _share(item: Any, memo: dict[int, Any], shared: dict[int, Any], seen: set[int]) -> bool:
    """Whether it can be copied now, or is shared. ``memo``: what need not be copied to see that."""
    if id(item) in seen or id(item) in memo or _can_be_copied(item, memo):
        return True
    seen.add(id(item))
    inner = [_share(inside, memo, shared, seen) for inside in _inside(item)]
    if _can_be_copied(item, memo):
        return True
    if isinstance(item, (nn.Module, Tensor)) or not all(inner):
        return False
    memo[id(item)] = shared[id(item)] = item
    return True


def _can_be_copied(item: Any, memo: dict[int, Any]) -> bool:
    try:
        copy.deepcopy(item, dict(memo))
    except Exception:
        return False
    return True


def _inside(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield from item.values()
    elif isinstance(item, (list, tuple, set, frozenset)):
        yield from item
    if hasattr(item, "__dict__"):
        yield from list(vars(item).values())
