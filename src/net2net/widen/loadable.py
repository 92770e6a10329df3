"""Widths that a configuration can say: the nearest to those asked for.

A configuration has few numbers for many sizes, and some of them divide others. So its numbers are
changed, and what its class builds then tells the widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import lcm, log

from net2net.apply.attributes import get_attribute
from net2net.apply.builds import Sizes
from net2net.apply.configs import Builder, builders
from net2net.errors import WidthError
from net2net.infer.spaces import Space
from net2net.plan.widths import SpaceGrowth, multiples, new_shapes, told
from net2net.widen.attempt import Attempt, Wider

_UNMET = 1e3
"""The distance of an integer that was asked for and is not had."""
_LESS = 1e-9
"""What is nearer by no more than that is not nearer."""

Number = tuple[int, str]
"""A number of a configuration: whose, and its name."""

Values = Mapping[Number, int]

Said = tuple[Values, list[SpaceGrowth]]
"""What configurations say, and the widths that come of it."""


def sayable(
    attempt: Attempt, found: Sequence[Builder], grown: list[SpaceGrowth]
) -> tuple[list[SpaceGrowth], dict[str, dict[str, int]]]:
    """The widths nearest to these that the model's configurations can say, and the numbers that say
    them, by path and name. ``found``: of the model.

    Raises:
        WidthError: there are none, or not those that integers ask for.
    """
    said = _Search(attempt, found, grown).nearest()
    if said is None:
        free = [replace(one, named=None) for one in grown]
        others = _Search(attempt, found, free).nearest()
        near = f" Near them it can say {told(others[0])}." if others else ""
        raise WidthError(
            f"no config of {type(attempt.base).__name__} can say these widths ({told(grown)})."
            f"{near} Without loadable=True the student loads by its state dict only."
        )
    return said


def check_loads(wider: Wider) -> Wider:
    """The same.

    Raises:
        WidthError: no configuration that was found builds it.
    """
    if not wider.loads:
        raise WidthError(
            f"no config was found that builds the student ({told(wider.grown)}). "
            "Ask for other widths, or leave loadable out: it loads by its state dict only."
        )
    return wider


def configured(attempt: Attempt) -> list[Builder]:
    """What is built from configurations.

    Raises:
        WidthError: the model is none that its class builds so.
    """
    found = builders(attempt.base, attempt.teacher.traces[0])
    if not found or any(one.before is None for one in found):
        raise WidthError(
            f"loadable=True, but {type(attempt.base).__name__} has no config from which its class "
            "builds it. Leave loadable out: a saved student loads by its state dict."
        )
    return found


class _Search:
    """Numbers change so that the widths come nearer: one at a time, or with one more in the same
    proportion (a width, and the heads that divide it); else all that can be."""

    def __init__(
        self, attempt: Attempt, found: Sequence[Builder], grown: Sequence[SpaceGrowth]
    ) -> None:
        self.attempt, self.builders = attempt, found
        self.asked = {one.space.name: one for one in grown}
        self.multiples = multiples(
            attempt.spaces, attempt.teacher, attempt.base, attempt.request.multiple_of
        )
        self.before = self._sizes({}) or {}
        owner = {str(axis): one.space.name for one in grown for axis in one.space.axes}
        self.numbers: dict[tuple[Number, ...], set[str]] = {}
        """Those that change as one → the spaces asked for that they touch; numbers that touch other
        tensors alone are none of these, what code counts by alone is (heads)."""
        for at, one in enumerate(self.builders):
            for names, touched in [*one.said.items(), *one.unsaid.items()]:
                tensors = {_whole(one, key) for key in touched if "[" in key}
                if tensors & owner.keys() or (touched and not tensors):
                    same = tuple((at, name) for name in names)
                    self.numbers[same] = {owner[key] for key in tensors & owner.keys()}

    def nearest(self) -> tuple[list[SpaceGrowth], dict[str, dict[str, int]]] | None:
        """What ``sayable`` returns; None if no widths are more, or integers are not what was asked
        for."""
        implied = {
            (at, name): value
            for at, one in enumerate(self.builders)
            for name, value in one.implied.items()
        }
        values, found = self._descend({})
        if implied and self._distance(found) > _LESS:
            more, others = self._descend(implied)
            if self._distance(others) < self._distance(found) - _LESS:
                values, found = self._without_idle(more, implied), others
        if self._distance(found) >= _UNMET or all(one.new == one.space.size for one in found):
            return None
        numbers: dict[str, dict[str, int]] = {one.path: {} for one in self.builders}
        for (at, name), value in values.items():
            if value != get_attribute(self.builders[at].config, name):
                numbers[self.builders[at].path][name] = value
        return [self._noted(one) for one in found], numbers

    def _without_idle(self, values: Values, implied: Values) -> Values:
        """Fields that need not say anything do not."""
        sizes = self._sizes(values)
        for name in implied:
            fewer = {key: value for key, value in values.items() if key != name}
            values = fewer if self._sizes(fewer) == sizes else values
        return values

    def _descend(self, values: Values) -> Said:
        now: Said = values, self._growth(values) or list(self.asked.values())
        while True:
            for moves in (self._moves, self._moves_of_all):
                tried = [(v, g) for v in moves(*now) if (g := self._growth(v))]
                best = min(tried, key=lambda one: self._distance(one[1]), default=now)
                if self._distance(best[1]) < self._distance(now[1]) - _LESS:
                    now = best
                    break
            else:
                return now

    def _moves(self, values: Values, grown: list[SpaceGrowth]) -> Iterator[Values]:
        for lead, value, new in self._leads(values, grown):
            changed = {**values, **dict.fromkeys(lead, new)}
            yield changed
            for other, old in self._others(lead, values):
                if not old * new % value and (not old % value or not value % old):
                    yield {**changed, **dict.fromkeys(other, old * new // value)}

    def _moves_of_all(self, values: Values, grown: list[SpaceGrowth]) -> Iterator[Values]:
        for lead, value, new in self._leads(values, grown):
            every = {
                name: old * new // value
                for other, old in self._others(lead, values)
                for name in other
                if not old * new % value
            }
            yield {**values, **every, **dict.fromkeys(lead, new)}

    def _leads(
        self, values: Values, grown: list[SpaceGrowth]
    ) -> Iterator[tuple[tuple[Number, ...], int, int]]:
        """Numbers that some space asked for depends on, and what they are and may become."""
        for lead, spaces in self.numbers.items():
            goals = {one.wanted / one.new for one in grown if one.space.name in spaces}
            if (value := self._value(lead[0], values)) is not None:
                for new in self._candidates(value, goals, values):
                    yield lead, value, new

    def _others(
        self, lead: tuple[Number, ...], values: Values
    ) -> Iterator[tuple[tuple[Number, ...], int]]:
        for other in self.numbers:
            if other != lead and (old := self._value(other[0], values)) is not None:
                yield other, old

    def _candidates(self, value: int, goals: set[float], values: Values) -> list[int]:
        """What a number may become so that sizes change as these goals say: the nearest, also of
        those that have the divisors that it has among the numbers."""
        others = {self._value(names[0], values) for names in self.numbers}
        divisors = {b for b in others if b is not None and not value % b}
        found: dict[int, None] = {}
        for goal in goals:
            for step in {1, *divisors, *(value // b for b in divisors)}:
                low = int(value * goal / step) * step
                found |= dict.fromkeys(x for x in (low, low + step) if x > 0 and x != value)
        return list(found)

    def _value(self, number: Number, values: Values) -> int | None:
        at, name = number
        return values.get(number) or self.builders[at].number(name)

    def _sizes(self, values: Values) -> Sizes | None:
        """Of all that has a configuration, by their names in the whole model."""
        found: Sizes = {}
        for at, one in enumerate(self.builders):
            built = one.sizes({name: value for (of, name), value in values.items() if of == at})
            if built is None:
                return None
            found |= {_whole(one, key): size for key, size in built.items()}
        return found

    def _growth(self, values: Values) -> list[SpaceGrowth] | None:
        """The widths that these numbers say; None if no student has them."""
        sizes = self._sizes(values)
        if sizes is None:
            return None
        grown = []
        for one in self.asked.values():
            new = self._new_size(one.space, sizes)
            if new is None:
                return None
            grown.append(replace(one, new=new))
        return grown if self._of(grown) == sizes else None

    def _new_size(self, space: Space, sizes: Sizes) -> int | None:
        """None: it is narrower, or between steps."""
        along = [axis for axis in space.axes if str(axis) in self.before]
        made = [axis for axis in along if axis in self.attempt.teacher.makers]
        if not along:
            return None
        axis = (made or along)[0]
        more = (sizes[str(axis)] - self.before[str(axis)]) * space.size
        new, rest = divmod(more, space.axes[axis])
        step = lcm(space.step, self.multiples.get(space.name, 1)) if new else 1
        admissible = not rest and new >= 0 and not new % space.step
        return space.size + new if admissible and not (space.size + new) % step else None

    def _of(self, grown: list[SpaceGrowth]) -> Sizes:
        """The sizes of the student of these widths."""
        shapes = new_shapes(self.attempt.teacher, grown)
        found = {
            f"{name}[{axis}]": size
            for name, shape in shapes.items()
            for axis, size in enumerate(shape)
        }
        found |= {f"{edit.path}.{edit.name}": edit.value for edit in self.attempt.integers(grown)}
        return {key: found.get(key, size) for key, size in self.before.items()}

    def _distance(self, grown: Sequence[SpaceGrowth]) -> float:
        return sum(
            abs(log(one.new / one.wanted)) + _UNMET * (one.exact and one.new != round(one.wanted))
            for one in grown
        )

    def _noted(self, one: SpaceGrowth) -> SpaceGrowth:
        if one.new == self.asked[one.space.name].new:
            return self.asked[one.space.name]
        return replace(one, note=f"nearest to {one.wanted:g} that a config can say")


def _whole(one: Builder, key: str) -> str:
    """A size of a module by its name in the whole model."""
    return f"{one.path}.{key.removeprefix('.')}" if one.path else key
