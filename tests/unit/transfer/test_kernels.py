"""Kernels that are larger in the student: the teacher's, with zeros around."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import Plan
from net2net.errors import TransferError
from tests.helpers import Written, noise, randomise, refused, same_bits

FIVE, THREE = {"kernel_size": 5, "padding": 2}, {"kernel_size": 3, "padding": 1}
PAIRS: dict[str, tuple[type[nn.Module], dict[str, Any], dict[str, Any]]] = {
    "plain": (nn.Conv2d, THREE, FIVE),
    "point": (nn.Conv2d, {"kernel_size": 1}, THREE),
    "stride": (nn.Conv2d, {**THREE, "stride": 2}, {**FIVE, "stride": 2}),
    "dilation": (nn.Conv2d, {**THREE, "padding": 2, "dilation": 2}, {
        **FIVE, "padding": 4, "dilation": 2,
    }),
    "point, dilated": (nn.Conv2d, {"kernel_size": 1}, {**THREE, "padding": 2, "dilation": 2}),
    "one side": (nn.Conv2d, {"kernel_size": (3, 1), "padding": (1, 0)}, THREE),
    "even": (nn.Conv1d, {"kernel_size": 2, "stride": 2}, {
        "kernel_size": 4, "stride": 2, "padding": 1,
    }),
    "same": (nn.Conv2d, {"kernel_size": 3, "padding": "same"}, {
        "kernel_size": 5, "padding": "same",
    }),
    "transposed": (nn.ConvTranspose2d, {**THREE, "stride": 2}, {**FIVE, "stride": 2}),
}  # fmt: skip


def net(kind: type[nn.Module], width: int, **options: Any) -> nn.Module:
    return nn.Sequential(
        kind(3, width, **options), nn.ReLU(), kind(width, width, **options, bias=False), nn.Tanh(),
        kind(width, 2, **options),
    )  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("width", [4, 6])
def test_zeros_around(name: str, width: int) -> None:
    kind, small, large = PAIRS[name]
    pixels = (2, 3, 16) if kind is nn.Conv1d else (2, 3, 9, 9)
    teacher = randomise(net(kind, 4, **small))
    student = randomise(net(kind, width, **large), seed=5)
    growth = net2net.transfer(teacher, student, noise(*pixels), method="replicate")
    assert growth.report.parity.max_rel <= 1e-12
    assert "zeros around the teacher's: 0.weight" in str(growth.report)
    plan = Plan.from_json(growth.plan.to_json())
    assert same_bits(plan.apply(teacher, student=student), growth.model)
    growth.model(noise(*pixels)).square().sum().backward()
    assert growth.model[2].weight.grad.abs().min() > 0


def padded(kernel: int, before: int, behind: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.conv(F.pad(x, (before, behind, before, behind)))

    return randomise(Written(code, conv=nn.Conv2d(3, 2, kernel, stride=2)))


def test_pictures_that_code_pads() -> None:
    teacher, student = padded(3, 0, 1), padded(5, 1, 2)
    growth = net2net.transfer(teacher, student, noise(1, 3, 8, 8))
    weight = growth.model.conv.weight
    assert torch.equal(weight[..., 1:4, 1:4], teacher.conv.weight) and not weight[..., 0].any()


@pytest.mark.parametrize("padding", [1, 0, 3])
def test_pictures_that_would_move(padding: int) -> None:
    def one(**options: Any) -> nn.Module:
        return randomise(
            nn.Sequential(nn.Conv2d(3, 4, **options), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        )

    teacher = one(**THREE)
    with refused(TransferError, "'0.weight'", "padding", teacher=teacher):
        net2net.transfer(teacher, one(kernel_size=5, padding=padding), noise(1, 3, 8, 8))


def test_blocks_with_larger_kernels_are_added_too() -> None:
    class Block(nn.Module):
        def __init__(self, kernel: int) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(4, 4, kernel, padding=kernel // 2, groups=4)
            self.mix = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.mix(self.depthwise(x).relu())

    def stack(blocks: int, kernel: int) -> nn.Module:
        return randomise(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(
            *(Block(kernel) for _ in range(blocks))
        ), nn.Conv2d(4, 2, 1)))  # fmt: skip

    teacher, student = stack(1, 3), stack(2, 7)
    growth = net2net.transfer(teacher, student, noise(1, 3, 8, 8))
    assert growth.report.parity.max_rel <= 1e-12
    assert torch.equal(growth.model[1][1].depthwise.weight, growth.model[1][0].depthwise.weight)
