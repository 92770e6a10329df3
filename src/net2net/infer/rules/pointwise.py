"""Elementwise operations: operands broadcast against each other, and units that meet are one."""

from __future__ import annotations

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Value
from net2net.ops import kinds


def operands(site: OpSite) -> list[Value]:
    """Every tensor among the arguments, in order."""
    return [value for value in site.args.values() if isinstance(value, Value)]


@rule(*kinds(lambda traits: traits.elementwise), "cross")
def pointwise(site: OpSite) -> Value:
    values = operands(site)
    if site.name in {"to", "type_as", "contiguous", "fill", "zero"}:
        values = values[:1]  # the other operand gives its type or one number
    return site.pointwise(values)


@rule("max", "min")
def extremum(site: OpSite) -> object:
    """Three operations bear this name: of two tensors, along an axis, over everything."""
    if isinstance(site.args.get("other"), Value):
        return site.pointwise(operands(site))
    value: Value = site["self"]
    if "dim" not in site.args:
        return site.reduce(value, range(value.ndim), False, "max")
    result = site.reduce(value, [site["dim"]], site["keepdim"], "max")
    return [result, result]


@rule("prelu")
def prelu(site: OpSite) -> Value:
    value, weight = site["self"], site["weight"]
    if weight.shape[0] > 1:
        return site.pointwise([value, (weight, [1 if value.ndim > 1 else 0])])
    site.fix(weight.ids(0), "has one slope for all channels")
    return Value(value.shape, value.parts)


@rule("fake_quantize_per_channel_affine")
def rounded(site: OpSite) -> Value:
    """Each channel in steps of its own."""
    steps = [(site[name], [site["axis"]]) for name in ("scale", "zero_point")]
    return site.pointwise([site["self"], *steps])


@rule(*kinds(lambda traits: traits.factory))
def factory(site: OpSite) -> Value:
    """``zeros_like`` has the units of what it is like; other sizes come from elsewhere."""
    like = site["self"] if site.name.endswith("_like") else Value(site.shape)
    return Value(site.shape, like.parts, constant=True)


@rule("rand_like", "randn_like", "randint_like")
def drawn(site: OpSite) -> Value:
    """Noise of the shape of a tensor, which differs by unit: of more units each would get other
    numbers. In training that is no other function."""
    value = next(iter(operands(site)))
    if not site.training:
        for part in value.parts:
            site.fix(part.ids, "draws a number for each")
    return Value(site.shape, value.parts)


@rule("new_tensor")
def unrelated(site: OpSite) -> Value:
    """Made to the type of a tensor, not of its values."""
    value = next(iter(operands(site)))
    return Value(site.shape, value.parts)
