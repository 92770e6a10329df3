"""The states of optimisers in a folder, grown tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor

from net2net.distributed.stored import Entry, Grown, Place, Stored, pickled
from net2net.errors import OptimizerError
from net2net.optim import own
from net2net.optim.carry import check_single
from net2net.optim.entries import FIRST, is_aligned, is_number
from net2net.optim.groups import grown_groups
from net2net.optim.state import Along, Policy, entry, sizes
from net2net.optim.states import Past, grown_states
from net2net.plan.plan import Plan

Entries = dict[Place, tuple[Entry, Callable[[], Entry]]]

WORD = re.compile(r"(state|param_groups)\.(.+)\.(\w+)")


class _Found(NamedTuple):
    """What of an optimiser's state dict is at a place: a ``part``, whose (a parameter's, or the
    number of a group), and under which ``key``. ``flat``: in one word."""

    at: Place
    flat: bool
    part: str
    whose: str | int
    key: str


@dataclass
class _Saved:
    """One optimiser in a folder: by parameter, or number of a group, what is where."""

    at: Place
    flat: bool
    states: dict[str, dict[str, Place]] = field(default_factory=dict)
    options: dict[str | int, dict[str, Place]] = field(default_factory=dict)

    def place(self, part: str, whose: str | int, key: str) -> Place:
        return (*self.at, *((f"{part}.{whose}.{key}",) if self.flat else (part, whose, key)))

    def trained(self, stored: Stored) -> list[list[str]]:
        """The names in each group; of a flat one, each is a group for itself."""
        if self.flat:
            return [[str(name)] for name in self.options or self.states]
        numbers = sorted(number for number in self.options if isinstance(number, int))
        return [stored.value(self.options[number]["params"]) for number in numbers]


def grown_optimizers(
    plan: Plan, stored: Stored, state: Policy, unknown: Literal["raise", "drop"],
    trained: Collection[str] | None = None,
) -> Grown:  # fmt: skip
    """Every optimiser in the folder that has the teacher's parameters.

    Args:
        trained: the student's parameters that are trained, of those that the plan makes anew.

    Raises:
        OptimizerError: its state cannot be grown, it has other parameters too, or which of the
            student's are trained is not known.
    """
    known = plan.first.teacher
    result = Grown()
    for saved in _saved(stored):
        groups = [[known.ties.get(n, n) for n in group] for group in saved.trained(stored)]
        names = [name for group in groups for name in group]
        if not set(names) & known.tensors.keys():
            continue  # of something else
        check_single(plan)
        _check(plan, stored, saved, names)
        new = [name for name in plan.recipes if own.origin(plan, name) is None]
        if new and trained is None:
            raise OptimizerError(
                f"the plan makes '{new[0]}' anew, and whether that is trained is not known without "
                "the model. Say which parameters are (trained=…), or load the model, and carry the "
                "optimiser over (net2net.distributed.carry)."
            )
        anew = [name for name in new if name in (trained or ())]
        one = _Growing(plan, stored, saved, groups, anew, state, unknown).grown()
        result = Grown(
            result.replaced | one.replaced, {**result.entries, **one.entries},
            {**result.young, **one.young},
        )  # fmt: skip
    return result


def _saved(stored: Stored) -> Iterator[_Saved]:
    result: dict[tuple[Place, bool], _Saved] = {}
    for place in stored.entries:
        if (found := _found(place)) is not None:
            one = result.setdefault((found.at, found.flat), _Saved(found.at, found.flat))
            held: Any = one.states if found.part == "state" else one.options
            held.setdefault(found.whose, {})[found.key] = place
    return (one for one in result.values() if one.flat or one.options)


def _found(place: Place) -> _Found | None:
    if len(place) >= 3 and place[-3] in {"state", "param_groups"}:
        return _Found(place[:-3], False, str(place[-3]), place[-2], str(place[-1]))
    if match := WORD.fullmatch(str(place[-1])):
        return _Found(place[:-1], True, match[1], match[2], match[3])
    return None


def _check(plan: Plan, stored: Stored, saved: _Saved, names: list[str]) -> None:
    known = plan.teacher.tensors
    wrong = ""
    if other := sorted({*names, *map(str, saved.states)} - {*known, *plan.teacher.ties}):
        wrong = f"'{other[0]}', which the plan's teacher has not"
    elif twice := sorted(name for name in names if names.count(name) > 1):
        wrong = f"'{twice[0]}' more than once"
    if wrong:
        raise OptimizerError(
            f"the optimiser in '{stored.folder}' has {wrong}. Give the plan of the model that it "
            "trained."
        )


class _Growing:
    """One optimiser."""

    def __init__(
        self, plan: Plan, stored: Stored, saved: _Saved, trained: list[list[str]],
        anew: list[str], state: Policy, unknown: Literal["raise", "drop"],
    ) -> None:  # fmt: skip
        self._plan, self._stored, self._saved = plan, stored, saved
        self._trained, self._anew = trained, anew
        self._state, self._unknown = state, unknown
        self._places: dict[int, Place] = {}
        self._promised: dict[int, Callable[[], Tensor]] = {}
        self._kept: list[Tensor] = []  # so that no two of them ever have one id
        self._past = self._read()

    def _read(self) -> Past:
        """Numbers, and tensors on ``meta``."""
        ties = self._plan.teacher.ties
        past: dict[str, tuple[torch.Size, dict[str, Any]]] = {}
        entries = self._stored.entries
        for name in (name for group in self._trained for name in group):
            past[name] = (torch.Size(self._plan.teacher.tensors[name].shape), {})
        counts = []
        for name, places in self._saved.states.items():
            held = past[ties.get(name, name)][1]
            for key, place in places.items():
                one = entries[place]
                if isinstance(one, Tensor):
                    held[key] = one
                    self._places[id(one)] = place
                    if one.ndim == 0:
                        counts.append((held, key, place))
                else:
                    held[key] = self._stored.value(place)
        values = self._stored.tensors([place for _, _, place in counts])
        for (held, key, _), value in zip(counts, values, strict=True):
            held[key] = value
        return past

    def grown(self) -> Grown:
        """What is there instead."""
        plan, saved = self._plan, self._saved
        axes = {
            name: len(plan.student.tensors[name].shape)
            for name in plan.recipes
            if own.origin(plan, name) in self._past or name in self._anew
        }
        past = self._past
        if self._state == "drop":
            past = {name: (shape, {}) for name, (shape, _) in past.items()}
        states, young = grown_states(plan, past, axes, self._state, self._unknown, self._promise)
        left = plan.teacher.tensors.keys() - self._past.keys()
        groups = grown_groups(plan, self._trained, axes, left)
        entries: Entries = {}
        for name in axes:
            for key, value in (states.get(name) or self._fresh(name)).items():
                entries[saved.place("state", name, key)] = self._entry(value)
        entries |= self._options(cast("list[list[str]]", groups))
        replaced = {place for one in saved.states.values() for place in one.values()}
        for one in saved.options.values():
            replaced |= set(one.values()) if saved.flat else {one["params"]}
        return Grown(frozenset(replaced), entries, young)

    def _promise(self, name: str, value: Tensor, along: Along) -> Tensor:
        """On ``meta``, with how it is made."""
        found = torch.empty(sizes(value, along), dtype=value.dtype, device="meta")
        place = self._places[id(value)]

        def make() -> Tensor:
            return entry(name, self._stored.tensors([place])[0], along)

        self._promised[id(found)] = make
        self._kept.append(found)
        return found

    def _fresh(self, name: str) -> Mapping[str, Any]:
        """What a parameter without a past has, in the form of what it was made from."""
        size = self._plan.student.tensors[name].shape
        shape, held = self._past[self._like(name, len(size))]
        result: dict[str, Any] = {}
        for key, value in held.items():
            if is_number(value):
                first = FIRST.get(key)
                result[key] = value if first is None else _like(value, first)
            elif is_aligned(value, shape):
                sizes = [
                    ours if one == its else one
                    for ours, its, one in zip(size, shape, value.shape, strict=True)
                ]
                zeros = torch.empty(sizes, dtype=value.dtype, device="meta")
                self._promised[id(zeros)] = partial(torch.zeros, zeros.shape, dtype=zeros.dtype)
                self._kept.append(zeros)
                result[key] = zeros
        return result

    def _like(self, name: str, axes: int) -> str:
        """The teacher's parameter whose state is like that of one of the student's: what it is made
        from, or one with as many axes."""
        if (origin := own.origin(self._plan, name)) is not None:
            return origin
        alike = (one for one, (shape, held) in self._past.items() if held and len(shape) == axes)
        return next(alike, next(iter(self._past)))

    def _entry(self, value: Any) -> tuple[Entry, Callable[[], Entry]]:
        if isinstance(value, Tensor):
            made = self._promised.get(id(value), lambda: value)
            return value.to("meta"), made
        return b"", partial(pickled, value)

    def _options(self, groups: list[list[str]]) -> Entries:
        saved = self._saved
        if not saved.flat:
            return {
                saved.place("param_groups", number, "params"): (b"", partial(pickled, group))
                for number, group in enumerate(groups)
            }
        homes = own.homes(self._plan)
        result: Entries = {}
        for (old,), group in zip(self._trained, groups, strict=True):
            for name in group or [homes.get(old, old)]:
                for key, place in saved.options.get(old, {}).items():
                    one = self._stored.entries[place]
                    assert not isinstance(one, Tensor)
                    result[saved.place("param_groups", name, key)] = (
                        b"", partial(self._stored.bytes, place),
                    )  # fmt: skip
        return result


def _like(value: Any, number: float) -> Any:
    return torch.full_like(value, number) if isinstance(value, Tensor) else type(value)(number)
