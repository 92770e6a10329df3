"""Groups of channels that are larger in the student: several of the teacher's in each."""

import numpy as np
import pytest
import torch
from torch import nn

import net2net
from net2net import Plan
from net2net.errors import TransferError
from tests.helpers import noise, randomise, refused, same_bits

X = noise(2, 3, 8, 8)


def net(width: int, groups: int, *, last: int = 5) -> nn.Module:
    """A bottleneck with groups in the middle."""
    return nn.Sequential(
        nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=groups), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, last, 1),
    )  # fmt: skip


@pytest.mark.parametrize("before, after", [
    ((12, 3), (16, 2)), ((12, 3), (12, 1)), ((8, 4), (16, 4)), ((8, 8), (12, 3)), ((8, 8), (8, 1)),
])  # fmt: skip
def test_several_in_one(before: tuple[int, int], after: tuple[int, int]) -> None:
    teacher, student = randomise(net(*before)), randomise(net(*after), seed=5)
    growth = net2net.transfer(teacher, student, X)
    assert growth.report.parity.max_rel <= 1e-12
    plan = Plan.from_json(growth.plan.to_json())
    assert same_bits(plan.apply(teacher, student=student), growth.model)
    made = plan.reader(teacher.state_dict(), student=student)
    assert torch.equal(made("3.weight", np.array([5, 1])), growth.model[3].weight[[5, 1]])
    assert "groups of channels" in str(growth.report)
    growth.model(X).square().sum().backward()
    weight = growth.model[3].weight
    assert (weight == 0).any() and weight.grad[weight == 0].any()


def test_groups_that_do_not_fit() -> None:
    for width, groups in ((12, 2), (18, 3)):  # of 6, which hold 4 and a half
        teacher = randomise(net(12, 3))
        with refused(TransferError, "groups", teacher=teacher):
            net2net.transfer(teacher, randomise(net(width, groups)), X)


def test_an_optimiser_goes_on() -> None:
    teacher, student = randomise(net(12, 3)), randomise(net(16, 2))
    optimizer = torch.optim.AdamW(teacher.parameters())
    teacher(X).square().sum().backward()
    optimizer.step()
    growth = net2net.transfer(teacher, student, X)
    growth.carry(optimizer)
    growth.model(X).square().sum().backward()
    optimizer.step()
