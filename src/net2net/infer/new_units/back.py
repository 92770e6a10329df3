"""From the readers back: what has to be held where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from net2net.infer.new_units.group import GroupInTrace, degree, multiplies, order, subtracts
from net2net.infer.new_units.holds import Demand, Holds, NotPossible, same
from net2net.infer.units import Axis
from net2net.ops import Reduction, Zero, traits
from net2net.trace.graph import Node
from net2net.trace.trace import Op

ZERO, MEAN, ANYTHING = Holds


class Back:
    """From the readers back: what has to be held where."""

    def __init__(
        self, group: GroupInTrace, assumed: dict[Axis, float], scaled: dict[Node, float]
    ) -> None:
        self.group, self.growing, self.assumed = group, group.growing, assumed
        self.demands = {node: Demand(factor=factor) for node, factor in scaled.items()}
        for position in reversed(group.ops):
            self._step(group.trace.ops[position])

    def _demand(self, node: Node, wanted: Demand, op: Op) -> None:
        if self.group.is_parameter(node):
            return
        if self.growing.copied:  # they hold what those do that they copy
            wanted = replace(wanted, holds=None, by=())
        known = self.demands.get(node, Demand())
        if known.holds and wanted.holds and (known.holds, known.by) != (wanted.holds, wanted.by):
            raise NotPossible(
                f"new units would have to hold {wanted.holds} for {self.group.where(op)}, and "
                f"{'another mean' if known.holds is wanted.holds else known.holds} for others"
            )
        if None not in (known.factor, wanted.factor) and not same(
            known.factor or 1.0, wanted.factor or 1.0
        ):
            raise NotPossible(
                f"they would have to be scaled otherwise for {self.group.where(op)} than for others"
            )
        self.demands[node] = Demand(
            known.holds or wanted.holds,
            wanted.factor if known.factor is None else known.factor,
            known.by if known.holds else wanted.by,
        )

    def _wanted(self, op: Op) -> Demand:
        """What its outputs have to hold."""
        found = [self.demands[out] for out in self.group.outputs(op) if out in self.demands]
        if any(one != found[0] for one in found):
            raise NotPossible(f"the pieces that {self.group.where(op)} makes would have to differ")
        return found[0] if found else Demand()

    def _step(self, op: Op) -> None:
        group, known = self.group, traits(op.kind)
        inputs, outputs = group.inputs(op), group.outputs(op)
        data = [node for node in inputs if not group.is_parameter(node)]
        if not data or known.factory:
            return
        if known.normalises and group.normed(op, data[0]):
            holds = MEAN if known.centres else ZERO
            free = self.growing.closest or self.growing.eps
            factor = None if free else math.sqrt(self.growing.ratio)
            self._demand(data[0], Demand(holds, factor), op)
        elif known.reduces and not outputs:
            self._reduction(op, data[0])
        elif known.contracts and (not outputs or group.reads(op, inputs)):
            self._reader(op, data, inputs)
        elif (wanted := self._wanted(op)) != Demand():
            self._through(op, data, inputs, wanted)
        elif known.elementwise and not (known.sums or multiplies(op) or degree(op)):
            for node in data:
                self._demand(node, Demand(factor=1.0), op)

    def _through(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], wanted: Demand
    ) -> None:
        """What goes in has to hold for what is wanted of what comes out. What cannot be had so is
        found on the way on."""
        known = traits(op.kind)
        if known.contracts:
            for node in self.group.weighed(op, data)[-1:]:
                self._demand(node, wanted, op)
        elif multiplies(op):
            self._product(op, data, inputs, wanted)
        elif known.sums or known.joins:
            for node in data:
                less = self._less_its_mean(op, node)
                self._demand(node, Demand(MEAN, wanted.factor) if less else wanted, op)
        elif known.keeps_scale or known.linear:
            self._demand(data[0], wanted, op)
        elif wanted.holds is ZERO and (keeps := degree(op)) is not None:
            factor = wanted.factor
            self._demand(
                data[0], Demand(ZERO, None if factor is None else factor ** (1 / keeps)), op
            )
        elif wanted.holds is ZERO:
            self._demand(data[0], Demand(ZERO, 1.0), op)
        elif wanted.holds is MEAN and self.growing.closest:
            self._demand(data[0], Demand(MEAN, 1.0), op)

    def _less_its_mean(self, op: Op, node: Node) -> bool:
        """Whether it subtracts the mean over the units from them: demanded where that is taken."""
        others = [one for one in self.group.graph.inputs(op) if not self.group.has(one)]
        for other in others if subtracts(op) else ():
            while other.traits.passes and other.inputs:
                other = other.inputs[0]
            if self.group.is_mean(other) and node in other.inputs:
                return True
        return False

    def _reduction(self, op: Op, node: Node) -> None:
        kind, growing = traits(op.kind).reduces, self.growing
        if not self.group.reduced(op, node):
            return
        if growing.copied:
            self._smaller(node, op, kind)
        elif kind is Reduction.MEAN and self.group.centred(node, self.group.graph.outputs(op)[0]):
            self._demand(node, Demand(MEAN), op)
        elif kind is Reduction.MEAN:
            self._demand(node, Demand(ZERO, None if growing.eps else growing.ratio), op)
        elif kind is Reduction.VARIANCE:
            factor = None if growing.eps else math.sqrt(self.variances(op))
            self._demand(node, Demand(MEAN, factor), op)
        elif kind in {Reduction.SUM, Reduction.NORM} and growing.copies == 1:
            self._demand(node, Demand(ZERO, self._against_numbers(op)), op)

    def _smaller(self, node: Node, op: Op, kind: Reduction | None) -> None:
        """Copies are as many times smaller as what is made of all of them would be larger."""
        factor, times = None, self.growing.times
        if kind is Reduction.VARIANCE:
            factor = math.sqrt(self.variances(op))
        elif kind is Reduction.SUM:
            factor = (self._against_numbers(op) or 1.0) / times
        elif kind is Reduction.NORM and (power := order(op)) > 0:
            factor = (self._against_numbers(op) or 1.0) / times ** (1 / power)
        if factor and self.growing.smaller:
            self._demand(node, Demand(factor=factor), op)

    def _against_numbers(self, op: Op) -> float | None:
        """What units are to be multiplied by, so that what an operation makes of all of them stays
        what it is, though code goes on to multiply by numbers that it makes of how many they are
        (‖x‖ / √n); None if it does not."""
        power, ratio = 1.0, 1.0
        outputs = self.group.graph.outputs(op)
        while len(outputs) == 1 and len(outputs[0].users) == 1:
            (op,) = outputs[0].users
            known, read = traits(op.kind), self.group.graph.inputs(op)
            if multiplies(op) and len(read) == 1:
                ratio *= self._number(op) ** (1 / power)
            elif len(read) == 1 and (known.passes or degree(op) or known.degree):
                power *= degree(op) or known.degree or 1.0
            else:
                break
            outputs = self.group.graph.outputs(op)
        return None if same(ratio, 1.0) else 1 / ratio

    def variances(self, op: Op) -> float:
        """The teacher's variance over the student's, of units that are as they were."""
        old, growing = self.growing.old * self.growing.copies, self.growing
        spare = op.args.get("correction", op.args.get("unbiased", True))
        spare = 1 if spare is None else int(spare)
        return (growing.new - spare) / (old - spare * growing.copies) if old > spare else 1.0

    def _reader(self, op: Op, data: Sequence[Node], inputs: Sequence[Node]) -> None:
        reads = self.group.roles(op).reads
        numbers = [n for node in inputs for n in self.group.axis_numbers(node) & reads]
        axes = [self.group.teacher.units.axes[number] for number in numbers]
        factors = [1 / self.assumed[axis] for axis in axes if axis in self.assumed]
        if not (numbers or self.group.outputs(op)):
            if not self.group.summed(op):
                return
            factor, times = self._against_numbers(op), self.growing.times
            if self.growing.smaller and (sums := self.group.sums(op)):
                factor = (factor or 1.0) / times**sums
            if self.growing.smaller or self.growing.copies == 1:
                self._demand(min(data, key=_distance), Demand(ZERO, factor), op)
            return
        holds = ZERO if self.growing.readers_get_zero and axes else None
        if holds or factors:
            self._demand(data[0], Demand(holds, factors[0] if factors else None), op)

    def _product(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], wanted: Demand
    ) -> None:
        if len(data) == 1:
            scales = [node for node in inputs if node is not data[0]]
            if not scales:
                factor = wanted.factor
                wanted = replace(
                    wanted, factor=None if factor is None else factor / self._number(op)
                )
            elif wanted.holds is MEAN:
                if traits(op.kind).zero is not Zero.ANY:
                    raise NotPossible(f"{self.group.where(op)} divides each by a number of its own")
                wanted = replace(wanted, by=(*wanted.by, self.group.vector(scales[0], op)))
            else:
                wanted = replace(wanted, factor=None)  # the scale makes up for the difference
            self._demand(data[0], wanted, op)
        elif wanted.holds is ZERO:
            self._demand(min(data, key=_distance), Demand(ZERO, wanted.factor), op)
        elif wanted.holds is MEAN and self.growing.closest:
            for node in data:
                self._demand(node, Demand(MEAN, 1.0), op)

    def _number(self, op: Op) -> float:
        """What the student multiplies by, over what the teacher does."""
        ratio = self.group.number(op)
        for node in self.group.graph.inputs(op):
            while node.traits.passes and node.inputs:
                node = node.inputs[0]
            if node.producer is not None and node.traits.factory:
                ratio *= self.group.number(node.producer)
        return ratio if traits(op.kind).zero is Zero.ANY else 1 / ratio


def _distance(node: Node) -> int:
    """How much is on the way from the weight that made it: functions count more than views."""
    count = 0
    while node.producer is not None and not node.traits.contracts and node.inputs:
        count += 1 if node.traits.passes or node.traits.sums else 10
        node = node.inputs[0]
    return count
