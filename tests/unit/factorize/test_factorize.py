"""Factorised layers: two for one, exact from the rank on, refused below it with the number."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import net2net
from net2net.errors import DepthError, PlanError, UnknownModuleError, WidthError
from net2net.recipe.factor import decomposed
from tests.helpers import (
    EXACT,
    Written,
    assert_exact,
    assert_growth,
    image_model,
    noise,
    randomise,
    refused,
    same_bits,
    untouched,
)

IMAGES = noise(2, 3, 8, 8)


def factorize(teacher: nn.Module, widths: Any, inputs: Any, **options: Any) -> net2net.Growth:
    """With everything checked that must hold for any growth."""
    with untouched(teacher):
        growth = net2net.factorize(teacher, widths, inputs, **options)
        assert_growth(growth, teacher)
        if options.get("exact", True):
            assert_exact(teacher, growth.model, inputs)
    return growth


def mlp() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)))


def product(pair: nn.Module) -> Tensor:
    return pair[-1].weight.flatten(1) @ pair[0].weight.flatten(1)


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "gelu", "silu", "hardswish"])
def test_linear_and_convolution_layers(activation: str | None) -> None:
    teacher, times = image_model(), 2 if activation else 1
    widths = {"0": 4 * times, "3": 7 * times, "8": 5 * times}
    student = factorize(teacher, widths, IMAGES, activation=activation).model
    for at, inner in widths.items():
        pair = student.get_submodule(at)
        assert len(pair) == (3 if activation else 2)
        assert pair[0].bias is None and torch.equal(pair[-1].bias, teacher.get_submodule(at).bias)
        assert pair[0].weight.shape[0] == pair[-1].weight.shape[1] == inner
    assert student[0][0].kernel_size == (3, 3) and student[0][-1].kernel_size == (1, 1)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, (3, 2), padding="same", dilation=2, padding_mode="circular"),
        nn.Conv2d(4, 8, 1, groups=4, bias=False),
    ],
    ids=["groups", "dilated", "pointwise"],
)
def test_what_a_convolution_is_stays(layer: nn.Conv2d) -> None:
    teacher = randomise(nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels)))
    first, second = factorize(teacher, {"0": 24}, noise(2, 4, 9, 9)).model[0]
    kept = ("kernel_size", "stride", "padding", "dilation", "padding_mode", "groups")
    assert all(getattr(first, name) == getattr(layer, name) for name in kept)
    assert second.groups == layer.groups and (second.bias is None) == (layer.bias is None)


def test_one_and_three_axes() -> None:
    for kind, size in ((nn.Conv1d, (7,)), (nn.Conv3d, (5, 4, 5))):
        teacher = randomise(nn.Sequential(kind(2, 3, 3), nn.ReLU()))
        factorize(teacher, {"0": 3}, noise(2, 2, *size))


def test_balanced() -> None:
    first, second = factorize(mlp(), {"0": 6}, noise(4, 6)).model[0]
    values = torch.linalg.svdvals(mlp()[0].weight)
    for matrix in (first.weight @ first.weight.T, second.weight.T @ second.weight):
        torch.testing.assert_close(matrix, torch.diag(values))


def test_units_beyond_the_rank_are_fresh() -> None:
    teacher = mlp()
    with torch.no_grad():
        teacher[0].weight.copy_(noise(9, 2) @ noise(2, 6))
    growth = factorize(teacher, {"0": 5}, noise(4, 6))
    first, second = growth.model[0]
    assert "rank: 2" in growth.report.rows[0].note
    assert not second.weight[:, 2:].any() and second.weight[:, :2].all()
    bound = 6**-0.5  # of nn.Linear's own reset_parameters
    assert 0.1 * bound < first.weight[2:].abs().max() <= bound
    other = net2net.factorize(teacher, {"0": 5}, noise(4, 6), seed=1).model[0][0]
    assert torch.equal(other.weight[:2], first.weight[:2])
    assert not torch.equal(other.weight[2:], first.weight[2:])
    # and they learn: what reads them at once, they themselves from then on
    growth.model(noise(4, 6)).square().sum().backward()
    assert second.weight.grad[:, 2:].all() and not first.weight.grad[2:].any()
    torch.optim.SGD(growth.model.parameters(), 0.01).step()
    growth.model.zero_grad()
    growth.model(noise(4, 6)).square().sum().backward()
    assert first.weight.grad.all()


def test_the_rank_of_float32_is_that_of_its_rounding() -> None:
    teacher = mlp().float()
    with torch.no_grad():
        teacher[0].weight.copy_(noise(9, 2).float() @ noise(2, 6).float())
    growth = net2net.factorize(teacher, {"0": 2}, noise(4, 6).float())
    assert growth.report.parity.exact and growth.model[0][0].weight.dtype == torch.float32


def test_groups_of_different_rank() -> None:
    teacher = randomise(nn.Sequential(nn.Conv1d(6, 8, 1, groups=2)))
    with torch.no_grad():
        teacher[0].weight[4:] = (noise(4, 1) @ noise(1, 3))[..., None]
    first, second = factorize(teacher, {"0": 6}, noise(2, 6, 5)).model[0]
    assert second.weight[4:, :1].all() and not second.weight[4:, 1:].any()
    assert first.weight[3:].all(), "what the rank leaves over is random, not dead"


def test_a_zero_layer_is_all_fresh() -> None:
    teacher = mlp()
    nn.init.zeros_(teacher[0].weight)
    first, second = factorize(teacher, {"0": 3}, noise(4, 6)).model[0]
    assert first.weight.any() and not second.weight.any()


def test_below_the_rank() -> None:
    teacher = mlp()
    with refused(WidthError, "'0' has rank 6", "Give 6 or more", "0.1", teacher=teacher):
        net2net.factorize(teacher, {"0": 5}, noise(4, 6))
    with refused(WidthError, "in pairs hold 3", "Give 12 or more", teacher=teacher):
        net2net.factorize(teacher, {"0": 7}, noise(4, 6), activation="relu")
    growth = factorize(teacher, {"0": 3}, noise(4, 6), exact=False)
    weight, values = teacher[0].weight, torch.linalg.svdvals(teacher[0].weight)
    gap = (weight - product(growth.model[0])).norm() / weight.norm()
    torch.testing.assert_close(gap, values[3:].norm() / values.norm())  # Eckart and Young
    assert f"left out: {gap.item():.3g}" in growth.report.rows[0].note
    assert "no two layers" in growth.report.notes[0]
    assert growth.report.parity.max_rel > 1e-3


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.sampled_from([None, "relu"]))
def test_any_sizes(n: int, m: int, rank: int, activation: str | None) -> None:
    weight = noise(m, rank, seed=n) @ noise(rank, n, seed=m)
    teacher = nn.Sequential(nn.Linear(n, m).double())
    with torch.no_grad():
        teacher[0].weight.copy_(weight)
    needed = min(n, m, rank) * (2 if activation else 1)
    x = noise(3, n)
    found = net2net.factorize(teacher, {"0": needed}, x, activation=activation)
    assert found.report.parity.max_rel <= EXACT
    if needed > 1:
        with pytest.raises(WidthError):
            net2net.factorize(teacher, {"0": needed - 1}, x, activation=activation)


def test_what_has_no_factors() -> None:
    inner = mlp()
    teacher = nn.Sequential(inner, nn.Tanh())
    with refused(DepthError, "'1' matches Tanh", teacher=teacher):
        net2net.factorize(teacher, {"1": 4}, noise(4, 6))
    with refused(UnknownModuleError, "head", teacher=teacher):
        net2net.factorize(teacher, {"head": 4}, noise(4, 6))
    for widths in ({}, 4, {"0.0": 0}, {"0.0": 2.0}, {"0.0": True}):
        with refused(net2net.Net2NetError, teacher=teacher):
            net2net.factorize(teacher, widths, noise(4, 6))
    with refused(WidthError, "two globs", teacher=teacher):
        net2net.factorize(teacher, {"0.0": 9, "0.*": 8}, noise(4, 6))
    for activation in ("tanh", "sigmoid", "threshold", "prelu", "nothing"):
        with refused(DepthError, "'relu'.*'gelu'", teacher=teacher):
            net2net.factorize(teacher, {"0.0": 20}, noise(4, 6), activation=activation)
    with torch.no_grad():
        inner[0].weight[0, 0] = torch.nan
    with pytest.raises(DepthError, match="NaN"):
        net2net.factorize(inner, {"0": 6}, noise(4, 6))


def test_groups_need_multiples() -> None:
    teacher = randomise(nn.Sequential(nn.Conv1d(6, 8, 1, groups=2)))
    with refused(WidthError, "multiple of its 2 groups", teacher=teacher):
        net2net.factorize(teacher, {"0": 7}, noise(2, 6, 5))
    with refused(WidthError, "rank 3 in each of 2 groups", "Give 6", teacher=teacher):
        net2net.factorize(teacher, {"0": 4}, noise(2, 6, 5))


class Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, 2 * self.weight, self.bias)


def test_layers_that_are_more_than_their_weight() -> None:
    def of(layer: nn.Module) -> nn.Module:
        return nn.Sequential(layer, nn.Tanh()).double()

    hooked = nn.Linear(6, 9)
    hooked.register_forward_hook(lambda layer, args, output: 2 * output)
    for layer, why in (
        (Scaled(6, 9), "forward of its own"),
        (parametrizations.weight_norm(nn.Linear(6, 9)), "computes its weight"),
        (nn.Linear(6, 9, device="meta"), "without values"),
        (hooked, "hooks"),
    ):
        teacher = of(layer)
        with pytest.raises(DepthError, match=why):
            net2net.factorize(teacher, {"0": 9}, noise(4, 6))


def test_code_that_reaches_into_the_layer() -> None:
    teacher = randomise(
        Written(lambda m, x: F.linear(x, m.stem.weight).tanh(), stem=nn.Linear(6, 9, bias=False))
    )
    with refused(DepthError, "reaches into", "'stem'", teacher=teacher):
        net2net.factorize(teacher, {"stem": 6}, noise(4, 6))


def test_a_layer_in_two_places_and_a_tied_weight() -> None:
    shared = nn.Linear(6, 6)
    teacher = randomise(nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(6, 6)))
    teacher[3].weight = shared.weight
    student = factorize(teacher, {"0": 6}, noise(4, 6)).model
    assert student[0] is student[2] and torch.equal(student[3].weight, shared.weight)


def test_plans() -> None:
    teacher = image_model()
    growth = net2net.factorize(teacher, {"3": 9, "8": 6}, IMAGES)
    wider = net2net.widen(growth.model, {"3.0": 12}, IMAGES, method="fresh")
    both = growth.plan.then(wider.plan)
    assert_exact(teacher, wider.model, IMAGES)
    assert same_bits(net2net.Plan.from_json(both.to_json()).apply(teacher), wider.model)
    state = growth.plan.apply(teacher.state_dict())
    assert all(torch.equal(state[name], t) for name, t in growth.model.state_dict().items())
    read = growth.plan.reader(teacher.state_dict())
    for name in ("3.0.weight", "3.1.weight", "8.0.weight"):
        rows = np.array([4, 1, 5])
        assert torch.equal(read(name, rows), state[name][torch.from_numpy(rows)])
    assert "3 becomes two layers, with 9 units between" in str(growth.plan)
    assert "the second of two factors" in str(growth.plan)


def test_a_plan_is_of_the_weights_that_it_gets() -> None:
    """Another checkpoint of the same shapes is decomposed itself."""
    teacher, other = image_model(), randomise(image_model(), seed=5)
    plan = net2net.factorize(teacher, {"3": 6}, IMAGES).plan
    assert_exact(other, plan.apply(other), IMAGES)


@pytest.mark.parametrize("damage", [[1, 1, None], [True, 0, None], [True, 1, 0], [True, 2, None]])
def test_damaged_plans(damage: list[Any]) -> None:
    data = json.loads(net2net.factorize(mlp(), {"0": 6}, noise(4, 6)).plan.to_json())
    data["recipes"]["0.1.weight"]["factor"] = damage
    with pytest.raises(PlanError):
        net2net.Plan.from_json(json.dumps(data), checked=False).apply(mlp())


def test_the_report() -> None:
    report = net2net.factorize(mlp(), {"0": 6}, noise(4, 6)).report
    assert report.rows == (net2net.report.Row("0", 1, 2, "layers; inner units: 6, rank: 6"),)
    assert report.parameters == (9 * 6 + 9 + 40, 6 * 6 + 9 * 6 + 9 + 40)
    assert report.flops[1] - report.flops[0] == 2 * 4 * 6 * 6


def test_the_optimiser_goes_on() -> None:
    teacher, x = mlp(), noise(4, 6)
    optimizer = torch.optim.AdamW(teacher.parameters(), 0.01)
    teacher(x).square().sum().backward()
    optimizer.step()
    momentum = copy.deepcopy(optimizer.state[teacher[0].bias]["exp_avg"])
    growth = net2net.factorize(teacher, {"0": 6}, x)
    growth.carry(optimizer)
    student = growth.model
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {
        id(p) for p in student.parameters()
    }
    assert torch.equal(optimizer.state[student[0][1].bias]["exp_avg"], momentum)
    assert student[0][0].weight not in optimizer.state
    student(x).square().sum().backward()
    optimizer.step()


def test_signs_do_not_depend_on_who_decomposes() -> None:
    weight = noise(5, 4)
    _, _, right = decomposed(weight, 1)
    assert (right.gather(2, right.abs().argmax(2, keepdim=True)) > 0).all()
