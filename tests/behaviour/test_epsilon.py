"""Norms behind what cannot be scaled: the ε that a module keeps is set, so that any width is exact.

Of n units that become q by adding zeros, an RMS norm finds n/q of the mean square. Where what makes
the units is no linear layer, ε has to be n/q of what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import TransferError, WidthError
from tests.helpers import Written, assert_exact, noise, randomise, refused, widen

EPS = 0.03
X = noise(4, 3)


class RMSNorm(nn.Module):
    """Written by hand; ``eps``: where its ε is from."""

    def __init__(self, width: int, eps: Callable[[Any], float] = lambda norm: norm.epsilon) -> None:
        super().__init__()
        self.scale, self.epsilon, self.eps = nn.Parameter(torch.ones(width)), EPS, eps

    def forward(self, x: Tensor) -> Tensor:
        squares = x.pow(2).mean(-1, keepdim=True)
        return x * torch.rsqrt(squares + self.eps(self)) * self.scale


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "torch's": lambda width: nn.RMSNorm(width, EPS),
    "by hand": RMSNorm,
}


def net(norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8), nn.GELU(), norm, nn.Linear(8, 2))


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("width", [9, 16, 21])
@pytest.mark.parametrize("name", NORMS)
def test_any_width(name: str, width: int, method: str) -> None:
    teacher = randomise(net(NORMS[name](8)))
    student = widen(teacher, {"0": width}, X, method=method).model
    assert student[0].out_features == width
    copies = width // 8 if method == "replicate" else 1
    kept = student[2].eps if name == "torch's" else student[2].epsilon
    assert kept == pytest.approx(EPS * 8 * copies / width)
    assert 1 in net2net.spaces(teacher, X)["0"].kinds.values()


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_a_number_in_the_code_leaves_whole_multiples(method: str) -> None:
    teacher = randomise(net(RMSNorm(8, lambda norm: 0.04)))
    assert set(net2net.spaces(teacher, X)["0"].kinds.values()) == {8}
    widen(teacher, {"0": 16}, X, method=method)
    with refused(WidthError, "gelu in '1' makes cannot be scaled", "16", teacher=teacher):
        net2net.widen(teacher, {"0": 9}, X, method=method)


LITERAL = 1e-7


def written() -> nn.Module:
    """With a small ε that is written into the code."""
    return randomise(net(RMSNorm(8, lambda norm: LITERAL)))


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("width", [9, 21])
def test_a_small_number_in_the_code_is_measured(width: int, method: str) -> None:
    teacher = written()
    space = net2net.spaces(teacher, X)["0"]
    assert space.what_stays == ("add in '2'",) and set(space.kinds.values()) == {8}
    said = net2net.estimate(teacher, {"0": width}, X, method=method)
    growth = widen(teacher, {"0": width}, X, method=method, exact=False)
    parity = growth.report.parity
    assert growth.report.rows == said.rows and growth.report.rows[0].new == width
    assert "ε of add in '2' is written into the code" in growth.report.rows[0].note
    assert parity is not None and 1e-9 < parity.max_rel <= 1e-6
    again = net2net.Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert net2net.verify(teacher, again, X) == parity


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_whole_multiples_stay_exact(method: str) -> None:
    widen(written(), 2.0, X, method=method)


def test_a_factor_goes_where_it_is_measured_to_be_near_enough() -> None:
    assert [row.new for row in net2net.widen(written(), 1.4, X).report.rows] == [11]
    teacher = randomise(net(RMSNorm(8, lambda norm: 0.04)))
    report = net2net.widen(teacher, 1.4, X).report
    assert not report.rows and "averages over it" in report.stayed[0].note
    assert [row.new for row in net2net.widen(teacher, 1.6, X).report.rows] == [16]
    with refused(WidthError, "a relative difference of 0.0", "16", teacher=teacher):
        net2net.widen(teacher, {"0": 9}, X)


def test_it_is_not_let_pass_unmeasured() -> None:
    teacher = written()
    assert not net2net.widen(teacher, 1.4, X, verify=False).report.rows
    with refused(WidthError, "gelu in '1' makes cannot be scaled", teacher=teacher):
        net2net.widen(teacher, {"0": 9}, X, verify=False)


def test_without_exactness_it_stays_whatever_it_makes() -> None:
    teacher = randomise(net(RMSNorm(8, lambda norm: 0.04)))
    growth = net2net.widen(teacher, {"0": 9}, X, exact=False)
    assert "written into the code" in growth.report.rows[0].note
    assert growth.report.parity is not None and 1e-6 < growth.report.parity.max_rel < 0.1


@pytest.mark.parametrize("eps", [LITERAL, 0.04])
def test_a_student_of_the_users_has_the_same(eps: float) -> None:
    teacher = randomise(net(RMSNorm(8, lambda norm: eps)))
    norm = RMSNorm(12, lambda norm: eps)
    student = nn.Sequential(nn.Linear(3, 12), nn.GELU(), norm, nn.Linear(12, 2))
    if eps == LITERAL:
        growth = net2net.transfer(teacher, student, X)
    else:
        with refused(TransferError, "does not compute the teacher's function", teacher=teacher):
            net2net.transfer(teacher, student, X)
        growth = net2net.transfer(teacher, student, X, exact=False)
    assert any("written into the code" in note for note in growth.report.notes)
    assert growth.report.parity is not None and 1e-9 < growth.report.parity.max_rel < 0.1


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_an_attribute_that_tells_nothing_is_not_taken_for_it(method: str) -> None:
    """The same number, twice: only a student that is run tells."""
    teacher = randomise(net(RMSNorm(8, lambda norm: EPS)))
    student = widen(teacher, {"0": 16}, X, method=method).model
    assert student[2].epsilon == EPS


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_one_number_for_two_norms_stays(method: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        def norm(h: Tensor) -> Tensor:
            return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + model.epsilon)

        return model.c(norm(F.gelu(model.a(x)))) + model.d(norm(F.gelu(model.b(x))))

    parts = {"a": nn.Linear(3, 8), "b": nn.Linear(3, 6), "c": nn.Linear(8, 2), "d": nn.Linear(6, 2)}
    teacher = randomise(Written(code, **parts))
    teacher.epsilon = EPS
    assert set(net2net.spaces(teacher, X)["a"].kinds.values()) == {8}
    assert widen(teacher, 2, X, method=method).model.epsilon == EPS


def test_transfer_takes_it_from_the_student() -> None:
    teacher, x = randomise(net(NORMS["torch's"](8))), X
    student = nn.Sequential(nn.Linear(3, 12), nn.GELU(), nn.RMSNorm(12, EPS), nn.Linear(12, 2))
    with refused(TransferError, r"2\.eps = 0\.02", teacher=teacher):
        net2net.transfer(teacher, student, x)
    student[2].eps = EPS * 8 / 12
    assert_exact(teacher, net2net.transfer(teacher, student, x).model, x)


class Built(nn.Module):
    """Two norms, of one field of a configuration, behind units that can be scaled and others."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wide = nn.Linear(3, config.wide)
        self.norm = nn.RMSNorm(config.wide, config.eps)
        self.back = nn.Linear(config.wide, 6)
        self.last = nn.RMSNorm(6, config.eps if config.alike else EPS / 2)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(F.gelu(self.back(self.norm(F.gelu(self.wide(x)))))))


class Config:
    """As transformers keeps it; ``alike``: both norms have its ε."""

    def __init__(self, wide: int = 8, eps: float = EPS, alike: bool = False) -> None:
        self.wide, self.eps, self.alike, self.other = wide, eps, alike, EPS

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "other"}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        return cls(**data)


def test_the_configuration_says_it_too() -> None:
    teacher = randomise(Built(Config()))
    student = widen(teacher, {"wide": 11}, X, method="fresh", loadable=True).model
    assert student.config.eps == student.norm.eps == pytest.approx(EPS * 8 / 11)
    assert student.config.other == EPS
    again = Built(Config.from_dict(student.config.to_dict())).double().eval()
    again.load_state_dict(student.state_dict())
    assert_exact(teacher, again, X)


def test_a_configuration_that_cannot_say_it() -> None:
    """It has one number for both norms, of which one changes."""
    teacher = randomise(Built(Config(alike=True)))
    growth = widen(teacher, {"wide": 16}, X, method="fresh")
    assert growth.model.norm.eps == EPS / 2
    assert "no change of the config" in str(growth.report)
    student = widen(teacher, {"wide": 16}, X, method="fresh", loadable=True).model
    assert student.norm.eps == EPS  # copies
    with refused(WidthError, "wide", teacher=teacher):
        net2net.widen(teacher, {"wide": 11}, X, method="fresh", loadable=True)
