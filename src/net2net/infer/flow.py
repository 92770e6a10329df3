"""Follow a group that gets new units through the traces: what they hold at every tensor, and what
that makes of every parameter (``new_units.py`` has the idea).

Two passes over the operations that the group's units go through. Back, from the readers: what has
to be held (``_Back``). On, from the makers: what is held then, and what parameters do for it
(``_On``). Most operations work on each unit alone, so that of anything they make anything; what
else they can do is told by their traits.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from net2net.infer.inference import Inference, RolesAt
from net2net.infer.new_units import Enlarged, Holds, NotPossible, Positions, Put, State
from net2net.infer.units import NO_UNIT, Axis
from net2net.ops import Zero, traits
from net2net.trace.graph import Graph, Node
from net2net.trace.trace import Op, Trace

ZERO, MEAN, ANYTHING = Holds
NOTHING = State(ANYTHING)
"""Anything, and old units as they are."""

_ROUNDS = 16
"""How often factors are assumed: of weights that read and make, and of what meets scaled units."""


@dataclass(frozen=True)
class Demand:
    """What has to be held in a tensor; None: whatever."""

    holds: Holds | None = None
    factor: float | None = None
    by: tuple[str, ...] = ()


def follow(
    teacher: Inference, growing: Enlarged, student: Sequence[Trace] | None = None
) -> dict[Axis, Positions]:
    """What every parameter axis that has units of the group holds.

    Args:
        student: traces of the student, whose code may compute other numbers than the teacher's.
            None, before there is one: it computes the same.

    Raises:
        NotPossible: new units would change what is computed; why.
    """
    assumed, scaled = dict[Axis, float](), dict[Node, float]()
    for _ in range(_ROUNDS):
        found = _Parameters(teacher)
        try:
            for number, trace in enumerate(teacher.traces):
                other = student[number] if student else None
                group = _Group(teacher, growing, number, trace, other)
                _On(group, _Back(group, assumed, scaled), found).run()
        except _Scaled as error:
            scaled[error.node] = error.factor
            continue
        if not found.apart:
            return found.positions
        assumed |= found.apart
    raise NotPossible("what makes these units and reads them would need two scales")


def why_not(teacher: Inference, key: int, *, zero: bool = False) -> str | None:
    """Why a group can have no new units besides copies, or None. ``zero``: whose readers get
    zero."""
    size = len(teacher.members[key])
    try:
        follow(teacher, Enlarged(key, size, 1, size + 1, readers_get_zero=zero))
    except NotPossible as error:
        return str(error)
    return None


class _Scaled(Exception):
    """What a tensor holds has to be multiplied by this, for it meets units that are."""

    def __init__(self, node: Node, factor: float) -> None:
        super().__init__(node, factor)
        self.node, self.factor = node, factor


class _Parameters:
    """What is said of parameters."""

    def __init__(self, teacher: Inference) -> None:
        self.teacher = teacher
        self.positions: dict[Axis, Positions] = {}
        self.apart: dict[Axis, float] = {}
        """Weights that make units times this, and would have to read them times something else."""

    def put(self, axis: Axis, wanted: Positions, where: str) -> None:
        known = self.positions.get(axis)
        if known is not None and known != wanted:
            if known.put is Put.UNREAD and known.factor == wanted.factor:
                pass
            elif wanted.put is Put.UNREAD and _same(known.factor, wanted.factor):
                wanted = known
            elif wanted.reads and wanted.put is Put.UNREAD:
                self.apart[axis], wanted = known.factor, known
            elif known.reads and known.put is Put.UNREAD:
                self.apart[axis] = wanted.factor
            elif (known.put, known.by) == (wanted.put, wanted.by) and _same(
                known.factor, wanted.factor
            ):
                wanted = known
            else:
                raise NotPossible(f"{where} needs '{axis.name}' otherwise than others do")
        self.positions[axis] = wanted


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12)


class _Group:
    """A group in one trace: which tensors and operations it goes through."""

    def __init__(
        self, teacher: Inference, growing: Enlarged, number: int, trace: Trace, student: Trace | None
    ) -> None:  # fmt: skip
        self.teacher, self.growing, self.nth, self.trace = teacher, growing, number, trace
        self.student = student
        self.values = teacher.values[number]
        self.graph: Graph = teacher.graph_of(trace)
        self.which = teacher.group_numbers[growing.key]
        self.here: set[int] = teacher.tensors_of[number].get(self.which, set())
        self.ops = sorted(
            {at for tensor in self.here for at in teacher.places_of[number].get(tensor, ())}
        )

    def has(self, node: Node) -> bool:
        return node.tensor in self.here

    def is_parameter(self, node: Node) -> bool:
        """Whether it is made of parameters alone."""
        value = self.values.get(node.tensor)
        return value is not None and bool(value.parameter_axes) and not value.depends_on_input

    def axes(self, node: Node) -> list[int]:
        """The axes along which the group has units."""
        known = self.teacher
        found: list[int] = []
        for part in self.values[node.tensor].parts:
            ids = part.ids[part.ids != NO_UNIT]
            if (known.group_of[known.component[ids]] == self.which).any():
                found += part.axes
        return found

    def axis_numbers(self, node: Node) -> frozenset[int]:
        """The parameter axes along which the group has units, of what is made of parameters."""
        if not self.is_parameter(node):
            return frozenset()
        along = self.values[node.tensor].parameter_axes
        none: frozenset[int] = frozenset()
        return none.union(*(along.get(axis, none) for axis in self.axes(node)))

    def alone_on(self, node: Node, axis: int) -> bool:
        """Whether all positions of an axis are units of this group, as often as each other."""
        ids = self.values[node.tensor].ids(axis)
        if ids is None or (ids == NO_UNIT).any():
            return False
        known = self.teacher
        return bool((known.group_of[known.component[ids]] == self.which).all())

    def where(self, op: Op) -> str:
        return f"{op.kind} in '{op.path}'" if op.path else op.kind

    def roles(self, op: Op) -> RolesAt:
        none: frozenset[int] = frozenset()
        return self.teacher.roles_at[self.nth].get(self.graph.position(op), RolesAt(none, none))

    def args(self, op: Op) -> dict[str, Any]:
        """Its arguments, with nodes in place of tensors."""
        at = self.graph.position(op)
        return {name: self.graph.bound(item, at) for name, item in op.args.items()}

    def inputs(self, op: Op) -> list[Node]:
        """The nodes among its arguments that have units of the group."""
        return [node for node in self.graph.inputs(op) if self.has(node)]

    def outputs(self, op: Op) -> list[Node]:
        return [node for node in self.graph.outputs(op) if self.has(node)]

    def weighed(self, op: Op, data: Sequence[Node]) -> list[Node]:
        """The activations that its output is zero with, where one of them is."""
        known = traits(op.kind)
        if known.weighs:
            return [node for node in data if node is self.args(op)[known.weighs]]
        added = self.args(op).get(known.adds)
        return [node for node in data if node is not added] if known.zero is Zero.ANY else []

    def reads(self, op: Op, inputs: Sequence[Node]) -> bool:
        """Whether a weight among its arguments reads the group's units."""
        reads = self.roles(op).reads
        return any(self.axis_numbers(node) & reads for node in inputs)

    def normed(self, op: Op, node: Node) -> bool:
        """Whether it normalises over the group's units, and not each by itself.

        Raises:
            NotPossible: over other units as well.
        """
        shape = op.args.get("normalized_shape")
        if op.args.get("num_groups") == 1:
            raise NotPossible(f"{self.where(op)} normalises over them and over pixels")
        dims = range(len(node.shape) - len(shape), len(node.shape)) if shape else ()
        return self.over(op, node, dims)

    def reduced(self, op: Op, node: Node) -> bool:
        """Whether it reduces the group's units, and not what lies in each (see ``normed``)."""
        dims = op.args.get("dim")
        dims = range(len(node.shape)) if dims is None or dims == [] else dims
        dims = [dims] if isinstance(dims, int) else dims
        return self.over(op, node, [axis % len(node.shape) for axis in dims])

    def over(self, op: Op, node: Node, dims: Sequence[int]) -> bool:
        axes = self.axes(node)
        if not set(axes) <= set(dims):
            return False
        if len(axes) > 1 or not self.alone_on(node, axes[0]):
            raise NotPossible(f"{self.where(op)} runs over other units as well")
        if len(dims) > 1 and traits(op.kind).normalises:
            raise NotPossible(f"{self.where(op)} normalises over them and over other axes")
        return True

    def centred(self, node: Node, mean: Node) -> bool:
        """Whether the mean of a tensor is subtracted from it."""
        ends = [mean]
        for one in ends:
            for op in one.users:
                made = self.graph.outputs(op)
                if traits(op.kind).passes:
                    ends += made
                elif traits(op.kind).sums and node in self.graph.inputs(op):
                    return True
        return False

    def number(self, op: Op) -> float:
        """The student's number over the teacher's, of those that an operation multiplies by.

        Raises:
            NotPossible: it does something else with them.
        """
        if self.student is None:
            return 1.0
        other = self.student.ops[self.graph.position(op)]
        ratio = 1.0
        for name, old in op.args.items():
            new = other.args.get(name)
            if isinstance(old, (int, float)) and isinstance(new, (int, float)) and old != new:
                if not (old and new and name in {"other", "self", "fill_value"}):
                    raise NotPossible(
                        f"{self.where(op)} gets a number that the code makes of their number "
                        f"({old}, then {new})"
                    )
                ratio *= new / old
        return ratio

    def vector(self, node: Node, op: Op) -> str:
        """The name of a parameter of one number a unit.

        Raises:
            NotPossible: it is none.
        """
        while not node.name and node.traits.passes and node.inputs:
            node = node.inputs[0]
        sizes = [size for size in node.shape if size != 1]
        if not node.name or len(sizes) != 1:
            raise NotPossible(f"{self.where(op)} multiplies each unit by a number of its own")
        return node.name


class _Back:
    """From the readers back: what has to be held where."""

    def __init__(
        self, group: _Group, assumed: dict[Axis, float], scaled: dict[Node, float]
    ) -> None:
        self.group, self.growing, self.assumed = group, group.growing, assumed
        self.demands = {node: Demand(factor=factor) for node, factor in scaled.items()}
        for position in reversed(group.ops):
            self._step(group.trace.ops[position])

    def _demand(self, node: Node, wanted: Demand, op: Op) -> None:
        if self.group.is_parameter(node):
            return
        known = self.demands.get(node, Demand())
        if known.holds and wanted.holds and (known.holds, known.by) != (wanted.holds, wanted.by):
            raise NotPossible(
                f"new units would have to hold {wanted.holds} for {self.group.where(op)}, and "
                f"{'another mean' if known.holds is wanted.holds else known.holds} for others"
            )
        if None not in (known.factor, wanted.factor) and not _same(
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
            self._demand(data[0], Demand(holds, math.sqrt(self.growing.ratio)), op)
        elif known.reduces and not outputs:
            self._reduction(op, data[0])
        elif known.contracts and (not outputs or group.reads(op, inputs)):
            self._reader(op, data, inputs)
        elif (wanted := self._wanted(op)) != Demand():
            self._through(op, data, inputs, wanted)

    def _through(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], wanted: Demand
    ) -> None:
        """What goes in has to hold for what is wanted of what comes out. What cannot be had so is
        found on the way on."""
        known = traits(op.kind)
        if known.contracts:
            for node in self.group.weighed(op, data)[-1:]:
                self._demand(node, wanted, op)
        elif known.multiplies:
            self._product(op, data, inputs, wanted)
        elif known.sums or (known.moves and known.zero is Zero.ALL):
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

    def _less_its_mean(self, op: Op, node: Node) -> bool:
        """Whether it subtracts the mean over the units from them: demanded where that is taken."""
        others = [one for one in self.group.graph.inputs(op) if not self.group.has(one)]
        for other in others:
            while other.traits.passes and other.inputs:
                other = other.inputs[0]
            if other.traits.reduces == "mean" and node in other.inputs:
                return True
        return False

    def _reduction(self, op: Op, node: Node) -> None:
        kind, growing = traits(op.kind).reduces, self.growing
        if not self.group.reduced(op, node):
            return
        if kind == "mean" and self.group.centred(node, self.group.graph.outputs(op)[0]):
            self._demand(node, Demand(MEAN), op)
        elif kind == "mean":
            self._demand(node, Demand(ZERO, growing.ratio), op)
        elif kind == "var":
            self._demand(node, Demand(MEAN, math.sqrt(self.variances(op))), op)
        elif kind in {"sum", "norm"} and growing.copies == 1:
            self._demand(node, Demand(ZERO), op)

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
                wanted = replace(wanted, by=(*wanted.by, self.group.vector(scales[0], op)))
            else:
                wanted = replace(wanted, factor=None)  # the scale makes up for the difference
            self._demand(data[0], wanted, op)
        elif wanted.holds is ZERO:
            self._demand(min(data, key=_distance), Demand(ZERO, wanted.factor), op)

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


def degree(op: Op) -> float | None:
    """As ``OpTraits.degree``, also of what keeps the scale and of powers; None if it has none."""
    known = traits(op.kind)
    if op.kind == "pow":
        exponent = op.args.get("exponent")
        return float(exponent) if isinstance(exponent, (int, float)) and exponent > 0 else None
    return 1.0 if known.keeps_scale else known.degree


class _On:
    """From the makers on: what is held, and what parameters hold for it."""

    def __init__(self, group: _Group, back: _Back, parameters: _Parameters) -> None:
        self.group, self.back, self.parameters = group, back, parameters
        self.states: dict[Node, State] = {}
        self.factors: dict[Node, float] = {}
        """Of tensors without units of the group: what they are multiplied by."""
        self.means: dict[Node, Node] = {}
        """Means over the units → of what."""
        self.queue = list(group.ops)
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
        if not inputs and not outputs:
            self._without_units(op)
        elif outputs and all(group.is_parameter(node) for node in outputs):
            return  # done when something else reads it (`_put`)
        elif known.factory:
            zero = "zeros" in op.kind
            self._made(op, outputs, State(ZERO if zero else ANYTHING), free=zero)
        elif known.normalises and data and group.normed(op, data[0]):
            self._norm(op, data[0], outputs)
        elif known.reduces and not outputs:
            for node in data:
                self._reduction(op, node)
        elif known.contracts or self._makes(op, inputs):
            self._contraction(op, data, inputs, outputs)
        elif not outputs:
            if data:
                raise NotPossible(f"{group.where(op)} reads them, and is no weight")
        elif known.normalises:
            self._norm_of_each(op, data[0], outputs)
        elif known.multiplies:
            self._product(op, data, inputs, outputs)
        elif known.sums or (known.moves and known.zero is Zero.ALL):
            self._sum(op, data, inputs, outputs)
        else:
            self._function(op, data, inputs, outputs)

    # -- what is there ---------------------------------------------------------------------------

    def _state(self, node: Node) -> State:
        if node in self.states:
            return self.states[node]
        if node.producer is None:
            raise NotPossible("the code writes to a part of a tensor that holds them")
        return NOTHING

    def _made(self, op: Op, outputs: Sequence[Node], state: State, *, free: bool = False) -> None:
        """Note what an operation makes. ``free``: zeros that fit any factor."""
        for out in outputs:
            wanted = self.back.demands.get(out, Demand())
            if free and wanted.factor is not None:
                state = replace(state, factor=wanted.factor)
            if wanted.holds and (wanted.holds, wanted.by) != (state.holds, state.by):
                mean = "their mean" if wanted.holds is MEAN else "zero"
                raise NotPossible(
                    f"what {self.group.where(op)} makes would have to be {mean} in new units"
                )
            if wanted.factor is not None and not _same(wanted.factor, state.factor):
                raise NotPossible(f"what {self.group.where(op)} makes cannot be scaled")
            if out.returned and state.factor != 1:
                raise NotPossible("the model returns them")
            written = out.tensor in self.group.trace.bases and op.name.endswith("_")
            if written and state != NOTHING:
                raise NotPossible("the code writes to a part of a tensor that holds them")
            self.states[out] = state

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
            if not self.group.has(node) and not _same(self.factor(node), 1.0):
                raise NotPossible(f"{self.group.where(op)} gets a number that changes with theirs")

    def factor(self, node: Node) -> float:
        """What a tensor without units of the group is multiplied by in the student."""
        if node in self.factors:
            return self.factors[node]
        while node.traits.passes and node.inputs:
            node = node.inputs[0]
        if node.producer is not None and node.traits.factory:
            return self.group.number(node.producer)
        return 1.0

    # -- operations that sum ---------------------------------------------------------------------

    def _makes(self, op: Op, inputs: Sequence[Node]) -> bool:
        makes = self.group.roles(op).makes
        return any(self.group.axis_numbers(node) & makes for node in inputs)

    def _contraction(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group, known = self.group, traits(op.kind)
        self._plain(op, group.graph.inputs(op))
        weights = [node for node in inputs if group.is_parameter(node)]
        reads, makes = group.roles(op).reads, group.roles(op).makes
        reading = group.reads(op, inputs)
        through = bool(data) and bool(outputs) and not reading
        if through:
            self._through(op, data, weights, outputs)
            return
        target = self._target(outputs)
        linear = not known.contracts or known.zero is Zero.ANY
        if outputs:
            if not linear and target != NOTHING:
                raise NotPossible(f"{group.where(op)} makes them, and cannot make what is needed")
            makers = [node for node in weights if group.axis_numbers(node) & makes]
            for node in weights:
                numbers = group.axis_numbers(node) - reads
                self._put(node, numbers, self._written(target, node in makers[1:]), op)
            if len(makers) > 1 and target.holds is MEAN:
                raise NotPossible(f"{group.where(op)} makes them of two weights")
            self._made(op, outputs, target)
        if not reading:
            if data and not outputs:
                raise NotPossible(f"{group.where(op)} sums the product of two activations")
            return
        known_source = bool(data) and (linear or not outputs)  # else it reads what it makes, too
        source = self._state(data[0]) if known_source else target
        put = Put.UNREAD if source.holds is ZERO else Put.ZERO
        for node in weights:
            numbers = group.axis_numbers(node) & reads
            self._put(node, numbers, Positions(put, 1 / source.factor, reads=True), op)

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
        weighed = self.group.weighed(op, data)
        if any(self._state(node).factor != 1 for node in data if node not in weighed):
            raise NotPossible(f"{self.group.where(op)} gets units that are scaled")
        states = [self._state(node) for node in weighed]
        factor = math.prod(state.factor for state in states)
        zero = any(state.holds is ZERO for state in states)
        bias = self.group.args(op).get(traits(op.kind).adds)
        wanted = self._target(outputs).holds is ZERO
        for node in weights:
            numbers = self.group.axis_numbers(node)
            if node is bias:
                put = Put.ZERO if zero and wanted else Put.DRAWN
                self._put(node, numbers, Positions(put, factor), op)
                zero = zero and wanted
            else:
                self._put(node, numbers, Positions(Put.UNREAD if zero else Put.DRAWN), op)
        self._made(op, outputs, State(ZERO if zero else ANYTHING, factor))

    # -- norms and reductions --------------------------------------------------------------------

    def _norm(self, op: Op, node: Node, outputs: Sequence[Node]) -> None:
        """Over the units: old ones come out ``factor`` times as large, new ones zero."""
        group, state = self.group, self._state(node)
        needed = MEAN if traits(op.kind).centres else ZERO
        if (state.holds, state.by) != (needed, ()):
            raise NotPossible(f"what {group.where(op)} reads would have to be {needed}")
        if not _same(state.factor**2, group.growing.ratio):
            raise NotPossible(f"what {group.where(op)} reads is scaled otherwise")
        args = group.args(op)
        scale, shift = args.get("weight"), args.get("bias")
        out = self._target(outputs).factor if isinstance(scale, Node) else state.factor
        if isinstance(scale, Node):
            self._aligned(scale, Positions(Put.UNREAD, out / state.factor), op)
        if isinstance(shift, Node):
            self._aligned(shift, Positions(Put.ZERO, out), op)
        self._made(op, outputs, State(ZERO, out))

    def _norm_of_each(self, op: Op, node: Node, outputs: Sequence[Node]) -> None:
        """A batch norm, and others that normalise each unit by itself."""
        state, target = self._state(node), self._target(outputs)
        if state.factor != 1 or target.holds is MEAN:
            raise NotPossible(f"{self.group.where(op)} normalises each unit by itself")
        zero = target.holds is ZERO and state.holds is ZERO
        for name, argument in self.group.args(op).items():
            if not isinstance(argument, Node) or not self.group.has(argument) or argument is node:
                continue
            put = Put.DRAWN
            if zero:
                put = {"weight": Put.UNREAD, "running_var": Put.ONE}.get(name, Put.ZERO)
            scaled = name in {"weight", "bias"}
            self._aligned(argument, Positions(put, target.factor if scaled else 1.0), op)
        self._made(op, outputs, State(ZERO if zero else ANYTHING, target.factor))

    def _aligned(self, node: Node, wanted: Positions, op: Op) -> None:
        if self.group.has(node):
            self._put(node, self.group.axis_numbers(node), wanted, op)

    def _reduction(self, op: Op, node: Node) -> None:
        group, kind, state = self.group, traits(op.kind).reduces, self._state(node)
        if not group.reduced(op, node):
            raise NotPossible(f"{group.where(op)} runs over other units as well")
        ratio, factor = group.growing.ratio, state.factor
        if kind == "mean" and (state.holds, state.by) == (MEAN, ()):
            for out in group.graph.outputs(op):
                self.means[out] = node
        elif kind == "mean" and state.holds is ZERO:
            factor /= ratio
        elif kind == "var" and (state.holds, state.by) == (MEAN, ()):
            factor = factor**2 / self.back.variances(op)
            factor = math.sqrt(factor) if op.kind == "std" else factor
        elif not (kind in {"sum", "norm"} and state.holds is ZERO and group.growing.copies == 1):
            raise NotPossible(f"{group.where(op)} reduces them")
        self._told(op, factor)

    def _told(self, op: Op, factor: float) -> None:
        """Note what outputs without units of the group are multiplied by."""
        for out in self.group.graph.outputs(op):
            self.factors[out] = factor
            told = not _same(factor, 1.0) or out in self.means
            for user in out.users if told else ():
                heapq.heappush(self.queue, self.group.graph.position(user))
            if out.returned and not _same(factor, 1.0):
                raise NotPossible(f"the model returns what {self.group.where(op)} makes of them")

    def _without_units(self, op: Op) -> None:
        """What is made of reduced units on the way back to where they are."""
        group, known = self.group, traits(op.kind)
        read = group.graph.inputs(op)
        factors = [self.factor(node) for node in read]
        number = group.number(op)
        if known.passes and read[0] in self.means:
            for out in group.graph.outputs(op):
                self.means[out] = self.means[read[0]]
        if all(_same(factor, 1.0) for factor in factors) and number == 1:
            self._told(op, 1.0)
        elif known.multiplies:
            self._told(op, self._multiplied(op, factors, number))
        elif known.passes or (len(read) == 1 and known.keeps_scale):
            self._told(op, factors[0])
        elif len(read) == 1 and (power := degree(op) or known.degree) is not None:
            self._told(op, factors[0] ** power)
        elif known.sums and all(_same(f, factors[0]) for f in factors) and not _numbers(op):
            self._told(op, factors[0])
        else:
            raise NotPossible(f"{group.where(op)} gets a number that changes with theirs")

    @staticmethod
    def _multiplied(op: Op, factors: Sequence[float], number: float) -> float:
        """The factor of a product or quotient, of those of its operands and of its number."""
        if traits(op.kind).zero is Zero.ANY:
            return math.prod(factors) * number
        if len(factors) == 2:
            return factors[0] / factors[1] * number
        divided = not isinstance(op.args["self"], (int, float))
        return factors[0] / number if divided else number / factors[0]

    # -- operations on each element --------------------------------------------------------------

    def _product(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group, target = self.group, self._target(outputs)
        others = [self.factor(node) for node in group.graph.inputs(op) if not group.has(node)]
        number = math.prod(others) * group.number(op)
        quotient = traits(op.kind).zero is not Zero.ANY
        scales = [node for node in inputs if group.is_parameter(node)]
        first = group.graph.inputs(op)[0]
        if quotient and data and data[-1] is not first and self._state(data[-1]) != NOTHING:
            raise NotPossible(f"{group.where(op)} divides by them")
        states = [self._state(node) for node in data]
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
            self._put(scales[0], group.axis_numbers(scales[0]), Positions(put, made), op)
            for other in scales[1:]:
                self._put(other, group.axis_numbers(other), Positions(Put.DRAWN), op)
            factor = target.factor
        self._made(op, outputs, State(holds, factor, by))

    def _sum(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        group = self.group
        states = [self._state(node) for node in data]
        target = states[0] if states else self._target(outputs)
        factors = [state.factor for state in states]
        scaled = next((factor for factor in factors if not _same(factor, 1.0)), 1.0)
        for node, factor in zip(data, factors, strict=True):
            if not _same(factor, scaled):
                if factor != 1 or node in self.back.demands:
                    raise NotPossible(f"{group.where(op)} adds units that are scaled differently")
                raise _Scaled(node, scaled)
        holds = {(state.holds, state.by) for state in states}
        if len(holds) > 1:
            target = State(ANYTHING, target.factor)
        rest = (
            [n for n in group.graph.inputs(op) if not group.has(n)] if traits(op.kind).sums else []
        )
        if len(data) == 1 and len(rest) == 1 and self.means.get(rest[0]) is data[0]:
            self._made(op, outputs, State(ZERO, target.factor))
            return
        if rest or (traits(op.kind).sums and _numbers(op)):
            self._plain(op, rest)
            if target.factor != 1 or target.by:
                raise NotPossible(f"{group.where(op)} adds a number to units that are scaled")
            if target.holds is ZERO:
                target = NOTHING
        for node in inputs:
            if group.is_parameter(node):
                self._put(node, group.axis_numbers(node), self._written(target, False), op)
        self._made(op, outputs, target)

    def _function(
        self, op: Op, data: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]
    ) -> None:
        """Any other operation works on each unit alone."""
        group, known = self.group, traits(op.kind)
        for node in inputs:
            if group.is_parameter(node):
                self._put(node, group.axis_numbers(node), Positions(Put.DRAWN), op)
        if not data:
            self._made(op, outputs, NOTHING)
            return
        state = self._state(data[0])
        others = [] if known.passes else [self._state(node) for node in data[1:]]
        self._plain(op, group.graph.inputs(op))
        linear = (known.linear and not op.args.get("value")) or (known.moves and known.keeps_scale)
        power = degree(op)
        if known.flat and state.holds is ZERO and group.growing.readers_get_zero:
            raise NotPossible(f"{group.where(op)} is flat at zero, so that they would stay zero")
        if not others and linear:
            self._made(op, outputs, state)
            return
        if any(one.factor != 1 for one in others) or (
            not _same(state.factor, 1.0) and (others or power is None)
        ):
            raise NotPossible(f"{group.where(op)} gets units that are scaled")
        zero = state.holds is ZERO and (
            (known.zero is Zero.FIRST and data[0] is group.graph.inputs(op)[0])
            or (known.zero is not None and all(one.holds is ZERO for one in others))
            or (op.kind == "pow" and power is not None)
        )
        self._made(op, outputs, State(ZERO if zero else ANYTHING, state.factor ** (power or 1.0)))

    # -- parameters ------------------------------------------------------------------------------

    def _put(self, node: Node, numbers: frozenset[int], wanted: Positions, op: Op) -> None:
        """Have a parameter, or those that something was made of, hold what is wanted."""
        if not numbers:
            return
        group = self.group
        if node.name:
            for number in numbers:
                axis = group.teacher.units.axes[number]
                self.parameters.put(axis, wanted, group.where(op))
            return
        made = node.producer
        known = node.traits
        own = [one for one in node.inputs if group.axis_numbers(one) & numbers]
        if made is None or not own:
            raise NotPossible(f"{group.where(op)} gets a weight that is made in parts")
        linear = known.passes or (known.contracts and known.zero is Zero.ANY)
        if known.sums:
            wanted = self._less(made, node, own, wanted)
            linear = True
        elif known.multiplies:
            linear = all(one in own for one in own[:1]) and known.zero is Zero.ANY
        elif (known.keeps_scale and wanted.put is not Put.MEAN) or (
            known.zero is Zero.FIRST and wanted.factor == 1 and wanted.put is Put.ZERO
        ):
            linear = True
        plain = wanted.put in {Put.DRAWN, Put.UNREAD} and wanted.factor == 1
        if not (linear or plain):
            raise NotPossible(f"{node.kind} in '{made.path}' makes the weight, and is not linear")
        first, *rest = own
        self._put(first, group.axis_numbers(first) & numbers, wanted, op)
        for one in rest:
            beside = wanted
            if not known.sums:
                if wanted.put is Put.MEAN:
                    raise NotPossible(f"{node.kind} in '{made.path}' makes the weight of two")
                beside = Positions(Put.UNREAD if wanted.put is Put.ZERO else wanted.put)
            self._put(one, group.axis_numbers(one) & numbers, beside, op)

    def _less(self, op: Op, node: Node, own: Sequence[Node], wanted: Positions) -> Positions:
        """What a parameter holds, so that with a number added to it is what is wanted."""
        others = [one for one in node.inputs if one not in own]
        numbers = _numbers(op)
        if not others and not numbers:
            return wanted
        added = numbers[0] if len(numbers) == 1 and not others else None
        if wanted.factor == 1 and wanted.put in {Put.DRAWN, Put.UNREAD}:
            return wanted
        if added is None or op.kind not in {"add", "rsub"} or wanted.put is not Put.UNREAD:
            raise NotPossible(f"{op.kind} in '{op.path}' makes the weight, and is not linear")
        sign = -1 if op.kind == "rsub" else 1  # c − w has to be factor · (c − w)
        return replace(wanted, offset=wanted.offset + sign * (wanted.factor - 1) * added)


def _numbers(op: Op) -> list[float]:
    """The numbers that a sum adds."""
    given = [op.args.get("self"), op.args.get("other")]
    return [x for x in given if isinstance(x, (int, float)) and x]
