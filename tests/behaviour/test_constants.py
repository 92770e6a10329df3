"""Graphs: constants, buffers, masks, and what is made of ones and zeros."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError
from tests.helpers import (
    Cases,
    Width,
    Written,
    between,
    image,
    noise,
    randomise,
    refused,
    shapes,
    widen,
)

CASES = Cases()
net = CASES.net


@net("buffers_by_channel", image, {"body": 8})
class Buffers(nn.Module):
    """A constant for every channel: registered, it follows its channel."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, n(8), 3), nn.Conv2d(n(8), 2, 1)
        self.register_buffer("gain", torch.arange(1.0, 25.0)[: n(8)].view(-1, 1, 1) / 7)
        self.register_buffer("pixel_mean", torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x - self.pixel_mean) * self.gain)


@net("one_of_equals", lambda: noise(2, 5, 6), {"stem": 8})
class OneOfEquals(nn.Module):
    """One position of what is the same everywhere stands for all: a mask with the batch and the
    time of the units, made of zeros like these."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Linear(6, n(8)), nn.LayerNorm(n(8)), nn.Linear(n(8), 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        types = torch.zeros_like(h, dtype=torch.int)[..., 0]
        seen = torch.where(types == 0, 2.0, 0.5)
        first, *_ = torch.ones_like(h).unbind(-1)
        return self.head(self.norm(h)) * (seen * first).unsqueeze(-1)


test_whole, test_alone = CASES.tests()


@pytest.mark.parametrize("method", ["fresh", "silent"])
def test_one_of_equals_beside_new_units(method: str) -> None:
    case = CASES["one_of_equals"]
    growth = widen(case.model(), 1.5, case.inputs(), method=method)
    assert [(row.name, row.new) for row in growth.report.rows] == [("stem", 12)]


class Hidden(nn.Module):
    """A buffer by channel that the state dict leaves out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.register_buffer("gain", torch.arange(1.0, width + 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.body(x) * self.gain).tanh())


def test_buffers_outside_the_state_dict_follow() -> None:
    teacher = randomise(Hidden(8))
    growth = widen(teacher, 1.5, noise(4, 6))
    assert growth.model.gain.shape == (12,)
    assert "gain" not in growth.model.state_dict()


class PlainTensor(nn.Module):
    """A constant that is not registered: what it meets cannot grow, all else does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 2)
        self.gain = torch.arange(1.0, 6.0, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()) * self.gain)


def test_a_constant_that_is_a_plain_attribute() -> None:
    teacher = randomise(PlainTensor())
    growth = widen(teacher, 1.5, noise(4, 6))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 12)]
    assert "constant" in str(net2net.spaces(teacher, noise(4, 6))["b"].reason)


class Masked(nn.Module):
    """A mask over time, spread over the heads, and one that is written piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, time, _ = x.shape
        heads = x.view(batch, time, self.heads, -1)
        heads = heads * heads.amax(-1, keepdim=True)
        late = torch.arange(time)[:, None, None] > 2
        heads = torch.where(late.expand(batch, time, self.heads, 1), heads, -heads)
        scale = x.new_ones(batch, time, 1).type_as(x)
        scale[:, 1:] = 2
        return self.head(heads.flatten(2) * scale)


def test_masks_that_are_the_same_for_all_units() -> None:
    growth = widen(randomise(Masked()), 2.0, noise(2, 5, 3))
    assert (growth.model.heads, growth.model.stem.out_features) == (4, 16)


@pytest.mark.parametrize(
    "made",
    [
        lambda ones: ones.cumsum(0),
        lambda ones: ones.expand(len(ones), -1).tril()[2],
        lambda ones: torch.cat([ones[:2], 2 * ones[2:]]),
        lambda ones: F.pad(ones[2:], (2, 0)),
    ],
)
def test_constants_that_are_made_of_ones(made: Any) -> None:
    teacher = between(lambda x: x * made(torch.ones(x.shape[1], dtype=x.dtype)))
    with refused(NotGrowableError, "a constant", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


@pytest.mark.parametrize("how", ["ones", "expanded"])
def test_a_constant_that_is_written_to_differs_by_unit(how: str) -> None:
    def written(x: Tensor) -> Tensor:
        scale = torch.ones(x.shape[1], dtype=x.dtype)
        if how == "expanded":
            scale = torch.arange(2)[:1].expand(x.shape[1]).clone()
        scale[:3] = 2
        return x * scale

    teacher = between(written)
    with refused(NotGrowableError, "a constant", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


class Gathered(nn.Module):
    """Writes through a view what it computes, into zeros made like something hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.stem, self.head = 4, nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out = x.new_zeros(self.rows, x.shape[1])
        out[2:] = x[2:]
        out[:2] += x[:2].tanh()
        return self.head(out)


def test_zeros_that_are_filled_with_what_is_hidden() -> None:
    assert widen(randomise(Gathered()), 2.0, noise(4, 3)).model.stem.out_features == 16


class Folded(nn.Module):
    """Heads that are folded into the batch, and written into zeros of that shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.out = width // 4, nn.Linear(width, 2)
        self.query, self.key = nn.Linear(6, width), nn.Linear(6, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        query, key = (
            layer(x).view(batch, time, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key)
        )
        scores = (query @ key.mT).reshape(-1, time, time)
        moved = scores.new_zeros(batch * self.heads, time, time + 1)
        moved[:, :, 1:] = scores
        moved[:, 1:, 0] = scores[:, :-1, 0]
        weights = moved.view(batch, self.heads, time, time + 1)[..., :time].softmax(-1)
        return self.out((weights @ query).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_zeros_that_are_filled_with_heads_and_batch_on_one_axis(method: str) -> None:
    growth = widen(randomise(Folded(16)), 1.5, noise(2, 5, 6), method=method)
    assert shapes(growth.model) == shapes(Folded(24))


def test_noise_for_each_unit() -> None:
    """Of more units each would get other numbers."""
    teacher = between(lambda h: h + 0.1 * torch.randn_like(h))
    with refused(NotGrowableError, "randn_like draws a number for each", teacher=teacher):
        net2net.widen(teacher, 2.0, noise(4, 3))
    per_row = between(lambda h: h * torch.rand_like(h.amax(1, keepdim=True)))
    assert widen(per_row, 2.0, noise(4, 3)).model.stem.out_features == 16


def test_a_mean_over_units_and_over_positions_that_are_none() -> None:
    """Copies of features would weigh more than the inputs beside them."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = torch.cat((m.a(x), x), 1)
        return m.head(m.b(h * h.mean(1, keepdim=True)).relu())

    layers = {"a": nn.Linear(6, 3), "b": nn.Linear(9, 4), "head": nn.Linear(4, 2)}
    teacher = randomise(Written(code, **layers))
    report = widen(teacher, 2.0, noise(5, 6)).report
    assert {row.name for row in report.rows} == {"b"}
    assert any("positions that are no units" in row.note for row in report.stayed)


@pytest.mark.parametrize(
    "like",
    [Tensor.expand_as, lambda own, h: own.view_as(h[0]), Tensor.type_as],
    ids=["expand_as", "view_as", "type_as"],
)
def test_what_a_parameter_is_made_like_is_not_in_it(like: Any) -> None:
    """A bias of the shape of what it is added to is scaled with it, where a norm is padded."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.stem(x)
        return m.head(m.norm(h + like(m.stem.own, h)))

    stem = nn.Linear(3, 8)
    stem.own = nn.Parameter(torch.zeros(8))
    teacher = randomise(Written(code, stem=stem, norm=nn.LayerNorm(8), head=nn.Linear(8, 2)))
    widen(teacher, {"stem": 11}, noise(5, 3), method="fresh")
