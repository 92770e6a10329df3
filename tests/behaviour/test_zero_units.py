"""Zero units learn: of products of new units with new units, not all that is multiplied is zero."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from tests.helpers import Written, assert_exact, noise, randomise

X = noise(8, 5, 4)


def heads(model: Any, x: Tensor) -> Tensor:
    """Attention by heads of 3 features, from one weight."""
    q, k, v = (
        part.unflatten(-1, (-1, 3)).transpose(1, 2) for part in model.wide(x).chunk(3, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v)
    return y.transpose(1, 2).flatten(2)


def by_hand(model: Any, x: Tensor) -> Tensor:
    q, k, v = (
        part.unflatten(-1, (-1, 3)).transpose(1, 2) for part in model.wide(x).chunk(3, dim=-1)
    )
    return ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)


CODE: dict[str, tuple[int, Callable[[Any, Tensor], Tensor]]] = {
    "attention": (6, heads),
    "attention by hand": (6, by_hand),
    "interleaved": (9, lambda m, x: m.wide(x)[..., ::2] * m.wide(x)[..., 1::2]),
    "halves, each cut apart": (
        9,
        lambda m, x: m.wide(x).chunk(2, -1)[0] * m.wide(x).chunk(2, -1)[1].tanh(),
    ),
    "itself": (18, lambda m, x: m.wide(x) * m.wide(x)),
    "its square": (18, lambda m, x: m.wide(x) ** 2),
    "a function of it": (18, lambda m, x: (h := m.wide(x)) * h.tanh()),
    "norm": (18, lambda m, x: (h := m.wide(x)) * (h**2).mean(-1, keepdim=True).rsqrt()),
    "norm of squares": (18, lambda m, x: (h := m.wide(x)) / (h * h).sum(-1, keepdim=True).sqrt()),
}


@pytest.mark.parametrize("name", CODE)
def test_every_new_number_gets_a_gradient(name: str) -> None:
    features, code = CODE[name]
    layers = {"wide": nn.Linear(4, 18, bias=False), "head": nn.Linear(features, 2)}
    teacher = randomise(Written(lambda m, x: m.head(code(m, x)), **layers))
    growth = net2net.widen(teacher, {"wide": 36}, X, method="silent")
    assert_exact(teacher, growth.model, X)
    student = copy.deepcopy(growth.model).train()
    optimiser = torch.optim.Adam(student.parameters(), 1e-3)
    moved = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in student.named_parameters()}
    for _ in range(2):
        optimiser.zero_grad()
        student(X).square().mean().backward()
        for name, parameter in student.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()
            moved[name] |= parameter.grad.abs() > 1e-13
        optimiser.step()
    assert all(found.all() for found in moved.values()), moved


@pytest.mark.parametrize("name", ["norm", "norm of squares"])
def test_units_that_are_normalised_may_be_zero(name: str) -> None:
    """Squares have no slope at zero, but what is divided by their mean has."""
    features, code = CODE[name]
    layers = {"wide": nn.Linear(4, 18, bias=False), "head": nn.Linear(features, 2)}
    teacher = randomise(Written(lambda m, x: m.head(code(m, x)), **layers))
    (row,) = net2net.widen(teacher, {"wide": 36}, X, method="silent").report.rows
    assert row.note == ""


def test_a_stream_that_is_read_without_a_norm_at_its_end() -> None:
    """All that is added to it is scaled alike for the norms on the way."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        h = h + model.down(F.silu(model.gate(model.norm(h))) * model.up(model.norm(h)))
        return model.head(h)

    layers = {
        "stem": nn.Linear(4, 6), "norm": nn.RMSNorm(6), "gate": nn.Linear(6, 8, bias=False),
        "up": nn.Linear(6, 8), "down": nn.Linear(8, 6), "head": nn.Linear(6, 2),
    }  # fmt: skip
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, {"stem": 9}, X, method="silent")
    assert_exact(teacher, growth.model, X)
    assert "zero ones will not do" not in growth.report.rows[0].note
    assert not growth.model.stem.weight[6:].any() and growth.model.head.weight[:, 6:].all()
