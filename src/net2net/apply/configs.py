"""Configurations: what a model is built from, set so that it builds the student.

A model that is saved as its state dict and its ``config``, and loaded by building its class from
that, has to be built at its new sizes. Which of the configuration's integers those are, the class
itself tells: it is built on ``meta`` with one of them changed, and what becomes of the shapes is
seen. What is found counts only if the model built from it is the student: the same shapes, and
operation by operation the same trace.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import torch
from torch import nn

from net2net.apply.attributes import SetAttribute, get_attribute, set_attributes
from net2net.apply.config_numbers import Anew, Remade, Valued
from net2net.apply.shallow import shallow
from net2net.apply.unfilled import Unfilled
from net2net.errors import InputError
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import META, copied, named_tensors
from net2net.trace.trace import Inputs, Ref, Trace, trace

log = logging.getLogger(__name__)

Sizes = dict[str, int]
"""What a model is, in numbers: ``name[axis]`` of tensors, and attributes that its code reads."""

_BUILDS = 60
"""How many models a descent may build: each takes longer than all else here."""

_PROBE = 2
"""What a field is set to that says nothing yet."""

_GUESSES = 8
"""How many numbers are tried as what it stands for."""


def config_edits(
    model: nn.Module, wider: Callable[[], nn.Module], inputs: Inputs, done: Trace,
    renumbered: Callable[[Anew], tuple[nn.Module, Trace] | None] = lambda anew: None,
    known: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[list[SetAttribute], Anew, tuple[str, ...]]:  # fmt: skip
    """What to set in the configurations of a student besides what is set in it, numbers that it
    has to get with them, and notes on those for which nothing fits.

    Args:
        wider: makes the student at its new sizes, on ``meta`` or with values.
        done: what it did.
        renumbered: makes the student with other numbers, and says what it did; None if that does
            not compute the same.
        known: for modules by path numbers that fit, where they need not be searched for.
    """
    outermost, anew = list(configured(model)), Anew()
    if not outermost:
        return [], anew, ()
    found: list[SetAttribute] = []
    notes = []
    student = wider()
    for path, teacher in outermost:
        fitting = (known or {}).get(path)
        if fitting is None:
            with ALONE:  # once, and not for every model that is built
                fitting = _fitting(teacher, student.get_submodule(path), _read(done, path))
        if fitting is None:  # its class does not build it from its configuration as it is
            changed = sizes_of(teacher, set()) != sizes_of(student.get_submodule(path), set())
            if changed and (inner := _other_model(path, teacher)) is not None:
                where = f" of '{inner}'" if inner else ""
                notes.append(
                    f"the config{where} stays as it is: its class builds other tensors than the "
                    "model has (adapters, exchanged layers), so it cannot be told whether it fits"
                )
            continue
        fits = _as_built(teacher, path, fitting, (student, done, anew), inputs, renumbered)
        if fits is not None:
            student, done, anew = fits
            found += [
                SetAttribute(path, f"config.{name}", value) for name, value in fitting.items()
            ]
        else:
            where = f"of '{path}' " if path else ""
            notes.append(
                f"no change of the config {where}builds the student: "
                "a saved student loads by its state dict only"
            )
    return found, anew, tuple(notes)


def _as_built(
    teacher: nn.Module, path: str, values: Mapping[str, int], now: tuple[nn.Module, Trace, Anew],
    inputs: Inputs, renumbered: Callable[[Anew], tuple[nn.Module, Trace] | None],
) -> tuple[nn.Module, Trace, Anew] | None:  # fmt: skip
    """The student that the class builds from these values: the one that is there, or that with the
    numbers that the class makes anew; None if it is neither."""
    student, done, anew = now
    part: Any = student.get_submodule(path)
    dtype = next((p.dtype for p in teacher.parameters() if p.is_floating_point()), None)
    before = build(type(teacher), teacher.config, {}, dtype)
    built = rebuilt(part, values, dtype)
    if before is None or built is None:
        return None
    remade = Remade.of(before, built)
    if same_model(student, done, path, built, inputs) and remade.held(path, part, anew):
        return now
    more = remade.anew(path, teacher, part)
    if more is None or more == Anew() or (other := renumbered(anew | more)) is None:
        return None
    student, done = other
    return (student, done, anew | more) if same_model(*other, path, built, inputs) else None


class Builder:
    """What the class of a module builds from its configuration with other numbers in it.

    Attributes:
        path: the module.
        before: its sizes as they are; None if its class does not build it from its configuration.
    """

    def __init__(self, path: str, part: Any, done: Trace) -> None:
        self.path, self.config = path, part.config
        read = {(module, name) for module, name in _read(done, path) if name[:7] != "config."}
        sizes = sizes_of(part, read) or {}
        self._search = _Search(type(part), part.config, sizes, read)
        self.before = sizes if self.sizes({}) == sizes else None

    @cached_property
    def said(self) -> dict[tuple[str, ...], set[str]]:
        """Numbers to change, alone or two at once → the sizes that these touch."""
        return self._search._numbers(fields(self.config, _is_number), self.before or {})

    @cached_property
    def _opened(self) -> tuple[dict[str, int], dict[tuple[str, ...], set[str]]]:
        said, unsaid = (fields(self.config, wanted) for wanted in (_is_number, _is_open))
        return self._search._implied(unsaid, said, self.before or {})

    @property
    def implied(self) -> dict[str, int]:
        """Fields that say nothing yet → the numbers that they stand for."""
        return self._opened[0]

    @property
    def unsaid(self) -> dict[tuple[str, ...], set[str]]:
        """As ``said``, of these fields."""
        return self._opened[1]

    def sizes(self, values: Mapping[str, int]) -> Sizes | None:
        """Of what the class builds from these; None if it builds nothing, or other tensors."""
        return self._search.sizes(values)

    def number(self, name: str) -> int:
        """What the configuration says, or implies."""
        return int(self.implied.get(name) or get_attribute(self.config, name))


def builders(model: nn.Module, done: Trace) -> list[Builder]:
    """Of the outermost modules that have a configuration; ``done``: what the model did."""
    return [Builder(path, part, done) for path, part in configured(model)]


def configured(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that have a configuration."""
    inside: tuple[str, ...] = ()
    for path, part in model.named_modules():
        if hasattr(getattr(part, "config", None), "from_dict") and not path.startswith(inside):
            inside = (*inside, f"{path}." if path else "")
            yield path, part


def _other_model(path: str, part: nn.Module) -> str | None:
    """Where the class of a module, or of one in it that holds all its tensors (which adapters
    wrap), builds something from the configuration, though not this."""
    every = {id(tensor) for _, tensor in named_tensors(part)}
    for inner, child in part.named_modules():
        config = getattr(child, "config", None)
        if (
            hasattr(config, "from_dict")
            and every == {id(tensor) for _, tensor in named_tensors(child)}
            and build(type(child), config, {}) is not None
        ):
            return ".".join(filter(None, (path, inner)))
    return None


def _read(done: Trace, path: str) -> set[tuple[str, str]]:
    """Attributes inside a module that its code reads as sizes: module, attribute."""
    prefix = f"{path}." if path else ""
    return {
        ("" if module == path else module.removeprefix(prefix), attribute)
        for op in done.ops
        for named in op.traced_ints.values()
        for module, attribute in named.values
        if module == path or module.startswith(prefix)
    }


def _fitting(teacher: Any, student: Any, read: set[tuple[str, str]]) -> dict[str, int] | None:
    """Integers of the configuration under which the class is built at the student's sizes, as far
    as they are found; None if it is not built at the teacher's as things are."""
    kind, config = type(teacher), student.config
    attributes = {(module, name) for module, name in read if not name.startswith("config.")}
    before = sizes_of(build(kind, teacher.config, {}), attributes)
    if before is None or before != sizes_of(teacher, attributes):
        return None
    wanted = sizes_of(student, attributes)
    assert wanted is not None
    # What code reads from the configuration itself is known already.
    known = {name.removeprefix("config.") for _, name in read if name.startswith("config.")}
    search = _Search(kind, config, wanted, attributes)
    said, unsaid = (
        [name for name in fields(config, wanted_field) if name not in known]
        for wanted_field in (_is_number, _is_open)
    )
    now = search.sizes({})
    if now is None or now == wanted:
        return {}
    few, sizes, counts = shallow(
        config, now, said, lambda one: sizes_of(build(kind, one, {}), attributes)
    )
    if counts:
        inner = _Search(kind, few, {key: wanted[key] for key in sizes}, attributes)
        values = inner.run([name for name in said if name not in counts], unsaid)
        if inner.sizes(values) != inner.wanted or search.sizes(values) == wanted:
            return values
    return search.run(said, unsaid)


class _Search:
    """Change one integer at a time, each so that more sizes fit; where that leads nowhere, go back
    and take the next best change."""

    def __init__(
        self, kind: type[nn.Module], config: Any, wanted: Sizes, read: set[tuple[str, str]]
    ) -> None:
        self.kind, self.config, self.wanted, self.read = kind, config, wanted, read
        self._tried: dict[frozenset[tuple[str, int]], Sizes | None] = {}

    def sizes(self, values: Mapping[str, int]) -> Sizes | None:
        """The sizes that the class is built with; None if it is not, or has other tensors."""
        key = frozenset(values.items())
        if key not in self._tried:
            sizes = sizes_of(build(self.kind, self.config, values), self.read)
            same = sizes is not None and sizes.keys() == self.wanted.keys()
            self._tried[key] = sizes if same else None
        return self._tried[key]

    def run(self, said: Sequence[str], unsaid: Sequence[str]) -> dict[str, int]:
        """``said``: fields that are numbers; ``unsaid``: those that may become one, looked at where
        the others do not suffice."""
        before = self.sizes({})
        if before is None or before == self.wanted:
            return {}
        probes = self._numbers(said, before)
        values, fits = self._descend({}, before, probes)
        if not fits:
            implied, opened = self._implied(unsaid, said, before)
            if self.sizes(implied) == before:
                more, fits = self._descend(implied, before, {**probes, **opened})
                values = self._without_idle(more, implied) if fits else values
        if not fits:
            more, fits = self._descend({}, before, probes, together=True)
            values = more if fits else values
        return {
            name: new for name, new in values.items() if new != get_attribute(self.config, name)
        }

    def _numbers(self, names: Sequence[str], now: Sizes) -> dict[tuple[str, ...], set[str]]:
        """Numbers to change, alone or two at once → the sizes that these touch."""
        probes = {}
        for name in names:
            value = get_attribute(self.config, name)
            # Where a model of two widths has other parts than one of a single width (a projection
            # between them), numbers that are equal have to stay equal.
            equal = [other for other in names if get_attribute(self.config, other) == value]
            for together in [(name,), *((name, other) for other in equal if other != name)]:
                probes_of = (
                    self.sizes(dict.fromkeys(together, x)) for x in (2 * value, value // 2)
                )
                if (probe := next((x for x in probes_of if x is not None), None)) is not None:
                    probes[together] = {key for key in now if probe[key] != now[key]}
                    break
        return probes

    def _implied(
        self, unsaid: Sequence[str], said: Sequence[str], now: Sizes
    ) -> tuple[dict[str, int], dict[tuple[str, ...], set[str]]]:
        """Fields that say nothing, with the numbers that they stand for: a size, whole or divided
        by a number that is said (of heads); and the sizes that they touch."""
        values: dict[str, int] = {}
        probes: dict[tuple[str, ...], set[str]] = {}
        numbers = sorted({1, *(get_attribute(self.config, name) for name in said)})
        for name in unsaid:
            probe = self.sizes({name: _PROBE})
            touched = {key for key in now if probe is not None and probe[key] != now[key]}
            counts = Counter(
                now[k] // n for k in sorted(touched) for n in numbers if not now[k] % n
            )
            for value, _ in counts.most_common(_GUESSES):
                if self.sizes({name: value}) == now:
                    values[name] = value
                    probes[(name,)] = touched
                    break
        return values, probes

    def _without_idle(self, values: dict[str, int], implied: Mapping[str, int]) -> dict[str, int]:
        """Fields that need not say anything do not."""
        for name in implied:
            fewer = {key: value for key, value in values.items() if key != name}
            values = fewer if self.sizes(fewer) == self.wanted else values
        return values

    def _now(self, name: str, values: Mapping[str, int]) -> int:
        return int(values.get(name, get_attribute(self.config, name)))

    def _descend(
        self, values: dict[str, int], now: Sizes, probes: Mapping[tuple[str, ...], set[str]], *,
        together: bool = False,
    ) -> tuple[dict[str, int], bool]:  # fmt: skip
        """The first values under which every size fits; else those of the first dead end.
        ``together``: two numbers may change at once."""
        path = [(values, now)]
        been: set[frozenset[tuple[str, int]]] = set()
        dead_end: dict[str, int] | None = None
        limit = len(self._tried) + _BUILDS
        while path and len(self._tried) < limit:
            values, now = path[-1]
            if now == self.wanted:
                return values, True
            step = self._best(values, now, probes, been)
            if step is None and together:
                step = self._best(values, now, probes, been, together=True)
            if step is None:
                dead_end = values if dead_end is None else dead_end
                path.pop()
                continue
            been.add(frozenset(step[0].items()))
            path.append(step)
        return dead_end or values, False

    def _best(
        self, values: dict[str, int], now: Sizes, probes: Mapping[tuple[str, ...], set[str]],
        been: set[frozenset[tuple[str, int]]], *, together: bool = False,
    ) -> tuple[dict[str, int], Sizes] | None:  # fmt: skip
        """The change after which most sizes fit; one that leaves what fits is better than any that
        does not. Not to where the search has ``been``. ``together``: with another number in the
        same proportion, which one of its own would not build, or would change what fits (a width,
        and the heads that divide it)."""
        wrong = {key for key in now if now[key] != self.wanted[key]}
        best, most = None, (False, 0)
        for names, touched in sorted(probes.items(), key=lambda probe: -len(probe[1] & wrong)):
            if most >= (True, len(touched & wrong)):
                break  # nor can those that follow make more sizes fit
            value = values.get(names[0], get_attribute(self.config, names[0]))
            found = _candidates(value, now, self.wanted, touched & wrong)
            alone = [{**values, **dict.fromkeys(names, new)} for new in found]
            every = (
                [
                    {**changed, other: int(scaled)}
                    for new, changed in zip(found, alone, strict=True)
                    for other in (name for one in probes for name in one if name not in names)
                    if (scaled := self._now(other, values) * Fraction(new, value)).denominator == 1
                ]
                if together
                else alone
            )
            for changed in every:
                if frozenset(changed.items()) in been or (sizes := self.sizes(changed)) is None:
                    continue
                left = {key for key in sizes if sizes[key] != self.wanted[key]}
                gain = len(wrong) - len(left)
                if gain > 0 and (left <= wrong, gain) > most:
                    best, most = (changed, sizes), (left <= wrong, gain)
        return best


def _candidates(value: int, now: Sizes, wanted: Sizes, keys: set[str]) -> list[int]:
    """Values in proportion to sizes that are to change, or against it; the most frequent first."""
    counts: Counter[int] = Counter()
    for key in sorted(keys):
        ratio = Fraction(wanted[key], now[key]) if now[key] and wanted[key] else Fraction(1)
        for new in (value * ratio, value / ratio):
            if new.denominator == 1 and new != value:
                counts[int(new)] += 1
    return [new for new, _ in counts.most_common(4)]


def fields(config: Any, wanted: Callable[[Any], bool], prefix: str = "") -> list[str]:
    """Such fields of a configuration, of those inside it, and of its lists."""
    names = []
    for key, value in vars(config).items():
        if key.startswith("_"):
            continue
        if wanted(value):
            names.append(prefix + key)
        elif type(value) in (list, tuple):
            names += [f"{prefix}{key}.{i}" for i, x in enumerate(value) if wanted(x)]
        elif hasattr(value, "to_dict") and hasattr(value, "__dict__"):
            names += fields(value, wanted, f"{prefix}{key}.")
    return names


def _is_number(value: Any) -> bool:
    return type(value) is int and value > 1


def _is_open(value: Any) -> bool:
    """Nothing, or a single one of what may be more."""
    return value is None or (type(value) is int and value == 1)


def build(
    kind: type[nn.Module], config: Any, values: Mapping[str, int], dtype: torch.dtype | None = None
) -> nn.Module | None:
    """A model on ``meta`` from a configuration with other values, if it can be built so.
    ``dtype``: what it is built in, if not torch's default."""
    default = torch.get_default_dtype()
    try:
        holder: Any = nn.Module()
        holder.config = copy.deepcopy(config)
        changes = [SetAttribute("", f"config.{name}", value) for name, value in values.items()]
        set_attributes(holder, changes)
        type(config).from_dict(holder.config.to_dict())  # some check then what to build does not
        with (
            ALONE, warnings.catch_warnings(), torch.random.fork_rng(devices=[]), META, Valued(),
            Unfilled(),  # type: ignore[no-untyped-call]
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            torch.set_default_dtype(dtype or default)
            return kind(holder.config)
    except Exception as error:  # its own checks, or a constructor that wants something else
        log.debug("%s is not built from its config: %s", kind.__name__, error)
        return None
    finally:
        torch.set_default_dtype(default)


def rebuilt(
    part: Any, values: Mapping[str, int], dtype: torch.dtype | None = None
) -> nn.Module | None:
    """What the class of a module builds from its configuration with other values, if that has
    tensors of the same sizes."""
    built = build(type(part), part.config, values, dtype)
    return built if sizes_of(built, set()) == sizes_of(part, set()) else None


def sizes_of(model: nn.Module | None, read: set[tuple[str, str]]) -> Sizes | None:
    """The sizes of a model's tensors, and these of its attributes; None if there is no model."""
    if model is None:
        return None
    sizes = {
        f"{name}[{axis}]": size
        for name, tensor in named_tensors(model)
        for axis, size in enumerate(tensor.shape)
    }
    modules = dict(model.named_modules())
    for path, attribute in read:
        value = get_attribute(modules[path], attribute) if path in modules else None
        if isinstance(value, int):
            sizes[f"{path}.{attribute}"] = int(value)
    return sizes


def same_model(whole: Any, done: Trace, path: str, built: nn.Module, inputs: Inputs) -> bool:
    """Whether what the class builds does the same operations."""
    theirs = dict(whole.get_submodule(path).named_modules())
    for name, part in built.named_modules():
        if name not in theirs:  # a module without tensors was exchanged
            return False
        part._parameters, part._buffers = theirs[name]._parameters, theirs[name]._buffers
    other: Any = built
    if path:
        other = copied(whole)
        other.set_submodule(path, built)
    try:
        again = trace(other, inputs)
    except InputError:
        return False
    return [facts(op.name, op.args) for op in again.ops] == [
        facts(op.name, op.args) for op in done.ops
    ]


def facts(name: str, args: Mapping[str, Any]) -> tuple[str, str]:
    """An operation with its numbers, whichever tensors they are."""
    return name, repr([_without_tensors(value) for value in args.values()])


def _without_tensors(item: Any) -> Any:
    if isinstance(item, Ref):
        return "tensor"
    return [_without_tensors(x) for x in item] if isinstance(item, list) else item
