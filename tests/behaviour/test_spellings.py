"""Norms spelled in other words grow to any width, as those that are spelled as usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from tests.helpers import Written, assert_exact, noise, randomise

X = noise(4, 3, 5)


def less_mean(x: Tensor) -> Tensor:
    return x - x.sum(-1, keepdim=True) / x.shape[-1]


def layer_norm(x: Tensor) -> Tensor:
    c = less_mean(x)
    return c / torch.sqrt((c * c).sum(-1, keepdim=True) * (1 / c.shape[-1]) + 1e-5)


def by_moments(x: Tensor) -> Tensor:
    mean, squares = x.mean(-1, keepdim=True), x.pow(2).mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt(squares - mean * mean + 1e-5)


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "squares by a product": lambda x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5),
    "torch.mul": lambda x: x * torch.rsqrt(torch.mul(x, x).mean(-1, keepdim=True) + 1e-5),
    "sum over size": lambda x: x * torch.rsqrt(x.pow(2).sum(-1, True) / x.shape[-1] + 1e-5),
    "sum, then a view": lambda x: x * torch.rsqrt(
        x.square().sum(-1).unsqueeze(-1) / len(x[0, 0]) + 1e-5
    ),
    "norm over root of size": lambda x: x / (x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5),
    "norm times root of size": lambda x: x / (x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5),
    "square of a norm over size": lambda x: x * torch.rsqrt(
        x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1] + 1e-5
    ),
    "squares by einsum": lambda x: x * torch.rsqrt(
        torch.einsum("...d,...d->...", x, x).unsqueeze(-1) / x.shape[-1] + 1e-5
    ),
    "layer norm by sums": layer_norm,
    "layer norm by moments": by_moments,
    "mean by a sum": lambda x: F.gelu(less_mean(x)),
}  # fmt: skip


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize("width", [11, 16])
@pytest.mark.parametrize("name", NORMS)
def test_any_width(name: str, width: int, method: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        h = h + model.back(F.gelu(model.wide(NORMS[name](h) * model.scale.weight[0])))
        return model.head(NORMS[name](h))

    layers = {
        "stem": nn.Linear(5, 8), "scale": nn.Linear(8, 1, bias=False), "wide": nn.Linear(8, 12),
        "back": nn.Linear(12, 8), "head": nn.Linear(8, 2),
    }  # fmt: skip
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, {"stem": width}, X, method=method)
    assert growth.model.stem.out_features == width
    assert_exact(teacher, growth.model, X)


@pytest.mark.parametrize(
    "code",
    [
        lambda x: x.sum(-1, keepdim=True) / x.shape[1],
        lambda x: (x.sum(-1, keepdim=True) / x.shape[-1]) + x.sum(-1, keepdim=True),
        lambda x: (x * x).mean(-1, keepdim=True) - x.mean(1, keepdim=True).square(),
        lambda x: (x * x).mean(-1, keepdim=True) - 2 * x.mean(-1, keepdim=True).square(),
    ],
    ids=["another size", "twice", "another axis", "twice the square"],
)
def test_what_is_nearly_spelled_so_is_something_else(code: Callable[[Tensor], Tensor]) -> None:
    """Whatever grows, it is the same function."""
    layers = {"stem": nn.Linear(5, 8), "wide": nn.Linear(8, 12), "head": nn.Linear(12, 2)}
    teacher = randomise(
        Written(lambda m, x: m.head(m.wide(F.gelu(h := m.stem(x)) + code(h)).tanh()), **layers)
    )
    for factor in (1.5, 2.0):
        growth = net2net.widen(teacher, factor, X)
        assert_exact(teacher, growth.model, X)
        assert not any("verification" in row.note for row in growth.report.stayed)


FUSED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "addcmul": lambda m, h: torch.addcmul(m.shift, F.layer_norm(h, h.shape[-1:]), m.gain),
    "addcmul times": lambda m, h: torch.addcmul(m.shift, m.gain, by_moments(h), value=0.5),
    "addcdiv": lambda m, h: torch.addcdiv(m.shift, F.layer_norm(h, h.shape[-1:]), m.gain),
    "in place": lambda m, h: F.layer_norm(h, h.shape[-1:]).mul_(m.gain).addcmul_(m.shift, m.one),
    "lerp": lambda m, h: F.layer_norm(torch.lerp(h, h + m.back(m.wide(h)), 0.3), h.shape[-1:]),
}
"""Products that are added at once."""


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize("width", [11, 16])
@pytest.mark.parametrize("name", FUSED)
def test_products_that_are_added_at_once(name: str, width: int, method: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        h = h + model.back(F.gelu(model.wide(FUSED[name](model, h))))
        return model.head(FUSED[name](model, h))

    layers = {
        "stem": nn.Linear(5, 8), "wide": nn.Linear(8, 12), "back": nn.Linear(12, 8),
        "head": nn.Linear(8, 2),
    }  # fmt: skip
    teacher = Written(code, **layers)
    for vector in ("gain", "shift", "one"):
        teacher.register_parameter(vector, nn.Parameter(torch.ones(8)))
    randomise(teacher)
    growth = net2net.widen(teacher, {"stem": width}, X, method=method)
    assert growth.model.stem.out_features == width
    assert_exact(teacher, growth.model, X)
