"""From what the user asks for to one growth ratio per space, and the shapes that follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import Any

import numpy as np
from torch import nn

from net2net.apply.attributes import get_attribute
from net2net.errors import NotGrowableError, WidthError
from net2net.infer.inference import Inference
from net2net.infer.size_uses import new_values
from net2net.infer.spaces import Space, Spaces
from net2net.infer.units import NO_UNIT, UnitIds
from net2net.plan.globs import Width, named, named_attributes, why_attributes_stay

ALL = "all"
"""What was asked for where one factor is for every space."""

Widths = float | int | Mapping[str, float | int]

MultipleOf = int | Mapping[str, int]
"""What sizes that factors lead to are multiples of, for all spaces or by glob."""


@dataclass(frozen=True)
class SpaceGrowth:
    """One space's growth: positions before and after, what was asked, what came along and why."""

    space: Space
    new: int
    asked: str
    note: str = ""
    wanted: float = 0.0
    """The size that was asked for, before it went to an admissible one."""
    named: Width | None = None
    """An integer was asked for, of this: no other width will do."""
    multiple: int = 1
    """What its size is to be a multiple of."""

    @property
    def exact(self) -> bool:
        return self.named is not None

    @property
    def step(self) -> int:
        """From one size that will do to the next."""
        return math.lcm(self.space.step, self.multiple)

    def as_named(self, new: int) -> int:
        """How wide what was named would be, if the space had this size."""
        if self.named is None:
            return new
        growing = self.named.size - self.named.staying
        return new * growing // self.space.size + self.named.staying

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.new, self.space.size)


_MIXED = "of the pieces that the code counts by it together, some have features that stay"

LARGEST = 2**24
"""Channels or features beyond which no layer is known: what asks for more is a slip."""


def resolve(
    spaces: Spaces, inference: Inference, model: nn.Module, widths: Widths,
    multiple_of: MultipleOf = 1,
) -> list[SpaceGrowth]:  # fmt: skip
    """Decide the new size of every space that grows, or was asked to and is left as it is.

    A factor goes to the nearest admissible size that is a multiple of ``multiple_of``; an integer
    has to be admissible.

    Raises:
        UnknownModuleError: a glob matches no module.
        NotGrowableError: the matched modules make no space that can grow.
        WidthError: a width is smaller than now, or not admissible, or two widths contradict.
    """
    every = multiples(spaces, inference, model, multiple_of)
    if isinstance(widths, Mapping):
        return _chosen(spaces, inference, model, widths, every)
    widths = _number(
        widths,
        "widths is a {}. Give a factor, or a dict of module globs to factors (float) or new widths "
        "(int).",
    )
    if not spaces.growable:
        reasons: dict[str, str | None] = {}
        for space in spaces:
            reasons.setdefault(space.name, space.reason)
        raise NotGrowableError(
            f"no space of this model can grow: {reasons}. Print net2net.spaces(model, inputs)."
        )
    factor = float(min(widths, LARGEST + 1))  # the largest integers are no floats
    grown = [_by_factor(space, factor, ALL, every) for space in spaces.growable]
    return [one for one in grown if one.new != one.space.size or one.note]


def multiples(
    spaces: Spaces, inference: Inference, model: nn.Module, multiple_of: MultipleOf
) -> dict[str, int]:
    """For spaces by name, what their sizes are to be multiples of."""
    asked = multiple_of if isinstance(multiple_of, Mapping) else {"": multiple_of}
    for glob, multiple in asked.items():
        if type(multiple) is not int or not 1 <= multiple <= LARGEST:
            raise WidthError(
                f"multiple_of is {multiple!r:.40}{f' for {glob!r}' if glob else ''}. "
                "Give a positive integer, or a dict of module globs to such."
            )
    if not isinstance(multiple_of, Mapping):
        return {space.name: multiple_of for space in spaces}
    return {
        space.name: multiple
        for glob, multiple in asked.items()
        for _, found in named(spaces, inference, model, glob)
        for _, space in found
    }


def _chosen(
    spaces: Spaces, inference: Inference, model: nn.Module, widths: Mapping[str, float | int],
    multiples: Mapping[str, int],
) -> list[SpaceGrowth]:  # fmt: skip
    result: dict[str, SpaceGrowth] = {}
    for glob, width in widths.items():
        hits = 0
        refused: dict[str, str] = {}
        for path, found in named(spaces, inference, model, glob):
            for now, space in found:
                mixed = _MIXED if now.staying == now.size else None
                if (reason := space.reason or mixed) is not None:
                    if _as_it_is(width, now):
                        hits += 1
                        continue
                    refused.setdefault(path, reason)
                    continue
                hits += 1
                asked = width
                if isinstance(width, float) and len({now.staying for now, _ in found}) > 1:
                    asked = round(width * now.size)  # of one number, though of several factors
                one = _grow(space, now, path, glob, asked, multiples)
                before = result.get(space.name)
                if before is not None and before.new != one.new:
                    raise WidthError(
                        f"'{glob}' asks {one.new} of space '{space.name}', but '{before.asked}' "
                        f"asks {before.new}. They are tied, so give them one width."
                    )
                result[space.name] = one
        if not hits and not _attributes_stay(inference, model, glob, width):
            refused = refused or why_attributes_stay(inference, model, glob)
            why = "; ".join(f"'{path}': {reason}" for path, reason in list(refused.items())[:3])
            counts = named_attributes(inference, model, glob)
            none = "it counts no units" if counts else "no parameter of it makes units"
            raise NotGrowableError(
                f"'{glob}' makes no space that can grow"
                + (f" ({why})." if why else f": {none}.")
                + " Print net2net.spaces(model, inputs) to see what can."
            )
    return [one for one in result.values() if one.new != one.space.size or one.note]


def _attributes_stay(inference: Inference, model: nn.Module, glob: str, width: float | int) -> bool:
    """Whether a glob names attributes, and all are to be what they are."""
    origins = named_attributes(inference, model, glob).values()
    values = [get_attribute(model.get_submodule(path), name) for path, name in origins]
    return bool(values) and all(_as_it_is(width, Width(value, 0)) for value in values)


def _as_it_is(width: float | int, now: Width) -> bool:
    """Whether nothing is to grow."""
    return width == (1.0 if isinstance(width, float) else now.size)


def _grow(
    space: Space, named: Width, path: str, glob: str, width: float | int,
    multiples: Mapping[str, int],
) -> SpaceGrowth:  # fmt: skip
    """``named``: the width of ``path``, which makes the space or counts it."""
    width = _number(
        width, f"the width of '{glob}' is a {{}}. Give a factor (float) or a new width (int)."
    )
    if isinstance(width, float):
        return _by_factor(space, width, glob, multiples)
    now, growing = named.size, named.size - named.staying
    if width < now:
        raise WidthError(
            f"'{path}' is {now} wide, and {width} is smaller. "
            f"Net2Net only grows: give {now} or more."
        )
    step = space.step * growing // math.gcd(space.step * growing, space.size)
    if (width - now) % step:
        below = now + (width - now) // step * step
        why = space.equal_copies or space.runs or "its units are bundled"
        loose = " Or pass exact=False." if space.step > space.units_step else ""
        raise WidthError(
            f"'{path}' is {now} wide and grows in steps of {step} ({why}), so {width} "
            f"cannot be had. The admissible neighbours are {below} and {below + step}.{loose}"
        )
    new = (width - named.staying) * space.size // growing
    partly = named.staying > 0 and width > now
    note = f"'{path}' is {width} wide with the {named.staying} that stay" if partly else ""
    _check_largest(space, new)
    return SpaceGrowth(space, new, glob, note, wanted=new, named=named)


def _number(given: Any, message: str) -> float | int:
    """A factor, or an integer, be it one that numpy or torch computed.

    Raises:
        WidthError: it is neither; ``{}`` stands for its type.
    """
    if isinstance(given, float | np.floating):
        return float(given)
    if not isinstance(given, bool | np.bool_):
        with suppress(TypeError):
            return index(given)
    raise WidthError(message.format(type(given).__name__))


def _by_factor(
    space: Space, factor: float, asked: str, multiples: Mapping[str, int]
) -> SpaceGrowth:
    if not math.isfinite(factor) or factor < 1:
        raise WidthError(
            f"the factor {factor} for '{space.name}' is smaller than 1. Net2Net only grows."
        )
    multiple = multiples.get(space.name, 1)
    if not (wanted := space.size * factor) % math.lcm(space.size, space.units_step, multiple):
        _check_largest(space, int(wanted))  # at whole multiples copies will do
        return SpaceGrowth(space, int(wanted), asked, "", wanted=wanted, multiple=multiple)
    step = math.lcm(space.step, multiple) if factor > 1 else space.step
    new = max(math.floor(space.size / step * factor + 0.5) * step, space.size)
    _check_largest(space, new)
    note = ""
    if new != round(space.size * factor) or (new == space.size and factor > 1):
        why = space.equal_copies or f"grows in steps of {space.step}"
        why += f", for {space.runs}" if space.runs else ""
        if step != space.step:
            why = f"a multiple of {multiple} was asked for" + (
                f", and it grows in steps of {space.step}" if space.step > 1 else ""
            )
        note = f"nearest admissible to {space.size * factor:g}: {why}"
    return SpaceGrowth(space, new, asked, note, wanted=space.size * factor, multiple=multiple)


def _check_largest(space: Space, new: int) -> None:
    """Raises:
    WidthError: nobody means a width like this, and the analysis alone would not fit in memory.
    """
    if new > LARGEST:
        raise WidthError(
            f"'{space.name}' would be more than {LARGEST:,} wide, and no layer is. "
            "Give a smaller factor or width."
        )


def told(grown: Sequence[SpaceGrowth]) -> str:
    """The first spaces that grow, with their sizes: ``'a' 8 → 16 and 2 more``."""
    moving = [one for one in grown if one.new != one.space.size]
    widths = ", ".join(f"'{one.space.name}' {one.space.size} → {one.new}" for one in moving[:3])
    return widths + (f" and {len(moving) - 3} more" if len(moving) > 3 else "")


def new_shapes(inference: Inference, grown: list[SpaceGrowth]) -> dict[str, tuple[int, ...]]:
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
    spaces: Spaces, inference: Inference, grown: list[SpaceGrowth]
) -> list[tuple[str, str, int, int]]:
    """Integers of the code that count units: module, attribute, value before, value after."""
    ratios = [Fraction(1), *(one.ratio for one in grown)]
    which = np.zeros(len(inference.component), dtype=np.int64)  # component → its ratio's number
    for number, one in enumerate(grown, start=1):
        for group in one.space.groups:
            which[group.components] = number

    def grown_size(units: UnitIds) -> Fraction:
        known = inference.component[units[units != NO_UNIT]]
        counts = np.bincount(which[known], minlength=1).tolist()
        counts[0] += len(units) - len(known)
        return sum((ratios[i] * n for i, n in enumerate(counts) if n), Fraction(0))

    result = [
        (path, attribute, old, new)
        for (path, attribute), (old, new) in new_values(
            inference, spaces.size_uses, grown_size
        ).items()
    ]
    for count in inference.counts:
        old, new = len(count.ids), int(grown_size(count.ids))
        if new != old:
            result.append((count.path, count.argument, old, new))
    return list(dict.fromkeys(result))
