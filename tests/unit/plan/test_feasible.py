"""The search for a width that can be had: near what was asked for, and in the space that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net import Growth
from net2net.analysis import analyse
from net2net.errors import GraphMismatchError
from net2net.infer.spaces import spaces_of
from net2net.plan.feasible import nearest_feasible
from net2net.plan.widths import SpaceGrowth, resolve
from tests.helpers import Written, image, noise, randomise, widen


class Attention(nn.Module):
    """One head, whose size is kept, and what is made of heads one by one is joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.size = 1, width
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.heads, self.size)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(-1, -2) / self.size**0.5, -1) @ v
        return self.o(torch.cat([one.tanh() for one in mixed.unbind(1)], -1))


class Stream(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 12)
        self.first = Attention(12)
        self.second = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.first(x)
        x = x + self.second(x, x, x, need_weights=False)[0]
        return self.head(x)


def stayed(growth: Growth) -> dict[str, str]:
    return {row.name: row.note for row in growth.report.stayed}


def test_the_space_that_fails_stays_and_no_other_moves() -> None:
    growth = widen(randomise(Stream()), 2.0, noise(2, 5, 3))
    assert [(row.name, row.old, row.new) for row in growth.report.rows] == [("stem", 12, 24)]
    assert "the code keeps their number, and what lies inside each" in stayed(growth)["first.q"]


def search(enough: dict[str, int], factor: float) -> dict[str, int]:
    """The widths found for two shuffled layers, if the student gets through from these on."""
    mixed = (nn.ChannelShuffle(2), nn.Conv2d(8, 8, 1), nn.ChannelShuffle(2), nn.Conv2d(8, 2, 1))
    model = nn.Sequential(nn.Conv2d(3, 8, 1), *mixed)
    x = torch.randn(2, 3, 4, 4)
    found = analyse(model, x)
    grown = resolve(spaces_of(found), found, model, factor)
    assert all(one.space.split_by_position for one in grown)

    def attempt(grown: list[SpaceGrowth]) -> None:
        if any(one.space.size < one.new < enough.get(one.space.name, 0) for one in grown):
            raise GraphMismatchError("it shows elsewhere. Go on.", {"elsewhere[0]"})

    grown, _ = nearest_feasible(grown, attempt, list)
    return {one.space.name: one.new for one in grown}


@pytest.mark.parametrize(
    ("enough", "factor", "widths"),
    [
        ({}, 2.0, {"0": 16, "2": 16}),
        ({"0": 20}, 2.0, {"0": 20, "2": 16}),
        ({"2": 20}, 2.0, {"0": 16, "2": 20}),
        ({"2": 24}, 1.5, {"0": 12, "2": 24}),
        ({"2": 26}, 1.5, {"0": 12, "2": 8}),
        ({"0": 26, "2": 16}, 1.5, {"0": 8, "2": 16}),
        ({"0": 1000, "2": 1000}, 2.0, {"0": 8, "2": 8}),
    ],
)
def test_it_moves_what_fails_up_to_twice_what_was_asked_for(
    enough: dict[str, int], factor: float, widths: dict[str, int]
) -> None:
    assert search(enough, factor) == widths


def test_channels_that_no_longer_fit_the_next_kernel_stay() -> None:
    """Every other one of an odd number: twice as many are not twice as many of the others."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.last(model.up(model.first(x)[:, ::2]))

    layers = {"first": nn.Conv2d(3, 9, 3), "up": nn.ConvTranspose2d(5, 4, 2)}
    teacher = randomise(Written(code, **layers, last=nn.Conv2d(4, 2, 1)))
    growth = widen(teacher, 2.0, image())
    assert [(row.name, row.new) for row in growth.report.rows] == [("up", 8)]
    assert "a size is written into the code of 'up'" in stayed(growth)["first"]
    with pytest.raises(GraphMismatchError, match=r"9 channels, .* reads 10") as refusal:
        widen(teacher, {"first": 2.0}, image())
    assert "graph module" not in str(refusal.value)  # which was tried


class Shortcut(nn.Module):
    """Twice as many channels; those of the shortcut have zeros before and behind them."""

    def __init__(self, channels: int, zeros: Callable[[int], tuple[int, int]]) -> None:
        super().__init__()
        self.zeros = zeros
        self.inner = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
        self.outer = nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        padding = (0, 0, 0, 0, *self.zeros(x.shape[1]))
        made = self.outer(self.inner(x).relu())
        return (nn.functional.pad(x[:, :, ::2, ::2], padding) + made).relu()


ZEROS: dict[str, Callable[[int], tuple[int, int]]] = {
    "half": lambda n: (n // 2, n // 2),
    "quarters": lambda n: (n // 4 * 2, n // 4 * 2),
    "up to eight": lambda n: (0, 8 - n),
}


class Pooled(nn.Module):
    """``outermost``: a size stops the code of the model itself, and not of a module in it."""

    def __init__(self, outermost: bool, zeros: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = Shortcut(4, ZEROS[zeros])
        self.head = nn.Linear(8, 3)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        run = self.block.forward if self.outermost else self.block
        return self.head(run(self.stem(x).relu()).mean((2, 3)))


@pytest.mark.parametrize("outermost", [False, True])
@pytest.mark.parametrize(
    ("zeros", "factor", "width"),
    [
        ("half", 1.25, 6),
        ("half", 1.37, 6),
        ("half", 1.75, 8),
        ("half", 2.0, 8),
        ("quarters", 1.25, 8),
        ("quarters", 1.75, 8),
    ],
)
def test_what_stops_the_student_moves_to_the_nearest_width_that_does_not(
    outermost: bool, zeros: str, factor: float, width: int
) -> None:
    growth = widen(randomise(Pooled(outermost, zeros)), factor, image())
    widths = {row.name: row.new for row in growth.report.rows}
    assert widths == {"stem": width, "block.inner": int(8 * factor + 0.5)}


@pytest.mark.parametrize("outermost", [False, True])
def test_a_space_beside_what_stops_the_student_grows(outermost: bool) -> None:
    growth = widen(randomise(Pooled(outermost, "up to eight")), 2.0, image())
    assert [(row.name, row.new) for row in growth.report.rows] == [("block.inner", 16)]
    assert "a size is written into" in stayed(growth)["stem"]


def test_it_moves_to_what_is_a_multiple() -> None:
    growth = widen(randomise(Pooled(False, "half")), 1.3, image(), multiple_of={"stem": 5})
    assert growth.model.stem.out_channels == 10
