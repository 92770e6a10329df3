"""From what the user asks for to one growth ratio per space, and the shapes that follow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TypeVar

import numpy as np
from torch import nn

from net2net.attributes import attributes, axes_inside, by_attribute, new_values, readings
from net2net.errors import GraphMismatchError, NotGrowableError, UnknownModuleError, WidthError
from net2net.inference import Inference
from net2net.provenance import Origin
from net2net.spaces import Space, Spaces
from net2net.units import NONE, Axis, Labels

ALL = "all"
"""What was asked for where one factor is for every space."""

T = TypeVar("T")

Widths = float | int | Mapping[str, float | int]


@dataclass(frozen=True)
class Grown:
    """One space's growth: positions before and after, what was asked, what came along and why."""

    space: Space
    new: int
    asked: str
    note: str = ""
    wanted: float = 0.0
    """The size that was asked for, before it went to an admissible one."""
    exact: bool = False
    """An integer was asked for: no other width will do."""

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.new, self.space.size)


def resolve(spaces: Spaces, inference: Inference, model: nn.Module, widths: Widths) -> list[Grown]:
    """Decide the new size of every space that grows.

    A factor goes to the nearest admissible size; an integer has to be admissible.

    Raises:
        UnknownModuleError: a glob matches no module.
        NotGrowableError: the matched modules make no space that can grow.
        WidthError: a width is smaller than now, or not admissible, or two widths contradict.
    """
    if isinstance(widths, Mapping):
        return _chosen(spaces, inference, model, widths)
    if isinstance(widths, bool) or not isinstance(widths, (int, float)):
        raise WidthError(
            f"widths is a {type(widths).__name__}. Give a factor, or a dict of module globs to "
            "factors (float) or new widths (int)."
        )
    if not spaces.growable:
        reasons = {space.name: space.reason for space in spaces}
        raise NotGrowableError(
            f"no space of this model can grow: {reasons}. Print net2net.spaces(model, inputs)."
        )
    grown = [_by_factor(space, float(widths), ALL) for space in spaces.growable]
    return [one for one in grown if one.new != one.space.size]


def _chosen(
    spaces: Spaces, inference: Inference, model: nn.Module, widths: Mapping[str, float | int]
) -> list[Grown]:
    result: dict[str, Grown] = {}
    for glob, width in widths.items():
        hits = 0
        refused: dict[str, str] = {}
        for path, now, found in _named(spaces, inference, model, glob):
            for space in found:
                if space.reason is not None:
                    refused[path] = space.reason
                    continue
                hits += 1
                one = _grow(space, now or space.made_by(path), path, glob, width)
                before = result.get(space.name)
                if before is not None and before.new != one.new:
                    raise WidthError(
                        f"'{glob}' asks {one.new} of space '{space.name}', but '{before.asked}' "
                        f"asks {before.new}. They are tied, so give them one width."
                    )
                result[space.name] = one
        if not hits:
            why = "; ".join(f"'{path}': {reason}" for path, reason in list(refused.items())[:3])
            raise NotGrowableError(
                f"'{glob}' makes no space that can grow"
                + (f" ({why})." if why else ": no parameter of it makes units.")
                + " Print net2net.spaces(model, inputs) to see what can."
            )
    return [one for one in result.values() if one.new != one.space.size]


def inner_axes(inference: Inference, model: nn.Module, widths: Widths) -> set[Axis]:
    """Axes on which heads grow inside, since ``widths`` names the attribute that is their size."""
    if not isinstance(widths, Mapping):
        return set()
    asked = {o for glob in widths for o in _attributes(inference, model, glob).values()}
    return axes_inside(inference, asked)


def name_attributes(model: nn.Module, widths: Widths) -> bool:
    """Whether some of these widths are those of attributes."""
    return isinstance(widths, Mapping) and not all(_found(model, glob) for glob in widths)


def _attributes(inference: Inference, model: nn.Module, glob: str) -> dict[str, Origin]:
    """Attributes that a glob names, if it names no module and no parameter."""
    if not isinstance(glob, str) or _found(model, glob):
        return {}
    return {n: o for n, o in attributes(inference).items() if fnmatchcase(n, glob)}


def _named(
    spaces: Spaces, inference: Inference, model: nn.Module, glob: str
) -> Iterator[tuple[str, int, list[Space]]]:
    """What a glob names: a module and the spaces that it makes, or an attribute, its value, and the
    spaces that it counts."""
    if sizes := _attributes(inference, model, glob):
        uses = by_attribute(use for use in readings(inference) if use.size.attribute_alone)
        for name, origin in sizes.items():
            own = uses.get(origin, [])
            labels = [use.units[use.units != NONE] for use in own]
            now = own[0].size.values[origin] if own else 0
            yield name, now, _spaces_on(spaces, inference, labels)
        return
    for path in matching(model, glob):
        yield path, 0, _made_at(spaces, inference, path)


def _found(model: nn.Module, glob: str) -> list[str]:
    """Module paths that match a glob; else parameters that do (such as no layer owns)."""
    found = [path for path, _ in model.named_modules() if path and fnmatchcase(path, glob)]
    return found or [name for name, _ in model.named_parameters() if fnmatchcase(name, glob)]


def matching(model: nn.Module, glob: str) -> list[str]:
    """Module paths that match a glob.

    Raises:
        UnknownModuleError: none does; the message names near ones.
    """
    if not isinstance(glob, str):
        raise UnknownModuleError(
            f"{glob!r} is no module glob. Give a dict from module globs (str) to a factor or width."
        )
    found = _found(model, glob)
    if not found:
        paths = [path for path, _ in model.named_modules() if path]
        near = get_close_matches(glob, paths, n=3, cutoff=0.4)
        raise UnknownModuleError(
            f"no module matches '{glob}'."
            + (f" Near matches: {', '.join(near)}." if near else "")
            + " Module paths are those of model.named_modules(); an attribute that the code reads "
            "as a size can be named too."
        )
    return found


def _made_at(spaces: Spaces, inference: Inference, path: str) -> list[Space]:
    """The spaces of the units that a module puts out; for a bare parameter, those it makes."""
    blocks = [
        labels[labels != NONE]
        for trace, tensor in inference.outputs_of.get(path, ())
        for labels in inference.labels_of(trace, tensor)
    ]
    return _spaces_on(spaces, inference, blocks) or [
        space
        for space in spaces
        if any(_owns(path, axis.name) for axis in inference.makers & space.axes.keys())
    ]


def _spaces_on(spaces: Spaces, inference: Inference, blocks: Iterable[Labels]) -> list[Space]:
    """The spaces that these units belong to."""
    keys = list(inference.groups)
    numbers = [number for labels in blocks for number in inference.groups_on(labels)]
    found = [spaces.of_group[keys[n]] for n in numbers if keys[n] in spaces.of_group]
    return list({space.name: space for space in found}.values())


def _owns(path: str, tensor: str) -> bool:
    return tensor == path or tensor.startswith(f"{path}.")


def _grow(space: Space, now: int, path: str, glob: str, width: float | int) -> Grown:
    """``now``: the width of ``path``, which makes the space or counts it."""
    if isinstance(width, bool) or not isinstance(width, (int, float)):
        raise WidthError(
            f"the width of '{glob}' is a {type(width).__name__}. "
            "Give a factor (float) or a new width (int)."
        )
    if isinstance(width, float):
        return _by_factor(space, width, glob)
    if width < now:
        raise WidthError(
            f"'{path}' is {now} wide, and {width} is smaller. "
            f"Net2Net only grows: give {now} or more."
        )
    step = max(space.step * now // space.size, 1)
    if (width - now) % step:
        below = now + (width - now) // step * step
        why = space.uniform or "its units are bundled"
        raise WidthError(
            f"'{path}' is {now} wide and grows in steps of {step} ({why}), so {width} "
            f"cannot be had. The admissible neighbours are {below} and {below + step}."
        )
    new = width * space.size // now
    return Grown(space, new, glob, wanted=new, exact=True)


def _by_factor(space: Space, factor: float, asked: str) -> Grown:
    if not math.isfinite(factor) or factor < 1:
        raise WidthError(
            f"the factor {factor} for '{space.name}' is smaller than 1. Net2Net only grows."
        )
    steps = space.size // space.step
    new = math.floor(steps * factor + 0.5) * space.step
    note = ""
    if new != round(space.size * factor):
        why = space.uniform or f"grows in steps of {space.step}"
        note = f"nearest admissible to {space.size * factor:g}: {why}"
    return Grown(space, new, asked, note, wanted=space.size * factor)


def nearest_feasible(
    grown: list[Grown], attempt: Callable[[list[Grown]], T], tries: int = 48
) -> tuple[list[Grown], T]:
    """The first of ``attempt``'s results that does not fail, moving the width that fails.

    Only a trial shows two things. Where code cuts channels by position (shuffled halves), it shows
    which widths leave every teacher unit a place: a factor moves to the nearest that does, an
    integer raises, naming the nearest. And where a size is written into the code, the student
    stops there: of all spaces asked to grow at once, those that nothing reads stay as they are, as
    nothing is gained by them; if that does not help, the one that meets it does, and from the
    second of a kind (one place in layers of one width) on, all of its kind.

    Raises:
        WidthError: an integer that cannot be had.
        GraphMismatchError: the student runs at no width that could be chosen.
    """
    wanted = {one.space.name: one.new for one in grown}
    moves = dict.fromkeys(wanted, 0)
    stopped: set[tuple[str, int]] = set()
    last = GraphMismatchError("")
    for _ in range(tries):
        try:
            return grown, attempt(grown)
        except GraphMismatchError as error:
            last = error
        moving = [one for one in grown if one.new != one.space.size]
        if any(_idle(one) for one in moving):
            why = "nothing reads these units"
            grown = [replace(g, new=g.space.size, note=why) if _idle(g) else g for g in grown]
            continue
        here = [one for one in moving if last.concerns(one.space.axes)]
        movable = [one for one in here or moving if moves[one.space.name] < 16]
        cut = [one for one in movable if one.space.cut]
        if not cut and not last.module:
            cut = [one for one in movable if one.space.split]
        failed = min(
            cut or here,
            key=lambda one: (moves[one.space.name], len(one.space.axes)),
            default=None,
        )
        if failed is None:
            raise last
        if cut and failed.exact:
            raise _not_feasible(grown, failed, attempt, tries, last) from last
        if cut:
            moves[failed.space.name] += 1
            target = wanted[failed.space.name]
            new = _further(target, failed.new, failed.space.step, failed.space.size)
            note = f"nearest to {failed.wanted:g} at which every unit has a place"
            grown = [replace(g, new=new, note=note) if g is failed else g for g in grown]
        elif failed.asked == ALL and last.module:
            why = (
                f"a size is written into the code of '{last.module}' "
                "(named in widths, it makes the student a graph module)"
            )
            kind = _kind(failed)
            grown = [
                replace(g, new=g.space.size, note=why)
                if g is failed or (kind in stopped and _kind(g) == kind and g.new != g.space.size)
                else g
                for g in grown
            ]
            stopped.add(kind)
        else:
            raise last
    raise last


def _idle(one: Grown) -> bool:
    return one.space.unread and one.asked == ALL


def _kind(one: Grown) -> tuple[str, int]:
    """What spaces of like layers have in common."""
    return pattern(one.space.name), one.space.size


def pattern(name: str) -> str:
    """A module path without its numbers: the same place in every layer."""
    return re.sub(r"\d+", "*", name)


def _further(target: int, now: int, step: int, least: int) -> int:
    """The next candidate around ``target``: one step more, one less, two more, …"""
    while True:
        now = 2 * target - now if now > target else 2 * target - now + step
        if now > least:
            return now


def _not_feasible(
    grown: list[Grown], failed: Grown, attempt: Callable[[list[Grown]], T], tries: int,
    last: GraphMismatchError,
) -> WidthError | GraphMismatchError:  # fmt: skip
    """An integer width leaves units without a place: find the widths around it that do not. Where
    no wider one does, it is not the width."""
    found = []
    for direction in (-1, 1):
        for distance in range(1, tries // 2):
            new = failed.new + direction * distance * failed.space.step
            try:
                attempt([replace(g, new=new) if g is failed else g for g in grown])
            except GraphMismatchError:
                continue
            found.append(new)
            break
    if max(found, default=0) <= failed.space.size:
        return last
    return WidthError(
        f"'{failed.asked}' cannot be {failed.new} wide: the code cuts its channels so that some "
        f"units would have no place. The admissible neighbours are {found}."
    )


def new_shapes(inference: Inference, grown: list[Grown]) -> dict[str, tuple[int, ...]]:
    """State-dict name → shape in the student, for every tensor that grows."""
    trace = inference.traces[0]
    old = {name: trace.shapes[tensor] for tensor, name in trace.names.items()}
    shapes: dict[str, list[int]] = {}
    for one in grown:
        for axis, positions in one.space.axes.items():
            shape = shapes.setdefault(axis.name, list(old[axis.name]))
            shape[axis.dim] += (one.new - one.space.size) * positions // one.space.size
    return {name: tuple(shape) for name, shape in shapes.items()}


def new_integers(
    spaces: Spaces, inference: Inference, grown: list[Grown]
) -> list[tuple[str, str, int, int]]:
    """Integers of the code that count units: module, attribute, value before, value after."""
    ratios = [Fraction(1), *(one.ratio for one in grown)]
    which = np.zeros(len(inference.component), dtype=np.int64)  # component → its ratio's number
    for number, one in enumerate(grown, start=1):
        for group in one.space.groups:
            which[group.components] = number

    def grown_size(units: Labels) -> Fraction:
        known = inference.component[units[units != NONE]]
        counts = np.bincount(which[known], minlength=1).tolist()
        counts[0] += len(units) - len(known)
        return sum((ratios[i] * n for i, n in enumerate(counts) if n), Fraction(0))

    result = [
        (path, attribute, old, new)
        for (path, attribute), (old, new) in new_values(inference, grown_size).items()
    ]
    for count in inference.counts:
        old, new = len(count.labels), int(grown_size(count.labels))
        if new != old:
            result.append((count.path, count.argument, old, new))
    return list(dict.fromkeys(result))
