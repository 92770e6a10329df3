"""What positions of new units on parameters hold, also of weights that are made of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from net2net.infer.inference import Inference
from net2net.infer.new_units.group import (
    GroupInTrace,
    added,
    flat,
    kept_zero,
    multiplies,
    partial,
)
from net2net.infer.new_units.holds import NotPossible, Positions, Put, same
from net2net.infer.units import Axis
from net2net.ops import Zero
from net2net.trace.graph import Node
from net2net.trace.trace import Op


class Parameters:
    """What is said of parameters."""

    def __init__(self, teacher: Inference) -> None:
        self.teacher = teacher
        self.positions: dict[Axis, Positions] = {}
        self.apart: dict[Axis, float] = {}
        """Weights that make units times this, and would have to read them times something else."""
        self.reduced: dict[Axis, str] = {}
        """Axes of which zeros alone are left out of what an operation reduces, and what to say."""
        self.unread: set[Axis] = set()
        """Axes of what reads zeros."""
        self.learn: set[Axis] = set()
        """Axes of what reads anything with zeros."""
        self.makes: set[Axis] = set()
        """Axes of weights that make units."""
        self.zero: dict[Axis, str] = {}
        """Axes that make anything, and have to hold zeros for others, so that zeros are what they
        make; and what to say if they cannot."""

    def put(self, axis: Axis, wanted: Positions, where: str) -> None:
        known = self.positions.get(axis)
        if wanted.reads and wanted.put is Put.UNREAD:
            self.unread.add(axis)
        if wanted.reads and wanted.put is Put.ZERO:
            self.learn.add(axis)
        if known is not None and known != wanted:
            if known.put is Put.UNREAD and known.factor == wanted.factor:
                pass
            elif wanted.put is Put.UNREAD and same(known.factor, wanted.factor):
                wanted = known
            elif wanted.reads and wanted.put is Put.UNREAD:
                self.apart[axis], wanted = known.factor, known
            elif known.reads and known.put is Put.UNREAD:
                self.apart[axis] = wanted.factor
            elif (known.put, known.by) == (wanted.put, wanted.by) and same(
                known.factor, wanted.factor
            ):
                wanted = known
            elif {known.put, wanted.put} == {Put.DRAWN, Put.ZERO} and same(
                known.factor, wanted.factor
            ):
                self.zero[axis] = self._otherwise(axis, where)
                wanted = known if known.put is Put.ZERO else wanted
            else:
                raise NotPossible(self._otherwise(axis, where))
        self.positions[axis] = wanted

    def _otherwise(self, axis: Axis, where: str) -> str:
        return self.reduced.get(axis, f"{where} needs '{axis.name}' otherwise than others do")

    def check_learns(self) -> None:
        """Raises:
        NotPossible: zeros read zeros, and nothing else is made of them, so that neither learns.
        """
        for axis, why in self.reduced.items():
            if axis in self.unread - self.makes:
                raise NotPossible(why)

    def leave(self, group: GroupInTrace, node: Node, op: Op) -> None:
        """Have a weight hold zeros, for an operation reduces it, and leaves them out."""
        numbers = group.axis_numbers(node)
        for number in numbers:
            axis = group.teacher.units.axes[number]
            self.reduced[axis] = (
                f"{group.where(op)} reduces '{axis.name}' over them, so there it would have to be "
                "zero"
            )
        self.hold(group, node, numbers, Positions(Put.ZERO), op, learns=False)

    def hold(
        self, group: GroupInTrace, node: Node, numbers: frozenset[int], wanted: Positions, op: Op,
        *, learns: bool = True,
    ) -> None:  # fmt: skip
        """Have a parameter, or those that something was made of, hold what is wanted. ``learns``:
        zeros that others read, or that read what others make, have a slope."""
        if not numbers:
            return
        if node.name:
            for number in numbers:
                axis = group.teacher.units.axes[number]
                self.put(axis, wanted, group.where(op))
            return
        made = node.producer
        known = node.traits
        own = [one for one in node.inputs if group.axis_numbers(one) & numbers]
        if made is None or not own:
            raise NotPossible(f"{group.where(op)} gets a weight that is made in parts")
        drawn = wanted.put in {Put.DRAWN, Put.UNREAD}
        plain = drawn and wanted.factor == 1
        with_itself = any(_sources(one) & _sources(other) for one, other in pairwise(own))
        rows = known.contracts and not group.summed(made)  # or columns: each is made of its own
        zero = rows and wanted.put is Put.ZERO and wanted.factor == 1
        if with_itself and not (zero or (plain and (known.elementwise or rows))):
            raise NotPossible(f"{node.kind} in '{made.path}' makes the weight of one and itself")
        linear = known.passes or (known.contracts and known.zero is Zero.ANY)
        if wanted.offset and not (known.passes or known.sums):
            raise NotPossible(f"{node.kind} in '{made.path}' makes the weight, and adds twice")
        if node.kind == "exp" and wanted.put in {Put.DRAWN, Put.UNREAD} and wanted.factor > 0:
            wanted = replace(wanted, factor=1.0, offset=math.log(wanted.factor))
            linear = True
        elif known.sums:
            wanted = self._less(made, node, own, wanted)
            linear = True
        elif node.kind == "_weight_norm":  # lengths follow the norm of what grows
            along = node.args["dim"] in group.axes(node)
            linear = own == node.inputs[:1] and not along
        elif multiplies(made):
            linear = known.zero is Zero.ANY or own == node.inputs[:1]
        elif (known.keeps_scale and wanted.put is not Put.MEAN) or (
            kept_zero(made) is Zero.FIRST and wanted.factor == 1 and wanted.put is Put.ZERO
        ):
            linear = True
        if drawn and partial(made) and not node.inputs[0].traits.positive:
            raise NotPossible(f"{node.kind} in '{made.path}' is no number of all that is drawn")
        zeros = wanted.put is Put.ZERO and (wanted.reads or group.growing.readers_get_zero)
        if learns and zeros and flat(made):
            raise NotPossible(
                f"{node.kind} in '{made.path}' makes the weight, and is flat at zero, so that it "
                "would stay zero"
            )
        term = node.args.get(known.adds) if known.adds else None
        linear = linear and (not isinstance(term, Node) or term in own)
        if not (linear or plain):
            raise NotPossible(f"{node.kind} in '{made.path}' makes the weight, and is not linear")
        own.sort(key=lambda one: one is term)  # the product first
        first, *rest = own
        self.hold(group, first, group.axis_numbers(first) & numbers, wanted, op, learns=learns)
        for one in rest:
            beside = wanted
            if not (known.sums or one is term):
                if wanted.put is Put.MEAN:
                    raise NotPossible(f"{node.kind} in '{made.path}' makes the weight of two")
                beside = Positions(Put.UNREAD if wanted.put is Put.ZERO else wanted.put)
            self.hold(group, one, group.axis_numbers(one) & numbers, beside, op, learns=learns)

    def _less(self, op: Op, node: Node, own: Sequence[Node], wanted: Positions) -> Positions:
        """What a parameter holds, so that with a number added to it is what is wanted."""
        others = [one for one in node.inputs if one not in own]
        numbers = added(op)
        if not others and not numbers:
            return wanted
        number = numbers[0] if len(numbers) == 1 and not others else None
        if wanted.factor == 1 and wanted.put in {Put.DRAWN, Put.UNREAD}:
            return wanted
        if number is None or op.kind not in {"add", "rsub"} or wanted.put is not Put.UNREAD:
            raise NotPossible(f"{op.kind} in '{op.path}' makes the weight, and is not linear")
        sign = -1 if op.kind == "rsub" else 1  # c − w has to be factor · (c − w)
        return replace(wanted, offset=wanted.offset + sign * (wanted.factor - 1) * number)


def _sources(node: Node) -> set[str]:
    """The parameters that something is made of."""
    if node.name:
        return {node.name}
    none: set[str] = set()
    return none.union(*map(_sources, node.inputs))
