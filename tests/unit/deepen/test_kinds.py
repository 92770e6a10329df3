"""Kinds of new layers: without φ, a branch that starts at zero, a vertical and a horizontal one."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import DepthError
from net2net.identity.residual import Residual
from tests.helpers import (
    Written,
    assert_exact,
    deepen,
    gap,
    image_model,
    noise,
    randomise,
    refused,
    same_bits,
    widen,
)

IMAGES = noise(4, 3, 8, 8)


def chain(activation: nn.Module) -> nn.Module:
    return randomise(
        nn.Sequential(
            nn.Linear(6, 8), activation, nn.Linear(8, 8), nn.LayerNorm(8), activation,
            nn.Linear(8, 3),
        )
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["linear", "residual"])
@pytest.mark.parametrize(
    "activation",
    [nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.ELU(0.5), nn.ReLU(inplace=True)],
    ids=repr,
)
def test_beyond_relu(kind: str, activation: nn.Module) -> None:
    teacher, x = chain(activation), noise(4, 6)
    growth = deepen(teacher, {"0": 1, "2": 2}, x, kind=kind)
    new = growth.model[0][1]
    assert repr(new if kind == "linear" else new[1]) == repr(nn.Linear(8, 8))
    assert kind == "linear" or repr(new[0]) == repr(activation).replace("inplace=True", "")
    assert ("linear layers" if kind == "linear" else "branches") in growth.report.rows[0].note
    assert not growth.report.notes  # of norms that are not copied: none of these has one
    growth.model(x).square().sum().backward()
    layers = [p for part in (growth.model[0][1:], growth.model[3][1:]) for p in part.parameters()]
    assert len(layers) == 6 and all(p.grad.any() for p in layers), "all learn at once"


def test_functions_keep_their_arguments() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.c(F.elu(m.b(F.gelu(m.a(x), approximate="tanh")), alpha=0.5))

    teacher = randomise(Written(code, a=nn.Linear(3, 4), b=nn.Linear(4, 4), c=nn.Linear(4, 2)))
    student = deepen(teacher, {"a": 1, "b": 1}, noise(4, 3), kind="residual").model
    assert student.a[1][0].approximate == "tanh" and student.b[1][0].alpha == 0.5


def test_where_no_activation_follows() -> None:
    teacher = chain(nn.Tanh())
    (branch,) = deepen(teacher, {"5": 1}, noise(4, 6), kind="residual").model[5][1:]
    assert [type(part) for part in branch] == [nn.Linear]


@pytest.mark.parametrize("kind", ["linear", "residual"])
def test_convolutions_stand_behind_the_norm_without_one(kind: str) -> None:
    teacher = image_model()
    growth = deepen(teacher, {"0": 1, "3": 1}, IMAGES, kind=kind)
    assert not [p for p in growth.model[1][1].modules() if isinstance(p, nn.BatchNorm2d)]
    assert gap(teacher, growth.model, IMAGES) < 1e-12, "in training mode too"


def test_a_branch_of_groups_and_of_a_multiplier() -> None:
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.SiLU(), nn.Conv2d(6, 2, 1))
    )
    (branch,) = deepen(teacher, {"0": 1}, IMAGES, kind="residual").model[0][1:]
    assert branch[1].groups == 3
    with refused(DepthError, "3 groups", "residual", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, IMAGES, kind="linear")


def test_it_grows_on() -> None:
    teacher, x = chain(nn.GELU()), noise(4, 6)
    deeper = net2net.deepen(teacher, {"0": 1}, x, kind="residual")
    wider = widen(deeper.model, {"0.1.1": 16}, x)
    assert isinstance(wider.model[0][1], Residual)
    plan = deeper.plan.then(wider.plan)
    assert same_bits(net2net.Plan.from_json(plan.to_json()).apply(teacher), wider.model)
    again = deepen(deeper.model, {"0.0": 1}, x, kind="linear").model
    assert_exact(teacher, again, x)


def test_pairs_behind_a_layer() -> None:
    teacher = image_model()
    growth = deepen(teacher, {"0": 2}, IMAGES, kind="pair", calibrate=[IMAGES])
    kernels = [p.kernel_size for p in growth.model[1].modules() if isinstance(p, nn.Conv2d)]
    assert kernels == [(3, 1), (1, 3)] * 2
    new = [type(part) for part in growth.model[1]][1:]
    assert new == [nn.ReLU, nn.Conv2d, nn.BatchNorm2d] * 4
    assert gap(teacher, growth.model, IMAGES) < 1e-5, "the norms undo what training shows them"
    assert "pairs" in growth.report.rows[0].note and "2 pairs of layers" in str(growth.plan)


class Inception(nn.Module):
    """Layers side by side: nothing to copy behind the concatenation."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.norm(self.b(x))], 1).relu()


@pytest.mark.parametrize("norm", [True, False])
def test_pairs_on_top_of_a_module(norm: bool) -> None:
    teacher = randomise(nn.Sequential(Inception(norm), nn.Conv2d(6, 2, 1)))
    model = deepen(teacher, {"0": 1}, IMAGES, kind="pair").model
    built = [p for p in model[0][1].modules() if not isinstance(p, nn.Sequential)]
    assert [type(part) for part in built] == (
        [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] if norm else [nn.Conv2d, nn.ReLU]
    ) * 2
    assert [p.kernel_size for p in built if isinstance(p, nn.Conv2d)] == [(3, 1), (1, 3)]


def test_what_has_no_such_kind() -> None:
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.PReLU(), nn.Conv2d(3, 3, 3), nn.GELU())
    )
    for kind, at, words in (
        ("pair", "0", "kernel of 1 × 1"),
        ("pair", "2", 'kind="residual"'),
        ("identity", "2", 'kind="linear"'),
        ("residual", "0", "PReLU"),
        ("diagonal", "0", "'identity', 'linear', 'residual', 'pair'"),
    ):
        with refused(DepthError, words, teacher=teacher):
            net2net.deepen(teacher, {at: 1}, IMAGES, kind=kind)
    deepen(teacher, {"0": 1}, IMAGES, kind="linear")
    around = nn.Sequential(teacher)
    with refused(DepthError, "'0' is no layer", teacher=around):
        net2net.deepen(around, {"0": 1}, IMAGES, kind="residual")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(self.norm(x)).relu())


def residual() -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(4, 6), nn.Sequential(Block(), Block())))


def test_stacks_and_layers_in_one_call() -> None:
    teacher, x = residual(), noise(4, 4)
    growth = deepen(teacher, {"1": 1, "1.*.up": 1, "0": 2}, x)
    assert [len(block.up) for block in growth.model[1]] == [3, 3, 3], "new blocks get them too"
    assert len(growth.model[0]) == 3
    assert {row.name: (row.old, row.new) for row in growth.report.rows} == {
        "1": (2, 3), "1.0.up": (1, 2), "1.1.up": (1, 2), "1.2.up": (1, 2), "0": (1, 3),
    }  # fmt: skip
    assert growth.plan.previous is not None


def test_blocks_of_ones_own_in_longer_stacks() -> None:
    teacher, x = residual(), noise(4, 4)

    def build(width: int) -> nn.Module:
        return nn.Linear(width, width)

    growth = deepen(teacher, {"1": 1.5, "1.1": (1, build)}, x, order="top")
    assert [type(block) for block in growth.model[1]] == [Block, nn.Sequential, nn.Sequential]
