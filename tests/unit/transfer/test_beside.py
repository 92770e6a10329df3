"""Blocks that put what they make beside what they are given: nobody reads what added ones make."""

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net import Plan
from net2net.errors import TransferError
from tests.helpers import conv, noise, randomise, refused, same_bits

X = noise(2, 3, 8, 8)


class Dense(nn.ModuleDict):
    """Every layer reads all that came before, pixel by pixel in the end."""

    def __init__(self, layers: int, width: int, growth: int) -> None:
        super().__init__()
        for i in range(layers):
            self[f"layer{i + 1}"] = nn.Sequential(
                nn.BatchNorm2d(width + i * growth), nn.ReLU(), conv(width + i * growth, 4, 1),
                nn.Conv2d(4, growth, 3, padding=1, bias=False),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.values():
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


def net(layers: tuple[int, int], width: int = 4, growth: int = 3) -> nn.Module:
    first, second = (width + count * growth for count in layers)
    return nn.Sequential(
        nn.Conv2d(3, width, 3), Dense(layers[0], width, growth), conv(first, width, 1),
        Dense(layers[1], width, growth), nn.BatchNorm2d(second), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(second, 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    "depth, width, growth", [("spread", 6, 5), ("top", 4, 3), ("bottom", 6, 5)]
)
def test_layers_are_added(depth: str, width: int, growth: int) -> None:
    teacher, student = randomise(net((2, 2))), randomise(net((3, 5), width, growth), seed=5)
    growth_ = net2net.transfer(teacher, student, X, method="replicate", depth=depth)
    assert growth_.report.parity.max_rel <= 1e-12
    plan = Plan.from_json(growth_.plan.to_json())
    assert same_bits(plan.apply(teacher, student=student), growth_.model)
    growth_.model.train()(X).square().sum().backward()
    head = growth_.model[7].weight
    unread = (head == 0).all(0)
    assert unread.sum() == 3 * growth and (head.grad[:, unread] != 0).all()
    assert "unread yet" in str(growth_.report)


def test_what_is_computed_of_it_is_not_left_out() -> None:
    class Counted(Dense):
        def forward(self, x: Tensor) -> Tensor:
            found = [x]
            for layer in self.values():
                found.append(layer(torch.cat(found, 1)))
            return torch.cat(found, 1).softmax(1)

    def one(layers: int) -> nn.Module:
        return randomise(nn.Sequential(nn.Conv2d(3, 4, 1), Counted(layers, 4, 3), nn.Conv2d(
            4 + 3 * layers, 2, 1
        )))  # fmt: skip

    teacher = one(1)
    with refused(TransferError, "softmax", teacher=teacher):
        net2net.transfer(teacher, one(2), X)
