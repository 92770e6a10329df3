"""infer: walk the trace once, let each operation's rule relate units, and gather them into spaces.

This is the remapping inference algorithm that the paper (section 2.3) says it lacks. What comes
out: for every position of every parameter axis, its component; and components grouped by
*signature*, the parameter axes they appear on and the operations they pass, and how often.
Components of one signature are interchangeable: they are the units of one space.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from net2net.errors import UnknownOperationError
from net2net.infer import rules
from net2net.infer.algebra import Count, Site
from net2net.infer.inference import Inference
from net2net.infer.inside import Product, Taking, takers
from net2net.infer.tied import Read, shares_before
from net2net.infer.units import FOLLOW, MAKE, NONE, SHARE, Axis, Labels, Units
from net2net.infer.values import Part, Value
from net2net.trace.trace import Op, Ref, Trace, refs

UNIFORM = frozenset(rules.pointwise.FACTORIES.split())
"""Operations whose output holds one value everywhere, so that it fits any width."""

TYPED = frozenset(("to", "type_as"))
"""Operations of whose operands all but the first give a type alone."""

EVEN = frozenset(
    """
    expand expand_as broadcast_to repeat tile to _to_copy clone alias logical_not bitwise_not
    view reshape flatten unflatten view_as reshape_as _unsafe_view
    permute transpose swapaxes swapdims unsqueeze repeat_interleave slice
    """.split()
)
"""What keeps axes along which a tensor was expanded or repeated what they are: the same all along
(masks, the one key head of many query heads)."""

ALIKE = EVEN | {
    *"""
    index_select narrow select squeeze unbind chunk split split_with_sizes
    sum mean amax amin max min any all prod softmax
    """.split(),
    *{*(rules.pointwise.UNARY + rules.pointwise.BINARY).split()} - rules.pointwise.RANDOM,
}
"""What makes of tensors that each hold one value everywhere others that do."""


def infer(
    traces: Sequence[Trace], *, on_unknown: str = "raise", grow_outputs: bool = False,
    inner: Collection[Axis] = (),
) -> Inference:  # fmt: skip
    """Find the units and spaces of a model from its traces (evaluation, and training if needed).
    ``inner``: parameter axes on which heads grow inside, and not in number.

    Raises:
        UnknownOperationError: an operation on hidden units has no rule, and ``on_unknown`` is
            ``"raise"``; with ``"fix"``, the spaces that it touches are left as they are.
    """
    units, counts, reads = Units(), list[Count](), dict[int, list[Read]]()
    products: list[Product] = []
    leaves: dict[str, Value] = {}
    all_values = []
    for number, trace in enumerate(traces):
        values: dict[int, Value] = {}
        for tensor, name in trace.names.items():
            if name not in leaves:
                leaves[name] = _leaf(units, name, trace.shapes[tensor])
            values[tensor] = leaves[name]
        units.inner = {leaf for leaf, axis in enumerate(units.axes) if axis in inner}
        walk = Walk(trace, values, units, counts, reads, on_unknown)
        needed = _needed(trace)
        for position, op in enumerate(trace.ops):
            units.idle = position not in needed
            walk.step(op)
        units.idle = False
        for where, tensor in trace.outputs.items():
            for part in values[tensor].parts if tensor in values else ():
                if grow_outputs and values[tensor].live:
                    units.read.append(part.labels.reshape(-1))
                    continue
                units.fix(part.labels.reshape(-1), f"it is an axis of the model's output{where}")
        all_values.append(values)
        products += [Product(number, op, labels) for op, labels in walk.products]
    taking = _take_shares(units, products, traces, all_values)
    _share_before(units, reads, leaves)
    read = {ref.id for trace in traces for op in trace.ops for ref in op.reads}
    unseen = [
        name
        for t in traces[:1]
        for tensor, name in t.names.items()
        if not any(tr.names.get(tensor) == name and tensor in read for tr in traces)
    ]
    return Inference(
        units, units.components(), all_values, list(traces), counts, unseen, inner=inner,
        taking=taking,
    )  # fmt: skip


def _take_shares(
    units: Units, products: Sequence[Product], traces: Sequence[Trace],
    values: Sequence[Mapping[int, Value]],
) -> list[Taking]:  # fmt: skip
    """What takes the shares of every product; a product for which nothing does fixes its units."""
    found = []
    for product, taking in zip(products, takers(products, traces, values, units), strict=True):
        if taking is None:
            units.fix(
                product.labels,
                f"{product.op.name} in '{product.op.path}' sums the product of two activations "
                "over features of heads, and no weight before it can take the shares",
            )
        else:
            found.append(taking)
    return found


def _share_before(
    units: Units, reads: Mapping[int, Sequence[Read]], leaves: Mapping[str, Value]
) -> None:
    """What makes units and reads them is copied, if what comes before can take its shares."""
    for number, found in reads.items():
        names = shares_before(found) if len(units.roles[number]) > 1 else None
        scales = [leaf for name in names or () for leaf in leaves[name].leaves[0]]
        if scales and all(units.roles[leaf] == {FOLLOW} for leaf in scales):
            units.roles[number].discard(SHARE)
            for leaf in scales:
                units.roles[leaf] = {SHARE}


def _needed(trace: Trace) -> set[int]:
    """The operations (by position) that outputs or branches depend on, or that read a parameter,
    and what those depend on. The rest has to run, but nobody reads what it computes."""
    read = set(trace.outputs.values())
    needed = set()
    for position, op in reversed(list(enumerate(trace.ops))):
        inputs = {ref.id for ref in op.reads}
        outputs = {ref.id for ref in op.makes}
        told = not outputs  # a number that code branches on
        if told or op.name.endswith("_") or outputs & read or inputs & trace.names.keys():
            needed.add(position)
            if op.kind not in UNIFORM:  # it reads a shape, and no value
                read |= inputs
    return needed


def _filled(trace: Trace) -> set[int]:
    """Tensors that code writes to through a view, and writes hidden values: ``out = zeros(…);
    out[:, t] = x``. What is made of inputs alone (masks) has no units."""
    found = set()
    hidden = set(trace.names)
    for op in trace.ops:
        kind = op.kind
        values = [] if kind in UNIFORM else op.reads[: 1 if kind in TYPED else None]
        if not hidden.intersection(ref.id for ref in values):
            continue
        hidden.update(ref.id for ref in op.makes)
        target = next(iter(op.args.values()), None)
        if op.name.endswith("_") and isinstance(target, Ref):
            bases = _bases(trace, target.id)
            hidden.update(bases)
            found.update(bases[-1:])
    return found


def _bases(trace: Trace, tensor: int) -> list[int]:
    """What a view looks into, and what that looks into, and so on."""
    found = []
    while tensor in trace.bases:
        tensor = trace.bases[tensor]
        found.append(tensor)
    return found


def _leaf(units: Units, name: str, shape: tuple[int, ...]) -> Value:
    """A parameter or buffer: every axis has units of its own."""
    parts, leaves = [], {}
    for dim, size in enumerate(shape):
        number, labels = units.new(name, dim, size)
        parts.append(Part((dim,), labels))
        leaves[dim] = frozenset([number])
    return Value(shape, tuple(parts), leaves)


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
        self.filled = _filled(trace)
        self.products: list[tuple[Op, Labels]] = []
        """Sums over the features inside heads."""

    def value(self, ref: Ref) -> Value:
        """A tensor nothing was said of is an input: it has no units, and it is live."""
        if ref.id not in self.values:
            self.values[ref.id] = Value(self.trace.shapes[ref.id], live=True)
        return self.values[ref.id]

    def bind(self, item: Any) -> Any:
        if isinstance(item, Ref):
            return self.value(item)
        if isinstance(item, list):
            return [self.bind(x) for x in item]
        return item

    def step(self, op: Op) -> None:
        outputs = op.makes
        if not outputs:
            return
        inputs = [self.value(ref) for ref in op.reads]
        live = any(value.live for value in inputs)
        shapes = [self.trace.shapes[ref.id] for ref in outputs]
        kind = op.kind
        uniform = kind in UNIFORM or (
            kind in ALIKE and bool(inputs) and all(value.uniform for value in inputs)
        )
        if not any(value.parts for value in inputs) and kind not in EVEN:
            results = [Value(shape) for shape in shapes]
        else:
            results = self._apply(op, shapes, inputs, live)
        if uniform:
            results = [replace(result, uniform=True) for result in results]
        if op.named and not self.filled.intersection(ref.id for ref in outputs):
            # what is filled gets its units from what it is filled with
            results = [self._sized(op, result) for result in results]
        for ref, result, shape in zip(outputs, results, shapes, strict=True):
            parts = tuple(Part(p.axes, self.units.passed_on(p.labels)) for p in result.parts)
            even = result.even if kind in EVEN else frozenset[int]()
            result = replace(result, parts=parts, even=even)
            if result.shape != shape:
                raise AssertionError(f"the rule of {op.name} says {result.shape}, not {shape}")
            if ref.id in self.filled and ref.id not in self.values and not result.parts:
                self.values[ref.id] = replace(_leaf(self.units, "", shape), leaves={}, live=True)
            elif ref.id not in self.filled or ref.id not in self.values:
                leaves = {} if live else result.leaves
                self.values[ref.id] = replace(result, live=live, leaves=leaves)
        if op.name.endswith("_") and isinstance(target := next(iter(op.args.values())), Ref):
            for base in _bases(self.trace, target.id):
                written = self.value(Ref(base))
                self.values[base] = replace(written, uniform=False, even=frozenset())

    def _sized(self, op: Op, value: Value) -> Value:
        """Where a tensor is the same all along an axis whose size code reads from an attribute,
        positions are units, so that what they meet tells how the attribute grows."""
        parts = list(value.parts)
        for argument, axis in op.named:
            if argument == "repeats" and axis < 0:
                axis = value.dim(op.args["dim"] or 0)
            alike = argument in {"size", "repeats"} and (value.uniform or axis in value.even)
            if alike and axis >= 0 and value.part(axis) is None:
                parts.append(Part((axis,), self.units.new("", axis, value.shape[axis])[1]))
        return replace(value, parts=tuple(parts))

    def _apply(
        self, op: Op, shapes: list[tuple[int, ...]], inputs: Sequence[Value], live: bool
    ) -> list[Value]:
        function = rules.find(op.name)
        if function is None:
            if self.on_unknown == "raise" and not self.units.idle:
                raise UnknownOperationError(unknown_message(op))
            for value in inputs:
                for part in value.parts:
                    self.units.fix(part.labels, f"{op.name} in '{op.path}' has no rule")
            return [Value(shape) for shape in shapes]
        site = Site(
            op, {name: self.bind(item) for name, item in op.args.items()}, shapes,
            self.units, self.counts,
            {
                place: self.trace.constants[ref.id]
                for place, ref in enumerate(op.reads)
                if ref.id in self.trace.constants
            },
            {
                argument: self.trace.names[item.id]
                for argument, item in op.args.items()
                if isinstance(item, Ref) and item.id in self.trace.names
            },
        )  # fmt: skip
        result = function(site)
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        passed_on = set() if live else _leaves(results)
        for leaf in _leaves(inputs) - passed_on:
            role = SHARE if leaf in site.shared else MAKE if leaf in site.made else FOLLOW
            self.units.roles[leaf].add(role)
        for leaf in site.shared & passed_on:
            self.units.roles[leaf].add(SHARE)
        self.products += [(op, labels) for labels in site.inside]
        data = [ref.id for ref in op.reads if self.value(ref).live]
        for leaf in site.shared:
            read = Read(self.trace, op, data[0] if len(data) == 1 else NONE)
            self.reads.setdefault(leaf, []).append(read)
        return results


def _leaves(values: Iterable[Value]) -> set[int]:
    """The parameter axes that these tensors are made of."""
    return {leaf for value in values for axis in value.leaves.values() for leaf in axis}


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
        "Register one (docs/rules.md), or pass "
        'on_unknown="fix" to leave the spaces it touches as they are:\n\n'
        f'    @net2net.rule("{op.name}")\n'
        f"    def my_rule(site):  # arguments: {', '.join(op.args)}\n"
        "        # right if it works on each element alone, its operands broadcast as torch does\n"
        f"        return site.pointwise([{operands}])\n"
    )
