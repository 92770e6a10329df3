"""Weights that code divides by their norms and multiplies by lengths: these follow the norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import net2net
from tests.helpers import Written, assert_exact, noise, randomise

X = noise(4, 3, 5)


def length(v: Tensor) -> Tensor:
    return v.norm(dim=1, keepdim=True)


MADE: dict[str, Callable[[Any], Tensor]] = {
    "quotient, then lengths": lambda m: m.v / length(m.v) * m.lengths[:, None],
    "lengths, then quotient": lambda m: m.lengths.unsqueeze(1) * m.v / length(m.v),
    "lengths over norms": lambda m: m.v * (m.lengths.view(-1, 1) / length(m.v)),
    "lengths as a column": lambda m: m.column * (m.v / length(m.v)),
    "normalize": lambda m: F.normalize(m.v, dim=1) * m.column,
    "norms of at least": lambda m: m.v / length(m.v).clamp(min=1e-8) * m.column,
}


def model(made: Callable[[Any], Tensor]) -> nn.Module:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.head(F.gelu(F.linear(m.stem(x).tanh(), made(m), m.lengths)))

    teacher = Written(code, stem=nn.Linear(5, 8), head=nn.Linear(6, 2))
    for name, shape in {"v": (6, 8), "lengths": (6,), "column": (6, 1)}.items():
        teacher.register_parameter(name, nn.Parameter(torch.randn(shape)))
    return randomise(teacher)


def without_bias(made: Callable[[Any], Tensor]) -> nn.Module:
    """Whose lengths nobody reads besides."""
    teacher = model(made)
    teacher.code = lambda m, x: m.head(F.gelu(F.linear(m.stem(x).tanh(), made(m))))
    return teacher


@pytest.mark.parametrize("method", ["replicate", "pair", "fresh", "silent"])
@pytest.mark.parametrize("factor", [1.37, 2.0])
@pytest.mark.parametrize("name", MADE)
def test_lengths_follow_the_norms_of_what_grows(name: str, factor: float, method: str) -> None:
    teacher = without_bias(MADE[name])
    space = net2net.spaces(teacher, X)["stem"]
    assert space.kinds == {"copy": 1, "random": 1, "zero": 1}
    student = net2net.widen(teacher, factor, X, method=method).model
    assert student.v.shape == (int(6 * factor), int(8 * factor + 0.5))
    assert_exact(teacher, student, X)


def test_lengths_that_are_read_otherwise_stay_what_they_are() -> None:
    teacher = model(MADE["quotient, then lengths"])
    assert net2net.spaces(teacher, X)["stem"].kinds.keys() == {"random"}
    for method in ("replicate", "fresh"):
        assert_exact(teacher, net2net.widen(teacher, 1.37, X, method=method).model, X)


@pytest.mark.parametrize("method", ["fresh", "silent"])
def test_zero_columns_leave_the_norm_of_a_parametrised_weight(method: str) -> None:
    layers = {
        "stem": nn.Linear(5, 8), "mix": parametrizations.weight_norm(nn.Linear(8, 6)),
        "head": nn.Linear(6, 2),
    }  # fmt: skip
    teacher = randomise(Written(lambda m, x: m.head(F.gelu(m.mix(m.stem(x).tanh()))), **layers))
    growth = net2net.widen(teacher, {"stem": 11}, X, method=method)
    (row,) = growth.report.rows
    assert "copies" not in row.note
    assert_exact(teacher, growth.model, X)
