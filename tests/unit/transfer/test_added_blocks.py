"""Added blocks of kinds that are not a stream and its branches."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import TransferError
from tests.helpers import noise, randomise, refused

X = noise(2, 3, 8, 8)


class Exchange(nn.Module):
    """Two streams that add something to each other."""

    def __init__(self, width: int, *, ends: bool = True) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.up = nn.Conv2d(2 * width, width, 1)
        self.ends = ends

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        fine, coarse = streams
        up = F.interpolate(self.norm(self.up(coarse)), scale_factor=2)
        other = coarse + self.down(fine)
        return [fine + up, other if self.ends else other.sigmoid()]


class Streams(nn.Module):
    def __init__(self, width: int, blocks: int, **options: Any) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, width, 1)
        self.coarse = nn.Conv2d(3, 2 * width, 1, stride=2)
        self.blocks = nn.ModuleList(Exchange(width, **options) for _ in range(blocks))
        self.head = nn.Linear(3 * width, 2)

    def forward(self, x: Tensor) -> Tensor:
        streams = [self.fine(x), self.coarse(x)]
        for block in self.blocks:
            streams = block(streams)
        return self.head(torch.cat([one.mean((2, 3)) for one in streams], 1))


@pytest.mark.parametrize("width", [4, 6])
def test_streams_that_are_returned_together(width: int) -> None:
    teacher, student = randomise(Streams(4, 1)), randomise(Streams(width, 3), seed=5)
    growth = net2net.transfer(teacher, student, X)
    assert growth.report.parity.max_rel <= 1e-12
    added = growth.model.blocks[2]
    assert not added.down.weight.any() and not added.norm.weight.any() and added.up.weight.any()


def test_a_stack_of_such_blocks_is_deepened() -> None:
    teacher = randomise(Streams(4, 2))
    assert net2net.deepen(teacher, {"blocks": 1}, X).report.parity.exact


def test_one_of_them_that_is_not_kept() -> None:
    teacher = randomise(Streams(4, 1, ends=False))
    with refused(TransferError, r"'blocks\.\d'.*sigmoid", teacher=teacher):
        net2net.transfer(teacher, randomise(Streams(4, 2, ends=False)), X)


class Standardised(nn.Conv2d):
    """Its weights have mean 0 and a deviation that is learnt, times a number."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(width, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, len(self.weight), -1), None, None, (self.gain * 0.5).view(-1),
            training=True, momentum=0.0,
        ).reshape_as(self.weight)  # fmt: skip
        return F.conv2d(x, weight, self.bias, padding=1)


class Normed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Standardised(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.tanh()) * 0.2


def test_norms_of_weights_by_a_gain_that_is_computed() -> None:
    def net(blocks: int) -> nn.Module:
        inner = nn.Sequential(*(Normed(4) for _ in range(blocks)))
        return randomise(nn.Sequential(nn.Conv2d(3, 4, 1), inner, nn.Conv2d(4, 2, 1)))

    teacher = net(1)
    growth = net2net.transfer(teacher, net(2), X)
    assert growth.report.parity.max_rel <= 1e-12
    added = growth.model[1][1].conv
    assert not added.gain.any() and not added.bias.any() and added.weight.any()
    growth.model(X).square().sum().backward()
    assert added.gain.grad.any()


class Normaliser(nn.Module):
    """Blocks without norms divide by what they expect, which grows from one to the next."""

    def __init__(self, expected: float) -> None:
        super().__init__()
        self.expected = expected
        self.conv, self.short = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.tanh() / self.expected
        return self.short(F.avg_pool2d(x, 3, 1, 1)) + self.conv(x)


def test_numbers_that_depend_on_how_many_blocks_come_before() -> None:
    def net(expected: float) -> nn.Module:
        return randomise(
            nn.Sequential(nn.Conv2d(3, 4, 1), Normaliser(expected), nn.Conv2d(4, 2, 1))
        )

    teacher, student = net(1.5), net(2.0)
    growth = net2net.transfer(teacher, student, X)
    assert growth.report.parity.max_rel <= 1e-12
    old, new = teacher[1], growth.model[1]
    for layer in ("conv", "short"):
        torch.testing.assert_close(
            new.get_submodule(layer).weight, old.get_submodule(layer).weight * 2 / 1.5
        )
        assert torch.equal(new.get_submodule(layer).bias, old.get_submodule(layer).bias)
