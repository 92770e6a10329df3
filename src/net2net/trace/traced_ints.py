"""Which integers of the model's own objects its code reads as sizes.

Code says ``x.view(batch, time, self.num_heads, -1)``: if heads grow, ``num_heads`` has to. For one
run every integer attribute of the meta copy, and of its ``config`` objects, is an ``int`` that
knows its name; what reaches an operation is noted there, argument by argument. So it is for the
sizes of tensors: after ``heads.reshape(x.shape)`` all heads together are as wide as ``x``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from math import prod
from threading import get_ident
from typing import Any, Self

import torch.nn.functional
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Origin = tuple[str, str]
"""Module path, and attribute (``num_heads``, ``config.hidden_size``, ``sizes.0``); or, for the
size of a tensor, ``#`` and its number in the trace, and the axis."""


def axis_of(origin: Origin) -> tuple[int, int] | None:
    """The tensor and its axis, if this is the size of one."""
    holder, name = origin
    return (int(holder[1:]), int(name)) if holder.startswith("#") else None


Monomial = tuple[tuple[Origin, int], ...]
"""A product of attributes, each with its exponent (−1: divided by it)."""


class TracedInt(int):
    """An integer that remembers how code made it of attributes: the sum of ``terms``, which are
    products of attributes, each with its coefficient. ``values``: what these attributes are, those
    that it is divided by last."""

    terms: dict[Monomial, Fraction]
    values: dict[Origin, int]

    def __new__(
        cls, value: int, terms: dict[Monomial, Fraction], values: dict[Origin, int]
    ) -> TracedInt:
        self = super().__new__(cls, value)
        self.terms = {monomial: factor for monomial, factor in terms.items() if factor}
        left = [(-exponent, o) for monomial in self.terms for o, exponent in monomial]
        self.values = {origin: values[origin] for _, origin in sorted(left)}
        return self

    @classmethod
    def attribute(cls, value: int, origin: Origin) -> Self:
        """An attribute itself."""
        return cls(value, {((origin, 1),): Fraction(1)}, {origin: value})

    @property
    def of_sizes_only(self) -> bool:
        """Whether it is made of sizes of tensors, and of no attribute."""
        return all(axis_of(origin) for origin in self.values)

    @property
    def attribute_alone(self) -> Origin | None:
        """The attribute, if it is nothing else."""
        ((monomial, factor), *more) = self.terms.items() or [((), 0)]
        alone = not more and factor == 1 and len(monomial) == 1 and monomial[0][1] == 1
        return monomial[0][0] if alone else None

    @property
    def attribute_times(self) -> Origin | None:
        """The attribute, if it is a multiple of one: ``3 * head_dim``."""
        ((monomial, factor), *more) = self.terms.items() or [((), 0)]
        alone = not more and factor.denominator == 1 <= factor and len(monomial) == 1
        return monomial[0][0] if alone and monomial[0][1] == 1 else None

    @property
    def divisors(self) -> set[Origin]:
        """The attributes that it is divided by."""
        return {origin for monomial in self.terms for origin, power in monomial if power < 0}

    def at(self, values: Mapping[Origin, Fraction]) -> Fraction:
        """What it is where the attributes are these."""
        return sum(
            (
                factor * prod((values[o] ** e for o, e in monomial), start=Fraction(1))
                for monomial, factor in self.terms.items()
            ),
            Fraction(0),
        )

    def __add__(self, other: Any) -> Any:
        total = int.__add__(self, other)
        if not isinstance(other, int):
            return total
        terms = dict(self.terms)
        for monomial, factor in terms_of(other).items():
            terms[monomial] = terms.get(monomial, Fraction(0)) + factor
        return TracedInt(total, terms, {**self.values, **_values(other)})

    __radd__ = __add__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return self + -other if isinstance(other, int) else int.__sub__(self, other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other if isinstance(other, int) else int.__rsub__(self, other)

    def __mul__(self, other: Any) -> Any:
        product = int.__mul__(self, other)
        if not isinstance(other, int):
            return product
        terms: dict[Monomial, Fraction] = {}
        for ours, a in self.terms.items():
            for theirs, b in terms_of(other).items():
                monomial = _times(ours, theirs)
                terms[monomial] = terms.get(monomial, Fraction(0)) + a * b
        return TracedInt(product, terms, {**self.values, **_values(other)})

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        quotient = int.__floordiv__(self, other)
        divisor = terms_of(other) if isinstance(other, int) else {}
        if len(divisor) != 1 or int(self) % other:
            return quotient  # of no single product, or rounded
        ((monomial, factor),) = divisor.items()
        inverse = tuple((origin, -exponent) for origin, exponent in monomial)
        terms = {_times(ours, inverse): a / factor for ours, a in self.terms.items()}
        return TracedInt(quotient, terms, {**self.values, **_values(other)})

    def __mod__(self, other: Any) -> Any:
        _compare(self, other)
        return int.__mod__(self, other)

    def __rmod__(self, other: Any) -> Any:
        _compare(self, other)
        return int.__rmod__(self, other)

    def __eq__(self, other: Any) -> bool:
        _compare(self, other)
        return int.__eq__(self, other)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        _compare(self, other)
        return int.__lt__(self, other)

    def __le__(self, other: Any) -> bool:
        _compare(self, other)
        return int.__le__(self, other)

    def __gt__(self, other: Any) -> bool:
        _compare(self, other)
        return int.__gt__(self, other)

    def __ge__(self, other: Any) -> bool:
        _compare(self, other)
        return int.__ge__(self, other)

    def __bool__(self) -> bool:
        _compare(self, 0)
        return int.__bool__(self)

    __hash__ = int.__hash__

    def __deepcopy__(self, memo: Any) -> TracedInt:
        return self


Told = Callable[[frozenset[tuple[int, int]]], None]
COMPARED: ContextVar[Told | None] = ContextVar("COMPARED", default=None)
"""Who hears of comparisons of sizes while a model runs: the tensors, and their axes."""


@contextmanager
def comparisons_told(told: Told) -> Iterator[None]:
    """While a model runs, ``told`` hears of them."""
    token = COMPARED.set(told)
    try:
        yield
    finally:
        COMPARED.reset(token)


def _compare(*numbers: Any) -> None:
    """Code compares these, or takes a remainder: is one of them made of the size of a tensor?"""
    told = COMPARED.get()
    if told is not None:
        origins = [o for x in numbers if isinstance(x, TracedInt) for o in x.values]
        if axes := frozenset(filter(None, map(axis_of, origins))):
            told(axes)


class Size(TracedInt):
    """The size of a tensor's axis, as code asked for it: it notes what it is found equal to."""

    note: Callable[[TracedInt], None]

    def __eq__(self, other: Any) -> bool:
        same = super().__eq__(other)
        if same and isinstance(other, TracedInt) and not other.of_sizes_only:
            self.note(other)
        return same

    __hash__ = int.__hash__


def terms_of(number: int) -> dict[Monomial, Fraction]:
    """The terms of any integer."""
    return number.terms if isinstance(number, TracedInt) else {(): Fraction(number)}


def _values(number: int) -> dict[Origin, int]:
    return number.values if isinstance(number, TracedInt) else {}


def _times(a: Monomial, b: Monomial) -> Monomial:
    exponents = dict(a)
    for origin, exponent in b:
        exponents[origin] = exponents.get(origin, 0) + exponent
    return tuple(sorted((origin, exponent) for origin, exponent in exponents.items() if exponent))


def tag_sizes(model: nn.Module) -> None:
    """Name the integers of a model's modules and of their configurations."""
    seen: set[int] = set()
    for path, part in model.named_modules():
        _name_attributes(part, path, "", seen)


def _name_attributes(holder: Any, path: str, prefix: str, seen: set[int]) -> None:
    if id(holder) in seen:
        return
    seen.add(id(holder))
    attributes = vars(holder)
    for key, value in list(attributes.items()):
        name = prefix + key
        if type(value) is int and value > 0:
            attributes[key] = TracedInt.attribute(value, (path, name))
        elif type(value) in (list, tuple) and any(type(x) is int and x > 0 for x in value):
            attributes[key] = type(value)(
                TracedInt.attribute(x, (path, f"{name}.{i}")) if type(x) is int and x > 0 else x
                for i, x in enumerate(value)
            )
        elif hasattr(value, "to_dict") and hasattr(value, "__dict__"):
            _name_attributes(value, path, f"{name}.", seen)


def integers(item: Any) -> Iterator[int]:
    """All integers in nested arguments, in order."""
    if isinstance(item, (list, tuple)):
        for x in item:
            yield from integers(x)
    elif isinstance(item, dict):
        for x in item.values():
            yield from integers(x)
    elif isinstance(item, slice):
        yield from integers([item.start, item.stop, item.step])
    elif isinstance(item, int) and not isinstance(item, bool):
        yield item


def match_traced_ints(
    arguments: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any],
    repeated: Collection[str] = (),
) -> dict[tuple[str, int], TracedInt]:  # fmt: skip
    """Which arguments of an operation are named integers of the call that led to it.

    An argument that the call has at the same place, or by name, is that one; those in ``repeated``
    may be one integer for all axes (a stride). Others are looked for among all its integers: lists
    (sizes) as a run, single ones by their value.
    """
    given = list(integers([args, kwargs]))
    if not any(isinstance(x, TracedInt) for x in given):
        return {}
    args = args if len(args) <= len(arguments) else ()
    found: dict[tuple[str, int], TracedInt] = {}
    for position, (key, value) in enumerate(arguments.items()):
        if type(value) is int:
            wanted, indices = [value], [-1]
        elif isinstance(value, list) and value and all(isinstance(x, int) for x in value):
            wanted, indices = value, list(range(len(value)))
        else:
            continue
        own = list(integers([kwargs.get(key, args[position] if position < len(args) else None)]))
        own = own * len(wanted) if len(own) == 1 and key in repeated else own
        matches = own if own == wanted else _run(wanted, given)
        for index, match in zip(indices, matches, strict=True):
            if isinstance(match, TracedInt):
                found[key, index] = match
    return found


def _run(wanted: list[int], given: list[int]) -> list[int | None]:
    """Where these integers stand one after the other; else each of them for itself."""
    for start in range(len(given) - len(wanted) + 1):
        if given[start : start + len(wanted)] == wanted:
            return [*given[start : start + len(wanted)]]
    named = [x for x in given if isinstance(x, TracedInt)]
    return [next((x for x in named if x == one), None) for one in wanted]


def full_slices(tensor: Tensor, index: Any) -> Iterator[tuple[int, TracedInt]]:
    """The axes that ``[:size]`` leaves as they are, with that size, where it is a named integer."""
    items = index if isinstance(index, tuple) else (index,)
    if any(isinstance(item, (Tensor, list)) for item in items):
        return
    axis = 0
    for number, item in enumerate(items):
        if item is Ellipsis:
            axis = tensor.ndim - sum(other is not None for other in items[number + 1 :])
        elif item is not None:
            if isinstance(item, slice) and not item.start and item.step in (None, 1):
                stop = item.stop
                if isinstance(stop, TracedInt) and stop == tensor.shape[axis]:
                    yield axis, stop
            axis += 1


def _with_positions(index: Any) -> Any:
    """Lists of positions as tensors: beside a meta tensor they would lose their values."""
    if isinstance(index, tuple):
        return tuple(_with_positions(item) for item in index)
    if isinstance(index, list) and index and all(type(item) is int for item in index):
        return torch.tensor(index)
    return index


SIZES = {Tensor.size, vars(Tensor.__base__)["shape"].__get__}


class CallObserver(TorchFunctionMode):
    """Sees calls before their integers become numbers of C++. ``number`` numbers tensors;
    ``listed`` hears of those whose values become numbers by no operation."""

    def __init__(self, number: Callable[[Tensor], int], listed: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self._number = number
        self._listed = listed
        self.full_slices: list[tuple[Tensor, int, TracedInt]] = []
        """Axes whose size code compares with an integer of its own, or takes all of by a slice: no
        operation runs that would tell of them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        token = COMPARED.set(None)  # what torch and the recorder compare is no code of the model's
        try:
            return self._observe(func, tuple(args), kwargs or {})
        finally:
            COMPARED.reset(token)

    def _observe(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.args, self.kwargs = args, kwargs
        if func is Tensor.__getitem__:
            self.full_slices += ((args[0], axis, size) for axis, size in full_slices(*args))
            args = (args[0], _with_positions(args[1]))
        elif func is Tensor.tolist:
            self._listed(args[0])
        try:
            result = func(*args, **kwargs)
        finally:
            self.args, self.kwargs = (), {}
        if func in SIZES:
            return self._sized(args[0], result, kwargs.get("dim", args[1] if args[1:] else None))
        return result

    def _sized(self, tensor: Tensor, sizes: Any, dim: int | None) -> Any:
        """The same sizes, each of which knows its axis."""
        if dim is not None:
            return self._size(tensor, dim, sizes)
        return torch.Size([self._size(tensor, axis, size) for axis, size in enumerate(sizes)])

    def _size(self, tensor: Tensor, axis: int, size: int) -> TracedInt:
        axis %= tensor.ndim
        known = Size.attribute(size, (f"#{self._number(tensor)}", str(axis)))
        known.note = lambda named: self.full_slices.append((tensor, axis, named))
        return known


_CHECKS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


@contextmanager
def transparent_functional() -> Iterator[None]:
    """Let ``torch.nn.functional`` run its Python bodies, so that a mode sees the calls inside."""
    module: Any = torch.nn.functional
    saved = {name: getattr(module, name) for name in _CHECKS}
    ours = get_ident()  # other threads may run models of their own

    def elsewhere(check: Callable[..., bool]) -> Callable[..., bool]:
        return lambda *args: get_ident() != ours and check(*args)

    try:
        for name in _CHECKS:
            setattr(module, name, elsewhere(saved[name]))
        yield
    finally:
        for name, function in saved.items():
            setattr(module, name, function)
