"""Functions that keep what they returned, and what they keep of a run.

A run of ours makes other tensors than a user's: in inference mode, without values, in float64. One
that a ``functools.lru_cache`` keeps would come back when the user trains, and stop that.
"""

from __future__ import annotations

import gc
import sys
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from torch import Tensor
from torch.utils._pytree import tree_leaves

_KIND: Any = type(lru_cache(int))


class Caches:
    """The caches of a process. Looking for them takes long: it is done where modules were imported
    since the last time."""

    def __init__(self) -> None:
        self._known: WeakSet[Any] = WeakSet()
        self._modules = 0

    def _all(self) -> list[Any]:
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._known.update(one for one in gc.get_objects() if type(one) is _KIND)
        return list(self._known)

    def misses(self) -> dict[Any, int]:
        """How often each has had to compute."""
        return {one: one.cache_info().misses for one in self._all()}

    def forget_since(self, misses: dict[Any, int]) -> None:
        """Empty those that have computed since and hold tensors."""
        for one, now in self.misses().items():
            if now != misses.get(one, 0) and _holds_tensors(one):
                one.cache_clear()


def _holds_tensors(cache: Any) -> bool:
    held = gc.get_referents(cache)
    held += [item for one in held if isinstance(one, dict) for item in one.values()]
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(held))
