"""From the makers on: what is held, and what parameters have to hold for it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence, Set
from dataclasses import replace
from itertools import pairwise

from net2net.infer.new_units.back import Back
from net2net.infer.new_units.factors import Factors
from net2net.infer.new_units.group import (
    GroupInTrace,
    added,
    degree,
    kept_zero,
    multiplies,
    order,
    subtracts,
)
from net2net.infer.new_units.holds import (
    Demand,
    Holds,
    NotPossible,
    Positions,
    Put,
    Scaled,
    State,
    same,
)
from net2net.infer.new_units.parameters import Parameters
from net2net.infer.units import Axis
from net2net.ops import Reduction, Zero, traits
from net2net.trace.graph import Node
from net2net.trace.trace import Op

ZERO, MEAN, ANYTHING = Holds
NOTHING = State(ANYTHING)
"""Anything, and old units as they are."""


class On:
    """From the makers on: what is held, and what parameters hold for it. ``zero``: axes of weights
    that have to hold zeros for others, so that they make zeros."""

    def __init__(
        self,
        group: GroupInTrace,
        back: Back,
        parameters: Parameters,
        zero: Collection[Axis],
    ) -> None:
        self.group, self.back, self.parameters, self.zero = group, back, parameters, zero
        self.states: dict[Node, State] = {}
        self.zeros: list[Node] = []
        """Units that weights make, of which new ones are zero."""
        self.queue = list(group.ops)
        self.factors = Factors(group, self.queue)
        self.seen: set[int] = set()

    def run(self) -> None:
        heapq.heapify(self.queue)
        while self.queue:
            position = heapq.heappop(self.queue)
            if position not in self.seen:
                self.seen.add(position)
                self._step(self.group.trace.ops[position])

    def _step(self, op: Op) -> None:
        group, known = self.group, traits(op.kind)
        inputs, outputs = group.inputs(op), group.outputs(op)
        data = [node for node in inputs if not group.is_parameter(node)]
        read = group.graph.inputs(op)
        shaped = known.passes and not outputs and not group.has(read[0])  # by units, of others
        if shaped or not (inputs or outputs):
            self.factors.step(op)
        elif known.reduces and outputs and not data and group.reduces_some(op, inputs[0]):
            raise NotPossible(f"{group.where(op)} reduces a weight over them that makes them")
        elif outputs and all(group.is_parameter(node) for node in outputs):
            return  # done when something else reads it (`_put`)
        elif known.factory:
            zero = "zeros" in op.kind
            self._made(op, outputs, State(ZERO if zero else ANYTHING), free=zero)
        elif not (outputs or data or known.passes or known.contracts):
            self._weight_reduced(op, inputs[0])
        elif known.normalises and data and group.normed(op, data[0]):
            self._norm(op, data[0], outputs)
        elif known.reduces and not outputs:
            self._reduction(op, inputs[0])
        elif op.kind in _SOFTMAX and group.reduced(op, inputs[0]):
            self._softmax(op, inputs[0], outputs)
        elif known.contracts or self._makes(op, inputs):
            self._contraction(op, data, inputs, outputs)
        elif not outputs:
            reads = any(not group.alike(x) or self._state(x).factor != 1 for x in data)
            if reads and not group.takes_others(op):
                raise NotPossible(f"{group.where(op)} reads them, and is no weight")
        elif known.normalises and data:  # not a weight, to be standardised
            self._norm_of_each(op, data[0], outputs)
        elif multiplies(op):
            self._product(op, data, inputs, outputs)
        elif known.sums or known.joins:
            self._sum(op, data, inputs, outputs)
        else:
            self._function(op, data, inputs, outputs)

    # -- what is there ---------------------------------------------------------------------------

    def _state(self, node: Node) -> State:
        if node in self.states:
            return self.states[node]
        if node.traits.passes and node.inputs and self.group.has(node.inputs[0]):
            return self._state(node.inputs[0])  # a view, of what was written since
        raise NotPossible("the code writes to a part of a tensor that holds them")

    def _made(self, op: Op, outputs: Sequence[Node], state: State, *, free: bool = False) -> None:
        """Note what an operation makes. ``free``: zeros, whatever is wanted."""
        for out in outputs:
            wanted = self.back.demands.get(out, Demand())
            if free:  # zeros are the mean of zeros as well, and any multiple of them
                factor = 1.0 if wanted.factor is None else wanted.factor
                state = State(wanted.holds or ZERO, factor, wanted.by)
            if wanted.holds and self._comes_close(op):
                state = replace(state, holds=wanted.holds, by=wanted.by)
            if wanted.holds and (wanted.holds, wanted.by) != (state.holds, state.by):
                mean = "their mean" if wanted.holds is MEAN else "zero"
                raise NotPossible(
                    f"what {self.group.where(op)} makes would have to be {mean} in new units"
                )
            if wanted.factor is not None and not same(wanted.factor, state.factor):
                raise NotPossible(f"what {self.group.where(op)} makes cannot be scaled")
            if out.returned and state.factor != 1:
                raise NotPossible("the model returns them")
            self.states[out] = state

    def _comes_close(self, op: Op) -> bool:
        """Whether what it makes may be taken for what is demanded of it."""
        group = self.group
        return group.growing.closest and all(
            group.is_parameter(node) or self._state(node).holds is not ANYTHING
            for node in group.inputs(op)
        )

    def _target(self, outputs: Sequence[Node]) -> State:
        """What outputs are made to hold by parameters that can make them hold anything."""
        for out in outputs:
            if (wanted := self.back.demands.get(out)) is not None:
                factor = 1.0 if wanted.factor is None else wanted.factor
                return State(wanted.holds or ANYTHING, factor, wanted.by)
        return NOTHING

    def _plain(self, op: Op, nodes_: Sequence[Node]) -> None:
        """Raises:
        NotPossible: something without units of the group comes scaled.
        """
        for node in nodes_:
            if not self.group.has(node) and not same(self.factors.of(node), 1.0):
                raise NotPossible(f"{self.group.where(op)} gets a number that changes with theirs")

    def _hold(self, node: Node, numbers: frozenset[int], wanted: Positions, op: Op) -> None:
        if self.group.growing.copied:  # there are no others
            wanted = replace(wanted, put=Put.UNREAD if wanted.reads else Put.DRAWN)
        self.parameters.hold(self.group, node, numbers, wanted, op)

    # -- operations that sum ---------------------------------------------------------------------

    def _makes(self, op: Op, inputs: Sequence[Node]) -> bool:
        makes = self.group.roles(op).makes
        return any(self.group.axis_numbers(node) & makes for node in inputs)

    def _axes(self, weights: Sequence[Node], numbers: Set[int]) -> set[Axis]:
        """The axes, of those with these numbers, along which weights have units."""
        found = (self.group.axis_numbers(node) & numbers for node in weights)
        return {self.group.teacher.units.axes[number] for one in found for number in one}

    def _contraction(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group, known = self.group, traits(op.kind)
        self._plain(op, group.graph.inputs(op))
        weights = [node for node in inputs if group.is_parameter(node)]
        reads, makes = group.roles(op).reads, group.roles(op).makes
        undivided = group.growing.copied and group.sums(op) > 0
        reading = group.reads(op, inputs) and not undivided
        through = bool(data) and bool(outputs) and not reading
        if through:
            self._through(op, data, weights, outputs)
            return
        if any(node is group.args(op).get(known.adds) for node in data):
            raise NotPossible(f"{group.where(op)} adds them to a product")
        target = self._target(outputs)
        linear = not known.contracts or known.zero is Zero.ANY
        if outputs:
            made_by = self._axes(weights, makes)
            self.parameters.makes |= made_by
            if target.holds is ANYTHING and not made_by.isdisjoint(self.zero):
                target = replace(target, holds=ZERO)
            if not linear and target != NOTHING:
                raise NotPossible(f"{group.where(op)} makes them, and cannot make what is needed")
            makers = [node for node in weights if group.axis_numbers(node) & makes]
            for node in weights:
                numbers = group.axis_numbers(node) - (reads - makes)
                self._hold(node, numbers, self._written(target, node in makers[1:]), op)
            if len(makers) > 1 and target.holds is MEAN:
                raise NotPossible(f"{group.where(op)} makes them of two weights")
            if makers and target.holds is ZERO:
                self.zeros += outputs
            self._made(op, outputs, target)
        if not reading:
            if not outputs:
                self._sum_of_products(op, data, weights)
            return
        known_source = bool(data) and (linear or not outputs)  # else it reads what it makes, too
        sources = [self._state(node) for node in data] if known_source else [target]
        factor = math.prod(source.factor for source in sources)
        put = Put.UNREAD if any(source.holds is ZERO for source in sources) else Put.ZERO
        columns = [group.axis_numbers(node) & reads for node in weights]
        if put is Put.ZERO and any(a & b for a, b in pairwise(filter(None, columns))):
            raise NotPossible(
                f"{group.where(op)} multiplies what is made of one weight by more of that, so that "
                "zeros would stay zero"
            )
        for node, numbers in zip(weights, columns, strict=True):
            self._hold(node, numbers, Positions(put, 1 / factor, reads=True), op)

    def _sum_of_products(self, op: Op, data: Sequence[Node], weights: Sequence[Node]) -> None:
        """Over the units, of which no weight reads any."""
        group = self.group
        states = [self._state(node) for node in data]
        zero = any(state.holds is ZERO for state in states)
        self._alive(op, states)
        alone = not weights and all(group.values[node.tensor].depends_on_input for node in data)
        exact = group.growing.copied or (zero and alone and group.growing.copies == 1)
        if not (exact and group.summed(op)):
            raise NotPossible(f"{group.where(op)} sums over them, and is no weight that reads them")
        for node in weights:
            self._hold(node, group.axis_numbers(node), Positions(Put.DRAWN), op)
        times = group.growing.times ** group.sums(op)
        factor = math.prod(state.factor for state in states) * times
        if traits(op.kind).weighs and not same(factor, 1.0):  # by a function of the sums
            raise NotPossible(f"{group.where(op)} sums over them, and weighs by that")
        self.factors.told(op, factor)

    def _alive(self, op: Op, states: Sequence[State]) -> None:
        """Refuse products of what is zero and shall learn: each would keep the other from it.

        Raises:
            NotPossible: there are two.
        """
        zero = sum(state.holds is ZERO for state in states)
        if zero > 1 and self.group.growing.readers_get_zero:
            where = self.group.where(op)
            raise NotPossible(f"{where} multiplies them with each other: they would stay zero")

    @staticmethod
    def _written(target: State, second: bool) -> Positions:
        """What makes units that hold this; ``second``: beside another weight that does."""
        if second:
            return Positions(Put.UNREAD if target.holds is ZERO else Put.DRAWN)
        put = {ZERO: Put.ZERO, MEAN: Put.MEAN, ANYTHING: Put.DRAWN}[target.holds]
        return Positions(put, target.factor, by=target.by)

    def _through(
        self, op: Op, data: Sequence[Node], weights: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        """Each unit is summed over for itself: heads, groups, filters of single channels."""
        weighed, makes = self.group.weighed(op, data), self.group.roles(op).makes
        for node in weights:
            numbers = self.group.axis_numbers(node)
            if numbers & makes and numbers - makes:
                raise NotPossible(f"{self.group.where(op)} reads them by what is made of a weight")
        if any(self._state(node).factor != 1 for node in data if node not in weighed):
            raise NotPossible(f"{self.group.where(op)} gets units that are scaled")
        self._alive(op, [self._state(node) for node in data])
        states = [self._state(node) for node in weighed]
        factor = math.prod(state.factor for state in states)
        if times := self.group.sums(op):
            if traits(op.kind).weighs or not self.group.growing.copied:
                raise NotPossible(f"{self.group.where(op)} sums over them")
            factor *= self.group.growing.times**times
        zero = any(state.holds is ZERO for state in states)
        bias = self.group.args(op).get(traits(op.kind).adds)
        if isinstance(bias, Node) and not self.group.has(bias):  # the same for all units
            zero = False
            if factor != 1:
                raise NotPossible(f"{self.group.where(op)} adds a number to units that are scaled")
        target = self._target(outputs)
        wanted = target.holds is ZERO
        other = Put.MEAN if target.holds is MEAN else Put.DRAWN
        for node in weights:
            numbers = self.group.axis_numbers(node)
            if node is bias:
                put = Put.ZERO if zero and wanted else other
                self._hold(node, numbers, Positions(put, factor), op)
                zero = zero and wanted
            else:
                self._hold(node, numbers, Positions(Put.UNREAD if zero else other), op)
        self._made(op, outputs, State(ZERO if zero else ANYTHING, factor))

    # -- norms and reductions --------------------------------------------------------------------

    def _norm(self, op: Op, node: Node, outputs: Sequence[Node]) -> None:
        """Over the units: old ones come out ``factor`` times as large, new ones zero."""
        group, state, closest = self.group, self._state(node), self.group.growing.closest
        needed = MEAN if traits(op.kind).centres else ZERO
        copied = group.growing.copied
        if (state.holds, state.by) != (needed, ()) and not copied:
            raise NotPossible(f"what {group.where(op)} reads would have to be {needed}")
        if needed is MEAN and not (closest or copied):
            group.check_mean(op, node)
        variance = state.factor**2 / group.growing.ratio
        if not (closest or same(variance, 1.0)):
            if not group.growing.eps:
                raise NotPossible(f"what {group.where(op)} reads is scaled otherwise")
            group.set_number(op, variance)
        args = group.args(op)
        scale, shift = args.get("weight"), args.get("bias")
        for one in (scale, shift):
            if isinstance(one, Node) and not group.axis_numbers(one):
                raise NotPossible(f"{group.where(op)} scales and shifts by what is no parameter")
        target, made = self._target(outputs), math.sqrt(group.growing.ratio)
        out = target.factor if isinstance(scale, Node) else made
        if isinstance(scale, Node):
            self._aligned(scale, Positions(Put.UNREAD, out / made), op)
        if isinstance(shift, Node):
            put = Put.MEAN if target.holds is MEAN else Put.ZERO
            self._aligned(shift, Positions(put, out, by=target.by), op)
        self._made(op, outputs, State(ZERO, out))

    def _norm_of_each(self, op: Op, node: Node, outputs: Sequence[Node]) -> None:
        """A batch norm, and others that normalise each unit by itself."""
        state, target = self._state(node), self._target(outputs)
        if state.factor != 1 or target.holds is MEAN:
            raise NotPossible(f"{self.group.where(op)} normalises each unit by itself")
        zero = target.holds is ZERO and state.holds is ZERO
        scale = self.group.args(op).get("weight")
        scaled = isinstance(scale, Node) and self.group.is_parameter(scale)
        factor = target.factor if scaled else 1.0
        for name, argument in self.group.args(op).items():
            if not isinstance(argument, Node) or not self.group.has(argument) or argument is node:
                continue
            put = Put.DRAWN
            if zero:
                put = {"weight": Put.UNREAD, "running_var": Put.ONE}.get(name, Put.ZERO)
            own = factor if name in {"weight", "bias"} else 1.0
            self._aligned(argument, Positions(put, own), op)
        self._made(op, outputs, State(ZERO if zero else ANYTHING, factor))

    def _aligned(self, node: Node, wanted: Positions, op: Op) -> None:
        if self.group.has(node):
            self._hold(node, self.group.axis_numbers(node), wanted, op)

    def _weight_reduced(self, op: Op, node: Node) -> None:
        """Zeros beside it leave a norm, a sum, and the largest of what is not negative."""
        group, kind = self.group, traits(op.kind).reduces
        made, *others = group.graph.outputs(op)
        if not any(one.users or one.returned for one in (made, *others)):
            return
        source = node
        while source.traits.passes and source.inputs:
            source = source.inputs[0]
        largest = op.kind in {"amax", "max"} and source.traits.positive
        summed = kind is Reduction.SUM or (kind is Reduction.NORM and order(op) > 0)
        told = any(one.users or one.returned for one in others)  # at which place it is
        if told or not (largest or (summed and group.growing.copies == 1)):
            raise NotPossible(f"{group.where(op)} reduces a weight over them")
        if not group.reduced(op, node):
            raise NotPossible(f"{group.where(op)} reduces a weight over other units as well")
        self.parameters.leave(group, node, op)

    def _reduction(self, op: Op, node: Node) -> None:
        group, kind = self.group, traits(op.kind).reduces
        state = self._state(node)
        if not group.reduced(op, node):
            raise NotPossible(f"{group.where(op)} runs over other units as well")
        if state.holds is MEAN:
            group.check_mean(op, node)
        ratio, factor = group.growing.ratio, state.factor
        outputs = group.graph.outputs(op)
        if group.growing.copied:
            self._reduced_copies(op, node, factor)
            return
        if kind is Reduction.MEAN and (state.holds, state.by) == (MEAN, ()):
            self.factors.means |= dict.fromkeys(outputs, node)
        elif kind is Reduction.MEAN and state.holds is ZERO:
            factor /= ratio
        elif kind is Reduction.VARIANCE and (state.holds, state.by) == (MEAN, ()):
            factor = factor**2 / self.back.variances(op)
            factor = math.sqrt(factor) if op.kind.startswith("std") else factor
            self.factors.means |= {out: node for out in outputs if group.is_mean(out)}
        elif not (
            kind in {Reduction.SUM, Reduction.NORM}
            and state.holds is ZERO
            and group.growing.copies == 1
            and (kind is Reduction.SUM or order(op) > 0)
        ):
            raise NotPossible(f"{group.where(op)} reduces them")
        self.factors.told(op, factor, state.factor)

    def _reduced_copies(self, op: Op, node: Node, factor: float) -> None:
        """What is made of as many copies of every unit, each ``factor`` times as large."""
        kind, times = traits(op.kind).reduces, self.group.growing.times
        outputs = self.group.graph.outputs(op)
        made = factor
        if kind is Reduction.MEAN:
            self.factors.means |= dict.fromkeys(outputs, node)
        elif kind is Reduction.VARIANCE:
            made = factor**2 / self.back.variances(op)
            made = math.sqrt(made) if op.kind.startswith("std") else made
            self.factors.means |= {out: node for out in outputs if self.group.is_mean(out)}
        elif kind is Reduction.SUM:
            made = factor * times
        elif kind is Reduction.NORM and order(op) > 0:
            made = factor * times ** (1 / order(op))
        elif kind is not Reduction.EXTREME:
            raise NotPossible(f"{self.group.where(op)} reduces them")
        self.factors.told(op, made, factor)

    def _softmax(self, op: Op, node: Node, outputs: Sequence[Node]) -> None:
        """Over the units: of k copies of every unit each gets the k-th part."""
        group, growing = self.group, self.group.growing
        if not growing.copied:
            raise NotPossible(f"{group.where(op)} normalises over them")
        if group.is_parameter(node):
            self._hold(node, group.axis_numbers(node), Positions(Put.DRAWN), op)
        elif not same(self._state(node).factor, 1.0):
            raise NotPossible(f"{group.where(op)} gets units that are scaled")
        self._made(op, outputs, State(ANYTHING, 1 / growing.times))

    # -- operations on each element --------------------------------------------------------------

    def _product(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group, target = self.group, self._target(outputs)
        others = [self.factors.of(node) for node in group.graph.inputs(op) if not group.has(node)]
        number = math.prod(others) * group.made_up_number(op)
        quotient = traits(op.kind).zero is not Zero.ANY
        scales = [node for node in inputs if group.is_parameter(node)]
        first = group.graph.inputs(op)[0]
        if quotient and data and data[-1] is not first and self._state(data[-1]) != NOTHING:
            raise NotPossible(f"{group.where(op)} divides by them")
        states = [self._state(node) for node in data]
        self._alive(op, states)
        factor = 1.0
        for node, state in zip(data, states, strict=True):
            factor = (
                factor / state.factor if quotient and node is not first else factor * state.factor
            )
        factor = factor / number if quotient and not scales else factor * number
        by: tuple[str, ...] = ()
        holds = ZERO if any(state.holds is ZERO for state in states) else ANYTHING
        if len(states) == 1:
            holds, by = states[0].holds, states[0].by
        if scales:
            if len(scales) > 1 and data:
                raise NotPossible(f"{group.where(op)} multiplies units by two parameters")
            made = target.factor / factor
            made = 1 / made if quotient and scales[0] is not first else made
            if holds is MEAN:
                name = group.vector(scales[0], op)
                if target.holds is MEAN and by[-1:] == (name,):
                    put, by = Put.ONE, by[:-1]
                else:
                    put, holds, by = Put.DRAWN, ANYTHING, ()
            else:
                put = Put.UNREAD if holds is ZERO else Put.DRAWN
            self._hold(scales[0], group.axis_numbers(scales[0]), Positions(put, made), op)
            for other in scales[1:]:
                self._hold(other, group.axis_numbers(other), Positions(Put.DRAWN), op)
            factor = target.factor
        self._made(op, outputs, State(holds, factor, by))

    def _sum(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group = self.group
        states = [self._state(node) for node in data]
        target = states[0] if states else self._target(outputs)
        factors = [state.factor for state in states]
        scaled = next((factor for factor in factors if not same(factor, 1.0)), 1.0)
        for node, factor in zip(data, factors, strict=True):
            if not same(factor, scaled):
                if factor != 1 or self.back.demands.get(node, Demand()).factor is not None:
                    raise NotPossible(f"{group.where(op)} adds units that are scaled differently")
                raise Scaled(node, scaled)
        holds = {(state.holds, state.by) for state in states}
        if len(holds) > 1:
            target = State(ANYTHING, target.factor)
        rest = group.beside(op)
        mean = self.factors.means.get(rest[0]) if len(rest) == 1 and subtracts(op) else None
        if len(data) == 1 and mean is data[0]:
            self._made(op, outputs, State(ZERO, target.factor))
            return
        if rest or added(op):
            self._plain(op, rest)
            if target.factor != 1 or target.by:
                raise NotPossible(f"{group.where(op)} adds a number to units that are scaled")
            if target.holds is ZERO:
                target = NOTHING
        for node in inputs:
            if group.is_parameter(node):
                self._hold(node, group.axis_numbers(node), self._written(target, False), op)
        self._made(op, outputs, target)

    def _function(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        """Any other operation works on each unit alone."""
        group, known = self.group, traits(op.kind)
        for node in inputs:
            if group.is_parameter(node):
                self._hold(node, group.axis_numbers(node), Positions(Put.DRAWN), op)
        if not data:
            self._made(op, outputs, NOTHING)
            return
        state = self._state(data[0])
        others = [] if known.passes else [self._state(node) for node in data[1:]]
        self._plain(op, group.graph.inputs(op))
        linear = (known.linear and not op.args.get("value")) or (known.moves and known.keeps_scale)
        power = degree(op)
        whole = len(data) == len(group.graph.inputs(op)) and not added(op)
        if state.holds is ZERO and group.growing.readers_get_zero and group.stays_zero(op, data[0]):
            raise NotPossible(f"{group.where(op)} is flat at zero, so that they would stay zero")
        if not others and linear:
            self._made(op, outputs, state)
            return
        if any(one.factor != 1 for one in others) or (
            not same(state.factor, 1.0) and (others or power is None)
        ):
            raise NotPossible(f"{group.where(op)} gets units that are scaled")
        kept = kept_zero(op)
        zero = state.holds is ZERO and (
            (kept is Zero.FIRST and data[0] is group.graph.inputs(op)[0])
            or (kept is Zero.ALL and whole and all(one.holds is ZERO for one in others))
            or (op.kind == "pow" and power is not None)
        )
        self._made(op, outputs, State(ZERO if zero else ANYTHING, state.factor ** (power or 1.0)))


_SOFTMAX = {"softmax", "_softmax"}
