"""Units that are zero, read such that they learn fastest (GradMax)."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import Growth, InputError, Plan
from tests.behaviour.test_methods import LanguageModel, RMSNorm
from tests.helpers import assert_exact, noise, randomise, refused, same_bits, tokens

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
    """More gradient than what is drawn gets, on average: fewer new units than outputs."""
    teacher, x = mlp(), noise(9, 6)
    student = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 5)).double()
    loss = squares(x)
    grown = net2net.transfer(teacher, student, x, method="gradmax", loss=loss)
    rows = {"0.weight": 4}
    drawn = (net2net.transfer(teacher, student, x, method="silent", seed=n) for n in range(10))
    assert on_new(grown, loss, rows) > fmean(on_new(one, loss, rows) for one in drawn)


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
