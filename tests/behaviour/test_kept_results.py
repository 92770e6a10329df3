"""Functions that keep what they returned (``functools.lru_cache``): what they keep of a run of the
library's own reaches no run of the user's."""

from __future__ import annotations

from functools import cache, lru_cache

import pytest
import torch
from torch import Tensor, nn

import net2net
from tests.helpers import noise, randomise


@lru_cache(maxsize=3)
def last_first(size: int, step: int) -> Tensor:
    return torch.arange((size - 1) * step, -step, -step)


@cache
def scales(size: int, last: int) -> tuple[Tensor, str]:
    return torch.linspace(1, last, size), "a name"


@lru_cache
def left_alone(size: int) -> Tensor:
    return torch.arange(size)


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 8), nn.Linear(8, 2)
        self.table = nn.Parameter(torch.randn(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        scale = scales(x.shape[1], 2)[0][:, None]
        index = last_first(x.shape[1], 1)
        return self.down(self.up(x * scale + self.table[index]).relu())


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for one in (last_first, scales, left_alone):
        one.cache_clear()


def teacher() -> nn.Module:
    return randomise(Kept()).float()


def test_a_model_trains_after_it_was_traced() -> None:
    model, x = teacher(), noise(2, 5, 3).float()
    student = net2net.widen(model, 2.0, x).model
    for one in (model, student):
        output = one(x)
        output.sum().backward()
        assert output.dtype == torch.float32


def test_what_was_kept_before_changes_nothing() -> None:
    model, x = teacher(), noise(2, 5, 3).float()
    cold = net2net.widen(model, 2.0, x)
    before = model(x)
    warm = net2net.widen(model, 2.0, x)
    assert warm.plan.to_json() == cold.plan.to_json()
    assert torch.equal(model(x), before)


def test_what_no_run_touched_is_kept() -> None:
    one = left_alone(4)
    net2net.widen(teacher(), 2.0, noise(2, 5, 3).float())
    assert left_alone(4) is one
