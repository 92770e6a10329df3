"""What tensors without units of the group are multiplied by in the student: what is made of all of
them, and of numbers that code makes of how many they are."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from net2net.infer.multiplied import read_by
from net2net.infer.new_units.group import GroupInTrace, added, degree, multiplies
from net2net.infer.new_units.holds import NotPossible, same
from net2net.ops import Zero, traits
from net2net.trace.graph import Node
from net2net.trace.lengths import keeps_from_zero
from net2net.trace.trace import Op


class Factors:
    """Of one group in one trace. ``queue``: operations (by position) that are still to be looked
    at; it gets those that read what is multiplied."""

    def __init__(self, group: GroupInTrace, queue: list[int]) -> None:
        self.group, self.queue = group, queue
        self.factors: dict[Node, float] = {}
        self.multiplied: dict[str, float] = {}
        """What parameters without units of the group are multiplied by, to make up for it."""
        self.means: dict[Node, Node] = {}
        """Means over the units → of what."""

    def of(self, node: Node) -> float:
        """What a tensor without units of the group is multiplied by in the student."""
        if node in self.factors:
            return self.factors[node]
        while node.traits.passes and node.inputs:
            node = node.inputs[0]
        if node.producer is not None and node.traits.factory:
            return self.group.made_up_number(node.producer)
        return 1.0

    def told(self, op: Op, each: float, mean: float = 1.0) -> None:
        """Note what outputs without units of the group are multiplied by. ``mean``: the mean beside
        a variance."""
        outputs = self.group.graph.outputs(op)
        for out in outputs:
            beside = len(outputs) > 1 and out in self.means
            factor = self.factors[out] = mean if beside else each
            told = not same(factor, 1.0) or out in self.means
            for user in out.users if told else ():
                heapq.heappush(self.queue, self.group.graph.position(user))
            if out.returned and not same(factor, 1.0):
                raise NotPossible(f"the model returns what {self.group.where(op)} makes of them")

    def step(self, op: Op) -> None:
        """What is made of reduced units on the way back to where they are."""
        group, known = self.group, traits(op.kind)
        read = group.graph.inputs(op)
        factors = [self.of(node) for node in read]
        number = group.made_up_number(op)
        if known.passes and read[0] in self.means:
            for out in group.graph.outputs(op):
                self.means[out] = self.means[read[0]]
        if all(same(factor, 1.0) for factor in factors) and number == 1:
            self.told(op, 1.0)
        elif multiplies(op):
            self.told(op, self._multiplied(op, factors, number))
        elif known.passes or (len(read) == 1 and known.keeps_scale):
            self.told(op, factors[0])
        elif len(read) == 1 and (power := degree(op) or known.degree) is not None:
            self.told(op, factors[0] ** power)
        elif keeps_from_zero(op) or (
            known.sums and all(same(f, factors[0]) for f in factors) and not added(op)
        ):
            self.told(op, factors[0])
        elif group.growing.eps and known.sums and len(read) == 1:
            group.set_number(op, factors[0])
            self.told(op, factors[0])
        else:
            self._make_up(op, read, factors)

    def _make_up(self, op: Op, read: Sequence[Node], factors: Sequence[float]) -> None:
        """Divide the parameters that an operation multiplies with by what else it gets."""
        scaled = [at for at, factor in enumerate(factors) if not same(factor, 1.0)]
        names = read_by(read[scaled[0]], op) if len(scaled) == 1 else None
        if not names or any(name in self.multiplied for name in names):
            raise NotPossible(f"{self.group.where(op)} gets a number that changes with theirs")
        self.multiplied |= dict.fromkeys(names, 1 / factors[scaled[0]])
        self.told(op, 1.0)

    @staticmethod
    def _multiplied(op: Op, factors: Sequence[float], number: float) -> float:
        """The factor of a product or quotient, of those of its operands and of its number."""
        if traits(op.kind).zero is Zero.ANY:
            return math.prod(factors) * number
        if len(factors) == 2:
            return factors[0] / factors[1] * number
        divided = not isinstance(op.args["self"], (int, float))
        return factors[0] / number if divided else number / factors[0]
