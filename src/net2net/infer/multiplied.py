"""What a number may be put into that something was to be multiplied by: parameters that make it, or
those that read what is made of it.

Ways are followed over operations of which a multiple of what goes in makes as large a multiple.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from net2net.ops import Zero
from net2net.trace.graph import Node
from net2net.trace.trace import Op

Names = frozenset[str]
"""Parameters that are multiplied, so that what was asked for is."""


def rounds(node: Node) -> bool:
    """Whether a quotient is no multiple of what was divided."""
    return node.args.get("rounding_mode") is not None


def around(node: object, reader: Op) -> Names | None:
    """The same where ways part and meet again before ``reader``, as a rotation by position."""
    seen: set[Node] = set()
    names = before(node, reader, seen)
    return names if names and all(_ends_in(one, seen, reader) for one in seen) else None


def twice(node: object, reader: Op) -> Names | None:
    """The parameters with which both factors of a product are multiplied, and so what ``reader``
    gets of it by the square: those of a layer whose pieces meet each other."""
    while isinstance(node, Node) and node.producer and not node.returned and _alone(node, reader):
        reader = node.producer
        if _is_product(node) and len(node.inputs) == 2:
            seen: set[Node] = set()
            names, *others = {before(one, reader, seen) for one in node.inputs}
            once = not any(_is_product(one) for one in seen)  # else it is by a higher power
            ends = once and all(_ends_in(one, seen, reader) for one in seen)
            return names if ends and not others else None
        if not node.traits.keeps_scale:
            return None
        node = node.inputs[0]
    return None


def _is_product(node: Node) -> bool:
    return node.traits.zero is Zero.ANY and not node.traits.adds


def _ends_in(node: Node, seen: Set[Node], reader: Op) -> bool:
    """Whether all that reads it is ``reader``, or makes nothing but what was seen."""
    others = [op for op in node.users if op is not reader and not _only_looks(node, op)]
    made = [one for op in others for one in node.graph.outputs(op)]
    return all(one in seen or not (one.users or one.returned) for one in made)


def before(node: object, reader: Op, seen: set[Node] | None = None) -> Names | None:
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
    if known.keeps_scale or (known.scaled is Zero.FIRST and not rounds(node)):
        return before(operands[0], op, seen)
    if _is_product(node):
        found = (before(one, op, seen) for one in operands if operands.count(one) == 1)
        return next((names for names in found if names), None)
    return None


def _alone(node: Node, reader: Op) -> bool:
    """Whether nobody else reads it, or another piece of what it was cut from; a look at a shape is
    none."""
    pieces = node.graph.outputs(node.producer) if node.producer else [node]
    return all(op is reader or _only_looks(node, op) for op in node.users) and not any(
        one.users or one.returned for one in pieces if one is not node
    )


def _only_looks(node: Node, op: Op) -> bool:
    """Whether nobody reads what an operation makes of it, or what is made of that."""
    made = node.graph.outputs(op)
    unread = not any(one.users or one.returned for one in made)
    return unread or node.graph.position(op) not in node.graph.needed


def _each(items: Sequence[object], reader: Op, seen: set[Node] | None) -> Names | None:
    """All of them are multiplied."""
    found = [before(item, reader, seen) for item in items if item is not None]
    known = [names for names in found if names is not None]
    return frozenset().union(*known) if len(known) == len(found) else None


def after(node: Node) -> Names | None:
    """The parameters with which what every reader makes of a tensor is multiplied."""
    if node.returned:
        return None
    found = [read_by(node, op) for op in node.users]
    names = [one for one in found if one is not None]
    return frozenset().union(*names) if names and len(names) == len(found) else None


def read_by(node: Node, op: Op) -> Names | None:
    """The same of one reader."""
    made, *more = node.graph.outputs(op)
    if more or made.inputs.count(node) != 1:
        return None
    known = made.traits
    if (layer := known.weight) is not None and made.args[layer.data] is node:
        return before(made.args[layer.weight], op)
    linear = known.linear and not made.args.get("value")  # what is padded with is no multiple
    scaled = known.scaled is Zero.FIRST and not rounds(made)
    if (known.keeps_scale or linear or scaled) and made.inputs[0] is node:
        return after(made)
    if _is_product(made):
        found = (before(one, op) for one in made.inputs if one is not node)
        return next((names for names in found if names), None) or after(made)
    return None
