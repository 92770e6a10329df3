"""Units that are zero, read such that they learn fastest (GradMax)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import Growth, InputError, Plan
from tests.behaviour.test_methods import LanguageModel, RMSNorm
from tests.helpers import Written, assert_exact, noise, randomise, refused, same_bits, tokens

Loss = Callable[[nn.Module], Tensor]


def squares(x: Tensor) -> Loss:
    """A loss whose gradient is not zero anywhere."""
    return lambda model: (model(x) - noise(*model(x).shape, seed=5)).square().mean()


def mlp() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 5)))


def on_new(grown: Growth, loss: Loss, rows: dict[str, int]) -> float:
    """The square of the gradient on rows of new units: by parameter, from which on they are new."""
    model = grown.model
    model.zero_grad()
    loss(model).backward()
    return sum(
        float(model.get_parameter(name).grad[first:].square().sum())  # type: ignore[index]
        for name, first in rows.items()
    )


def test_the_gradient_is_what_singular_values_allow() -> None:
    teacher, x = mlp(), noise(20, 6)
    loss = squares(x)
    rows = {"0.weight": 4, "0.bias": 4}
    for width in (6, 12):  # fewer new units than what they are read by has rows, and more
        grown = net2net.widen(teacher, {"0": width}, x, method="gradmax", loss=loss)
        assert_exact(teacher, grown.model, x)
        outgoing = grown.model[2].weight[:, 4:].detach()  # type: ignore[index, union-attr]

        out = teacher(x)
        out.retain_grad()
        F.mse_loss(out, noise(20, 5, seed=5)).backward()
        m = out.grad.T @ torch.cat([x, torch.ones(20, 1, dtype=x.dtype)], 1)  # type: ignore[union-attr]
        values = torch.linalg.svdvals(m)
        some = min(width - 4, 5)
        norms = outgoing[:, :some].norm(dim=0)
        assert torch.allclose(norms, norms[0].expand(some), rtol=1e-5)
        assert torch.linalg.matrix_rank(outgoing[:, :some]) == some
        bound = float(values[:some].square().sum() * norms[0] ** 2)
        found = on_new(grown, loss, rows)
        if width == 6:
            assert found == pytest.approx(bound, rel=1e-3)
        else:
            assert found >= bound


def dead(model: nn.Module, loss: Loss, rows: dict[str, int], steps: int) -> list[Any]:
    """Entries of rows and columns of new units that have no gradient within so many steps."""
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    seen = {name: torch.zeros_like(model.get_parameter(name)) for name in rows}
    for _ in range(steps):
        optimiser.zero_grad()
        loss(model).backward()
        for name, total in seen.items():
            gradient = model.get_parameter(name).grad
            assert gradient is not None and gradient.isfinite().all()
            total += gradient.abs()
        optimiser.step()
    return [
        (name, *place.tolist()) for name, one in seen.items() for place in (one < 1e-12).nonzero()
    ]


def test_units_beyond_the_rank_of_the_gradients_have_gradients_too() -> None:
    """Of two classes, whose gradients add up to zero: there is one direction that has a gradient,
    and four new units. No two of them are alike, and none is slow."""
    x, labels = noise(50, 3), tokens(50, below=2)
    teacher = randomise(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))

    def loss(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x), labels)

    grown = net2net.widen(teacher, 2.0, x, method="gradmax", loss=loss)
    assert_exact(teacher, grown.model, x)
    loss(grown.model).backward()
    first = grown.model.get_parameter("0.weight")
    assert first.grad is not None
    norms = first.grad[4:].norm(dim=1)
    assert norms.min() > 0.1 * norms.max()
    assert not dead(grown.model, loss, {"0.weight": 4, "0.bias": 4, "2.weight": 0}, 2)
    with torch.no_grad():
        columns = F.normalize(grown.model.get_parameter("2.weight")[:, 4:], dim=0)
        assert ((columns.T @ columns).triu(1).abs() < 0.9999).all()
        silent = net2net.widen(teacher, 2.0, x, method="silent").model.get_parameter("2.weight")
        assert grown.model.get_parameter("2.weight").norm() <= silent.norm() * (1 + 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_every_new_parameter_learns_under_a_softmax(
    factor: float, few: bool, dtype: torch.dtype
) -> None:
    """Also where there are fewer examples than a layer has outputs."""
    x, labels = noise(5 if few else 40, 5).to(dtype), tokens(5 if few else 40, below=3)
    layers = (nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3))
    teacher = randomise(nn.Sequential(*layers)).to(dtype)

    def loss(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x), labels)

    grown = net2net.widen(teacher, factor, x, method="gradmax", loss=loss)
    assert grown.report.parity is not None and grown.report.parity.exact
    assert not dead(grown.model, loss, {"0.weight": 8, "2.weight": 0, "4.weight": 0}, 2)


def test_units_that_are_read_in_two_places_learn_in_both() -> None:
    """Though the gradient is a hundred times larger in one of them."""

    def code(m: Any, x: Tensor) -> Tensor:
        left, right = torch.tanh(m.a(x) * m.a.gain), torch.tanh(m.c(x) * m.a.gain)
        return m.b(left) + 1e-2 * m.d(right)

    layers = {"a": nn.Linear(6, 4), "b": nn.Linear(4, 5), "c": nn.Linear(6, 4)}
    teacher = Written(code, **layers, d=nn.Linear(4, 5))
    teacher.a.gain = nn.Parameter(torch.ones(4))
    x = noise(20, 6)
    loss = squares(x)
    grown = net2net.widen(randomise(teacher), {"a": 6}, x, method="gradmax", loss=loss)
    assert_exact(teacher, grown.model, x)
    assert grown.report.rows[0].new == 6
    new = {"a.weight": 4, "c.weight": 4}
    read = {name: grown.model.get_parameter(f"{name}.weight")[:, 4:] for name in "bd"}
    assert read["d"].norm(dim=0).min() > 0.02 * read["b"].norm(dim=0).max()
    assert not dead(grown.model, loss, {**new, "b.weight": 0, "d.weight": 0}, 2)


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    teacher, x = mlp(), noise(9, 6)
    with refused(InputError, "not finite", "another method", teacher=teacher):
        net2net.widen(
            teacher, {"0": 7}, x, method="gradmax", loss=lambda one: one(x).sum() * math.inf
        )


def image_model() -> nn.Module:
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False, track_running_stats=False),
            nn.Tanh(), nn.Conv2d(4, 4, 2), nn.SiLU(), nn.Flatten(), nn.Linear(36, 3),
        )
    )  # fmt: skip


def language_model() -> nn.Module:
    return randomise(LanguageModel(lambda width: RMSNorm(width, plus_one=False)))


CASES: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, int | float], dict[str, int]]] = {
    "convolutions": (
        image_model, noise(3, 3, 6, 6), {"0": 7, "3": 6}, {"0.weight": 4, "3.weight": 4},
    ),
    "language model": (
        language_model, tokens(2, 6, below=20), {"mlp.up": 14, "attention.q": 2.0},
        {"mlp.up.weight": 10},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_larger_than_what_silent_units_get(case: str) -> None:
    build, x, widths, rows = CASES[case]
    teacher = build()
    loss = squares(x)
    silent = net2net.widen(teacher, widths, x, method="silent")
    grown = net2net.widen(teacher, widths, x, method="gradmax", loss=loss)
    assert_exact(teacher, grown.model, x)
    assert on_new(grown, loss, rows) > 1.2 * on_new(silent, loss, rows)
    for name, old in silent.model.named_parameters():
        new = grown.model.get_parameter(name)
        assert new.norm() <= old.norm() * (1 + 1e-5), name


def test_a_plan_carries_it() -> None:
    teacher, x = mlp(), noise(9, 6)
    grown = net2net.widen(teacher, {"0": 7}, x, method="gradmax", loss=squares(x))
    plan = Plan.from_json(grown.plan.to_json())
    assert same_bits(plan.apply(teacher), grown.model)
    read = plan.reader(teacher.state_dict())
    for name in ("0.weight", "2.weight"):
        some = torch.tensor([3, 0]).numpy()
        assert torch.equal(read(name, some), grown.model.get_parameter(name)[[3, 0]])


def test_transfer_takes_it_too() -> None:
    """More gradient than what is drawn as long gets: fewer new units than outputs."""
    teacher, x = mlp(), noise(9, 6)
    student = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    loss = squares(x)
    rows = {"0.weight": 4}
    for seed in range(10):
        grown = net2net.transfer(teacher, student, x, method="gradmax", loss=loss, seed=seed)
        drawn = net2net.transfer(teacher, student, x, method="silent", seed=seed)
        assert on_new(grown, loss, rows) > on_new(drawn, loss, rows)


def test_what_cannot_be_zero_is_random() -> None:
    teacher, x = randomise(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5))), noise(9, 6)
    grown = net2net.widen(teacher, {"0": 7}, x, method="gradmax", loss=squares(x))
    assert_exact(teacher, grown.model, x)
    assert "random units" in grown.report.rows[0].note


def test_without_a_loss_it_is_refused() -> None:
    teacher, x = mlp(), noise(9, 6)
    with refused(InputError, "gradient of a loss", "loss=lambda", teacher=teacher):
        net2net.widen(teacher, {"0": 7}, x, method="gradmax")
    with refused(InputError, "no gradient", "gradmax", teacher=teacher):
        net2net.widen(teacher, {"0": 7}, x, loss=squares(x))
    with refused(InputError, r"shape \(9, 5\)", "loss=lambda", teacher=teacher):
        net2net.widen(teacher, {"0": 7}, x, method="gradmax", loss=lambda model: model(x))
    with refused(InputError, "ValueError: no labels", teacher=teacher):
        net2net.widen(teacher, {"0": 7}, x, method="gradmax", loss=_no_labels)


def _no_labels(model: nn.Module) -> Tensor:
    raise ValueError("no labels")
