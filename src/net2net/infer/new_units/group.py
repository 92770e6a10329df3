"""Where a group's units are in a trace, and what operations do over them."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from net2net.infer.inference import Inference, RolesAt
from net2net.infer.new_units.holds import Enlarged, NotPossible
from net2net.infer.units import NO_UNIT, UnitIds
from net2net.ops import Reduction, Zero, traits
from net2net.trace.graph import Graph, Node, nodes
from net2net.trace.trace import Op, Trace


class GroupInTrace:
    """A group in one trace: which tensors and operations it goes through."""

    def __init__(
        self, teacher: Inference, growing: Enlarged, number: int, trace: Trace,
        student: Trace | None, claimed: Set[tuple[int, int]],
    ) -> None:  # fmt: skip
        self.teacher, self.growing, self.nth, self.trace = teacher, growing, number, trace
        self.student, self.claimed = student, claimed
        self.made_up = set[tuple[int, int]]()
        """Operations (trace and place in it) whose numbers are made up for here."""
        self.kept: dict[int, tuple[tuple[str, str], float]] = {}
        """Operations whose number a module keeps, and has to be another: which, and what."""
        self.left: list[str] = []
        """Operations whose number would have to be another, and stays."""
        self.values = teacher.values[number]
        self.graph: Graph = teacher.graph_of(trace)
        self.which = teacher.group_numbers[growing.key]
        self.here: dict[int, list[int]] = teacher.tensors_of[number].get(self.which, {})
        self.ops = sorted(
            teacher.needed[number].intersection(
                *[{at for tensor in self.here for at in teacher.places_of[number].get(tensor, ())}]
            )
        )

    def has(self, node: Node) -> bool:
        return node.tensor in self.here

    def is_parameter(self, node: Node) -> bool:
        """Whether it is made of parameters alone."""
        value = self.values.get(node.tensor)
        return value is not None and bool(value.parameter_axes) and not value.depends_on_input

    def alike(self, node: Node) -> bool:
        """Whether code made all that it holds alike, whatever their number."""
        return self.values[node.tensor].constant

    def axes(self, node: Node) -> list[int]:
        """The axes along which the group has units."""
        return self.here.get(node.tensor, [])

    def axis_numbers(self, node: Node) -> frozenset[int]:
        """The parameter axes along which the group has units, of what is made of parameters."""
        if not self.is_parameter(node):
            return frozenset()
        along = self.values[node.tensor].parameter_axes
        return frozenset(
            one.number for axis in self.axes(node) for one in along.get(axis, frozenset())
        )

    def alone_on(self, node: Node, axis: int) -> bool:
        """Whether all positions of an axis are units of this group, as often as each other."""
        ids = self.values[node.tensor].ids(axis)
        if ids is None or (ids == NO_UNIT).any():
            return False
        known = self.teacher
        return bool((known.group_of[known.component[ids]] == self.which).all())

    def check_mean(self, op: Op, node: Node) -> None:
        """Refuse to take new units, the mean of old ones each, for the mean of all that is there.

        Raises:
            NotPossible: units hold several numbers each (heads, flattened channels).
        """
        ids = self.values[node.tensor].ids(self.axes(node)[0])
        known = [] if ids is None else self.teacher.component[ids].tolist()
        if len(set(known)) < len(known):
            raise NotPossible(f"{self.where(op)} takes the mean over several values of each")

    def where(self, op: Op) -> str:
        return f"{op.kind} in '{op.path}'" if op.path else op.kind

    def roles(self, op: Op) -> RolesAt:
        return self.teacher.roles_at[self.nth].get(self.graph.position(op), RolesAt())

    def summed(self, op: Op) -> bool:
        """Whether an operation sums products over the group's units that no weight divides."""
        known = self.teacher
        return any(
            (known.group_of[known.component[ids[ids != NO_UNIT]]] == self.which).any()
            for ids in self.roles(op).sums
        )

    def sums(self, op: Op) -> int:
        """How often an operation sums products over the group's units, which no weight divides and
        nothing else makes up for (``sums.py``).

        Raises:
            NotPossible: it sums over other units as well.
        """
        place = self.graph.position(op)
        if any((one.trace, one.place) == (self.nth, place) for one in self.teacher.sums):
            return 0
        times = 0
        for ids in self.roles(op).sums:
            whose = self.teacher.group_of[self.teacher.component[ids[ids != NO_UNIT]]]
            if (whose == self.which).any():
                if (ids == NO_UNIT).any() or not (whose == self.which).all():
                    raise NotPossible(f"{self.where(op)} sums over other units as well")
                times += 1
        return times

    def args(self, op: Op) -> dict[str, Any]:
        """Its arguments, with nodes in place of tensors."""
        at = self.graph.position(op)
        return {name: self.graph.bound(item, at) for name, item in op.args.items()}

    def inputs(self, op: Op) -> list[Node]:
        """The nodes among its arguments that have units of the group."""
        return [node for node in self.graph.inputs(op) if self.has(node)]

    def beside(self, op: Op) -> list[Node]:
        """The nodes without units, and not zero, whose elements a sum or a join puts out."""
        tells = {"condition", "mask", "index", "indices"}
        values = [item for name, item in self.args(op).items() if name not in tells]
        return [
            node for node in nodes(values) if not self.has(node) and "zeros" not in made_as(node)
        ]

    def outputs(self, op: Op) -> list[Node]:
        return [node for node in self.graph.outputs(op) if self.has(node)]

    def takes_others(self, op: Op) -> bool:
        """Whether it takes some of what lies beside the units on an axis, and none of them."""
        known = self.teacher
        source = self.values[self.graph.inputs(op)[0].tensor]
        beside = [
            one.ids
            for one in source.parts
            if self.which in known.group_of[known.component[one.ids[one.ids != NO_UNIT]]]
        ]
        taken = [part.ids for one in op.outputs for part in self.values[one.id].parts]
        return traits(op.kind).passes and any(
            np.isin(self._components(some), self._components(all_)).all()
            for some in taken
            for all_ in beside
        )

    def _components(self, ids: UnitIds) -> UnitIds:
        return np.where(ids == NO_UNIT, NO_UNIT, self.teacher.component[ids])

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

    def stays_zero(self, op: Op, node: Node) -> bool:
        """Whether zero units would stay so in training, for all that reads them has no slope
        there."""
        return flat(op) and all(flat(one) for one in node.users)

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
        return self.over(op, node, _dims(op, node))

    def reduces_some(self, op: Op, node: Node) -> bool:
        """Whether it reduces one of several axes along which a weight has units of the group."""
        return not set(self.axes(node)).isdisjoint(_dims(op, node))

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
                elif subtracts(op) and node in self.graph.inputs(op):
                    return True
        return False

    def is_mean(self, node: Node) -> bool:
        """Whether it is the mean that a reduction takes; ``var_mean`` takes two numbers."""
        op, kind = node.producer, node.traits.reduces
        made = [ref.id for ref in op.outputs] if op else []
        both = kind is Reduction.VARIANCE and len(made) > 1
        return kind is Reduction.MEAN or (both and node.tensor == made[-1])

    def number(self, op: Op) -> float:
        """The student's number over the teacher's, of those that an operation multiplies by.

        Raises:
            NotPossible: it does something else with them.
        """
        place = self.graph.position(op)
        if self.student is None or (self.nth, place) in self.claimed:
            return 1.0
        other = self.student.ops[place] if place < len(self.student.ops) else op
        ratio = 1.0
        for name, old in op.numbers.items():
            new = other.numbers.get(name, old)
            if new == old:
                continue
            if not (old and new and name in {"other", "self", "fill_value"}):
                raise NotPossible(
                    f"{self.where(op)} gets a number that the code makes of their number "
                    f"({old}, then {new})"
                )
            ratio *= new / old
        return ratio * math.prod(self.student.ratios.get(place, {}).values())

    def made_up_number(self, op: Op) -> float:
        """The same, which is made up for from here on."""
        ratio = self.number(op)
        if ratio != 1:
            self.made_up.add((self.nth, self.graph.position(op)))
        return ratio

    def set_number(self, op: Op, factor: float) -> None:
        """Let the one number that an operation adds be so many times as large.

        Raises:
            NotPossible: no module keeps it, or the student's is another.
        """
        place = self.graph.position(op)
        (name, old), *others = [*op.numbers.items()] or [("", 0.0)]
        if others or name not in op.kept or op.args.get("alpha", 1) != 1:
            if self.growing.left and name and not others:
                self.left.append(self.where(op))
                return
            raise NotPossible(
                f"the ε of {self.where(op)} would have to change, and no module keeps it"
            )
        now = self.student.ops[place].numbers.get(name) if self.student else old
        if now != old and not math.isclose(now or 0.0, old * factor, rel_tol=1e-6):
            raise NotPossible(
                f"the ε of {self.where(op)} would have to be {old * factor:.6g}, and is {now}"
            )
        self.made_up.add((self.nth, place))
        if now == old:
            self.kept[place] = (op.path, op.kept[name]), old * factor

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


def _dims(op: Op, node: Node) -> list[int]:
    """The axes of its input that an operation runs over."""
    dims = op.args.get("dim")
    dims = range(len(node.shape)) if dims is None or dims == [] else dims
    dims = [dims] if isinstance(dims, int) else dims
    return [axis % len(node.shape) for axis in dims]


def made_as(node: Node) -> str:
    """The operation that made what a tensor holds, before it was viewed."""
    while node.traits.passes and node.inputs:
        node = node.inputs[0]
    return node.kind


def degree(op: Op) -> float | None:
    """As ``OpTraits.degree``, also of what keeps the scale and of powers; None if it has none."""
    known = traits(op.kind)
    if op.kind == "pow":
        exponent = op.args.get("exponent")
        return float(exponent) if isinstance(exponent, (int, float)) and exponent > 0 else None
    return 1.0 if known.keeps_scale else known.degree


def multiplies(op: Op) -> bool:
    """As ``OpTraits.multiplies``; not a quotient that is rounded."""
    return traits(op.kind).multiplies and not op.args.get("rounding_mode")


def kept_zero(op: Op) -> Zero | None:
    """As ``OpTraits.zero``, with the arguments that it has: not of what pads with a number, or
    clamps to numbers on one side of zero."""
    if op.kind.startswith("clamp"):
        low, high = (op.args.get(name) for name in ("min", "max"))
        numbers = all(one is None or isinstance(one, (int, float)) for one in (low, high))
        return Zero.FIRST if numbers and (low or 0) <= 0 <= (high or 0) else None
    if op.kind == "pow":
        return Zero.FIRST if degree(op) else None
    if op.kind == "masked_fill":
        return Zero.FIRST if op.args["value"] == 0 else None
    low, high = op.args.get("min_val", 0.0), op.args.get("max_val", 0.0)
    return None if op.args.get("value") or low > 0 or high < 0 else traits(op.kind).zero


def flat(op: Op) -> bool:
    """As ``OpTraits.flat``, with the arguments that it has: also of powers, of quotients that are
    rounded, and of what clamps to zero on one side."""
    limits = [op.args.get(name) for name in ("min", "max", "min_val", "max_val")]
    exponent = op.args.get("exponent")
    bent = (op.kind == "pow" and exponent != 1) or bool(op.args.get("rounding_mode"))
    clamps = 0 in [one for one in limits if isinstance(one, (int, float))]
    return traits(op.kind).flat or bent or clamps or op.args.get("negative_slope") == 0


def partial(op: Op) -> bool:
    """As ``OpTraits.partial``, also of roots that are written as powers."""
    exponent = op.args.get("exponent", 1)
    whole = isinstance(exponent, (int, float)) and exponent == int(exponent)
    return traits(op.kind).partial or (op.kind == "pow" and not whole)


def subtracts(op: Op) -> bool:
    """Whether it is a difference of its operands, as they are."""
    return traits(op.kind).sums and op.kind != "add" and op.args.get("alpha", 1) == 1


def order(op: Op) -> float:
    """Of which order a norm is."""
    given = op.args.get("p", op.args.get("ord"))
    return float(given) if isinstance(given, (int, float)) else 2.0


def added(op: Op) -> list[float]:
    """The numbers that a sum adds, or that are put among units."""
    given = [op.args.get(name) for name in ("self", "other", "value", "src")]
    return [x for x in given if isinstance(x, (int, float)) and x]
