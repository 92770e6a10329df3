"""From a model with MLPs to one that has a mixture of experts in place of each, built by the user.

Every expert is a copy of the MLP (Komatsuzaki et al., 2023). How experts hold it (one tensor for
all, projections joined, transposed) is tried: a layout is right if the student's part, run alone on
what the teacher's gets, returns a number times what that does. Where the best experts' weights sum
to one, the number is 1, whatever the router holds. Else there is one only if all experts are chosen
with equal weights: so the router is zero, and a projection makes up for the number. A router that
begins near zero makes weights that are nearly equal, and an expert beside the others next to
nothing, so others are tried in their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, permutations
from typing import Any

import torch
from torch import Tensor, nn

from net2net.apply.module import with_tensors
from net2net.errors import TransferError
from net2net.recipe.fill import Constant
from net2net.recipe.recipe import Recipe
from net2net.recipe.stacked import Stacked
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs, tensors_of
from net2net.verify import run_copy

Layout = Mapping[str, Stacked]
"""Tensors of a mixture → how they hold those of an MLP, under the names inside both."""

OTHERS = (0.01, 1.0, 100.0)
"""Deviations of what is tried in place of the student's own: of routers that choose all experts
alike, by their inputs, and always the same."""

SMALL = 0.03
"""A difference that rounding of any type stays below, and no wrong layout."""


@dataclass(frozen=True, eq=False)
class Upcycled:
    """How a student is made whose experts are copies of the teacher's MLPs.

    Attributes:
        recipes: for every tensor of the student.
        paths: of the mixtures.
        notes: what to say of them.
    """

    recipes: dict[str, Recipe]
    paths: tuple[str, ...]
    notes: tuple[str, ...]


def mixtures(teacher: nn.Module, student: nn.Module) -> tuple[str, ...]:
    """Where the student has experts and the teacher has none, if they are the same elsewhere."""
    old, new = (dict(named_tensors(model)) for model in (teacher, student))
    places = [
        {_common(name, teacher, student) for name in one.keys() - other.keys()}
        for one, other in ((old, new), (new, old))
    ]
    if not places[0] or places[0] != places[1] or "" in places[0]:
        return ()
    inside = tuple(f"{path}." for path in places[0])
    same = all(
        tensor.shape == new[name].shape or not tensor.is_floating_point()
        for name, tensor in old.items()
        if not name.startswith(inside)
    )
    if not same or not all(_holds_more(old, new, path) for path in inside):
        return ()
    return tuple(sorted(places[0]))


def _common(name: str, teacher: nn.Module, student: nn.Module) -> str:
    """The innermost module that both have around a tensor."""
    both = {path for path, _ in teacher.named_modules()} & {p for p, _ in student.named_modules()}
    path = name.rpartition(".")[0]
    while path not in both:
        path = path.rpartition(".")[0]
    return path


def _holds_more(old: Mapping[str, Tensor], new: Mapping[str, Tensor], inside: str) -> bool:
    """Whether the student has experts here, by sizes: tensors of more axes, or more of them, that
    hold what the teacher's do at least twice."""
    theirs, ours = (
        [tensor for name, tensor in one.items() if name.startswith(inside)] for one in (old, new)
    )
    deepest, deep = (max(tensor.ndim for tensor in some) for some in (ours, theirs))
    more = deepest > deep or len(ours) > len(theirs)
    return more and sum(t.numel() for t in ours) >= 2 * sum(t.numel() for t in theirs)


def upcycled(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, paths: Sequence[str], noise: float
) -> Upcycled:
    """The recipes.

    Raises:
        TransferError: no layout makes the student's part return what the teacher's does.
    """
    if any(tensor.is_meta for model in (teacher, student) for _, tensor in named_tensors(model)):
        raise TransferError(
            f"the student's '{paths[0]}' has experts in place of the teacher's layers, and how "
            "they hold these is tried, which takes values. Build both on a real device."
        )
    seen = _calls(teacher, inputs, paths)
    old = {name: tensor.detach() for name, tensor in named_tensors(teacher)}
    recipes = {name: Recipe(name if name in old else None) for name, _ in named_tensors(student)}
    notes = []
    layout: Layout | None = None
    zeroed: frozenset[str] = frozenset()
    for path in paths:
        trial = _Trial.of(teacher, student, path, seen[path])
        if layout is None or not trial.fits(layout, zeroed):
            layout, zeroed = trial.search()
        for name, tensor in trial.tensors.items():
            one = layout.get(name)
            if one is not None:
                named = tuple(f"{path}.{part}" for part in one.parts)
                stacked = replace(one, parts=named, noise=noise)
                recipes[f"{path}.{name}"] = Recipe(None, stacked=stacked)
            elif name in zeroed:
                recipes[f"{path}.{name}"] = Recipe(None, fill=Constant(0.0))
            elif f"{path}.{name}" in old and old[f"{path}.{name}"].shape != tensor.shape:
                recipes[f"{path}.{name}"] = Recipe(None)
        scales = {one.scale for one in layout.values()} - {1.0}
        held = f"; a projection is multiplied by {scales.pop():g}" if scales else ""
        rest = sorted(trial.tensors.keys() - layout.keys())
        router = "zero" if zeroed else "the student's own"
        notes.append(
            f"every expert of '{path}' is a copy of the teacher's layers{held}; {router}: "
            f"{', '.join(rest)}"
        )
    return Upcycled(recipes, tuple(paths), tuple(notes))


def _calls(model: nn.Module, inputs: Inputs, paths: Sequence[str]) -> dict[str, Any]:
    """What parts of the model get (positional, keywords) and return, the first time."""
    seen: dict[str, Any] = {}

    def watch(path: str) -> Any:
        def hook(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            seen.setdefault(path, (args, kwargs, output))

        return hook

    def prepare(copy: nn.Module) -> None:
        for path in paths:
            copy.get_submodule(path).register_forward_hook(watch(path), with_kwargs=True)

    run_copy(model, inputs, None, prepare)
    return seen


@dataclass(frozen=True, eq=False)
class _Trial:
    """A mixture of the student's, and the layers that it stands for: tensors of both by name, and
    what the layers get and return."""

    path: str
    part: nn.Module
    tensors: Mapping[str, Tensor]
    theirs: Mapping[str, Tensor]
    args: Any
    kwargs: Any
    wanted: Tensor

    @classmethod
    def of(cls, teacher: nn.Module, student: nn.Module, path: str, seen: Any) -> _Trial:
        args, kwargs, output = seen
        old, new = (one.get_submodule(path) for one in (teacher, student))
        theirs = {name: tensor.detach() for name, tensor in named_tensors(old)}
        first = next(tensor for tensor in theirs.values() if tensor.is_floating_point())
        part = with_tensors(new, {}).eval().to(first.device, first.dtype)
        wanted = tensors_of(output)[0][1]
        return cls(path, part, dict(named_tensors(part)), theirs, args, kwargs, wanted)

    def search(self) -> tuple[Layout, frozenset[str]]:
        """The first layout that fits, and what has to be zero for that."""
        for layout in self._layouts():
            for zeroed in (frozenset[str](), self._router(layout)):
                factor = self._number(layout, zeroed)
                if factor is None:
                    continue
                if factor == 1:
                    return layout, zeroed
                kinds = list(dict.fromkeys(_kind(name) for name in reversed(layout)))
                for some in [*combinations(kinds, 1), *combinations(kinds, 2)]:
                    scaled = {
                        name: replace(one, scale=1 / factor) if _kind(name) in some else one
                        for name, one in layout.items()
                    }
                    if self._number(scaled, zeroed) == 1:
                        return scaled, zeroed
        raise TransferError(
            f"no experts in the student's '{self.path}' hold what the teacher's layers there do. "
            "Build experts of the teacher's kind and width, without shared ones beside them."
        )

    def _router(self, layout: Layout) -> frozenset[str]:
        """What else has a number for every expert."""
        experts = {one.copies or _experts(name, layout) for name, one in layout.items()}
        return frozenset(
            name
            for name, tensor in self.tensors.items()
            if name not in layout
            and tensor.is_floating_point()
            and not experts.isdisjoint(tensor.shape)
        )

    def fits(self, layout: Layout, zeroed: frozenset[str]) -> bool:
        same = layout.keys() <= self.tensors.keys() and zeroed <= self.tensors.keys()
        return same and self._number(layout, zeroed) == 1

    def _number(self, layout: Layout, zeroed: frozenset[str]) -> float | None:
        """What the mixture returns, divided by what the layers do; None: that is no one number, or
        another for other values of what the student has there of its own."""
        zeros = dict.fromkeys(zeroed, 0.0)
        found = self._factor(layout, zeros)
        own = [
            name
            for name, tensor in self.tensors.items()
            if not (name in layout or name in zeroed or _is_one_number(tensor))
        ]
        if found is None or not own:
            return found
        others = (self._factor(layout, zeros | dict.fromkeys(own, size)) for size in OTHERS)
        return found if all(other == found for other in others) else None

    def _factor(self, layout: Layout, drawn: Mapping[str, float]) -> float | None:
        """The same, of tensors that are drawn with these deviations."""
        rng = torch.Generator().manual_seed(0)
        tensors = {
            name: (torch.randn(self.tensors[name].shape, generator=rng) * deviation).to(
                self.tensors[name]
            )
            for name, deviation in drawn.items()
        }
        for name, one in layout.items():
            made = one.joined([self.theirs[part] for part in one.parts])
            tensors[name] = made.expand(self.tensors[name].shape).clone()
        part = with_tensors(self.part, tensors)
        with torch.no_grad():
            try:
                made = tensors_of(part(*self.args, **self.kwargs))[0][1]
            except (RuntimeError, IndexError, ValueError):
                return None
        a, b = made.double(), self.wanted.double()
        if a.shape != b.shape or not b.any():
            return None
        factor = float((a * b).sum() / b.square().sum())
        if not factor > 0 or (a - factor * b).norm() > SMALL * factor * b.norm():
            return None
        near = Fraction(factor).limit_denominator(1024)
        return float(near) if abs(near - factor) < 0.01 * factor else None

    def _layouts(self) -> Iterator[dict[str, Stacked]]:
        """All ways in which tensors of the mixture can hold all of the layers, each once."""
        kinds: dict[str, list[str]] = {}  # those of one expert after the other are alike
        for name, tensor in self.tensors.items():
            if tensor.is_floating_point():
                kinds.setdefault(_kind(name), []).append(name)
        yield from self._rest(list(kinds.values()), frozenset(self.theirs), {})

    def _rest(
        self, kinds: Sequence[list[str]], left: frozenset[str], known: dict[str, Stacked]
    ) -> Iterator[dict[str, Stacked]]:
        if not left:
            yield known
        if not left or not kinds:
            return
        names, *others = kinds
        tensor = self.tensors[names[0]]
        for one in self._holding(tensor, left, alone=len(names) > 1):
            more = {name: replace(one, first=name == names[0]) for name in names}
            yield from self._rest(others, left - set(one.parts), {**known, **more})
        yield from self._rest(others, left, known)

    def _holding(self, tensor: Tensor, left: frozenset[str], *, alone: bool) -> Iterator[Stacked]:
        """What a tensor may hold. ``alone``: it is of one of several experts."""
        copies, shape = (None, tensor.shape) if alone else (tensor.shape[0], tensor.shape[1:])
        names = sorted(left)
        for many in (1, 2):
            for parts in permutations(names, many):
                for one in _joins(parts, copies, [self.theirs[part].ndim for part in parts]):
                    found = [self.theirs[part] for part in parts]
                    try:
                        made = one.joined(found).shape
                    except (RuntimeError, IndexError):
                        continue
                    if made == shape:
                        yield one


def _joins(parts: tuple[str, ...], copies: int | None, axes: list[int]) -> Iterator[Stacked]:
    if len(set(axes)) > 1:
        return
    for transposed in (False, True) if axes[0] == 2 else (False,):
        for mixed in (False, True) if len(parts) > 1 else (False,):
            yield Stacked(parts, 0, mixed, transposed, copies)


def _kind(name: str) -> str:
    """The same for tensors of one expert after the other."""
    return re.sub(r"(^|\.)\d+(?=\.)", r"\1*", name)


def _is_one_number(tensor: Tensor) -> bool:
    """As shifts and scales begin, which do no harm; integers count."""
    return not tensor.is_floating_point() or bool((tensor == tensor.reshape(-1)[:1]).all())


def _experts(name: str, layout: Layout) -> int:
    """How many experts have a tensor of their own like this."""
    return sum(_kind(other) == _kind(name) for other in layout)
