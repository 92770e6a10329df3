"""Elementwise operations: operands broadcast against each other, and units that meet are one."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.values import Value

UNARY = """
    abs acos acosh alias alpha_dropout asin asinh atan atanh bernoulli bitwise_not cauchy ceil celu
    clamp clamp_max clamp_min clone contiguous cos cosh cross deg2rad detach dropout elu erf erfc
    exp exp2 expm1 exponential feature_alpha_dropout feature_dropout fill floor frac gelu geometric
    hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan leaky_relu lgamma log log10 log1p
    log2 log_sigmoid logical_not logit log_normal mish nan_to_num native_dropout neg negative normal
    positive rad2deg random reciprocal relu relu6 round rrelu rsqrt selu sgn sigmoid sign silu sin
    sinc sinh softplus softshrink softsign sqrt square tan tanh threshold to trunc type_as uniform
    _to_copy zero bfloat16 float double half real imag conj angle resolve_conj resolve_neg _conj
    _neg_view
"""
BINARY = """
    add addcdiv addcmul atan2 complex bitwise_and bitwise_or bitwise_xor copy copysign div divide eq
    floor_divide fmax fmin fmod ge greater greater_equal gt hypot le lerp less less_equal logaddexp
    logical_and logical_or logical_xor lt masked_fill maximum minimum mul multiply ne not_equal
    polar pow remainder rsub sub subtract true_divide xlogy __and__ __or__ __xor__
"""
SCALING = frozenset("mul multiply div divide true_divide".split())

RANDOM = frozenset(
    "alpha_dropout bernoulli cauchy dropout exponential feature_alpha_dropout feature_dropout"
    " geometric log_normal native_dropout normal random uniform".split()
)

FACTORIES = """
    empty empty_like empty_strided full full_like new_empty new_full new_ones new_zeros ones
    ones_like scalar_tensor zeros zeros_like
"""
"""Their outputs hold one value everywhere, so they fit any width."""


def operands(site: OpSite) -> list[Value]:
    """Every tensor among the arguments, in order."""
    return [value for value in site.args.values() if isinstance(value, Value)]


@rule(*(UNARY + BINARY).split())
def pointwise(site: OpSite) -> Value:
    values = operands(site)
    if site.name in {"to", "type_as", "contiguous", "fill", "zero"}:
        values = values[:1]  # the other operand gives its type or one number
    if site.name in SCALING:
        # of a product of parameters (weight × scale), one factor takes the shares
        widest = max(values, key=lambda value: prod(value.shape) if value.parameter_axes else 0)
        values = [v if v is widest else replace(v, parameter_axes={}) for v in values]
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


@rule(*FACTORIES.split())
def factory(site: OpSite) -> Value:
    """``zeros_like`` has the units of what it is like; other sizes come from elsewhere."""
    like = site["self"] if site.name.endswith("_like") else Value(site.shape)
    return Value(site.shape, like.parts, constant=True)


@rule(*"rand_like randn_like randint_like new_tensor".split())
def unrelated(site: OpSite) -> Value:
    """Made to the shape of a tensor, not of its values: noise that differs by unit."""
    value = next(iter(operands(site)))
    return Value(site.shape, value.parts)
