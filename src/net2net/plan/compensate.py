"""What makes up for a number that the code makes of a size, and multiplies or divides by, or for a
sum of copies that no columns share: a weight beside it.

``embedding · √width`` is √2 times as large where the width has doubled: the embedding is divided by
that. Factors go backwards to the weights that make what is multiplied, or, where others read that
too, onwards to the one weight that reads the product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import replace
from itertools import chain

import numpy as np

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Inference
from net2net.infer.multiplied import Names, after, around, before, rounds, twice
from net2net.infer.sums import Sum
from net2net.infer.units import Axis
from net2net.ops import Zero
from net2net.plan.numbers import Change, changes, counts
from net2net.plan.rescale import followed
from net2net.recipe.axis_map import AxisMap
from net2net.trace.graph import Graph, Node

NOTHING: Mapping[str, float] = {}


def compensated(
    teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap],
    done: Set[tuple[int, int]] = frozenset(), multiplied: Mapping[str, float] = NOTHING,
) -> tuple[dict[Axis, AxisMap], Change | None]:  # fmt: skip
    """The maps, with the scale of what makes up for numbers; and the first change of a number that
    nothing makes up for. ``done``: operations (trace and place in it) whose numbers are;
    ``multiplied``: parameters that are multiplied besides.

    Raises:
        GraphMismatchError: there is such a change, and heads grow inside.
    """
    done = followed(student) | done
    sums = {(one.trace, one.place): len(one.ids) for one in teacher.sums}
    made_up: list[dict[str, float]] = []
    last: Change | None = None
    for number, (old, new) in enumerate(zip(teacher.traces, student.traces, strict=True)):
        factors: dict[str, float] = {}
        for change in chain(changes(old, new), counts(teacher, student, number)):
            if (number, change.place) in done:
                continue
            names, factor = _makes_up(student.graph_of(new), change)
            if names is None:
                if student.absorbers:
                    raise GraphMismatchError(
                        f"{change}, and no weight can make up for it. Keep the size of heads, and "
                        "let their number grow.",
                        module=change.new.path,
                    )
                return dict(maps), change
            factors |= {name: factors.get(name, 1.0) * factor for name in names}
            last = change
        for one in student.sums:
            if one.trace == number:
                copies = _copies(student, maps, one, sums[number, one.place])
                factors |= {name: factors.get(name, 1.0) / copies for name in one.names}
        made_up.append(factors)
    total = {name: factor for factors in made_up for name, factor in factors.items()}
    for trace, factors in zip(student.traces, made_up, strict=True) if total else ():
        read = {trace.names.get(ref.id, "") for op in trace.ops for ref in op.inputs}
        if any(factors.get(name, 1.0) != total[name] for name in read & total.keys()):
            if last is None:
                raise GraphMismatchError(
                    "a weight is not multiplied on all inputs with what makes up for more copies "
                    "of what it reads. Leave the space that it reads as it is."
                )
            return dict(maps), last  # another way through the code has no such number
    for name, factor in multiplied.items():
        total[name] = total.get(name, 1.0) * factor
    return _scaled(student, maps, total), None


def _copies(student: Inference, maps: Mapping[Axis, AxisMap], summed: Sum, old: int) -> float:
    """How many copies there are of each unit that is summed over. ``old``: how many units the
    teacher sums over.

    Raises:
        GraphMismatchError: of some there are more than of others.
    """
    reads = student.roles_at[summed.trace][summed.place].reads
    if not reads:  # what reads them has no columns of new units either
        return len(summed.ids) / old
    counts, units = set[int](), student.component[summed.ids]
    for number in reads:
        one = maps.get(student.units.axes[number])
        if one is not None and np.isin(units, student.ids(number)).any():
            counts |= set(np.unique(one.index[one.index >= 0], return_counts=True)[1].tolist())
    if len(counts) > 1:
        raise GraphMismatchError(
            "units would have unequally many copies, of which a weight makes up for equally many. "
            "Choose another width for the space."
        )
    return counts.pop() if counts else 1


def _scaled(
    student: Inference, maps: Mapping[Axis, AxisMap], factors: Mapping[str, float]
) -> dict[Axis, AxisMap]:
    """Every position of one axis of these parameters is multiplied."""
    result = dict(maps)
    for name, factor in factors.items():
        axis = next((axis for axis in maps if axis.name == name), Axis(name, 0))
        size = len(student.ids(student.numbers[axis]))
        one = maps.get(axis) or AxisMap(axis.dim, np.arange(size), student.role(axis))
        scale = np.ones(size) if one.scale is None else one.scale
        result[axis] = replace(one, scale=scale * factor)
    return result


def _makes_up(graph: Graph, change: Change) -> tuple[Names | None, float]:
    """The parameters to multiply, None if there are none, and by what."""
    op = graph.trace.ops[change.place]
    if change.old.name != change.new.name or len(change.differ) > 1:
        return None, 1.0
    (number,), (made,) = change.differ, graph.outputs(op)
    old, new = change.old.numbers.get(number, 0.0), change.new.numbers.get(number, 0.0)
    data = _multiplied(made, number)
    if not old * new > 0 or not isinstance(data, Node) or rounds(made):
        return None, 1.0
    factor = new / old if _divides(made) else old / new
    names = before(data, op) or around(data, op)
    if names is None and not made.traits.weighs:  # else what it makes is not multiplied
        names = after(made)
    if names is None and (names := twice(data, op)):
        factor = math.sqrt(factor)
    return names, factor


def _multiplied(made: Node, number: str) -> object:
    """What an operation multiplies by a number among its arguments, or divides by it."""
    known = made.traits
    if known.multiplies and number == "other":
        return made.args["self"]
    if known.multiplies and number == "self" and not _divides(made):
        return made.args["other"]
    return made.args["query"] if known.weighs and number == "scale" else None


def _divides(made: Node) -> bool:
    return made.traits.multiplies and made.traits.zero is Zero.FIRST
