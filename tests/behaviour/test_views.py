"""Graphs: views of hidden values, and axes that move."""

from typing import Any

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
    widen,
)

CASES = Cases()
net = CASES.net


def overlapping(x: Tensor, size: int) -> Tensor:
    """Windows over the time axis, each of which begins in the middle of the one before."""
    batch, time, units = x.stride()
    shape = x.shape[0], 2 * x.shape[1] // size - 1, size, x.shape[2]
    return x.as_strided(shape, (batch, size // 2 * time, time, units))


@net("overlapping_windows", lambda: noise(2, 8, 3), {"stem": 4, "mix": 6})
class Windows(nn.Module):
    """Of heads side by side, of a part of them that lies apart in memory, and of both axes."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Linear(3, n(4)), nn.Linear(n(8), n(6)), nn.Linear(n(6), 2)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        both = torch.cat([x, -x], -1)
        first = overlapping(both[..., : x.shape[-1]], 4)
        last = overlapping(both[..., x.shape[-1] :].permute(0, 2, 1).contiguous().mT, 4)
        return self.head(self.mix(torch.cat([first, last.tanh()], -1)).sum(2))


def test_windows_over_units() -> None:
    teacher = between(lambda x: x.repeat(1, 2).as_strided((len(x), 8), (16, 1), 4))
    with refused(NotGrowableError, "takes windows of it", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


class Narrowed(nn.Module):
    """Cuts time at a place that data tell."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        start = (x > -9).all().long()
        return self.head(self.stem(x).narrow(1, start, 2))


def test_a_cut_where_data_tell() -> None:
    assert widen(randomise(Narrowed()), 2.0, noise(2, 5, 3)).model.stem.out_features == 16


def test_views_that_are_conjugated_or_negated() -> None:
    """The imaginary part of a conjugate is a view that is negated when it is read."""
    teacher = between(lambda x: torch.complex(x, x.tanh()).conj().imag.resolve_neg())
    assert widen(teacher, 2.0, noise(4, 3)).model.stem.out_features == 16


@net("broadcast_together", image, {"stem": 4, "other": 6})
class Broadcast(nn.Module):
    """They get one shape, and do not meet."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, n(4), 1), nn.Conv2d(3, n(6), 1)
        self.head = nn.Conv2d(n(10), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x), self.other(x).mean((2, 3))
        a, _ = torch.broadcast_tensors(a, x[:, :1])
        b, _ = torch.broadcast_tensors(b[:, :, None, None], x[:, :1])
        return self.head(torch.cat([a, b], 1))


@net("moved_axes", image, {"stem": 4, "mix": 6})
class Moved(nn.Module):
    """Channels last for a while, through every way to move axes."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Conv2d(3, n(4), 1),
            nn.Linear(n(4), n(6)),
            nn.Conv2d(n(6), 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.mix.in_features)
        x = self.mix(x).relu().transpose(1, 2).unflatten(2, (6, 6)).movedim(1, 3)
        return self.head(torch.einsum("bhwc->bchw", x.swapaxes(1, 2)))


class Pooled(nn.Module):
    """Heads in the place of the batch are pooled by a filter for each of their features (MViT)."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.heads = n(2)
        self.qkv, self.head = nn.Linear(3, n(24)), nn.Linear(n(8), 2)
        self.pool = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        parts = self.qkv(x).reshape(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = map(self.pooled, parts.unbind(0))
        met = (q @ k.mT).softmax(-1) @ v
        return self.head(met.transpose(1, 2).reshape(batch, time, -1))

    def pooled(self, x: Tensor) -> Tensor:
        images = self.pool(x.reshape(-1, 2, 3, x.shape[-1]).permute(0, 3, 1, 2))
        return images.reshape(-1, self.heads, x.shape[-1], 6).transpose(2, 3)


for size in (1, 2):
    CASES.put(
        f"heads_pooled_of_{size}", Pooled, lambda size=size: noise(size, 6, 3), {"qkv": 24}, step=12
    )


test_whole, test_alone = CASES.tests()


def test_an_activation_in_place_on_a_view() -> None:
    """Dropout after flatten writes into the pooled tensor, which has units already."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(inplace=True),
            nn.Linear(4, 2),
        )
    )  # fmt: skip
    assert widen(teacher, 1.5, image()).model[4].in_features == 6


def test_what_an_operation_is_given_to_write_to() -> None:
    """``out`` is a tensor of the code's own, made with values."""

    def product(hidden: Tensor) -> Tensor:
        out = torch.zeros(hidden.shape, dtype=hidden.dtype)
        torch.mul(hidden, hidden.tanh(), out=out)
        return out

    with torch.no_grad():
        teacher = between(product)
        assert widen(teacher, 2.0, noise(4, 3)).model.stem.out_features == 16


def test_a_table_of_layers_stays() -> None:
    """Features of each of so many layers, normalised within each (Gemma 3n's per-layer inputs):
    code takes layer by layer, so neither their number nor what lies in each can be more."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        table = model.norm(model.table(h).reshape(len(x), 2, 8))
        for layer, gate in enumerate((model.first, model.second)):
            h = h + model.back(F.gelu(gate(h)) * table[:, layer])
        return model.head(h)

    layers = {
        "stem": nn.Linear(3, 6), "table": nn.Linear(6, 16), "norm": nn.RMSNorm(8),
        "first": nn.Linear(6, 8), "second": nn.Linear(6, 8), "back": nn.Linear(8, 6),
        "head": nn.Linear(6, 2),
    }  # fmt: skip
    teacher = randomise(Written(code, **layers))
    grown = widen(teacher, 2.0, noise(4, 3)).report
    assert [row.name for row in grown.rows] == ["stem"]
    assert "what lies inside each" in grown.stayed[0].note


def test_what_gives_an_axis_of_the_output_its_size_stays() -> None:
    """Of each frame two are made, of as many features as are read (sub-pixel convolution)."""

    def code(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        h = model.proj(model.stem(x).relu())
        batch, frames, features = h.shape
        more = model.conv(h).reshape(batch, frames * 2, features)
        return more, model.head(more)

    layers = {
        "stem": nn.Linear(3, 6), "proj": nn.Linear(6, 8), "conv": nn.Linear(8, 16),
        "head": nn.Linear(8, 2),
    }  # fmt: skip
    teacher, x = randomise(Written(code, **layers)), noise(2, 5, 3)
    proj = next(one for one in net2net.spaces(teacher, x) if one.name == "proj")
    assert not proj.growable and "the size of what stays" in str(proj.reason)
    grown = widen(teacher, 2.0, x).report
    assert [row.name for row in grown.rows] == ["stem"]
