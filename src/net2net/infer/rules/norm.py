"""Normalisations and softmax."""

from __future__ import annotations

from dataclasses import replace

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Part, Value


def follow(site: OpSite, value: Value, tensors: list[Value | None], axes: list[int]) -> Value:
    """Per-unit tensors (scale, shift, mean, variance) that lie along ``axes`` of ``value``."""
    operands = [(value, list(range(value.ndim)))]
    operands += [(tensor, axes) for tensor in tensors if tensor is not None]
    return Value(value.shape, tuple(site.align(operands, value.shape)))


@rule("batch_norm", "instance_norm")
def batch_norm(site: OpSite) -> Value:
    names = ("weight", "bias", "running_mean", "running_var")
    value: Value = site["input"]
    if (ids := value.ids(1)) is not None:
        site.count("num_features", ids)
    result = follow(site, value, [site[name] for name in names], [1])
    alone = site.args.get("training", site.args.get("use_input_stats"))
    if alone:  # statistics are of what it is given, also of units that lie along other axes
        first = 0 if site.name == "batch_norm" else 2
        axes = [axis for axis in range(first, value.ndim) if axis != 1]
        site.reduce(result, axes, True, "mean")
    scales = [one for one in (site["weight"], site["bias"]) if one is not None]
    found = [one.parameter_axes.get(0, frozenset()) for one in scales]
    if not all(found) or not found:  # what is normalised is as large whatever made it
        found = [value.rigid().parameter_axes.get(1, frozenset())]
    return replace(result, parameter_axes={1: frozenset().union(*found)} if any(found) else {})


@rule("group_norm")
def group_norm(site: OpSite) -> Value:
    """Statistics are shared inside a group, so whole groups are the units."""
    value, groups = site["input"], site["num_groups"]
    ids = value.ids(1)
    if ids is not None:
        site.count("num_channels", ids)
    if ids is None:
        site.pin(value, 1, "normalises over groups of it")
    elif groups == 1:
        site.units.require_equal_copies(ids, f"{site.where} averages over it")
    else:
        rows = ids.reshape(groups, -1)
        site.units.bundle(rows, (1,))
        site.count("num_groups", rows[:, 0])
    return follow(site, value, [site["weight"], site["bias"]], [1])


@rule("layer_norm", "rms_norm")
def layer_norm(site: OpSite) -> Value:
    """Means over the normalised axes: every unit needs the same number of copies."""
    value = site["input"]
    axes = list(range(value.ndim - len(site["normalized_shape"]), value.ndim))
    result = follow(site, value, [site["weight"], site.args.get("bias")], axes)
    site.reduce(result, axes, True, "mean")
    return result


@rule("_weight_norm")
def weight_norm(site: OpSite) -> Value:
    """A weight of given direction and length: one length for each position on ``dim``."""
    direction: Value = site["v"]
    scale, dim = site["g"], site["dim"]
    if dim != -1:
        others = [axis for axis in range(scale.ndim) if axis != dim and scale.ndim > 1]
        lengths = scale.without(others)
        site.align([(direction, range(direction.ndim)), (lengths, [dim])], site.shape)
    site.divide_by_norm("v", "g", dim)
    return direction


@rule("softmax", "_softmax")
def softmax(site: OpSite) -> Value:
    """Of k copies of every unit each gets the k-th part."""
    value: Value = site["self"]
    if (ids := value.ids(site["dim"])) is None:
        site.pin(value, site["dim"], "normalises over it")
    else:
        site.units.refuse_copies(ids, f"{site.where} normalises over it")
    return Value(value.shape, value.parts)


@rule("log_softmax", "_log_softmax")
def log_softmax(site: OpSite) -> Value:
    value: Value = site["self"]
    site.pin(value, site["dim"], "normalises over it")
    return Value(value.shape, value.parts)


@rule("cumsum", "cumprod", "logcumsumexp")
def scan(site: OpSite) -> Value:
    value: Value = site["self"]
    site.pin(value, site["dim"], "accumulates along it")
    return Value(value.shape, value.parts)


@rule("local_response_norm")
def local_response(site: OpSite) -> Value:
    value: Value = site["input"]
    site.pin(value, 1, "mixes neighbouring channels")
    return value


@rule("glu")
def glu(site: OpSite) -> Value:
    """The first half, gated by the second."""
    value: Value = site["self"]
    axis = value.dim(site["dim"])
    half = value.shape[axis] // 2
    if (ids := value.ids(axis)) is not None:
        site.split_by_position(ids, 2)
    first, second = value.take(axis, range(half)), value.take(axis, range(half, 2 * half))
    return site.pointwise([first, second])


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(site: OpSite) -> Value:
    value, groups = site["self"], site["groups"]
    ids = value.ids(1)
    if ids is None:
        return Value(value.shape, value.parts)
    parts = tuple(part for part in value.parts if 1 not in part.axes)
    site.split_by_position(ids, groups)
    return Value(value.shape, (*parts, Part((1,), ids.reshape(groups, -1).T.reshape(-1))))
