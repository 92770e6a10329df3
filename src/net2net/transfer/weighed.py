"""What copies of experts put out together, where their weights do not add up to what one had.

Of weights that are normalised over all experts or over those taken, each of c copies has 1/c. Where
one of the copies alone is taken it still has 1/c; and where weights are not normalised (a sigmoid),
all c have the whole. Which it is shows when the student runs: what experts put out, their last
weights and biases, is multiplied by c or 1/c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from net2net.infer.units import Role
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.recipe import Recipe
from net2net.transfer.experts import within
from net2net.transfer.pair import Pair


def weighed(plan: Plan, pair: Pair) -> Iterator[tuple[Plan, str]]:
    """The plans to try where experts came again, and what to say of them."""
    ends = _ends(pair, plan.recipes)
    for more in (True, False) if ends else ():
        recipes = dict(plan.recipes)
        for name, times in ends.items():
            recipes[name] = _scaled(
                recipes[name], plan.student.tensors[name].shape[0], times if more else 1 / times
            )
        said = sorted({times if more else 1 / times for times in ends.values()})
        yield (
            replace(plan, recipes=recipes),
            f"what experts put out is multiplied by {', '.join(f'{one:g}' for one in said)}, for "
            "the weights of copies do not add up to that of one",
        )


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


def _scaled(one: Recipe, rows: int, factor: float) -> Recipe:
    """A recipe whose tensor, of so many rows, is multiplied."""
    first = next((axis for axis in one.axes if axis.dim == 0), None)
    first = first or AxisMap(0, np.arange(rows), Role.PRODUCES)
    scale = np.full(rows, factor) if first.scale is None else first.scale * factor
    others = tuple(axis for axis in one.axes if axis.dim)
    return replace(one, axes=(replace(first, scale=scale), *others))
