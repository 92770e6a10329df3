"""trace: run a weightless copy of a model once and record its operations.

The copy's tensors live on the ``meta`` device: what depends on a parameter is a shape without
values, no weight is copied, and the model itself is never run. What depends on the inputs alone
(masks, positions) is computed for real, since code branches on it. Under ``inference_mode`` a
``TorchDispatchMode`` sees operations before they are decomposed (``linear``, ``conv2d``,
``scaled_dot_product_attention``), which is the level that rules are written for.
"""

from __future__ import annotations

import inspect
import logging
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_flatten_with_path, tree_map

from net2net.errors import InputError
from net2net.ops import traits
from net2net.trace.alone import ALONE
from net2net.trace.decisions import decision
from net2net.trace.lengths import lengths_apart
from net2net.trace.meta_copy import MetaInterpreter, named_tensors, tensors_in
from net2net.trace.recorded import Call as Call
from net2net.trace.recorded import Inputs as Inputs
from net2net.trace.recorded import Op as Op
from net2net.trace.recorded import Ref as Ref
from net2net.trace.recorded import Trace as Trace
from net2net.trace.recorded import refs as refs
from net2net.trace.rejoined import rejoined
from net2net.trace.spelled import spelled
from net2net.trace.traced_ints import (
    CallObserver,
    comparisons_told,
    match_traced_ints,
    tag_sizes,
    transparent_functional,
)
from net2net.trace.unfused import unfused

log = logging.getLogger(__name__)


def split_inputs(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A tensor, a tuple of positional arguments, or a dict of keyword arguments."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs), {}
    raise InputError(
        f"inputs are a {type(inputs).__name__}. "
        "Give a tensor, a tuple of positional arguments or a dict of keyword arguments."
    )


def check_values(inputs: Inputs) -> None:
    """Raises:
    InputError: the inputs hold no values.
    """
    args, kwargs = split_inputs(inputs)
    if any(isinstance(x, Tensor) and x.is_meta for x in tree_flatten((args, kwargs))[0]):
        raise InputError(
            "the inputs are on meta, without values, and code may read them. "
            "Give tensors with values, such as torch.zeros or torch.randn of the same shapes."
        )


def trace(meta: nn.Module, inputs: Inputs, *, training: bool = False) -> Trace:
    """Run a copy of a model, meta or with values, on a copy of ``inputs`` and record what it did.

    Raises:
        InputError: the model does not run on these inputs.
    """
    check_values(inputs)
    args, kwargs = split_inputs(inputs)
    args, kwargs = tree_map(_private, (args, kwargs))
    recorder = Recorder(meta, tensors_in([args, kwargs]))
    recorder.trace.inputs, recorder.trace.training = inputs, training
    recorder.trace.left_out = _left_out(meta, args, kwargs)
    for part in meta.modules():
        part.training = training
    try:
        tag_sizes(meta)
        with (
            ALONE,
            quiet(),
            _drawn_alike(),
            transparent_functional(),
            recorder.watch_modules(),
            torch.inference_mode(),
            torch.random.fork_rng(devices=[]),
            comparisons_told(recorder.decide),
            recorder.observer,
            recorder,
        ):
            output = meta(*args, **kwargs)
    except Exception as error:
        where = f" in module '{recorder.failed_in}'" if recorder.failed_in else ""
        raise InputError(
            f"the model does not run on these inputs: {type(error).__name__}{where}: {error}. "
            "Check that model(*inputs) works.",
            recorder.failed_in or "",
        ) from error
    recorder.trace.full_slices = [
        (recorder.number(t), axis, n) for t, axis, n in recorder.observer.full_slices
    ]
    recorder.trace.returned = dict(leaves_of(output, (int, float)))
    for path, tensor in tensors_of(output):
        recorder.trace.outputs[path] = recorder.number(tensor)
    if not recorder.trace.outputs:
        raise InputError(
            f"no tensor was found in the model's output, a {type(output).__name__}, so nothing can "
            "be kept the same. Return tensors in tuples, lists, dicts, dataclasses or registered "
            "pytrees."
        )
    return lengths_apart(spelled(unfused(rejoined(recorder.trace))))


def _may_share_memory(view: Tensor, source: Tensor) -> bool:
    """Whether one is a view of the other: ``reshape`` and ``to`` may copy. A meta view of a
    tensor with values stands for one that shares its memory."""
    return view.device != source.device or torch._C._is_alias_of(view, source)  # type: ignore[attr-defined]


def _left_out(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """The arguments of a model that are None if they are not given, and were not."""
    try:
        signature = inspect.signature(model.forward)
        given = signature.bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return []
    return [
        name for name, one in signature.parameters.items()
        if one.default is None and given.get(name) is None
    ]  # fmt: skip


def _floats(part: nn.Module) -> dict[float, str]:
    """The numbers that a module keeps, each under one name alone."""
    held = [(x, name) for name, x in vars(part).items() if type(x) is float]
    return {x: name for x, name in held if [other for other, _ in held].count(x) == 1}


def _readable(tensor: Tensor) -> bool:
    """Whether this is a short vector of integers with values."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.int64 and tensor.ndim == 1


def _private(item: Any) -> Any:
    """A copy on the CPU, so that operations in place stay ours."""
    return item.detach().to("cpu", copy=True) if isinstance(item, Tensor) else item


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings of the user's model, no opaque fast path for attention, and no distribution that
    looks at its parameters' values, while tracing."""
    fast, checks = torch.backends.mha.get_fastpath_enabled(), Distribution._validate_args
    torch.backends.mha.set_fastpath_enabled(False)
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        Distribution.set_default_validate_args(checks)


@contextmanager
def _drawn_alike() -> Iterator[None]:
    """The same random numbers on every run: in training code may skip whole layers by chance, and
    teacher and student have to skip the same."""
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)


def tensors_of(output: Any) -> list[tuple[str, Tensor]]:
    """All tensors in nested containers, each with its place, such as ``['logits'][0]``; also in
    dataclasses (``.logits``)."""
    return leaves_of(output, Tensor)


def leaves_of(output: Any, kind: type | tuple[type, ...]) -> list[tuple[str, Any]]:
    """All items of a kind in nested containers, each with its place."""
    found = []
    for path, leaf in tree_flatten_with_path(output)[0]:
        place = "".join(map(str, path))
        if isinstance(leaf, kind):
            found.append((place, leaf))
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            held = [(f".{one.name}", getattr(leaf, one.name, None)) for one in fields(leaf)]
            found += [(place + name + own, x) for name, y in held for own, x in leaves_of(y, kind)]
    return found


@cache
def _signature(func: Any) -> tuple[dict[str, Any], str | None, frozenset[str]]:
    """The arguments of an operation with their defaults; the one that its outputs look into: the
    schema calls them its aliases, and it is not written to; and those of one integer for each of
    a fixed number of axes, for which one for all may stand."""
    arguments = func._schema.arguments
    viewed = [a.name for a in arguments if a.alias_info is not None and not a.alias_info.is_write]
    repeated = frozenset(a.name for a in arguments if a.N is not None)
    return {a.name: a.default_value for a in arguments}, next(iter(viewed), None), repeated


@cache
def _scalars(func: Any) -> frozenset[str]:
    """The arguments of an operation that may be numbers to compute with; a size or an axis is an
    ``int`` of the schema. Those of ``arange`` are how many positions there are."""
    if func._schema.name == "aten::arange":
        return frozenset()
    kinds = {"number", "float", "Tensor"}
    return frozenset(
        one.name
        for one in func._schema.arguments
        if str(one.type).removeprefix("Optional[").removesuffix("]") in kinds
    )


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes every operation that runs under it into ``trace``."""

    def __init__(self, model: nn.Module, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.observer = CallObserver(self.number, self._listed)
        self._runner = MetaInterpreter()
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id() is unique only while its object lives
        self._copies: list[Tensor] = []
        self._paths = {id(part): path for path, part in model.named_modules()}
        self._kept = {path: _floats(part) for path, part in model.named_modules()}
        self._stack: list[Call] = []
        self.failed_in: str | None = None
        for name, tensor in named_tensors(model):
            self.trace.names[self.number(tensor)] = name
        self._touched = set(self.trace.names)
        """Tensors that depend on a parameter: their values are no constants."""
        self._given = {self.number(tensor) for tensor in given}
        """Tensors whose values depend on the inputs'."""

    @property
    def path(self) -> str:
        return self._stack[-1].path if self._stack else ""

    def decide(self, sizes: frozenset[tuple[int, int]] = frozenset()) -> None:
        """The code branches on these sizes, or else on values."""
        if (made := decision(self.path, sizes)) is not None:
            self.trace.decisions[made] = None

    def _listed(self, tensor: Tensor) -> None:
        """Code makes numbers of a tensor's values."""
        if self.number(tensor) in self._given:
            self.decide()

    def number(self, tensor: Tensor) -> int:
        key = id(tensor)
        if key not in self._numbers:
            self._numbers[key] = len(self._alive)
            self._alive.append(tensor)
            self.trace.shapes.append(tuple(tensor.shape))
        return self._numbers[key]

    def _ref(self, item: Any) -> Any:
        if isinstance(item, Tensor):
            return Ref(self.number(item))
        if isinstance(item, (list, tuple)):
            return [self._ref(x) for x in item]
        return item

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.failed_in = None
        result = self._runner.run(func, args, kwargs)
        if func._schema.name == "aten::contiguous":
            # Whether this copies depends on sizes of 1, and does not concern units.
            self._numbers[id(result)] = self.number(args[0])
            self._copies.append(result)
            return result
        tensors = tensors_in((args, kwargs))
        read = {self.number(tensor) for tensor in tensors}
        made = {self.number(tensor) for tensor in tensors_in(result)}
        if not read.isdisjoint(self._touched):
            self._touched |= made
        if not read.isdisjoint(self._given):
            self._given |= made
            if isinstance(result, (bool, int, float, complex)):
                self.decide()
        names, viewed, repeated = _signature(func)
        arguments = dict(names)
        arguments.update(zip(names, map(self._ref, args), strict=False))
        arguments.update((name, self._ref(item)) for name, item in kwargs.items())
        if func._schema.name == "aten::as_strided":  # it reads what lies in memory
            arguments["memory"] = [list(args[0].stride()), args[0].storage_offset()]
        found = match_traced_ints(arguments, self.observer.args, self.observer.kwargs, repeated)
        numbers: dict[str, float] = {}
        if self._touched & made or any(tensor.ndim for tensor in tensors_in(result)):
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            numbers = dict(self._numbers_of(func, given))
        kept = self._kept[self.path]
        op = Op(
            func._schema.name, arguments, self._ref(result), self.path,
            {key: x for key, x in found.items() if not x.of_sizes_only},
            {key: x for key, x in found.items() if x.of_sizes_only},
            numbers, {name: kept[x] for name, x in numbers.items() if x in kept},
        )  # fmt: skip
        self.trace.ops.append(op)
        if viewed is not None and isinstance(base := arguments[viewed], Ref):
            source = next(tensor for tensor in tensors if self.number(tensor) == base.id)
            self.trace.bases.update(
                (self.number(view), base.id)
                for view in tensors_in(result)
                if self.number(view) != base.id and _may_share_memory(view, source)
            )
        if op.name.endswith("_") and made <= self._given:
            self._given.update(base for one in made for base in self.trace.looked_into(one))
        if op.name in {"aten::index", "aten::index_select"}:
            for item in tensors:
                if _readable(item) and self.number(item) not in self._touched:
                    self.trace.constants[self.number(item)] = item.tolist()
        return result

    def _numbers_of(self, func: Any, given: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        scalars = _scalars(func)
        for name, item in given.items():
            if isinstance(item, Tensor):
                known = item.ndim == 0 and item.device.type == "cpu" and not item.is_complex()
                if known and self.number(item) not in self._touched:
                    yield name, float(item)
            elif isinstance(item, (int, float)) and name in scalars:
                yield name, float(item)
        if traits(func._schema.name.rpartition("::")[2]).weighs and given.get("scale") is None:
            yield "scale", given["query"].shape[-1] ** -0.5

    @contextmanager
    def watch_modules(self) -> Iterator[None]:
        """Keep the path of the module that runs, and what each call took and returned."""

        ours = get_ident()  # other threads may run models of their own

        def before(part: nn.Module, args: Any) -> None:
            if get_ident() != ours:
                return
            call = Call(self._paths.get(id(part), self.path), len(self.trace.ops))
            self.failed_in = None
            call.inputs = [self.number(t) for t in tree_flatten(args)[0] if isinstance(t, Tensor)]
            self._stack.append(call)

        def after(part: nn.Module, args: Any, output: Any) -> None:
            if get_ident() != ours:
                return
            call = self._stack.pop()
            if output is None and self.failed_in is None:
                self.failed_in = call.path  # the innermost module that returned nothing
            call.outputs = [self.number(tensor) for _, tensor in tensors_of(output)]
            call.end = len(self.trace.ops)
            self.trace.calls.append(call)

        handles = [
            hooks.register_module_forward_pre_hook(before),
            hooks.register_module_forward_hook(after, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
