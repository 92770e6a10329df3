"""Functions that a model holds, whose closures hold parts of it: ``model.forward =
torch.autocast("cpu")(model.forward)``. A deep copy keeps such a function, which runs the original;
here it gets one that runs the copy."""

from __future__ import annotations

from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn


def rebind(model: nn.Module, memo: dict[int, Any]) -> None:
    """Give every copied module, by ``memo`` (id of the original → copy), functions of its own."""
    for part in model.modules():
        twin = memo.get(id(part))
        for name, item in vars(part).items() if isinstance(twin, nn.Module) else ():
            if isinstance(item, FunctionType):
                vars(twin)[name] = _rebound(item, memo, {})


def _rebound(item: Any, memo: dict[int, Any], made: dict[int, Any]) -> Any:
    """The same with copies in place of modules; itself, if it holds none. ``made``: functions that
    are being rebound, for one may hold itself."""
    if id(item) in made:
        return made[id(item)]
    if isinstance(item, nn.Module):
        return memo.get(id(item), item)
    if isinstance(item, MethodType):
        owner = _rebound(item.__self__, memo, made)
        return item if owner is item.__self__ else MethodType(item.__func__, owner)
    if not isinstance(item, FunctionType) or item.__closure__ is None:
        return item
    cells = [CellType() for _ in item.__closure__]
    new = FunctionType(
        item.__code__, item.__globals__, item.__name__, item.__defaults__, tuple(cells)
    )
    made[id(item)] = new
    changed = False
    for cell, old in zip(cells, item.__closure__, strict=True):
        try:
            content = old.cell_contents
        except ValueError:  # nothing was bound yet
            continue
        cell.cell_contents = _rebound(content, memo, made)
        changed |= cell.cell_contents is not content and cell.cell_contents is not new
    if not changed:
        made[id(item)] = item
        return item
    new.__kwdefaults__ = item.__kwdefaults__
    new.__dict__.update({k: _rebound(x, memo, made) for k, x in vars(item).items()})
    return new
