"""The language model of the experiments: causal, widened and deepened without a difference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import net2net
from net2net.errors import DepthError
from net2net_lab.experiments.gpt import GPT
from net2net_lab.experiments.models import reinitialised
from tests.helpers import assert_exact, deepen, randomise, tokens, widen

CLASSES, CONTEXT = 20, 8


def small(width: int = 16, heads: int = 2, blocks: int = 2) -> GPT:
    return GPT(CLASSES, CONTEXT, width, heads, blocks)


@pytest.fixture
def teacher() -> nn.Module:
    return randomise(small())


def test_it_has_about_a_million_parameters() -> None:
    assert 0.9e6 < sum(parameter.numel() for parameter in GPT(98).parameters()) < 1.1e6


def test_no_position_sees_a_later_one(teacher: nn.Module) -> None:
    x = tokens(2, CONTEXT, below=CLASSES)
    later = x.clone()
    later[:, 5:] = (later[:, 5:] + 1) % CLASSES
    one, other = teacher(x), teacher(later)
    assert one.shape == (2, CONTEXT, CLASSES)
    assert torch.equal(one[:, :5], other[:, :5])
    assert not torch.isclose(one[:, 5:], other[:, 5:]).all(-1).any()
    assert torch.allclose(teacher(x[:, :3]), one[:, :3], atol=1e-5)


def test_twice_as_wide(teacher: nn.Module) -> None:
    growth = widen(teacher, 2.0, tokens(2, CONTEXT, below=CLASSES))
    assert repr(growth.model) == repr(small(32, 4))
    assert_exact(teacher, growth.model, tokens(3, 5, below=CLASSES))  # other sizes than traced


@pytest.mark.parametrize(
    "widths", [{"blocks.*.mlp.0": 1.5}, {"blocks.1.mlp.0": 65}, {"blocks.*.attention.inputs": 1.5}]
)
def test_one_part_wider(teacher: nn.Module, widths: dict[str, float]) -> None:
    widen(teacher, widths, tokens(2, CONTEXT, below=CLASSES))


@pytest.mark.parametrize("depth", ["spread", "top"])
@pytest.mark.parametrize("sizes", [(16, 2, 4), (32, 4, 3)], ids=["deeper", "wider-and-deeper"])
def test_more_blocks(teacher: nn.Module, sizes: tuple[int, int, int], depth: str) -> None:
    student = small(*sizes)
    inputs = tokens(2, CONTEXT, below=CLASSES)
    grown = net2net.transfer(teacher, student, inputs, depth=depth).model
    assert repr(grown) == repr(student)
    assert_exact(teacher, grown, inputs)
    x, before = tokens(4, CONTEXT, below=CLASSES), [p.clone() for p in grown.parameters()]
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    for _ in range(2):  # what ends an added branch is zero, so the rest moves one step later
        optimizer.zero_grad()
        nn.functional.cross_entropy(grown(x).flatten(0, 1), x.flatten()).backward()
        optimizer.step()
    moved = [not torch.equal(p, old) for p, old in zip(grown.parameters(), before, strict=True)]
    assert all(moved)


def test_identity_layers_stand_where_no_gelu_follows(teacher: nn.Module) -> None:
    inputs = tokens(2, CONTEXT, below=CLASSES)
    deepen(teacher, {"blocks.*.mlp.2": 1, "blocks.0.attention.output": 1}, inputs)
    with pytest.raises(DepthError, match="followed by gelu"):
        net2net.deepen(teacher, {"blocks.0.mlp.0": 1}, inputs)


def test_it_can_be_trained_from_scratch(teacher: nn.Module) -> None:
    fresh = reinitialised(teacher, 0)
    names = dict(fresh.named_parameters())
    assert all(not torch.equal(p, names[name]) for name, p in teacher.named_parameters())
