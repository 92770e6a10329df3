"""What layers would fill their parameters with, read off ``reset_parameters``."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import init

import net2net
from net2net.plan.initial import initial
from net2net.recipe.recipe import Mean, New, Spread, Uniform
from net2net.trace.meta_copy import meta_copy
from tests.helpers import noise, randomise


class Own(nn.Module):
    """A layer with a ``reset_parameters`` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.view = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3, 4))
        self.cut, self.twice = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3, 4))
        self.partly, self.never = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3, 4))
        self.shifted, self.later = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3, 4))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        init.kaiming_normal_(self.plain)
        self.view.data.view(-1).normal_(0, 0.5)
        init.trunc_normal_(self.cut)
        init.zeros_(self.twice)
        init.uniform_(self.twice, -0.25, 0.25)
        self.partly[:2].uniform_(-1, 1)
        init.uniform_(self.shifted, 0, 1)
        assert float(self.plain.max()) > 0  # there is no number on meta
        init.ones_(self.later)

    def forward(self, x: Tensor) -> Tensor:
        return x


def laws(model: nn.Module) -> dict[str, New]:
    return initial(meta_copy(model), [name for name, _ in model.named_parameters()])


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (nn.Linear(6, 4), {"weight": Uniform(6**-0.5), "bias": Uniform(6**-0.5)}),
        (nn.Conv2d(3, 4, 3, bias=False), {"weight": Uniform(27**-0.5)}),
        (nn.Embedding(5, 3, padding_idx=0), {"weight": Spread(1.0, 1.0)}),
        (nn.BatchNorm2d(4), {"weight": Mean(1.0), "bias": Mean(0.0)}),
        (nn.PReLU(4, 0.3), {"weight": Mean(0.3)}),
        (nn.GRU(3, 4, bias=False), {"weight_ih_l0": Uniform(0.5), "weight_hh_l0": Uniform(0.5)}),
    ],
)  # fmt: skip
def test_torchs_layers(layer: nn.Module, found: dict[str, New]) -> None:
    state = torch.get_rng_state()
    measured = laws(layer)
    assert torch.equal(torch.get_rng_state(), state)
    assert measured.keys() == found.keys()
    for name, one in found.items():
        assert type(measured[name]) is type(one)
        assert list(vars(measured[name]).values()) == pytest.approx(list(vars(one).values()))


def test_a_layer_of_ones_own() -> None:
    """What is no such law, or what it does not come to, is not found."""
    found = laws(Own())
    assert found.keys() == {"plain", "view", "twice"}
    assert found["view"] == Spread(1.0, 0.5) and found["twice"] == Uniform(0.25)
    assert found["plain"] == Spread(1.0, pytest.approx(math.sqrt(2 / 4)))


def teacher() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(50, 6), nn.Tanh(), nn.Linear(6, 40), nn.Linear(40, 2)))


def test_fresh_units_are_as_a_layer_of_the_students_size_would_be() -> None:
    growth = net2net.widen(teacher(), {"0": 96, "2": 80}, noise(4, 50), method="fresh")
    model = growth.model
    for layer, old, inputs in ((model[0], 6, 50), (model[2], 40, 96)):  # type: ignore[index]
        for new in (layer.weight[old:], layer.bias[old:]):
            assert 0.8 * inputs**-0.5 < new.abs().max() <= inputs**-0.5
            assert new.unique().numel() > 0.9 * new.numel()  # of 65,536 numbers
        assert 0.9 < float(layer.weight[old:].detach().std() * (3 * inputs) ** 0.5) < 1.1
    assert not model[3].weight[:, 40:].any()  # type: ignore[index]


def test_the_plan_makes_them_again_of_a_state_dict() -> None:
    model = teacher()
    growth = net2net.widen(model, 2.0, noise(4, 50), method="fresh_pair")
    plan = net2net.Plan.from_json(growth.plan.to_json())
    made, read = plan.apply(model.state_dict()), plan.reader(model.state_dict())
    for name, tensor in growth.model.state_dict().items():
        assert torch.equal(tensor, made[name])
        rows = torch.arange(len(tensor)).flip(0)
        assert torch.equal(read(name, rows.numpy()), tensor[rows])


def test_transfer_draws_them_so_too() -> None:
    model, wide = teacher(), nn.Linear(50, 96)
    layers = (wide, nn.Tanh(), nn.Linear(96, 40), nn.Linear(40, 2))
    student = nn.Sequential(*layers).double()
    before = wide.weight.clone()
    made = net2net.transfer(model, student, noise(4, 50), method="fresh").model
    assert torch.equal(wide.weight, before)
    assert 0.8 * 50**-0.5 < made[0].weight[6:].abs().max() <= 50**-0.5  # type: ignore[index]
