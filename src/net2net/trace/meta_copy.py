"""Meta copies: models of tensors without values, which run beside tensors that have them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from net2net.errors import UnsupportedModelError
from net2net.ops import traits
from net2net.trace.closures import WITHOUT_PARTS, rebind
from net2net.trace.shared import share


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then buffers, each under its first name only."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def meta_copy(
    model: nn.Module,
    shapes: Mapping[str, Sequence[int]] | None = None,
    kept: Mapping[int, Any] | None = None,
) -> nn.Module:
    """A copy of the same class whose tensors are on ``meta``, with other shapes where given.
    ``kept``: by their ids, the objects that it shares with the model."""
    shapes = shapes or {}
    memo: dict[int, Any] = dict(kept or {})
    for name, tensor in named_tensors(model):
        if id(tensor) in memo:
            continue
        shape = shapes.get(name, tensor.shape)
        if name not in shapes and _is_index(tensor):
            memo[id(tensor)] = tensor.detach().to("cpu", copy=True)
            continue
        meta = torch.empty(tuple(shape), dtype=tensor.dtype, device="meta")
        if isinstance(tensor, nn.Parameter):
            memo[id(tensor)] = nn.Parameter(meta, requires_grad=tensor.requires_grad)
        else:
            memo[id(tensor)] = meta
    return copied(model, memo)


def copied(model: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy, in which ``memo`` says what stands for which tensor. What has no copies (locks)
    is shared.

    Raises:
        UnsupportedModelError: the model holds something that can be neither.
    """
    given = memo or {}
    try:
        result, memo = _copy(model, given)
    except Exception:
        share(model, given)
        try:
            result, memo = _copy(model, given)
        except Exception as error:
            raise UnsupportedModelError(
                f"the model cannot be copied: {type(error).__name__}: {error}. Remove what it "
                "holds besides parameters, buffers and plain data (activations that forward keeps)."
            ) from error
    rebind(model, memo, given)
    return result


def _copy(model: nn.Module, given: Mapping[int, Any]) -> tuple[nn.Module, dict[int, Any]]:
    """As ``deepcopy``, and what stands for what. It spends most of its time on what modules hold
    that has no parts (names, numbers, a dozen empty dictionaries of hooks); here modules are made
    first, so that it finds them, and then filled with what else they hold."""
    memo = dict(given)
    kinds = {kind for kind in {type(one) for one in model.modules()} if _is_plain(kind)}
    plain = [one for one in model.modules() if id(one) not in memo and type(one) in kinds]
    for one in plain:
        memo[id(one)] = type(one).__new__(type(one))
    for one in plain:
        state = vars(one).copy()
        state.pop("_compiled_call_impl", None)  # as torch does
        for name, held in state.items():
            if type(held) in (dict, OrderedDict) and not held:
                memo[id(held)] = state[name] = memo.get(id(held), type(held)())
            elif type(held) not in WITHOUT_PARTS:
                state[name] = copy.deepcopy(held, memo)
        vars(memo[id(one)]).update(state)
    return copy.deepcopy(model, memo), memo


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether modules of a class are copied as ``nn.Module`` is."""
    ways = "__deepcopy__ __reduce__ __reduce_ex__ __getstate__ __setstate__ __new__ __slots__"
    base = nn.Module
    return all(getattr(kind, one, None) is getattr(base, one, None) for one in ways.split())


def _is_index(tensor: Tensor) -> bool:
    """Positions, masks and counts: values that code may read."""
    return not (isinstance(tensor, nn.Parameter) or tensor.is_floating_point() or tensor.is_meta)


META = torch.device("meta")


class MetaInterpreter:
    """Runs operations on any mix of tensors on ``meta`` and real ones.

    One meta operand makes a meta result, except where it gives no more than a shape or a
    type. New tensors are real even if the code asks for the device of a meta tensor, and what is
    written to in place stays the object that it was.

    A meta result is a shape, so that of a layer like one before is known: much of what torch does
    on ``meta`` is Python that decomposes the operation.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._schema.name
        if name in {"aten::to", "aten::type_as"} and len(args) > 1 and isinstance(args[1], Tensor):
            args = (args[0], torch.empty(0, dtype=args[1].dtype, device=args[0].device), *args[2:])
        tensors = tensors_in((args, kwargs))
        meta = [tensor for tensor in tensors if tensor.device == META]
        if not meta or _shape_only(name):
            args, kwargs = _mapped(_here, (args, kwargs))
            if meta:
                kwargs = {**kwargs, "device": torch.device("cpu")}
            return func(*args, **kwargs)
        args, kwargs = _mapped(_there, (args, kwargs))
        if name in _SHAPES:
            type_asked = kwargs.get("out_dtype")
            arguments = {key: item for key, item in kwargs.items() if isinstance(item, Tensor)}
            shape = _SHAPES[name](*args, **arguments)
            return tensors[0].new_empty(shape, dtype=type_asked, device=META)
        if len(meta) == len(tensors):
            return self._on_meta(func, args, kwargs, meta)
        try:
            result = func(*_mapped(_emptied, args), **_mapped(_emptied, kwargs))
        except (RuntimeError, NotImplementedError):
            # it reads integers on the host (lengths of sequences)
            result = func(*_mapped(_emptied_floats, args), **_mapped(_emptied_floats, kwargs))
        written = [
            args[place] if place < len(args) else kwargs.get(name) for place, name in _written(func)
        ]
        if not written:
            return result
        return written[0] if len(written) == 1 else tuple(written)

    def _on_meta(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> Any:
        """Run on meta tensors alone, or give what came out of alike ones."""
        if not _makes_anew(func) or any(tensor.layout != torch.strided for tensor in tensors):
            return func(*args, **kwargs)
        call = (func, _call_key(args), _call_key(tuple(kwargs.items())))
        if call not in self._known:
            result = func(*args, **kwargs)
            made = result if isinstance(result, (tuple, list)) else [result]
            if not all(_is_new(x, tensors) for x in made):
                return result
            self._known[call] = (type(result), [_call_key(x) for x in made])
            return result
        kind, made = self._known[call]
        results = [torch.empty_strided(*form, dtype=dtype, device=META) for *form, dtype in made]
        return kind(results) if kind in (tuple, list) else results[0]


@cache
def _makes_anew(func: Any) -> bool:
    """Whether an operation neither writes to its arguments nor returns views of them."""
    return all(x.alias_info is None for x in (*func._schema.arguments, *func._schema.returns))


@cache
def _written(func: Any) -> list[tuple[int, str]]:
    """What an operation writes to and returns, in order, by place and name among its arguments:
    that of ``relu_``, or what it was given as ``out``."""
    arguments = list(enumerate(func._schema.arguments))
    return [
        (place, argument.name)
        for returned in func._schema.returns
        for place, argument in arguments
        if _same_memory(argument.alias_info, returned.alias_info)
    ]


def _same_memory(argument: Any, returned: Any) -> bool:
    return bool(argument and returned and argument.is_write) and (
        argument.before_set == returned.before_set
    )


def _is_new(item: Any, given: list[Tensor]) -> bool:
    """Whether a result is a tensor like any other, and none of those that were given."""
    plain = isinstance(item, Tensor) and item.layout == torch.strided
    return plain and all(item is not tensor for tensor in given)


def _call_key(item: Any) -> Any:
    """All that a meta result depends on. The type tells 1, 1.0 and True apart."""
    if isinstance(item, Tensor):
        return (tuple(item.shape), item.stride(), item.dtype)
    if isinstance(item, (list, tuple)):
        return tuple(map(_call_key, item))
    return (type(item), item)


def _mapped(function: Callable[[Any], Any], item: Any) -> Any:
    """The same on every argument of an operation, also in lists."""
    if isinstance(item, dict):
        return {key: _mapped(function, x) for key, x in item.items()}
    if isinstance(item, (list, tuple)):
        return type(item)([_mapped(function, x) for x in item])
    return function(item)


def tensors_in(item: Any) -> list[Tensor]:
    """All tensors among the arguments of an operation, or its results."""
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = item.values()
    elif not isinstance(item, (list, tuple)):
        return []
    return [tensor for x in item for tensor in tensors_in(x)]


def _grouped_product(a: Tensor, b: Tensor, offs: Tensor | None = None, *_: Any) -> tuple[int, ...]:
    """Matrices by group, of which rows (or columns) may lie behind each other; of two flat ones the
    summed axis does, and each of its runs makes a matrix."""
    stacked = a.shape[:1] if a.ndim == b.ndim == 3 else ()
    runs = (len(offs),) if a.ndim == b.ndim == 2 and offs is not None else ()
    return (*runs, *stacked, a.shape[-2], b.shape[-1])


_SHAPES: dict[str, Callable[..., tuple[int, ...]]] = {"aten::_grouped_mm": _grouped_product}
"""Operations that refuse meta tensors of types and sizes that they take with values: the shape of
what they return."""


def _shape_only(name: str) -> bool:
    kind = name.removeprefix("aten::")
    return traits(kind).factory and kind != "empty_like"


def _here(item: Any) -> Any:
    return torch.device("cpu") if item == META and isinstance(item, torch.device) else item


def _there(item: Any) -> Any:
    return META if isinstance(item, torch.device) else item


def _emptied(item: Any) -> Any:
    return item.to(META) if isinstance(item, Tensor) else item


def _emptied_floats(item: Any) -> Any:
    return item.to(META) if isinstance(item, Tensor) and item.is_floating_point() else item
