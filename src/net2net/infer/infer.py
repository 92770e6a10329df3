"""infer: walk the trace once, let each operation's rule relate units, and gather them into spaces.

This is the remapping inference algorithm that the paper (section 2.3) says it lacks. What comes
out: for every position of every parameter axis, its component; and components grouped by
*signature*, the parameter axes they appear on and the operations they pass, and how often.
Components of one signature are interchangeable: they are the units of one space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from net2net.errors import UnknownOperationError
from net2net.infer import rules
from net2net.infer.filled import filled, told
from net2net.infer.head_size import Product, ShareAbsorber, absorbers
from net2net.infer.inference import Inference, RolesAt
from net2net.infer.inside import NOTHING, Inside
from net2net.infer.new_units.follow import why_no_copies, why_not
from net2net.infer.relations import Count, OpSite
from net2net.infer.sums import Sum, makes_up
from net2net.infer.tied import Read, shares_before
from net2net.infer.units import NO_UNIT, Role, UnitIds, Units, joined
from net2net.infer.values import Along, Part, Value
from net2net.ops import traits
from net2net.trace.graph import Graph
from net2net.trace.needed import needed
from net2net.trace.trace import Op, Ref, Trace, refs


def infer(
    traces: Sequence[Trace], *, on_unknown: str = "raise", grow_outputs: bool = False,
    inside: Inside = NOTHING,
) -> Inference:  # fmt: skip
    """Find the units and spaces of a model from its traces (evaluation, and training if needed).
    ``inside``: what grows inside heads, instead of in their number.

    Raises:
        UnknownOperationError: an operation on hidden units has no rule, and ``on_unknown`` is
            ``"raise"``; with ``"fix"``, the spaces that it touches are left as they are.
    """
    units, counts, reads = Units(), list[Count](), dict[int, list[Read]]()
    products: list[Product] = []
    sums: list[Sum] = []
    parameters: dict[str, Value] = {}
    all_values, roles_at = [], []
    for number, trace in enumerate(traces):
        values: dict[int, Value] = {}
        for tensor, name in trace.names.items():
            if name not in parameters:
                parameters[name] = _parameter(units, name, trace.shapes[tensor])
            values[tensor] = parameters[name]
        for axis_number, axis in enumerate(units.axes):
            if axis in inside.features:
                units.head_size_axes.add(axis_number)
            if axis in inside.queries:
                units.more_queries.add(axis_number)
            if axis in inside.groups:
                units.more_groups.add(axis_number)
            if axis in inside.dealt:
                units.dealt[axis_number] = inside.dealt[axis]
        walk = Walk(trace, values, units, counts, reads, on_unknown)
        matter = needed(trace)
        for position, op in enumerate(trace.ops):
            units.idle = position not in matter
            walk.position = position
            walk.step(op)
        units.idle = False
        for where, tensor in trace.outputs.items():
            units.align_with(values[tensor].reduced if tensor in values else ())
            for part in values[tensor].parts if tensor in values else ():
                if grow_outputs and values[tensor].depends_on_input:
                    units.read.append(part.ids.reshape(-1))
                    continue
                units.fix(part.ids.reshape(-1), f"it is an axis of the model's output{where}")
        all_values.append(values)
        roles_at.append(walk.roles)
        products += [Product(number, op, ids) for op, ids in walk.products]
        sums += _made_up(number, trace, walk)
    if not inside:  # else what is asked for is to grow where sizes are held
        _fix_held(units)
    absorbing = _find_absorbers(units, products, traces, all_values)
    _share_before(units, reads, parameters)
    read = frozenset[str]().union(*(trace.read_names for trace in traces))
    unused = [name for trace in traces[:1] for name in trace.names.values() if name not in read]
    found = Inference(
        units, units.components(), all_values, list(traces), counts, unused,
        inside=inside, absorbers=absorbing, sums=sums, roles_at=roles_at,
    )  # fmt: skip
    for key in found.undecided:
        if key not in found.tied and why_no_copies(found, key) is None:
            found.made_up_copies[key] = found.no_copies[key]
        elif (why := why_not(found, key)) is not None:
            found.no_new_units[key] = why
    return found


def _fix_held(units: Units) -> None:
    """Blocks of which no axis can grow: code takes single positions along the outer ones, and holds
    together all that lies along the innermost."""
    taken = [
        block
        for block in units.blocks
        if all(units.is_told_apart(block, dim) for dim in range(block.ndim - 1))
    ]
    component = units.components() if taken else joined([])
    for block in taken:
        whole = component[block]
        if (block != NO_UNIT).all() and (whole == whole[..., :1]).all():
            units.fix(block, "the code keeps their number, and what lies inside each")


def _find_absorbers(
    units: Units, products: Sequence[Product], traces: Sequence[Trace],
    values: Sequence[Mapping[int, Value]],
) -> list[ShareAbsorber]:  # fmt: skip
    """What takes the shares of every product; a product for which nothing does fixes its units."""
    found = []
    products = list(_growing(units, products))
    for product, absorber in zip(products, absorbers(products, traces, values, units), strict=True):
        if absorber is None:
            units.fix(
                product.ids,
                f"{product.op.name} in '{product.op.path}' sums the product of two activations "
                "over features of heads, and no weight before it can take the shares",
            )
        else:
            units.read.append(product.ids.reshape(-1))
            found.append(absorber)
    return found


def _made_up(number: int, trace: Trace, walk: Walk) -> Iterator[Sum]:
    """The sums of whole copies that a parameter makes up for; others refuse copies."""
    graph = Graph(trace) if walk.sums else None
    for place, ids, why in walk.sums:
        names = graph and makes_up(graph, trace.ops[place], walk.values)
        if names:
            walk.units.require_equal_copies(ids, why)
            yield Sum(number, place, ids, names)
        else:
            walk.units.refuse_copies(ids, why)


def _growing(units: Units, products: Sequence[Product]) -> Iterator[Product]:
    """The products with those features alone of which there can be more."""
    tied = units.components() if products else joined([])
    for one in products:
        held = one.held(tied)
        if held.any():
            units.fix(
                one.ids[:, held],
                f"{one.op.kind} in '{one.op.path}' sums the product of two activations over "
                "features whose number stays, for operations hold them together (as do a rotation "
                "by position, a norm over those of each head, a matrix over the same on both "
                "sides)",
            )
        if not held.all():
            yield replace(one, ids=one.ids[:, ~held], some=bool(held.any()))


def _share_before(
    units: Units, reads: Mapping[int, Sequence[Read]], parameters: Mapping[str, Value]
) -> None:
    """What makes units and reads them is copied, if what comes before can take its shares."""
    for number, found in reads.items():
        names = shares_before(found) if len(units.roles[number]) > 1 else None
        scales = [one.number for name in names or () for one in parameters[name].parameter_axes[0]]
        if scales and all(units.roles[scale] == {Role.ALIGNS} for scale in scales):
            units.roles[number].discard(Role.CONSUMES)
            for scale in scales:
                units.roles[scale] = {Role.CONSUMES}


def _parameter(units: Units, name: str, shape: tuple[int, ...]) -> Value:
    """A parameter or buffer: every axis has units of its own."""
    parts, parameter_axes = [], {}
    for dim, size in enumerate(shape):
        number, ids = units.new(name, dim, size)
        parts.append(Part((dim,), ids))
        parameter_axes[dim] = frozenset([Along(number)])
    return Value(shape, tuple(parts), parameter_axes)


class Walk:
    """One pass over a trace, in order of execution."""

    def __init__(
        self, trace: Trace, values: dict[int, Value], units: Units, counts: list[Count],
        reads: dict[int, list[Read]], on_unknown: str,
    ) -> None:  # fmt: skip
        self.trace = trace
        self.values = values
        self.units = units
        self.counts = counts
        self.reads = reads
        self.on_unknown = on_unknown
        self.filled = filled(trace)
        self.position = 0
        self.roles: dict[int, RolesAt] = {}
        self.products: list[tuple[Op, UnitIds]] = []
        """Sums over the features inside heads."""
        self.sums: list[tuple[int, UnitIds, str]] = []
        """Sums by place whose weights cannot be divided, and what to say of them."""

    def value(self, ref: Ref) -> Value:
        """A tensor nothing was said of is an input: it has no units, and it is live."""
        if ref.id not in self.values:
            self.values[ref.id] = Value(self.trace.shapes[ref.id], depends_on_input=True)
        return self.values[ref.id]

    def bind(self, item: Any) -> Any:
        if isinstance(item, Ref):
            return self.value(item)
        if isinstance(item, list):
            return [self.bind(x) for x in item]
        return item

    def step(self, op: Op) -> None:
        outputs = op.outputs
        inputs = [self.value(ref) for ref in op.inputs]
        known = traits(op.kind)
        held = inputs[:1] if known.shaped else inputs
        depends_on_input = any(value.depends_on_input for value in held)
        reduced = frozenset[int]().union(*(value.reduced for value in held))
        if depends_on_input or not outputs:  # else what that is used for is seen later
            self.units.align_with(reduced)
        if not outputs:
            return
        shapes = [self.trace.shapes[ref.id] for ref in outputs]
        constant = known.factory or (
            known.constant and bool(inputs) and all(value.constant for value in inputs)
        )
        if not any(value.parts for value in inputs) and not known.constant_axes:
            results = [Value(shape) for shape in shapes]
        else:
            results = self._apply(op, shapes, inputs, depends_on_input)
        if constant:
            results = [replace(result, constant=True) for result in results]
        if op.traced_ints and not self.filled.intersection(ref.id for ref in outputs):
            # what is filled gets its units from what it is filled with
            results = [self._sized(op, result) for result in results]
        for ref, result, shape in zip(outputs, results, shapes, strict=True):
            parts = result.parts
            moved = known.rearranges and _in_order(inputs[0], result)
            if not (moved or self.units.idle):  # what nobody reads tells no units apart
                parts = tuple(Part(p.axes, self.units.through_op(p.ids)) for p in parts)
            constant_axes = result.constant_axes if known.constant_axes else frozenset[int]()
            result = replace(result, parts=parts, constant_axes=constant_axes)
            if result.shape != shape:
                raise AssertionError(f"the rule of {op.name} says {result.shape}, not {shape}")
            if ref.id in self.filled and ref.id not in self.values and not result.parts:
                self.values[ref.id] = replace(
                    _parameter(self.units, "", shape), parameter_axes={}, depends_on_input=True
                )
            elif ref.id not in self.filled or ref.id not in self.values:
                self.values[ref.id] = _made(result, held, depends_on_input)
        if op.name.endswith("_") and isinstance(target := next(iter(op.args.values())), Ref):
            for base in self.trace.looked_into(target.id):
                written = self.value(Ref(base))
                if known.elementwise and base in self.filled:
                    for source in inputs[1:]:
                        written = told(written, inputs[0], source, self.units.origins())
                self.values[base] = replace(
                    written, constant=False, constant_axes=frozenset(),
                    reduced=written.reduced | reduced,
                )  # fmt: skip

    def _sized(self, op: Op, value: Value) -> Value:
        """Where a tensor is the same all along an axis whose size code reads from an attribute,
        positions are units, so that what they meet tells how the attribute grows."""
        parts = list(value.parts)
        for argument, axis in op.traced_ints:
            if argument == "repeats" and axis < 0:
                axis = value.dim(op.args["dim"] or 0)
            alike = argument in {"size", "repeats"} and (
                value.constant or axis in value.constant_axes
            )
            if alike and axis >= 0 and value.part(axis) is None:
                parts.append(Part((axis,), self.units.new("", axis, value.shape[axis])[1]))
        return replace(value, parts=tuple(parts))

    def _apply(
        self, op: Op, shapes: list[tuple[int, ...]], inputs: Sequence[Value], depends_on_input: bool
    ) -> list[Value]:
        function = rules.find(op.name)
        if function is None:
            if self.on_unknown == "raise" and not self.units.idle:
                raise UnknownOperationError(unknown_message(op))
            why = f"{op.name} in '{op.path}' has no rule"
            self.units.unknown[why] = unknown_message(op)
            for value in inputs:
                for part in value.parts:
                    self.units.fix(part.ids, why)
            return [Value(shape) for shape in shapes]
        site = OpSite(
            op, {name: self.bind(item) for name, item in op.args.items()}, shapes,
            self.units, self.counts,
            {
                place: self.trace.constants[ref.id]
                for place, ref in enumerate(op.inputs)
                if ref.id in self.trace.constants
            },
            {
                argument: self.trace.names[item.id]
                for argument, item in op.args.items()
                if isinstance(item, Ref) and item.id in self.trace.names
            },
            training=self.trace.training,
        )  # fmt: skip
        result = function(site)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        if traits(op.kind).adds == "bias" and op.args["bias"] is not None:
            results = [value.rigid() for value in results]
        passed_on = set[int]()
        if not depends_on_input:
            passed_on = _parameter_axes(results).union(*(value.reduced for value in inputs))
        for number in _parameter_axes(inputs) - passed_on:
            self.units.roles[number] |= site.roles(number)
        for role, numbers in ((Role.CONSUMES, site.shared), (Role.READS, site.read)):
            for number in numbers & passed_on:
                self.units.roles[number].add(role)
        self.roles[self.position] = RolesAt(
            frozenset(site.shared | site.read), frozenset(site.made), tuple(site.products)
        )
        self.products += [(op, ids) for ids in site.head_products]
        self.sums += [(self.position, *one) for one in site.sums]
        data = [ref.id for ref in op.inputs if self.value(ref).depends_on_input]
        for number in site.shared:
            read = Read(self.trace, op, data[0] if len(data) == 1 else NO_UNIT)
            self.reads.setdefault(number, []).append(read)
        return results


def _made(result: Value, held: Sequence[Value], depends_on_input: bool) -> Value:
    """What an operation makes, of what of its operands matters. What is made of a weight and of a
    number that is made of the same one is not divided if that is."""
    if depends_on_input:
        return replace(result, depends_on_input=True, parameter_axes={}, reduced=frozenset())
    reduced = result.reduced.union(*(value.reduced for value in held))
    along = {number for value in held for number in value.parameter_numbers - value.reduced}
    made = replace(result, depends_on_input=False, reduced=reduced)
    return made.rigid() if reduced & along and made.parameter_axes else made


def _in_order(*values: Value) -> bool:
    """Whether units lie as they did when their blocks were one axis each: else the elements of a
    block have changed places, and meet others."""
    return all(list(part.axes) == sorted(part.axes) for value in values for part in value.parts)


def _parameter_axes(values: Iterable[Value]) -> set[int]:
    """The parameter axes that these tensors are made of."""
    return {number for value in values for number in value.parameter_numbers}


def unknown_message(op: Op) -> str:
    """What to do about an operation without a rule, with the stub to paste."""
    where = f" (module '{op.path}')" if op.path else ""
    operands = ", ".join(
        f'site["{name}"]' if isinstance(item, Ref) else f'*site["{name}"]'
        for name, item in op.args.items()
        if isinstance(item, Ref) or (isinstance(item, list) and refs(item))
    )
    return (
        f"operation {op.name}{where} works on hidden units, and there is no rule for it. "
        "Register one (docs/rules.md), or leave the spaces it touches as they are "
        '(on_unknown="fix", or one factor for all):\n\n'
        f'    @net2net.rule("{op.name}")\n'
        f"    def my_rule(site):  # arguments: {', '.join(op.args)}\n"
        "        # right if it works on each element alone, its operands broadcast as torch does\n"
        f"        return site.pointwise([{operands}])\n"
    )
