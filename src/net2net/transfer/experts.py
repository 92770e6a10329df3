"""More experts: the student has copies of all of the teacher's.

Experts are told apart by number, and which of them run the hidden values say. So the student is
brought together with the teacher as if it had as many: the first ones, in lists and along the axes
of tensors, with the teacher's numbers of those that are taken. Then the others are made copies.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from net2net.apply.attributes import SetAttribute, get_attribute, set_attributes
from net2net.infer.inference import Inference
from net2net.infer.units import Axis
from net2net.plan.choices import Choice
from net2net.plan.feasible import pattern
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Trace
from net2net.transfer.longer import Longer, shorten
from net2net.transfer.stacks import is_stack, join


@dataclass(frozen=True)
class Experts:
    """Modules of the student (their path without its numbers) that hold ``new`` experts, where the
    teacher's hold ``old``, and a choice among them. ``lists``: paths of stacks of experts."""

    place: str
    old: int
    new: int
    lists: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether something lies inside them."""
        return _inside(pattern(name), self.place)


def more_experts(student: nn.Module, teacher: nn.Module, chosen: Sequence[Choice]) -> list[Experts]:
    """Where the student has more experts, by choices of which it makes more: the innermost modules
    around a choice that hold as many more layers, or more in a tensor for all."""
    found: list[tuple[str, bool, Experts]] = []
    for one in chosen:
        if one.adds:
            continue
        parts = one.place.split(".") if one.place else []
        places = [".".join(parts[:end]) for end in range(len(parts), -1, -1)]
        lists = {place: _lists(student, teacher, one, place) for place in places}
        tensors = {place: _tensors(student, teacher, one, place) for place in places}
        around = places[1:2] or places
        place = next((p for p in places if lists[p] or tensors[p]), around[0])
        holds = bool(lists[place] or tensors[place])
        experts = Experts(place, one.old, one.new, frozenset(lists[place]))
        found.append((one.place, holds, experts))
    holding = {place for place, holds, _ in found if holds}
    own = (experts for place, holds, experts in found if holds or place not in holding)
    return list(dict.fromkeys(own))  # a router's choice among groups is none


def _inside(place: str, around: str) -> bool:
    return not around or place == around or place.startswith(f"{around}.")


def _lists(student: nn.Module, teacher: nn.Module, one: Choice, place: str) -> list[str]:
    """Stacks here of as many layers as there are units, in none of which is the choice."""
    theirs = {pattern(path): len(part._modules) for path, part in teacher.named_modules()}
    return [
        path
        for path, part in student.named_modules()
        if is_stack(part)
        and (theirs.get(pattern(path)), len(part._modules)) == (one.old, one.new)
        and _inside(pattern(path), place)
        and not _inside(one.place, pattern(path))
    ]


def _tensors(student: nn.Module, teacher: nn.Module, one: Choice, place: str) -> list[str]:
    """Tensors here that hold a matrix for each unit."""
    theirs = {pattern(name): tensor.shape for name, tensor in named_tensors(teacher)}
    return [
        name
        for name, tensor in named_tensors(student)
        if tensor.ndim > 2
        and _inside(pattern(name), place)
        and theirs.get(pattern(name), ())[:1] == (one.old,)
        and tensor.shape[0] == one.new
    ]


def without_copies(student: nn.Module, experts: Sequence[Experts]) -> dict[str, str]:
    """Leave the first experts in stacks of them, in place.

    Returns:
        The paths of the others → the path of the one that each copies.
    """
    found = {}
    for one in experts:
        for path in one.lists:
            stack = student.get_submodule(path)
            names = list(stack._modules)
            for place, name in enumerate(names[one.old :]):
                found[join(path, name)] = join(path, names[place % one.old])
                delattr(stack, name)
    return found


def within(name: str, paths: Container[str]) -> tuple[str, str]:
    """Which of these paths a tensor lies in, and the rest of its name; nothing, if in none."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if (path := ".".join(parts[:end])) in paths:
            return path, name.removeprefix(path)
    return "", ""


def with_fewer(
    student: nn.Module, teacher: nn.Module, known: Inference, whole: Trace,
    experts: Sequence[Experts],
) -> Longer:  # fmt: skip
    """Leave as many experts as the teacher has, in place, of a model whose lists hold no more.

    Args:
        known: of the teacher.
        whole: what all of the student does.

    Returns:
        Tensors of the student → axes on which it has more experts: the teacher's number, and its.
    """
    theirs = dict(named_tensors(teacher))
    free = {axis for one in known.groups.values() if not one.fixed for axis in one.places}
    found: Longer = {}
    wider: set[tuple[int, int]] = set()
    for name, tensor in named_tensors(student):
        if name not in theirs:
            continue
        around = [(one.old, one.new) for one in experts if one.holds(name)]
        for dim, sizes in enumerate(zip(theirs[name].shape, tensor.shape, strict=False)):
            if sizes in around and Axis(name, dim) not in free:
                found.setdefault(name, {})[dim] = sizes
            elif around and sizes[0] != sizes[1]:
                wider.add(sizes)
    shorten(student, found)
    set_attributes(student, [*_numbers(student, teacher, whole, experts, wider)])
    return found


def _numbers(
    student: nn.Module, teacher: nn.Module, whole: Trace, experts: Sequence[Experts],
    wider: set[tuple[int, int]],
) -> Iterator[SetAttribute]:  # fmt: skip
    """The teacher's numbers (of experts, of those taken, of groups) for modules that hold experts,
    but for those that count what gets wider there."""
    theirs = dict(teacher.named_modules())
    ours = dict(student.named_modules())
    for path, name in {*_attributes(ours, experts), *_read(whole, experts)}:
        if path not in theirs or path not in ours:
            continue
        now, before = (get_attribute(one[path], name) for one in (ours, theirs))
        numbers = isinstance(now, int) and isinstance(before, int)
        if numbers and now > before and (before, now) not in wider:
            yield SetAttribute(path, name, int(before))


def _attributes(
    modules: Mapping[str, nn.Module], experts: Sequence[Experts]
) -> Iterator[tuple[str, str]]:
    for path, part in modules.items():
        if any(one.holds(path) for one in experts):
            yield from ((path, name) for name, one in vars(part).items() if type(one) is not bool)


def _read(whole: Trace, experts: Sequence[Experts]) -> Iterator[tuple[str, str]]:
    """What operations there read of configurations."""
    for op in whole.ops:
        if any(one.holds(op.path) for one in experts):
            for number in op.traced_ints.values():
                yield from (origin for origin in number.values if "." in origin[1])
