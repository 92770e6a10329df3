"""What whole copies change (sums over units, their norm, softmax) is made up for where they are
read; and numbers of sizes that code divides such sums by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import WidthError
from tests.helpers import Written, assert_exact, noise, randomise, refused, widen

X = noise(4, 5)


def net(read: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """Of 8 units that a sigmoid keeps from zero, so that no others will do."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(read(model, model.stem(x).sigmoid()))

    layers: dict[str, nn.Module] = {
        "stem": nn.Linear(5, 8), "scale": nn.Linear(8, 1, bias=False), "side": nn.Linear(8, 3),
    }  # fmt: skip
    features = read(Written(code, **layers), torch.rand(4, 8)).shape[1]
    return randomise(Written(code, **layers, head=nn.Linear(features, 2)))


READ: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "normalised": lambda m, h: F.normalize(h, dim=-1),
    "normalised by hand": lambda m, h: h / h.norm(dim=-1, keepdim=True),
    "by another norm": lambda m, h: h / torch.linalg.vector_norm(h, 3.0, dim=-1, keepdim=True),
    "by their largest": lambda m, h: h / h.amax(-1, keepdim=True),
    "scaled": lambda m, h: F.normalize(h, dim=-1) * m.scale.weight[0],
    "shares of a sum": lambda m, h: h / h.sum(-1, keepdim=True),
    "squares": lambda m, h: h.pow(2) / h.pow(2).sum(-1, keepdim=True),
    "softmax": lambda m, h: h.softmax(-1),
    "softmax by hand": lambda m, h: h.exp() / h.exp().sum(-1, keepdim=True),
    "two readers": lambda m, h: torch.cat([m.side(h.softmax(-1)), m.side(h.softmax(-1))], -1),
    "sum": lambda m, h: h.sum(-1, keepdim=True).expand(-1, 3) * torch.arange(3),
    "sum of squares": lambda m, h: torch.einsum("bi,bi->b", h, h)[:, None],
    "sum by einsum": lambda m, h: torch.einsum("bi->b", h)[:, None],
    "similarity": lambda m, h: F.normalize(h, dim=-1) @ F.normalize(h, dim=-1).T[:, :3],
    "variance": lambda m, h: (h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True),
}


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("method", ["replicate", "fresh", "pair", "uneven"])
@pytest.mark.parametrize("name", READ)
def test_grows_by_whole_multiples(name: str, method: str, factor: int) -> None:
    teacher = net(READ[name])
    growth = net2net.widen(teacher, {"stem": 8 * factor}, X, method=method)
    assert growth.report.rows[0].new == 8 * factor
    assert_exact(teacher, growth.model, X)


def test_between_multiples_is_refused_with_the_reason() -> None:
    teacher = net(READ["normalised"])
    with refused(
        WidthError, "linalg_vector_norm reduces it.*neighbours are 8 and 16", teacher=teacher
    ):
        net2net.widen(teacher, {"stem": 11}, X)


BOUND: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "norm": lambda m, h: h / (h.norm(dim=-1, keepdim=True) + 0.1),
    "norm by size": lambda m, h: h / (h.norm(dim=-1, keepdim=True) / h.shape[-1] ** 0.5 + 0.1),
    "squares": lambda m, h: h * (h.pow(2).sum(-1, keepdim=True) + 0.1).rsqrt(),
    "sum": lambda m, h: h.sum(-1, keepdim=True).tanh() * h,
    "product": lambda m, h: (m.side(h)[:, :1] + (h @ h.T)[:, :1]).tanh(),
    "deviation": lambda m, h: h / (h.std(-1, keepdim=True) + 0.1),
}


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize("name", BOUND)
def test_what_makes_them_makes_up_for_what_follows(name: str, method: str) -> None:
    """Where something is added to what is made of all, that cannot be larger."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(BOUND[name](model, model.stem(x)))

    features = 1 if name == "product" else 8
    layers = {"stem": nn.Linear(5, 8), "side": nn.Linear(8, 3), "head": nn.Linear(features, 2)}
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, {"stem": 16}, X, method=method)
    assert_exact(teacher, growth.model, X)


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_transfer_makes_up_for_it_as_well(method: str) -> None:
    """Also with a layer that has none of these units."""

    def model(width: int) -> nn.Module:
        layers = {
            "stem": nn.Linear(5, width), "side": nn.Linear(1, 4, bias=False),
            "head": nn.Linear(4, 2),
        }  # fmt: skip
        return randomise(
            Written(
                lambda m, x: m.head(m.side(m.stem(x).sigmoid().sum(-1, keepdim=True)).tanh()),
                **layers,
            )
        )

    teacher = model(8)
    growth = net2net.transfer(teacher, model(16), X, method=method)
    assert_exact(teacher, growth.model, X)


@pytest.mark.parametrize("factor", [2.0, 3.0])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_scores_of_one_head_that_torch_computes(scale: float | None, factor: float) -> None:
    """What torch's attention puts out is no multiple of the scores: what makes the query (or key)
    is as many times smaller."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        parts = (part(h).unsqueeze(1) for part in (model.query, model.key, model.value))
        return model.head(F.scaled_dot_product_attention(*parts, scale=scale).squeeze(1))

    layers = {
        "stem": nn.Linear(3, 8), "query": nn.Linear(8, 6), "key": nn.Linear(8, 6),
        "value": nn.Linear(8, 10), "head": nn.Linear(10, 2),
    }  # fmt: skip
    teacher, x = randomise(Written(code, **layers)), noise(2, 5, 3)
    student = widen(teacher, factor, x).model
    assert student.query.out_features == 6 * factor
    assert_exact(teacher, student, noise(3, 4, 3))
