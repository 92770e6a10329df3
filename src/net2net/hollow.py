"""Hollow models: tensors without values, run beside tensors that have them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from net2net.errors import UnsupportedModelError


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then buffers, each under its first name only."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def skeleton(model: nn.Module, shapes: Mapping[str, Sequence[int]] | None = None) -> nn.Module:
    """A copy of the same class whose tensors are on ``meta``, with other shapes where given."""
    shapes = shapes or {}
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model):
        shape = shapes.get(name, tensor.shape)
        if name not in shapes and _is_index(tensor):
            memo[id(tensor)] = tensor.detach().to("cpu", copy=True)
            continue
        hollow = torch.empty(tuple(shape), dtype=tensor.dtype, device="meta")
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(hollow, requires_grad=tensor.requires_grad)
        else:
            memo[id(tensor)] = hollow
    return copied(model, memo)


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy, in which ``memo`` says what stands for which tensor.

    Raises:
        UnsupportedModelError: the model holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UnsupportedModelError(
            f"the model cannot be copied: {type(error).__name__}: {error}. Remove what it holds "
            "besides parameters, buffers and plain data (activations that forward keeps, locks)."
        ) from error


def _is_index(tensor: Tensor) -> bool:
    """Positions, masks and counts: values that code may read."""
    return not (isinstance(tensor, nn.Parameter) or tensor.is_floating_point() or tensor.is_meta)


META = torch.device("meta")


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operation on any mix of hollow (``meta``) and real tensors.

    One hollow operand makes the result hollow, except where it gives no more than a shape or a
    type. New tensors are real even if the code asks for the device of a hollow one, and what is
    written to in place stays the object that it was.
    """
    name = func._schema.name
    if name in {"aten::to", "aten::type_as"} and len(args) > 1 and isinstance(args[1], Tensor):
        args = (args[0], torch.empty(0, dtype=args[1].dtype, device=args[0].device), *args[2:])
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    hollow = [tensor for tensor in tensors if tensor.device == META]
    if not hollow or _shape_only(name):
        args, kwargs = tree_map(_here, (args, kwargs))
        if hollow:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        return func(*args, **kwargs)
    args, kwargs = tree_map(_there, (args, kwargs))
    if name in _SHAPES:
        type_asked = kwargs.get("out_dtype")
        arguments = {key: item for key, item in kwargs.items() if isinstance(item, Tensor)}
        shape = _SHAPES[name](*args, **arguments)
        return tensors[0].new_empty(shape, dtype=type_asked, device=META)
    if len(hollow) == len(tensors):
        return func(*args, **kwargs)
    try:
        result = func(*tree_map(_emptied, args), **tree_map(_emptied, kwargs))
    except (RuntimeError, NotImplementedError):
        # it reads integers on the host (lengths of sequences)
        result = func(*tree_map(_emptied_floats, args), **tree_map(_emptied_floats, kwargs))
    first = func._schema.arguments[0].alias_info
    if first is not None and first.is_write and isinstance(args[0], Tensor):
        return args[0]
    return result


def _grouped_product(a: Tensor, b: Tensor, offs: Tensor | None = None, *_: Any) -> tuple[int, ...]:
    """Matrices by group, of which rows (or columns) may lie behind each other; of two flat ones the
    summed axis does, and each of its runs makes a matrix."""
    stacked = a.shape[:1] if a.ndim == b.ndim == 3 else ()
    runs = (len(offs),) if a.ndim == b.ndim == 2 and offs is not None else ()
    return (*runs, *stacked, a.shape[-2], b.shape[-1])


_SHAPES: dict[str, Callable[..., tuple[int, ...]]] = {"aten::_grouped_mm": _grouped_product}
"""Operations that refuse hollow tensors of types and sizes that they take with values: the shape of
what they return."""


def _shape_only(name: str) -> bool:
    return name.startswith("aten::new_") or name.endswith(("zeros_like", "ones_like", "full_like"))


def _here(item: Any) -> Any:
    return torch.device("cpu") if item == META and isinstance(item, torch.device) else item


def _there(item: Any) -> Any:
    return META if isinstance(item, torch.device) else item


def _emptied(item: Any) -> Any:
    return item.to(META) if isinstance(item, Tensor) else item


def _emptied_floats(item: Any) -> Any:
    return item.to(META) if isinstance(item, Tensor) and item.is_floating_point() else item
