"""Contractions: linear, matrix products, einsum, embedding, convolution, attention."""

from __future__ import annotations

import numpy as np

from net2net.errors import InputError
from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.shared_heads import repeated
from net2net.infer.units import UnitIds
from net2net.infer.values import Part, Value


def add_bias(site: OpSite, out: Value, bias: Value | None, axis: int) -> None:
    """A bias has one element for each unit of the output."""
    if bias is not None and bias.parts:
        site.align([(out, range(out.ndim)), (bias, [out.dim(axis)])], out.shape)


def count_sizes(site: OpSite, sizes: dict[str, UnitIds | None]) -> None:
    """Integers of a layer that repeat its weight's shape, also where that is computed."""
    for name, ids in sizes.items():
        if ids is not None:
            site.count(name, ids)


@rule("linear")
def linear(site: OpSite) -> Value:
    value, weight = site["input"], site["weight"]
    batch = list(range(value.ndim - 1))
    out = site.contract([value, weight], [[*batch, "in"], ["out", "in"]], [*batch, "out"])
    add_bias(site, out, site["bias"], -1)
    count_sizes(site, {"out_features": weight.ids(0), "in_features": weight.ids(1)})
    return out


@rule("matmul", "mm", "bmm", "mv", "dot", "vdot", "_sparse_mm")
def matmul(site: OpSite) -> Value:
    a, b = (value for value in site.args.values() if isinstance(value, Value))
    return product(site, a, b)


def product(site: OpSite, a: Value, b: Value) -> Value:
    """``a @ b`` with matmul's broadcasting of leading axes."""
    batch = max(a.ndim, b.ndim) - 2
    names_a = [*range(batch - (a.ndim - 2), batch), "row", "sum"] if a.ndim > 1 else ["sum"]
    names_b = [*range(batch - (b.ndim - 2), batch), "sum", "col"] if b.ndim > 1 else ["sum"]
    out = [
        *range(max(batch, 0)),
        *(["row"] if a.ndim > 1 else []),
        *(["col"] if b.ndim > 1 else []),
    ]
    return site.contract([a, b], [names_a, names_b], out)


@rule("inner")
def inner(site: OpSite) -> Value:
    """Every row of one with every row of the other."""
    a, b = site["self"], site["other"]
    if not (a.ndim and b.ndim):
        return site.pointwise([a, b])
    ours = [f"a{axis}" for axis in range(a.ndim - 1)]
    theirs = [f"b{axis}" for axis in range(b.ndim - 1)]
    return site.contract([a, b], [[*ours, "sum"], [*theirs, "sum"]], [*ours, *theirs])


@rule("tensordot")
def tensordot(site: OpSite) -> Value:
    """Summed along pairs of axes."""
    a, b = site["self"], site["other"]
    pairs = zip(site["dims_self"], site["dims_other"], strict=True)
    summed = [(a.dim(ours), b.dim(theirs)) for ours, theirs in pairs]
    first = [f"a{axis}" for axis in range(a.ndim)]
    second = [f"b{axis}" for axis in range(b.ndim)]
    for ours, theirs in summed:
        second[theirs] = first[ours]
    gone = {first[ours] for ours, _ in summed}
    out = [name for name in [*first, *second] if name not in gone]
    return site.contract([a, b], [first, second], out)


@rule("linalg_vecdot")
def vecdot(site: OpSite) -> Value:
    """Summed along one axis, broadcast along the others."""
    values = [site["x"], site["y"]]
    wide = max(value.ndim for value in values)
    names = [list(range(wide - value.ndim, wide)) for value in values]
    gone = site["dim"] % wide
    return site.contract(values, names, [axis for axis in range(wide) if axis != gone])


@rule("cosine_similarity")
def cosine(site: OpSite) -> Value:
    """A product, divided by both norms: of as many copies of each unit it is the same."""
    a, b = site["x1"], site["x2"]
    met = site.pointwise([a, b], np.broadcast_shapes(a.shape, b.shape))
    return site.reduce(met, [site["dim"]], False, "mean")


ROW = 8
"""So many numbers of the smallest type are 16 bytes."""


@rule("_grouped_mm")
def grouped_product(site: OpSite) -> Value:
    """Each row meets the matrix of its group, of which all groups' have the same rows and columns.
    Groups (experts) are told apart by number."""
    a, b = site["self"], site["mat2"]
    if b.ndim == 2:
        for part in (*a.parts, *b.parts):
            site.fix(part.ids, "cuts it into groups at places that data tell")
        return Value(site.shape)
    if a.ndim == 3:
        return product(site, a, b)
    for value, axis in ((a, 1), (b, 1), (b, 2)):
        if (ids := value.ids(axis)) is not None:
            site.units.take_runs(ids, ROW, f"{site.where} takes rows of whole 16 bytes")
    a, b = site.confine(a, [0], "groups it"), site.confine(b, [0], "takes groups by number")
    return site.contract([a, b], [["row", "sum"], ["group", "sum", "col"]], ["row", "col"])


@rule("addmm", "baddbmm", "addmv", "addbmm")
def addmm(site: OpSite) -> Value:
    bias, a, b = (value for value in site.args.values() if isinstance(value, Value))
    out = product(site, a, b)
    return site.pointwise([out, bias], out.shape)


@rule("einsum")
def einsum(site: OpSite) -> Value:
    """Letters of the equation are the subscripts; an ellipsis stands for numbered ones."""
    equation = site["equation"].replace(" ", "")
    left, _, right = equation.partition("->")
    values = site["tensors"]
    subscripts = []
    for value, names in zip(values, left.split(","), strict=True):
        head, dots, tail = names.partition("...")
        hidden = value.ndim - len(head) - len(tail) if dots else 0
        subscripts.append([*head, *range(-hidden, 0), *tail])
    if "->" not in equation:
        once = [x for names in subscripts for x in names if isinstance(x, str)]
        right = "..." + "".join(sorted(x for x in set(once) if once.count(x) == 1))
    head, dots, tail = right.partition("...")
    numbers = sorted({x for names in subscripts for x in names if isinstance(x, int)})
    return site.contract(values, subscripts, [*head, *(numbers if dots else []), *tail])


@rule("bilinear")
def bilinear(site: OpSite) -> Value:
    a, b, weight = site["input1"], site["input2"], site["weight"]
    batch = list(range(a.ndim - 1))
    out = site.contract(
        [a, b, weight], [[*batch, "a"], [*batch, "b"], ["out", "a", "b"]], [*batch, "out"]
    )
    site.share(weight, 1)
    site.share(weight, 2)
    add_bias(site, out, site["bias"], -1)
    return out


@rule("embedding")
def embedding(site: OpSite) -> Value:
    weight, indices = site["weight"], site["indices"]
    site.pin(weight, 0, "looks rows up by index")
    site.make(weight, 1)
    parts = tuple(Part((indices.ndim,), p.ids) for p in weight.parts if p.axes == (1,))
    return Value((*indices.shape, weight.shape[1]), parts)


@rule("embedding_bag")
def embedding_bag(site: OpSite) -> list[Value]:
    """Rows looked up and reduced; four outputs, of which the first has features."""
    weight = site["weight"]
    site.pin(weight, 0, "looks rows up by index")
    site.make(weight, 1)
    parts = tuple(Part((1,), p.ids) for p in weight.parts if p.axes == (1,))
    return [Value(site.shape, parts), *(Value(shape) for shape in site.outputs[1:])]


@rule("cdist")
def distances(site: OpSite) -> Value:
    """Between all rows of two tensors: as in a product with a transpose, but of differences."""
    a, b = (site.confine(site[x], [-1], "measures distances over it") for x in ("x1", "x2"))
    swap = {b.ndim - 2: b.ndim - 1, b.ndim - 1: b.ndim - 2}
    shape = [b.shape[swap.get(axis, axis)] for axis in range(b.ndim)]
    return product(site, a, b.moved(shape, lambda axis: swap.get(axis, axis)))


@rule("linalg_solve_triangular")
def solve(site: OpSite) -> Value:
    """``a x = b`` (or ``x a = b``) for each of a batch: a product with the inverse of ``a``."""
    a, b = site["self"], site["B"]
    a = site.confine(a, [-2, -1], "solves equations over it")
    b = site.confine(b, [-2 if site["left"] else -1], "solves equations over it")
    return product(site, a, b) if site["left"] else product(site, b, a)


@rule("linalg_solve")
def solve_square(site: OpSite) -> Value:
    """As ``solve``; the right-hand side may be one vector for each of the batch."""
    a, b = site["A"], site["B"]
    vector = b.ndim == 1 or b.shape == a.shape[:-1]
    why = "solves equations over it"
    a = site.confine(a, [-2, -1], why)
    b = site.confine(b, [-1 if vector or not site["left"] else -2], why)
    if vector:
        met = product(site, a, b.moved((*b.shape, 1), lambda axis: axis))
        return met.without([met.ndim - 1])
    return product(site, a, b) if site["left"] else product(site, b, a)


# -- convolution --------------------------------------------------------------------------------


@rule(
    "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution", "_convolution",
)  # fmt: skip
def convolution(site: OpSite) -> Value:
    """Channels as in a linear layer, for every kernel position; groups side by side."""
    value, weight = site["input"], site["weight"]
    channel = value.ndim - (weight.ndim - 2) - 1
    transposed = site.args.get("transposed", "transpose" in site.name)
    reading, making = (0, 1) if transposed else (1, 0)
    groups = site["groups"]
    reads = weight.shape[reading] * (groups if reading else 1)
    if value.shape[channel] != reads:  # without values torch does not look
        raise InputError(
            f"{site.where} gets {value.shape[channel]} channels, and its weight reads {reads}. "
            "Give it as many as it reads.",
            site.op.path,
        )
    for part in weight.parts:
        if max(part.axes) > 1:
            site.fix(part.ids, "has a kernel of this size")
    weight = Value(
        weight.shape,
        tuple(part for part in weight.parts if max(part.axes) < 2),
        {axis: axis_numbers for axis, axis_numbers in weight.parameter_axes.items() if axis < 2},
        weight.constant,
        constant_axes=weight.constant_axes,
    )
    plain = site.confine(value, _slid(site, channel), "slides over it")
    if groups > 1:
        parts = _grouped(site, plain, weight, channel, groups, making)
    else:
        names: list[object] = [f"x{axis}" for axis in range(value.ndim)]
        names[channel] = "in"
        kernel_names = [f"k{axis}" for axis in range(weight.ndim)]
        weight_names: list[object] = [*kernel_names]
        weight_names[reading], weight_names[making] = "in", "out"
        result = site.contract(
            [plain, weight],
            [names, weight_names],
            ["out" if axis == channel else names[axis] for axis in range(value.ndim)],
        )
        parts = result.parts
        sizes = {"out_channels": weight.ids(making), "in_channels": weight.ids(reading)}
        count_sizes(site, sizes)
    out = Value(site.shape, tuple(parts))
    add_bias(site, out, site["bias"], channel)
    return out


def _slid(site: OpSite, channel: int) -> list[int]:
    """The axes that a kernel moves along; where it is of one position and takes each as it is,
    positions do not meet, and can be units if these do not lie across channels too."""
    kernel, strides = site["weight"].shape[2:], site["stride"]
    across = [set(part.axes) for part in site["input"].parts if channel in part.axes]
    padded = any(site.args.get("output_padding") or [0]) or any(
        () if isinstance(site["padding"], str) else site["padding"]
    )  # of the names for paddings both leave a kernel of 1 alone
    return [
        channel + 1 + axis
        for axis, size in enumerate(kernel)
        if padded
        or size > 1
        or strides[min(axis, len(strides) - 1)] > 1
        or any(channel + 1 + axis in axes for axes in across)
    ]


def _grouped(
    site: OpSite, value: Value, weight: Value, channel: int, groups: int, making: int
) -> tuple[Part, ...]:
    """Whole groups are the units: all channels that one reads, and all that it makes."""
    rows = weight.ids(0)
    if rows is None:
        return _filtered(site, value, weight, channel, groups)
    rows = rows.reshape(groups, -1)
    site.units.bundle(rows, (1,))
    if (inner := weight.ids(1)) is not None:
        site.fix(inner, "has groups of this many channels")
    read = value.ids(channel)
    others = tuple(part for part in value.parts if channel not in part.axes)
    if read is None:  # a unit lies across several channels (a head), and keeps its others
        others = site.confine(value, [channel], "cuts it into groups").parts
        site.fix(rows, "reads the model's input, a constant or what lies inside units by groups")
    else:
        read = read.reshape(groups, -1)
        site.units.bundle(read, (1,))
        site.tie(rows[:, :1], read[:, :1], f"grouped {site.name}")
    site.count("groups", rows[:, 0])
    site.make(weight, 0)
    ids = rows.reshape(-1) if making == 0 else np.repeat(rows[:, 0], weight.shape[1])
    count_sizes(site, {"out_channels": ids, "in_channels": read})
    return (*others, Part((channel,), ids))


def _filtered(
    site: OpSite, value: Value, weight: Value, channel: int, groups: int
) -> tuple[Part, ...]:
    """Filters that are no parameters: one for all channels lets them grow."""
    read = value.ids(channel)
    alike = weight.constant or 0 in weight.constant_axes
    if read is not None and alike and groups == read.size == weight.shape[0]:
        site.count("groups", read)
        return value.parts
    site.pin(value, channel, "filters each channel in a way of its own")
    return tuple(part for part in value.parts if channel not in part.axes)


# -- attention ----------------------------------------------------------------------------------


@rule("scaled_dot_product_attention")
def attention(site: OpSite) -> Value:
    """softmax(q kᵀ · scale) v: heads are batch axes; a scale that is not given follows head_dim."""
    query, key, value = site["query"], site["key"], site["value"]
    batch = [f"b{axis}" for axis in range(query.ndim - 2)]
    if query.ndim > 3:
        heads = query.shape[-3]
        key, value = (repeated(site, x, -3, heads // x.shape[-3]) for x in (key, value))
    site.pin(query, -2, "attends over it")
    site.pin(key, -2, "attends over it")
    scores = site.contract(
        [query, key], [[*batch, "q", "d"], [*batch, "k", "d"]], [*batch, "q", "k"]
    )
    if site["attn_mask"] is not None:
        scores = site.pointwise([scores, site["attn_mask"]], scores.shape)
    return site.contract(
        [scores, value], [[*batch, "q", "k"], [*batch, "k", "v"]], [*batch, "q", "v"]
    )
