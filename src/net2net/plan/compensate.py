"""What makes up for a number that the code makes of a size, and multiplies or divides by: a weight
beside it.

``embedding · √width`` is √2 times as large where the width has doubled: the embedding is divided by
that. Factors go backwards to the weights that make what is multiplied, or, where others read that
too, onwards to the one weight that reads the product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from net2net.errors import GraphMismatchError
from net2net.infer.inference import Inference
from net2net.infer.units import Axis
from net2net.ops import Zero
from net2net.plan.numbers import Change, changes
from net2net.plan.rescale import followed
from net2net.recipe.axis_map import AxisMap
from net2net.trace.graph import Graph, Node
from net2net.trace.trace import Op

Names = frozenset[str]
"""Parameters that are multiplied, so that what was asked for is."""


def compensated(
    teacher: Inference, student: Inference, maps: Mapping[Axis, AxisMap],
    done: Set[tuple[int, int]] = frozenset(),
) -> tuple[dict[Axis, AxisMap], Change | None]:  # fmt: skip
    """The maps, with the scale of what makes up for numbers; and the first change of a number that
    nothing makes up for. ``done``: operations (trace and place in it) whose numbers are.

    Raises:
        GraphMismatchError: there is such a change, and heads grow inside.
    """
    done = followed(student) | done
    made_up: list[dict[str, float]] = []
    last: Change | None = None
    for number, (old, new) in enumerate(zip(teacher.traces, student.traces, strict=True)):
        factors: dict[str, float] = {}
        for change in changes(old, new):
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
        made_up.append(factors)
    total = {name: factor for factors in made_up for name, factor in factors.items()}
    for trace, factors in zip(student.traces, made_up, strict=True) if total else ():
        read = {trace.names.get(ref.id, "") for op in trace.ops for ref in op.inputs}
        if any(factors.get(name, 1.0) != total[name] for name in read & total.keys()):
            return dict(maps), last  # another way through the code has no such number
    return _scaled(student, maps, total), None


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
    if not old * new > 0 or not isinstance(data, Node) or _rounds(made):
        return None, 1.0
    names = _before(data, op) or _around(data, op)
    if names is None and not made.traits.weighs:  # else what it makes is not multiplied
        names = _after(made)
    return names, new / old if _divides(made) else old / new


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


def _rounds(node: Node) -> bool:
    return node.args.get("rounding_mode") is not None


def _around(node: object, reader: Op) -> Names | None:
    """The same where ways part and meet again before ``reader``, as a rotation by position."""
    seen: set[Node] = set()
    names = _before(node, reader, seen)
    return names if names and all(_ends_in(one, seen, reader) for one in seen) else None


def _ends_in(node: Node, seen: Set[Node], reader: Op) -> bool:
    """Whether all that reads it is ``reader``, or makes nothing but what was seen."""
    made = [one for op in node.users if op is not reader for one in node.graph.outputs(op)]
    return all(one in seen or not (one.users or one.returned) for one in made)


def _before(node: object, reader: Op, seen: set[Node] | None = None) -> Names | None:
    """The parameters with which what ``reader`` gets, and nobody else, is multiplied. ``seen``: is
    told what is multiplied on the way, and others may read that."""
    if not isinstance(node, Node) or node.returned:
        return None
    if seen is None and not _alone(node, reader):
        return None
    if seen is not None:
        seen.add(node)
    if (op := node.producer) is None:
        return frozenset([node.name]) if node.name and node.shape else None
    known, args = node.traits, node.args
    if (layer := known.weight) is not None:
        return _each([args[layer.weight], args.get(known.adds)], op, seen)
    if node.kind == "embedding" or known.normalises:
        return _each([args["weight"], args.get("bias")], op, seen) if args["weight"] else None
    operands = node.inputs
    if known.scaled is Zero.ALL:
        return _each(operands, op, seen) if not op.numbers.keys() & {"self", "other"} else None
    if known.keeps_scale or (known.scaled is Zero.FIRST and not _rounds(node)):
        return _before(operands[0], op, seen)
    if known.zero is Zero.ANY and not known.adds:
        found = (_before(one, op, seen) for one in operands if operands.count(one) == 1)
        return next((names for names in found if names), None)
    return None


def _alone(node: Node, reader: Op) -> bool:
    """Whether nobody else reads it; a look at a shape is none."""
    others = [op for op in node.users if op is not reader]
    made = [one for op in others for one in node.graph.outputs(op)]
    return all(not one.users and not one.returned for one in made)


def _each(items: Sequence[object], reader: Op, seen: set[Node] | None) -> Names | None:
    """All of them are multiplied."""
    found = [_before(item, reader, seen) for item in items if item is not None]
    known = [names for names in found if names is not None]
    return frozenset().union(*known) if len(known) == len(found) else None


def _after(node: Node) -> Names | None:
    """The parameters with which what every reader makes of a tensor is multiplied."""
    if node.returned:
        return None
    found = [_read(node, op) for op in node.users]
    names = [one for one in found if one is not None]
    return frozenset().union(*names) if names and len(names) == len(found) else None


def _read(node: Node, op: Op) -> Names | None:
    """The same of one reader."""
    made, *more = node.graph.outputs(op)
    if more or made.inputs.count(node) != 1:
        return None
    known = made.traits
    if (layer := known.weight) is not None and made.args[layer.data] is node:
        return _before(made.args[layer.weight], op)
    linear = known.linear and not made.args.get("value")  # what is padded with is no multiple
    scaled = known.scaled is Zero.FIRST and not _rounds(made)
    if (known.keeps_scale or linear or scaled) and made.inputs[0] is node:
        return _after(made)
    if known.zero is Zero.ANY and not known.adds:
        found = (_before(one, op) for one in made.inputs if one is not node)
        return next((names for names in found if names), None) or _after(made)
    return None
