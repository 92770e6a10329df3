"""Message passing and other operations that write or read at places; and padding that the code
makes as wide as its channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers import Written, image, noise, randomise, widen

X = noise(5, 3)
TO = torch.tensor([0, 1, 1, 2, 0])
Code = Callable[[Any, Tensor], Tensor]


def net(code: Code) -> nn.Module:
    """Five nodes of 8 features, beside a layer that grows whatever they do."""

    def whole(model: Any, x: Tensor) -> Tensor:
        return model.head(code(model, model.stem(model.first(x).tanh())).relu())

    layers = {"first": nn.Linear(3, 4), "stem": nn.Linear(4, 8), "own": nn.Linear(8, 8)}
    return randomise(Written(whole, **layers, head=nn.Linear(8, 2)))


def zeros(h: Tensor) -> Tensor:
    return torch.zeros(3, h.shape[1], dtype=h.dtype)


GROWS: dict[str, Code] = {
    "index_add": lambda m, h: zeros(h).index_add(0, TO, h),
    "index_add_": lambda m, h: h.new_zeros(3, h.shape[1]).index_add_(0, TO, h),
    "scatter_add": lambda m, h: zeros(h).scatter_add(0, TO[:, None].expand_as(h), h),
    "scatter_reduce": lambda m, h: h.new_zeros(3, h.shape[1]).scatter_reduce_(
        0, TO[:, None].repeat(1, h.shape[1]), h, "amax", include_self=False
    ),
    "index_copy": lambda m, h: h.new_ones(5, h.shape[1]).index_copy(0, TO.argsort(), h),
    "of two layers": lambda m, h: (h + 1).index_add(0, TO, m.own(h)),
    "mean of neighbours": lambda m, h: (
        h.new_zeros(5, h.shape[1]).index_add(0, TO, m.own(h)[TO])
        / TO.bincount(minlength=5).clamp(min=1)[:, None]
    ),
    "a number": lambda m, h: h.scatter(0, TO[:, None].expand_as(h), 3.0),
    "gather": lambda m, h: h.gather(0, TO[:, None].expand_as(h)),
    "gather in its own order": lambda m, h: h.gather(0, h.argsort(0)),
    "places of its own": lambda m, h: torch.zeros_like(h).scatter_add(0, h.argsort(0), m.own(h)),
}
STAYS: dict[str, Code] = {
    "each feature elsewhere": lambda m, h: torch.zeros_like(h).scatter_add(
        0, (torch.arange(h.shape[1]) % 5).expand(5, -1), h
    ),
    "each feature from elsewhere": lambda m, h: h.gather(
        0, (torch.arange(h.shape[1]) % 5).expand(5, -1)
    ),
    "along the features": lambda m, h: torch.zeros_like(h).scatter_add(
        1, torch.arange(8).expand(5, -1), h
    ),
    "into numbers that differ": lambda m, h: (
        torch.arange(24.0, dtype=h.dtype).view(3, 8).index_add(0, TO, h)
    ),
}


@pytest.mark.parametrize("factor", [2.0, 1.5])
@pytest.mark.parametrize("name", GROWS)
def test_features_go_along(name: str, factor: float) -> None:
    grown = {row.name: row.new for row in widen(net(GROWS[name]), factor, X).report.rows}
    assert grown["stem"] == 8 * factor


@pytest.mark.parametrize("name", STAYS)
def test_places_that_differ_by_feature_leave_the_space(name: str) -> None:
    report = widen(net(STAYS[name]), 2.0, X).report
    assert "first" in {row.name for row in report.rows}
    (why,) = {row.note for row in report.stayed if row.name == "stem"}
    assert "verification" not in why


@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_a_shortcut_that_pads_as_many_channels_as_it_has(factor: float) -> None:
    """ResNet's option A."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x).relu()
        c = h.shape[1]
        h = F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, c // 2, c // 2)) + model.conv(h)
        return model.head(h.relu().mean((2, 3)))

    layers = {"stem": nn.Conv2d(3, 8, 1), "conv": nn.Conv2d(8, 16, 3, stride=2, padding=1)}
    teacher = randomise(Written(code, **layers, head=nn.Linear(16, 2)))
    growth = widen(teacher, factor, image())
    assert growth.model.conv.weight.shape[:2] == (16 * factor, 8 * factor)


def test_a_width_at_which_the_code_stops_leaves_the_rest() -> None:
    """It asserts what holds of few widths."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        assert h.shape[-1] % 16 == 8
        return model.head(model.second(h).tanh())

    layers = {"stem": nn.Linear(3, 8), "second": nn.Linear(8, 5), "head": nn.Linear(5, 2)}
    report = widen(randomise(Written(code, **layers)), 2.0, X).report
    assert [row.name for row in report.rows] == ["second"]
    assert "stem" in {row.name for row in report.stayed}
