"""Layers with adapters beside them: what they keep of their sizes, and the config of what they were
put into."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net import Growth, Plan
from tests.helpers import assert_exact, noise, randomise, shapes, widen

from .test_config_search import Attention, Config, attention

X = noise(2, 5, 3)
RANK = 4


class Adapted(nn.Module):
    """A layer with adapters beside it, whose ranks it keeps by name, as adapter libraries do; the
    scale is made of a size and the rank."""

    def __init__(self, layer: nn.Linear, rank: int, size: int, root: bool = False) -> None:
        super().__init__()
        self.base, self.ranks, self.sizes = layer, {"default": rank}, {"default": size}
        self.scales = {"default": size / (rank**0.5 if root else rank)}
        self.down = nn.ModuleDict({"default": nn.Linear(layer.in_features, rank, bias=False)})
        self.up = nn.ModuleDict({"default": nn.Linear(rank, layer.out_features, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up["default"](self.down["default"](x)) * self.scales["default"]


class Wrapper(nn.Module):
    """Holds a model, and its config too; and what its adapters were made from."""

    def __init__(self, model: Any, **said: int) -> None:
        super().__init__()
        self.model, self.config = model, model.config
        self.adapters = {"default": Config(**said)}

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def adapted(*layers: str, size: int = 8, root: bool = False, **ranks: int) -> nn.Module:
    inner: Any = attention(rank=2)
    for name in layers:
        rank = ranks.get(name, RANK)
        setattr(inner, name, Adapted(getattr(inner, name), rank, size, root))
    return randomise(Wrapper(inner, ranks=RANK, sizes=size))


def numbers(model: Any, layer: str) -> tuple[int, int, float]:
    part = getattr(model.model, layer)
    return part.ranks["default"], part.sizes["default"], part.scales["default"]


@pytest.mark.parametrize("layers", [("up",), ("q", "v", "up", "down", "head")])
def test_the_config_of_what_is_inside_is_set(layers: tuple[str, ...]) -> None:
    teacher = adapted(*layers)
    growth = widen(teacher, 2.0, X)
    assert not growth.report.notes
    built = Attention(growth.model.config)  # type: ignore[arg-type]
    inside = {name.replace(".base.", "."): shape for name, shape in shapes(growth.model).items()}
    for name, shape in shapes(built).items():
        assert inside[f"model.{name}"] == shape


def test_ranks_grow_with_the_numbers_that_scales_were_made_of() -> None:
    """Built anew from these numbers, with its weights loaded, it is the same."""
    teacher = adapted("q", "up")
    growth = widen(teacher, 2.0, X)
    for model in (growth.model, Plan.from_json(growth.plan.to_json()).apply(teacher)):
        assert numbers(model, "q") == numbers(model, "up") == (8, 16, 2.0)
        said: Any = model.adapters["default"]  # type: ignore[index]
        assert (said.ranks, said.sizes) == (8, 16)
    assert numbers(teacher, "q") == (4, 8, 2.0) and teacher.adapters["default"].ranks == 4  # type: ignore
    inner: Any = Attention(growth.model.config)  # type: ignore[arg-type]
    for name in ("q", "up"):
        setattr(inner, name, Adapted(getattr(inner, name), said.ranks, said.sizes))
    again = Wrapper(inner).double().eval()
    again.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, again, X)


def told(growth: Growth) -> str:
    (note,) = growth.report.notes
    return note


def test_one_number_for_layers_of_several_ranks_stays_and_is_told_of() -> None:
    growth = widen(adapted("q", "up"), {"model.q.down.default": 2.0}, X)
    assert numbers(growth.model, "q") == (8, 16, 2.0) and numbers(growth.model, "up") == (4, 8, 2.0)
    assert "ranks is 4 in 'adapters' for 'default'" in told(growth)
    assert growth.model.adapters["default"].ranks == 4  # type: ignore[index, union-attr]


def test_a_scale_made_in_another_way_stays_with_its_numbers_and_is_told_of() -> None:
    growth = widen(adapted("q", root=True), {"model.q.down.default": 2.0}, X)
    assert numbers(growth.model, "q") == (4, 8, 4.0)
    assert "'model.q.ranks' says 4 for 'default', and that is wider now" in told(growth)


def test_a_number_that_fits_no_whole_one_is_told_of() -> None:
    growth = widen(adapted("q", size=2), {"model.q.down.default": 5}, X)
    assert "other numbers there may be made of it" in told(growth)


def test_a_rank_that_stays_needs_no_word() -> None:
    growth = widen(adapted("up"), {"model.up.base": 2.0}, X)
    assert not growth.report.notes and numbers(growth.model, "up") == (4, 8, 2.0)


def test_layers_exchanged_for_what_does_not_hold_them() -> None:
    inner: Any = attention(rank=2)
    inner.up = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 64))
    growth = widen(randomise(Wrapper(inner)), {"model.up.0": 2.0}, X)
    assert "the config of 'model' stays" in told(growth)


def test_parameters_by_name() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ranks = {"default": 3}
            self.down = nn.ParameterDict({"default": torch.zeros(3, 4)})
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(nn.functional.linear(x, self.down["default"]))

    growth = widen(randomise(Table()), 2.0, noise(5, 4))
    assert growth.model.ranks == {"default": 6}
