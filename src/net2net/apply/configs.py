"""Configurations: what a model is built from, set so that it builds the student.

A model that is saved as its state dict and its ``config``, and loaded by building its class from
that, has to be built at its new sizes. Which of the configuration's integers those are, the class
itself tells: it is built on ``meta`` with one of them changed, and what becomes of the shapes is
seen. What is found counts only if the model built from it is the student: the same shapes, and
operation by operation the same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from torch import nn

from net2net.apply.attributes import SetAttribute, get_attribute
from net2net.apply.builds import (
    Sizes,
    build,
    fields,
    is_number,
    is_open,
    rebuilt,
    refusal,
    same_model,
    sizes_of,
)
from net2net.apply.config_floats import config_floats
from net2net.apply.config_numbers import Anew, Remade
from net2net.apply.config_search import Search
from net2net.apply.exchanged import Exchanged, exchanged, put_back, put_in
from net2net.apply.shallow import shallow
from net2net.apply.unsayable import Unsayable, computes_else, misfit, refused, told
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs, Trace


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
        fitting: Mapping[str, int] | Unsayable | None = (known or {}).get(path)
        if fitting is None:
            with ALONE:  # once, and not for every model that is built
                fitting = _fitting(teacher, student.get_submodule(path), _read(done, path))
        layers: Exchanged = {}
        if fitting is None:  # its class does not build it from its configuration as it is
            changed = sizes_of(teacher, set()) != sizes_of(student.get_submodule(path), set())
            if not changed or (inner := _other_model(path, teacher)) is None:
                continue
            path, teacher = inner, model.get_submodule(inner)
            with ALONE:
                layers = exchanged(teacher)
                part = student.get_submodule(path)
                fitting = _fitting(teacher, part, _read(done, path), layers) if layers else None
            if fitting is None:
                where = f" of '{inner}'" if inner else ""
                notes.append(
                    f"the config{where} stays as it is: its class builds other tensors than the "
                    "model has, and not in layers that adapters hold, so it cannot be told whether "
                    "it fits"
                )
                continue
        if not isinstance(fitting, Unsayable):
            values = {**fitting, **config_floats(teacher, student.get_submodule(path))}
            fits = _as_built(
                teacher, path, values, layers, (student, done, anew), inputs, renumbered
            )
            if not isinstance(fits, Unsayable):
                student, done, anew = fits
                found += _settings(path, values)
                continue
            fitting = fits
        where = f"of '{path}' " if path else ""
        notes.append(
            f"no change of the config {where}builds the student ({fitting.why}): a saved student "
            "loads by its state dict only. loadable=True keeps to widths that a config can say"
        )
    return found, anew, tuple(notes)


def _as_built(
    teacher: Any, path: str, values: Mapping[str, float], layers: Exchanged,
    now: tuple[nn.Module, Trace, Anew], inputs: Inputs,
    renumbered: Callable[[Anew], tuple[nn.Module, Trace] | None],
) -> tuple[nn.Module, Trace, Anew] | Unsayable:  # fmt: skip
    """The student that the class builds from these values: the one that is there, or that with the
    numbers that the class makes anew; why it is neither. ``layers``: exchanged in it."""
    student, done, anew = now
    part: Any = student.get_submodule(path)
    dtype = next((p.dtype for p in teacher.parameters() if p.is_floating_point()), None)
    before = build(type(teacher), teacher.config, {}, dtype)
    built = rebuilt(put_back(part, layers), values, dtype)
    numbers = told(teacher.config, part.config, values)
    if before is None or built is None:
        return misfit(numbers, None, {})
    remade = Remade.of(before, built)
    put_in(built, part, layers)
    if same_model(student, done, path, built, inputs) and remade.held(path, part, anew):
        return now
    if (more := remade.anew(path, teacher, part)) is None:
        return computes_else(numbers, remade)
    # forward may compute with what the configuration says
    anew |= more | Anew(tuple(_settings(path, values)))
    if (other := renumbered(anew)) is None or not same_model(*other, path, built, inputs):
        return computes_else(numbers, remade)
    return *other, anew


def _settings(path: str, values: Mapping[str, float]) -> list[SetAttribute]:
    return [SetAttribute(path, f"config.{name}", x) for name, x in values.items()]


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
        self._search = Search(type(part), part.config, sizes, read)
        self.before = sizes if self.sizes({}) == sizes else None

    @cached_property
    def said(self) -> dict[tuple[str, ...], set[str]]:
        """Numbers to change, alone or two at once → the sizes that these touch."""
        return self._search.numbers(fields(self.config, is_number), self.before or {})

    @cached_property
    def _opened(self) -> tuple[dict[str, int], dict[tuple[str, ...], set[str]]]:
        said, unsaid = (fields(self.config, wanted) for wanted in (is_number, is_open))
        return self._search.implied(unsaid, said, self.before or {})

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


def _fitting(
    teacher: Any, student: Any, read: set[tuple[str, str]], layers: Exchanged | None = None
) -> dict[str, int] | Unsayable | None:
    """Integers of the configuration under which the class is built at the student's sizes, or why
    there are none; None if it is not built at the teacher's as things are. ``layers``: exchanged
    in both."""
    teacher, student = (put_back(model, layers or {}) for model in (teacher, student))
    kind, config = type(teacher), student.config
    attributes = {(module, name) for module, name in read if not name.startswith("config.")}
    before = sizes_of(build(kind, teacher.config, {}), attributes)
    if before is None or before != sizes_of(teacher, attributes):
        return None
    wanted = sizes_of(student, attributes)
    assert wanted is not None
    # What code reads from the configuration itself is known already.
    known = {name.removeprefix("config.") for _, name in read if name.startswith("config.")}
    search = Search(kind, config, wanted, attributes)
    values = _found(search, known)
    if search.sizes(values) == wanted:
        return values
    why = misfit(told(teacher.config, config, values), search.sizes(values), wanted)
    if not search.refused():
        return why
    search = search.unchecked()
    values = _found(search, known)
    if search.sizes(values) != wanted:
        return why
    error = refusal(config, values)
    return values if error is None else refused(told(teacher.config, config, values), error)


def _found(search: Search, known: set[str]) -> dict[str, int]:
    """Values under which all sizes fit, or as many as can be. ``known``: fields that stay."""

    def named(config: Any, wanted: Callable[[Any], bool]) -> list[str]:
        return [name for name in fields(config, wanted) if name not in known]

    said, unsaid = named(search.config, is_number), named(search.config, is_open)
    now = search.sizes({})
    if now is None or now == search.wanted:
        return {}
    few, sizes, counts = shallow(search.config, now, said, search.built)
    if counts:
        inner = search.of(few, {key: search.wanted[key] for key in sizes})
        fewer = set(named(few, is_number)) - counts  # and shorter lists
        values = inner.run([name for name in said if name in fewer], unsaid)
        if inner.sizes(values) != inner.wanted or search.sizes(values) == search.wanted:
            return values
    return search.run(said, unsaid)
