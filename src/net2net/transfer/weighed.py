"""What copies of experts put out together, where their weights do not add up to what one had.

Of weights that are normalised over all experts or over those taken, each of c copies has 1/c. Where
one of the copies alone is taken it still has 1/c; and where weights are not normalised (a sigmoid),
all c have the whole. Which it is shows when the student runs: what experts put out (their last
weights and biases) is multiplied by c or 1/c, and what a router adds to weights before it chooses
by 1/c.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from math import prod

import numpy as np
from torch import nn

from net2net.errors import VerificationError
from net2net.finish import check
from net2net.infer.units import Role
from net2net.plan.feasible import pattern
from net2net.plan.outputs import OutputMaps
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.recipe import Recipe
from net2net.trace.trace import Inputs
from net2net.transfer.experts import within
from net2net.transfer.pair import Pair

log = logging.getLogger(__name__)


def weighed(
    plan: Plan, made: nn.Module, teacher: nn.Module, student: nn.Module, pair: Pair,
    ends: OutputMaps, inputs: Inputs,
) -> tuple[Plan, nn.Module, list[str]]:  # fmt: skip
    """The plan, what it makes, and what to say of it: the first by which the student computes what
    the teacher does; if there is none, the one that there was."""
    trials = chain([(plan, "")], _trials(plan, pair))
    try:
        for tried, note in trials:
            result = tried.apply(teacher, student=student) if note else made
            if check(teacher, result, inputs, must_match=False, outputs=ends).exact:
                return tried, result, [note] if note else []
    except VerificationError as error:  # which is told where all is measured
        log.info("not weighed: %s", error)
    return plan, made, []


def _trials(plan: Plan, pair: Pair) -> Iterator[tuple[Plan, str]]:
    """Plans that weigh otherwise, with what to say of them."""
    ends = _ends(pair, plan.recipes)
    for kind, biases in {"": dict[str, float](), **_biases(plan, pair)}.items():
        for power in (0, 1, -1):
            out = {name: times**power for name, times in ends.items() if power}
            if scales := out | biases:
                recipes = {name: _scaled(plan, name, factor) for name, factor in scales.items()}
                said = _said("what experts put out", out), _said(f"'{kind}'", biases)
                note = "; ".join(filter(None, said))
                yield replace(plan, recipes={**plan.recipes, **recipes}), note


def _said(what: str, scales: Mapping[str, float]) -> str:
    numbers = ", ".join(f"{one:g}" for one in sorted(set(scales.values())))
    if not numbers:
        return ""
    return f"{what} is multiplied by {numbers}, as weights of copies do not add up to that of one"


def _biases(plan: Plan, pair: Pair) -> dict[str, dict[str, float]]:
    """Of every kind of vector with one number for each expert: which there are, and their part
    where they are added to weights of which each copy has a part."""
    found: dict[str, dict[str, float]] = {}
    for name, axes in pair.repeated.items():
        for old, new in axes.values():
            if prod(plan.student.tensors[name].shape) == new:
                found.setdefault(pattern(name), {})[name] = old / new
    return found


def _ends(pair: Pair, names: Iterable[str]) -> dict[str, float]:
    """The student's tensors that make what experts put out → how many copies there are of each
    expert."""
    known = pair.teacher
    held = {
        name: (key, max(new / old for old, new in axes.values()))
        for name, axes in pair.repeated.items()
        for key, _ in [pair.sources[name]]
    }
    times = Counter(pair.copies.values())
    experts = {*pair.copies, *times}
    for name in names if times else ():
        path, rest = within(name, experts)
        like = pair.copies.get(path, path)
        if path and f"{like}{rest}" in pair.sources:
            held[name] = (pair.sources[f"{like}{rest}"][0], 1.0 + times[like])
    inside = {key for key, _ in held.values()}
    out = {
        axis
        for group in known.groups.values()
        if any(axis.name not in inside for axis in group.places)
        for axis in group.places
        if axis.name in inside and known.role(axis) is not Role.CONSUMES
    }
    makes = {key: {axis.dim for axis in out if axis.name == key} for key in inside}
    return {
        name: times
        for name, (key, times) in held.items()
        if makes[key] - pair.repeated.get(name, {}).keys()
    }


def _scaled(plan: Plan, name: str, factor: float) -> Recipe:
    """The recipe of a tensor that is multiplied."""
    one, rows = plan.recipes[name], plan.student.tensors[name].shape[0]
    first = next((axis for axis in one.axes if axis.dim == 0), None)
    first = first or AxisMap(0, np.arange(rows), Role.PRODUCES)
    scale = np.full(rows, factor) if first.scale is None else first.scale * factor
    others = tuple(axis for axis in one.axes if axis.dim)
    return replace(one, axes=(replace(first, scale=scale), *others))
