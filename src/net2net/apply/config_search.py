"""The search for numbers of a configuration under which its class builds given sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from net2net.apply.attributes import get_attribute
from net2net.apply.builds import Sizes, build, refusal, sizes_of

_BUILDS = 60
"""How many models a descent may ask for: each takes longer than all else here."""

_PROBE = 2
"""What a field is set to that says nothing yet."""

_GUESSES = 8
"""How many numbers are tried as what it stands for."""


@dataclass(frozen=True)
class _Step:
    """Numbers, the sizes that they make, and those of them that the last change touches."""

    values: dict[str, int]
    sizes: Sizes
    touched: set[str]


class Search:
    """Change one integer at a time, each so that more sizes fit; where that leads nowhere, go back
    and take the next best change."""

    def __init__(
        self, kind: type[nn.Module], config: Any, wanted: Sizes, read: set[tuple[str, str]], *,
        checked: bool = True,
    ) -> None:  # fmt: skip
        """``checked``: only configurations that their class does not refuse when it loads them."""
        self.kind, self.config, self.wanted, self.read = kind, config, wanted, read
        self.checked = checked
        self._tried: dict[frozenset[tuple[str, int]], Sizes | None] = {}
        self._asked: set[frozenset[tuple[str, int]]] = set()
        self._others: list[Search] = []

    def sizes(self, values: Mapping[str, int]) -> Sizes | None:
        """The sizes that the class is built with; None if it is not, or has other tensors."""
        key = frozenset(values.items())
        self._asked.add(key)
        if key not in self._tried:
            built = build(self.kind, self.config, values, checked=self.checked)
            sizes = sizes_of(built, self.read)
            same = sizes is not None and sizes.keys() == self.wanted.keys()
            self._tried[key] = sizes if same else None
        return self._tried[key]

    def refused(self) -> bool:
        """Whether some of what was tried is not loaded, though it might be built."""
        missing = (dict(key) for key, sizes in self._tried.items() if sizes is None)
        return any(refusal(self.config, values) is not None for values in missing) or any(
            other.refused() for other in self._others
        )

    def unchecked(self) -> Search:
        """The same, with configurations that are not loaded as well."""
        other = Search(self.kind, self.config, self.wanted, self.read, checked=False)
        other._tried |= {key: sizes for key, sizes in self._tried.items() if sizes is not None}
        return other

    def of(self, config: Any, wanted: Sizes) -> Search:
        """The same for another configuration."""
        other = Search(self.kind, config, wanted, self.read, checked=self.checked)
        self._others.append(other)
        return other

    def built(self, config: Any) -> Sizes | None:
        """The sizes that the class is built with from another configuration."""
        return sizes_of(build(self.kind, config, {}, checked=self.checked), self.read)

    def run(self, said: Sequence[str], unsaid: Sequence[str]) -> dict[str, int]:
        """``said``: fields that are numbers; ``unsaid``: those that may become one, looked at where
        the others do not suffice."""
        before = self.sizes({})
        if before is None or before == self.wanted:
            return {}
        probes = self.numbers(said, before)
        values, fits = self._descend({}, before, probes)
        if not fits:
            implied, opened = self.implied(unsaid, said, before)
            if self.sizes(implied) == before:
                more, fits = self._descend(implied, before, {**probes, **opened})
                values = self._without_idle(more, implied) if fits else values
        if not fits and self._touch_all(probes, before):
            more, fits = self._descend({}, before, probes, together=True)
            values = more if fits else values
        return {
            name: new for name, new in values.items() if new != get_attribute(self.config, name)
        }

    def numbers(self, names: Sequence[str], now: Sizes) -> dict[tuple[str, ...], set[str]]:
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

    def implied(
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

    def _touch_all(self, probes: Mapping[tuple[str, ...], set[str]], now: Sizes) -> bool:
        """Whether each size that does not fit yet changes with some number."""
        return self._wrong(now) <= set().union(*probes.values())

    def _wrong(self, now: Sizes) -> set[str]:
        """The sizes that do not fit."""
        return {key for key, size in now.items() if size != self.wanted[key]}

    def _now(self, name: str, values: Mapping[str, int]) -> int:
        return int(values.get(name, get_attribute(self.config, name)))

    def _descend(
        self, values: dict[str, int], now: Sizes, probes: Mapping[tuple[str, ...], set[str]], *,
        together: bool = False,
    ) -> tuple[dict[str, int], bool]:  # fmt: skip
        """The first values under which every size fits; else those of the first dead end.
        ``together``: two numbers may change at once."""
        path = [_Step(values, now, set())]
        been: set[frozenset[tuple[str, int]]] = set()
        dead_end: dict[str, int] | None = None
        limit, reachable = len(self._asked) + _BUILDS, self._touch_all(probes, now)
        while path and len(self._asked) < limit:
            values, now = path[-1].values, path[-1].sizes
            if now == self.wanted:
                return values, True
            step = self._best(values, now, probes, been)
            if step is None and together:
                step = self._best(values, now, probes, been, together=True)
            if step is None:
                dead_end = values if dead_end is None else dead_end
                if not reachable:
                    break
                wrong = self._wrong(now)
                while path and not path.pop().touched & wrong:
                    pass  # another number there would make none of these fit
                continue
            been.add(frozenset(step.values.items()))
            path.append(step)
        return dead_end or values, False

    def _best(
        self, values: dict[str, int], now: Sizes, probes: Mapping[tuple[str, ...], set[str]],
        been: set[frozenset[tuple[str, int]]], *, together: bool = False,
    ) -> _Step | None:  # fmt: skip
        """The change after which most sizes fit; one that leaves what fits is better than any that
        does not. Not to where the search has ``been``. ``together``: with another number in the
        same proportion, which one of its own would not build, or would change what fits (a width,
        and the heads that divide it)."""
        wrong = self._wrong(now)
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
                left = self._wrong(sizes)
                gain = len(wrong) - len(left)
                if gain > 0 and (left <= wrong, gain) > most:
                    other = {key for key in now if sizes[key] != now[key]}
                    best, most = _Step(changed, sizes, touched | other), (left <= wrong, gain)
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
