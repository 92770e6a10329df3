"""Functions that a model holds, which hold parts of it: ``model.forward =
torch.autocast("cpu")(model.forward)``, a hook that calls another layer. A deep copy keeps such a
function, which runs the original; here it gets one that runs the copy."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property, partial
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn


def rebind(model: nn.Module, memo: dict[int, Any], given: Collection[int] = ()) -> None:
    """Give every copied module, by ``memo`` (id of the original → copy), functions of its own, also
    in its lists, tuples and dicts. ``given``: what is no copy of ours (by id of the original)."""
    rebinder = _Rebinder(memo)
    for part in model.modules():
        twin = memo.get(id(part))
        if isinstance(twin, nn.Module) and id(part) not in given:
            held = [
                name
                for name, item in vars(twin).items()
                if type(item) not in WITHOUT_PARTS
                and isinstance(item, _HOLDERS)
                and item
                and name not in _WITHOUT_FUNCTIONS
                and not _are_sizes(item)
            ]
            for name in held:
                vars(twin)[name] = rebinder.rebound(vars(twin)[name])


def _are_sizes(item: Any) -> bool:
    """Strides, kernels: most of what modules hold in tuples."""
    return type(item) is tuple and all(type(x) is int for x in item)


WITHOUT_PARTS = frozenset({bool, int, float, str, type(None)})
"""What modules hold most, which is sooner told by its type than by what it is not."""


_HOLDERS = (FunctionType, MethodType, partial, list, tuple, dict)

_WITHOUT_FUNCTIONS = {"_parameters", "_buffers", "_modules"}
"""What a deep copy does right: most of what there is."""


class _Rebinder:
    """Puts copies in place of what functions hold: in closures, in defaults, in arguments."""

    def __init__(self, memo: dict[int, Any]) -> None:
        self._memo = memo
        self._made: dict[int, Any] = {}
        """By id: what stands for an item. One that is being made may hold itself."""

    @cached_property
    def _ours(self) -> set[int]:
        """The copies, by id."""
        return {id(twin) for original, twin in self._memo.items() if id(twin) != original}

    def rebound(self, item: Any) -> Any:
        """The same with copies in place of modules and tensors; itself, if it holds none. A list or
        dict that is a copy is changed in place, for others may hold it."""
        if isinstance(item, (nn.Module, Tensor)):
            return self._memo.get(id(item), item)
        if not isinstance(item, _HOLDERS):
            return item
        if id(item) not in self._made:
            self._made[id(item)] = item
            self._made[id(item)] = self._new(item)
        return self._made[id(item)]

    def _new(self, item: Any) -> Any:
        if isinstance(item, FunctionType):
            return self._function(item)
        if isinstance(item, MethodType):
            owner = self.rebound(item.__self__)
            return item if owner is item.__self__ else MethodType(item.__func__, owner)
        if isinstance(item, partial):
            old = [item.func, item.args, item.keywords]
            function, args, keywords = (self.rebound(x) for x in old)
            same = function is item.func and args is item.args and keywords is item.keywords
            return item if same else partial(function, *args, **keywords)
        return self._container(item)

    def _container(self, item: Any) -> Any:
        if id(item) in self._memo and id(item) not in self._ours:
            return self._memo[id(item)]
        old = list(item.values() if isinstance(item, dict) else item)
        new = [self.rebound(x) for x in old]
        if all(x is y for x, y in zip(new, old, strict=True)):
            return item
        if isinstance(item, tuple):
            return item._make(new) if hasattr(item, "_make") else tuple(new)
        changed = item if id(item) in self._ours else item.copy()
        for key, one in zip(item if isinstance(item, dict) else range(len(new)), new, strict=True):
            changed[key] = one
        return changed

    def _function(self, item: FunctionType) -> FunctionType:
        old = item.__closure__ or ()
        cells = tuple(CellType() for _ in old)
        new = FunctionType(item.__code__, item.__globals__, item.__name__, None, cells or None)
        self._made[id(item)] = new
        changed = False
        for cell, before in zip(cells, old, strict=True):
            try:
                content = before.cell_contents
            except ValueError:  # nothing was bound yet
                continue
            cell.cell_contents = self.rebound(content)
            changed |= cell.cell_contents is not content and cell.cell_contents is not new
        for name in ("__defaults__", "__kwdefaults__"):
            content = getattr(item, name)
            setattr(new, name, self.rebound(content))
            changed |= getattr(new, name) is not content
        if not changed:
            return item
        new.__dict__.update({key: self.rebound(x) for key, x in vars(item).items()})
        return new
