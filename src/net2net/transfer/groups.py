"""Groups of channels that are larger in the student: several of the teacher's beside each other in
each, with zeros between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from net2net.infer.units import Role
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.fill import Diagonal
from net2net.trace.trace import Op, Trace
from net2net.transfer.difference import Difference


@dataclass(frozen=True)
class Group:
    """Of a weight: how many rows and columns each of its groups has, and how many there are."""

    rows: int
    columns: int
    number: int


@dataclass(frozen=True)
class Larger:
    """A weight of the student each of whose groups holds ``times`` groups like ``one``."""

    one: Group
    times: int

    @property
    def axis(self) -> AxisMap:
        """The teacher's columns, as often as they may stand beside each other."""
        return AxisMap(1, np.tile(np.arange(self.one.columns), self.times), Role.ALIGNS)

    @property
    def fill(self) -> Diagonal:
        """What leaves each where its group reads."""
        return Diagonal(self.one.rows, self.one.columns)


def larger_groups(teacher: Trace, student: Sequence[Trace], names: Mapping[str, str]) -> Difference:
    """The student's weights of which each group can hold several of the teacher's. Its traces then
    tell of them, in place, as if they had the teacher's groups, and more of them.

    Args:
        names: the student's tensors → the teacher's.
    """
    theirs = {name: _group(teacher, op) for name, op in _convolutions(teacher)}
    found = {}
    for name, op in _convolutions(student[0]):
        old, new = theirs.get(names.get(name, "")), _group(student[0], op)
        if old is not None and old.number > 1 and old.columns < new.columns:
            times, rest = divmod(new.columns, old.columns)
            if not rest and new.rows == times * old.rows:
                found[name] = Larger(old, times)
    _as_smaller(student, found)
    return Difference(
        "groups of channels that hold several of the teacher's",
        {name: [one.axis] for name, one in found.items()},
        {name: one.fill for name, one in found.items()},
    )


def _as_smaller(student: Sequence[Trace], larger: Mapping[str, Larger]) -> None:
    for one in student:
        for name, op in _convolutions(one):
            if name in larger:
                tensor = op.args["weight"].id
                rows, _, *taps = one.shapes[tensor]
                one.shapes[tensor] = (rows, larger[name].one.columns, *taps)
                op.args["groups"] *= larger[name].times


def _convolutions(one: Trace) -> Iterator[tuple[str, Op]]:
    """Those of weights as they are, which are not transposed."""
    for op in one.ops:
        name = one.names.get(weight.id) if (weight := op.args.get("weight")) is not None else None
        if name is not None and "groups" in op.args and "output_padding" not in op.args:
            yield name, op


def _group(one: Trace, op: Op) -> Group:
    rows, columns, *_ = one.shapes[op.args["weight"].id]
    return Group(rows // op.args["groups"], columns, op.args["groups"])
