"""Which parameters take shares, of what is made of parameters alone.

The sum over k copies of a unit is right if what multiplies it is divided by k. If that is made of
weights, one of them is divided in its stead; this takes a way from it to there on which k times as
small a weight makes k times as small a number: ``W + A·B``, ``W · exp(V)``, but not ``exp(V)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from net2net.infer.values import Along, Value
from net2net.ops import Zero, traits

_OPERANDS = ("self", "other")


def alone(factors: Sequence[Value]) -> list[Value]:
    """The factors of a product. What is made of one parameter in several is divided as often."""
    return [
        value.rigid()
        if any(
            value.parameter_numbers & other.parameter_numbers
            for place, other in enumerate(factors)
            if place != own
        )
        else value
        for own, value in enumerate(factors)
    ]


def elementwise(
    kind: str, where: str, args: Mapping[str, Any],
    operands: Sequence[tuple[Value, Sequence[int]]], shape: Sequence[int],
) -> dict[int, frozenset[Along]]:  # fmt: skip
    """The parameter axes along those of the output of an operation on operands that broadcast,
    whose axis ``i`` lies on axis ``to[i]`` of ``shape``. ``where``: how it is called."""
    if not any(value.parameter_axes for value, _ in operands):
        return {}
    known, bent = traits(kind), "" if _linear(kind, [value for value, _ in operands]) else where
    operands = operands[1:] if kind == "where" else operands  # the condition chooses
    values = [value for value, _ in operands]
    values = values if known.scaled is Zero.ALL else alone(values)
    number = any(isinstance(args.get(name), (int, float)) and args[name] for name in _OPERANDS)
    first = (
        (known.scaled is Zero.FIRST and args.get("rounding_mode") is None)
        or (kind == "masked_fill" and args["value"] == 0)
        or known.keeps_scale
    )
    every = known.scaled is Zero.ALL or known.adds == "self"
    along = [
        {
            to[a]: found
            for a, found in value.parameter_axes.items()
            if value.shape[a] == shape[to[a]]
        }
        for value, (_, to) in zip(values, operands, strict=True)
    ]
    result: dict[int, frozenset[Along]] = {}
    for axis in sorted({axis for one in along for axis in one}):
        there = [place for place, one in enumerate(along) if axis in one]
        able = [at for at in there if all(one.divides for one in along[at][axis])]
        if known.scaled is Zero.ANY and able:
            size = {at: prod(values[at].shape) for at in there}
            largest, most = max(there, key=size.__getitem__), max(able, key=size.__getitem__)
            normalised = bool(values[largest].reduced) and largest not in able
            able, there = ([], [largest]) if normalised else ([most], there)
        elif first and 0 in able:
            able = [0]
        elif not every or number or len(able) < len(values):
            able = []
        found = frozenset().union(*(along[at][axis] for at in able or there))
        result[axis] = frozenset(
            one._replace(divides=one.divides and bool(able), bent=one.bent or bent) for one in found
        )
    return result


def _linear(kind: str, values: Sequence[Value]) -> bool:
    """Whether an operation is linear in every parameter that it takes the shares of."""
    known = traits(kind)
    chooser = {"where": 0, "masked_fill": 1}.get(kind, len(values))
    chooses = [value.parameter_numbers for value in values[chooser : chooser + 1]]
    if known.joins:  # what chooses among them may be made of them
        others = (one.parameter_numbers for at, one in enumerate(values) if at != chooser)
        return not any(set.intersection(one, *chooses) for one in others if chooses)
    return known.sums or known.multiplies or known.linear or known.passes or known.adds == "self"
