"""What was asked for is what grows, or the report says what stayed, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import WidthError
from tests.helpers import Written, noise, randomise, refused, widen


def gated() -> nn.Module:
    """The first of three units is spread over the others, so it stays."""

    def code(model: Any, x: Tensor) -> Tensor:
        y = model.stem(x)
        return model.head(y[:, 1:] * y[:, :1].sigmoid())

    return randomise(Written(code, stem=nn.Linear(3, 3), head=nn.Linear(2, 2)))


@pytest.mark.parametrize("width", [4, 8])
def test_an_integer_is_the_width_of_the_whole_layer(width: int) -> None:
    growth = widen(gated(), {"stem": width}, noise(4, 3))
    assert growth.model.stem.out_features == width
    row = growth.report.rows[0]
    assert (row.old, row.new) == (2, width - 1)
    assert f"{width} wide with the 1 that stay" in row.note


def test_the_width_as_it_is_is_no_growth() -> None:
    growth = widen(gated(), {"stem": 3}, noise(4, 3))
    assert not growth.report.rows and not growth.report.stayed


@pytest.mark.parametrize(
    ("given", "wanted"), [(np.int64(4), 4), (torch.tensor(4), 4), (np.float32(1.5), 4)]
)
def test_numbers_of_numpy_and_torch_are_numbers(given: Any, wanted: int) -> None:
    assert widen(gated(), {"stem": given}, noise(4, 3)).model.stem.out_features == wanted


@pytest.mark.parametrize("given", [True, np.True_, "4", None, torch.tensor([1.0, 2.0])])
def test_what_is_no_number_is_refused(given: Any) -> None:
    teacher = gated()
    for widths in (given, {"stem": given}):
        with refused(WidthError, "Give a factor", teacher=teacher):
            net2net.widen(teacher, widths, noise(4, 3))


def test_less_than_the_whole_layer_is_refused() -> None:
    teacher = gated()
    with refused(WidthError, "'stem' is 3 wide, and 2 is smaller", teacher=teacher):
        widen(teacher, {"stem": 2}, noise(4, 3))


def test_steps_are_told_in_widths_of_the_layer() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        y = model.stem(x)
        return model.head(model.norm(F.gelu(y[:, 1:])) * y[:, :1].sigmoid())

    layers = {"stem": nn.Linear(3, 5), "norm": nn.LayerNorm(4), "head": nn.Linear(4, 2)}
    teacher = randomise(Written(code, **layers))
    with refused(WidthError, "'stem' is 5 wide .* steps of 4", "5 and 9", teacher=teacher):
        widen(teacher, {"stem": 7}, noise(4, 3))
    assert widen(teacher, {"stem": 9}, noise(4, 3)).model.stem.out_features == 9


class Piecewise(nn.Module):
    """Reads its size from an attribute that counts what stays as well."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 3
        self.stem, self.head = nn.Linear(3, 3), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).view(-1, self.width)
        return self.head(y[:, 1:] * y[:, :1].sigmoid())


def test_an_integer_is_the_new_value_of_the_attribute() -> None:
    growth = widen(randomise(Piecewise()), {"width": 5}, noise(4, 3))
    assert growth.model.width == growth.model.stem.out_features == 5


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("norm", "factor", "why"),
    [
        (nn.GroupNorm(1, 8), 1.25, "nearest admissible to 10: group_norm in '1' averages over it"),
        (nn.ReLU(), 1.05, "nearest admissible to 8.4: grows in steps of 1"),
    ],
)
def test_what_stays_at_the_nearest_width_is_told(
    norm: nn.Module, factor: float, why: str, named: bool
) -> None:
    model = randomise(nn.Sequential(nn.Linear(3, 8), norm, nn.Linear(8, 2)))
    report = widen(model, {"0": factor} if named else factor, noise(4, 3)).report
    assert not report.rows
    (row,) = (row for row in report.stayed if row.name == "0")
    assert row.new == 8 and row.note.startswith(why)


class Experts(nn.Module):
    """Its own parameters make hidden units; what it puts out is the stream's."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(2, width, hidden))
        self.down = nn.Parameter(torch.empty(2, hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return ((x @ self.up).relu() @ self.down).sum(0)


def test_a_name_of_the_table_means_the_space_of_its_row() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        x = model.stem(x)
        return model.head(x + model.experts(x))

    layers = {"stem": nn.Linear(3, 4), "experts": Experts(4, 6), "head": nn.Linear(4, 2)}
    teacher = randomise(Written(code, **layers))
    spaces = net2net.spaces(teacher, noise(5, 3)).growable
    assert {space.size for space in spaces if "experts" in space.name} == {2, 6}
    for space in spaces:
        rows = widen(teacher, {space.name: 2.0}, noise(5, 3)).report.rows
        assert [(r.name, r.old, r.new) for r in rows] == [(space.name, space.size, 2 * space.size)]


def test_a_layer_over_tokens_makes_no_channels() -> None:
    """What it puts out has channels along another axis: they are made before it."""

    def code(model: Any, x: Tensor) -> Tensor:
        x = model.stem(x)
        mixed = model.down(model.up(x.transpose(1, 2)).relu()).transpose(1, 2)
        return model.head(x + mixed)

    layers = {"stem": nn.Linear(3, 4), "up": nn.Linear(5, 6), "down": nn.Linear(6, 5)}
    teacher = randomise(Written(code, **layers, head=nn.Linear(4, 2)))
    for glob in ("up", "?p"):
        rows = widen(teacher, {glob: 2.0}, noise(2, 5, 3)).report.rows
        assert [(row.name, row.old, row.new) for row in rows] == [("up", 6, 12)]
