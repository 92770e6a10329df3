"""Arguments that make no sense: typed errors before anything is done, never a raw one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import DepthError, InputError, TransferError, UnsupportedModelError, WidthError
from tests.helpers import assert_exact, noise, randomise, tensors

X = noise(4, 3)


def mlp() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))


def normed() -> nn.Module:
    return randomise(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )


META = torch.empty(4, 3, device="meta")
IMAGES = noise(2, 3, 4, 4)

CALLS: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "verify no student": (
        UnsupportedModelError, "NoneType", lambda: net2net.verify(mlp(), None, X),  # type: ignore[arg-type]
    ),
    "verify no teacher": (
        UnsupportedModelError, "NoneType", lambda: net2net.verify(None, mlp(), X),  # type: ignore[arg-type]
    ),
    "inputs without values": (InputError, "meta", lambda: net2net.widen(mlp(), 2.0, META)),
    "verified without values": (InputError, "meta", lambda: net2net.verify(mlp(), mlp(), META)),
    "a model without values": (
        InputError, "verify=False", lambda: net2net.widen(mlp().to("meta"), 2.0, X),
    ),
    "a huge factor": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), 1e9, X)),
    "a larger one": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), 1e30, X)),
    "a huge integer factor": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), 10**400, X)),
    "a huge width": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), {"0": 10**12}, X)),
    "a larger width": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), {"0": 10**400}, X)),
    "by name": (WidthError, "16,777,216", lambda: net2net.widen(mlp(), {"0": 1e12}, X)),
    "estimated": (WidthError, "16,777,216", lambda: net2net.estimate(mlp(), 1e12, X)),
    "many layers": (DepthError, "10,000", lambda: net2net.deepen(mlp(), {"0": 10**9}, X)),
    "calibrate a number": (
        InputError, "calibrate", lambda: net2net.deepen(mlp(), {"0": 1}, X, calibrate=3),  # type: ignore[arg-type]
    ),
    "calibrate numbers": (
        InputError, "batch", lambda: net2net.deepen(normed(), {"0": 1}, IMAGES, calibrate=[3]),  # type: ignore[list-item]
    ),
    "no seed to deepen": (
        DepthError, "seed", lambda: net2net.deepen(mlp(), {"0": 1}, X, seed="x"),  # type: ignore[arg-type]
    ),
    "no seed to transfer": (
        TransferError, "seed", lambda: net2net.transfer(mlp(), mlp(), X, seed="x"),  # type: ignore[arg-type]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_it_is_refused(name: str) -> None:
    error, word, call = CALLS[name]
    with pytest.raises(error, match=word) as caught:
        call()
    assert len(str(caught.value).split(". ")) >= 2, "no advice"


def test_a_student_larger_than_memory_is_refused_before_it_is_made() -> None:
    with torch.device("meta"):
        wide = nn.Sequential(nn.Linear(1, 2**16), nn.Linear(2**16, 2**16), nn.Linear(2**16, 1))
    found = net2net.estimate(wide, 8.0, torch.ones(1, 1))
    assert found.bytes[1] > 2**40
    fake = randomise(nn.Sequential(nn.Linear(3, 2**6), nn.Linear(2**6, 8), nn.Linear(8, 2)))
    with pytest.raises(WidthError, match="memory"):
        net2net.widen(fake, {"0": 2**18, "1": 2**18}, X)


class Masked(nn.Module):
    """A mask beside a weight, and factors beside another."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)
        self.register_buffer("mask", torch.ones(8, 3, dtype=torch.bool))
        self.register_buffer("factors", torch.ones(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(nn.functional.linear(x, self.a.weight * self.mask, self.a.bias))
        return nn.functional.linear(hidden, self.b.weight * self.factors)


def test_new_units_beside_a_mask() -> None:
    """A mask and factors that follow a weight are what they mostly are for units that are new."""
    teacher = randomise(Masked())
    student = net2net.widen(teacher, 2.0, X, method="random_pad").model
    assert bool(student.mask.all()) and student.mask.shape == (16, 3)
    assert torch.equal(student.factors, torch.ones(2, 16, dtype=torch.float64))
    assert_exact(teacher, net2net.widen(teacher, 2.0, X).model, X)


def test_averaged_models_grow_as_what_they_are() -> None:
    """By the verbs as a model that holds another; by a plan of what they hold, inside."""
    teacher = torch.optim.swa_utils.AveragedModel(mlp())
    growth = net2net.widen(teacher, 2.0, X)
    assert_exact(teacher, growth.model, X)
    again = growth.plan.apply(teacher)
    for name, tensor in tensors(growth.model).items():
        assert torch.equal(tensors(again)[name], tensor)


def test_a_depth_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    model = nn.Sequential(nn.Linear(3, 2**17), nn.ReLU(), nn.Linear(2**17, 2))
    with pytest.raises(DepthError, match="memory"):
        net2net.deepen(model, {"0": 100}, torch.zeros(1, 3))


def test_a_block_without_values_is_not_tried() -> None:
    block = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model = nn.Sequential(block, nn.Linear(4, 2)).to("meta")
    with pytest.raises(InputError, match="meta"):
        net2net.deepen(model, {"0": 1}, torch.zeros(1, 3), verify=False)
