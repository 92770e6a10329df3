"""Attention as libraries write it: sizes that code reads from attributes, and blocks that meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, PlanError, WidthError
from tests.helpers import Written, assert_exact, noise, randomise, refused, widen


class Attention(nn.Module):
    """Query, key and value in one linear, cut by ``num_heads``."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def cut(self, x: Tensor) -> tuple[Tensor, ...]:
        batch, time, dim = x.shape
        qkv = self.qkv(x).reshape(batch, time, 3, self.num_heads, dim // self.num_heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


class ChannelAttention(Attention):
    """Features attend to features within each head: two blocks meet that share the heads."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        mixed = (q.transpose(-1, -2) @ k * self.scale).softmax(-1) @ v.transpose(-1, -2)
        out: Tensor = self.proj(mixed.permute(0, 3, 1, 2).reshape(x.shape))
        return out


class FactorisedAttention(Attention):
    """A features × features map that is read along its other side."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        mixed = self.scale * (q @ (k.softmax(2).transpose(-1, -2) @ v))
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


class TalkingHeads(Attention):
    """Linears over the heads: those of the values are others than those of the queries."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.before = nn.Linear(heads, heads)
        self.after = nn.Linear(heads, heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        weights = (q * self.scale) @ k.transpose(-2, -1)
        weights = self.before(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(-1)
        weights = self.after(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(x.shape))
        return out


def transformer(attention: nn.Module) -> nn.Module:
    layers = nn.Linear(3, 8), nn.LayerNorm(8), attention, nn.Linear(8, 2)
    return randomise(nn.Sequential(*layers))


def grows_whole(attention: nn.Module) -> nn.Module:
    """Everything grows by two, and nothing stays. Returns the grown layer in the middle."""
    teacher, x = transformer(attention), noise(2, 5, 3)
    growth = widen(teacher, 2.0, x)
    assert all(row.new == 2 * row.old for row in growth.report.rows)
    assert not growth.report.notes
    return growth.model.get_submodule("2")


def test_features_attend_to_features_of_their_head() -> None:
    grows_whole(ChannelAttention(8, 4))


def test_a_map_between_the_features_of_a_head_is_read() -> None:
    grows_whole(FactorisedAttention(8, 4))


def test_linears_over_the_heads() -> None:
    grown = grows_whole(TalkingHeads(8, 4))
    assert tuple(grown.get_submodule("before").weight.shape) == (8, 8)


def test_one_head_becomes_two() -> None:
    """The axis of size 1 is a number of heads, for the code reads it from an attribute."""
    assert grows_whole(Attention(8, 1)).num_heads == 2


class FewKeys(Attention):
    """Query heads, and behind them one head of keys and one of values that all share."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.head_dim = dim // heads
        self.qkv = nn.Linear(dim, dim + 2 * self.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).view(*x.shape[:2], self.num_heads + 2, self.head_dim)
        q, k, v = heads[..., :-2, :], heads[..., [-2], :], heads[..., [-1], :]
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        size = self.num_heads * self.head_dim
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(*x.shape[:2], size))
        return out


def test_query_heads_grow_beside_the_one_head_of_keys_that_stays() -> None:
    teacher, x = transformer(FewKeys(8, 2)), noise(2, 5, 3)
    growth = widen(teacher, 2.0, x)
    assert growth.model.get_submodule("2.qkv").weight.shape == (16 + 8, 16)
    assert not growth.report.notes


class GroupedQueries(Attention):
    """Groups of query heads, each with a head of keys and one of values behind it; only the size of
    a group is read, a quotient of attributes."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.groups, self.head_dim = heads // 2, dim // heads
        self.qkv = nn.Linear(dim, (heads + 2 * self.groups) * self.head_dim)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).view(*x.shape[:2], -1, self.num_heads // self.groups + 2, self.head_dim)
        q, k, v = heads[..., :-2, :], heads[..., [-2], :], heads[..., [-1], :]
        k, v = k.expand_as(q), v.expand_as(q)
        q, k, v = (part.flatten(2, 3).transpose(1, 2) for part in (q, k, v))
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        size = self.num_heads * self.head_dim
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(*x.shape[:2], size))
        return out


def test_what_is_divided_by_grows_with_what_is_divided() -> None:
    teacher, x = transformer(GroupedQueries(8, 4)), noise(2, 5, 3)
    growth = widen(teacher, {"2.qkv": 1.5}, x)
    assert growth.model.get_submodule("2.qkv").weight.shape == (24, 8)
    assert (growth.model.get_submodule("2").num_heads, growth.model.get_submodule("2").groups) == (
        6, 3,
    )  # fmt: skip


class SplitSizes(nn.Module):
    """Some channels are worked on, the others pass: sizes are sums of attributes."""

    def __init__(self, dim: int, part: int) -> None:
        super().__init__()
        self.dim, self.part = dim, part
        self.inner = nn.Linear(part, part)
        self.keys, self.values = nn.Linear(dim, part), nn.Linear(dim, 2 * part)
        self.out = nn.Linear(dim + 3 * part, dim)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, [self.part, self.dim - self.part], dim=-1)
        both = torch.cat([self.keys(x), self.values(x)], dim=-1)
        keys, values = both[..., : self.part], both[..., self.part : self.part + 2 * self.part]
        out: Tensor = self.out(torch.cat([self.inner(first).relu(), rest, keys, values], dim=-1))
        return out


def test_sizes_that_are_sums_of_attributes() -> None:
    grown = grows_whole(SplitSizes(8, 2))
    assert (grown.dim, grown.part) == (16, 4)


class Paths(nn.Module):
    """Two paths, weighed for every channel: rows are the paths, columns the channels that grow."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.paths = 2
        self.a, self.b = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.weigh = nn.Linear(dim, self.paths * dim)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.stack([self.a(x), self.b(x)], dim=-2)
        weights = self.weigh(x).view(*x.shape[:2], self.paths, -1).softmax(-2)
        return (both * weights).sum(-2)


def test_paths_are_weighed_for_every_channel() -> None:
    grown = grows_whole(Paths(8))
    assert (grown.paths, grown.weigh.weight.shape) == (2, (32, 16))


class SingleHead(Attention):
    """One head by the code's own words, of features that code sums products over."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1)
        self.inner = dim

    def cut(self, x: Tensor) -> tuple[Tensor, ...]:
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, 1, self.inner)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(*x.shape[:2], self.inner))
        return out


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
def test_the_features_of_a_single_head_grow(method: str) -> None:
    teacher, x = transformer(SingleHead(8)), noise(2, 5, 3)
    growth = widen(teacher, 2.0, x, method=method)
    grown = [(row.name, row.old, row.new) for row in growth.report.rows]
    assert grown == [("0", 8, 16), ("2.qkv", 24, 48), ("2.proj", 8, 16)]
    assert not growth.report.notes


class TableBias(Attention):
    """A table of biases by relative position, each row of which holds one for every head."""

    index: Tensor

    def __init__(self, dim: int, heads: int, time: int) -> None:
        super().__init__(dim, heads)
        self.time = time
        self.table = nn.Parameter(torch.empty(2 * time - 1, heads))
        steps = torch.arange(time)
        self.register_buffer("index", steps[:, None] - steps + time - 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        bias = self.table[self.index.view(-1)].view(self.time, self.time, -1).permute(2, 0, 1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


def test_positions_of_a_table_stay() -> None:
    grown = grows_whole(TableBias(8, 4, time=5))
    assert (grown.time, tuple(grown.table.shape)) == (5, (9, 8))


class Ghost(nn.Module):
    """Cuts what it made to a size that it has anyway, as no operation sees."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.first = nn.Conv2d(3, size // 2, 1)
        self.rest = nn.Conv2d(size // 2, size // 2, 3, padding=1, groups=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out: Tensor = torch.cat([x, self.rest(x)], 1)[:, : self.size]
        return out[..., : self.size, :, :]


def test_a_slice_that_takes_all_is_read() -> None:
    teacher = randomise(nn.Sequential(Ghost(8), nn.ReLU(), nn.Conv2d(8, 2, 3)))
    growth = widen(teacher, 2.0, noise(2, 3, 6, 6))
    assert growth.model.get_submodule("0").size == 16
    assert not growth.report.notes


class Blur(nn.Module):
    """A fixed filter for every channel, of which the code keeps the number."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, 2
        self.register_buffer("filt", torch.ones(channels, 1, 2, 2) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, self.filt, stride=self.stride, groups=self.channels)


def test_groups_that_code_counts_under_another_name() -> None:
    """The stride is as large as the number of groups, and stays."""
    layers = nn.Conv2d(3, 2, 1), Blur(2), nn.Conv2d(2, 3, 1)
    growth = widen(randomise(nn.Sequential(*layers)), 2.0, noise(2, 3, 4, 4))
    blur = growth.model.get_submodule("1")
    assert (blur.channels, blur.stride) == (4, 2)


class Reread(nn.Module):
    """Heads are joined to the width that another tensor has, however the code reads it."""

    def __init__(self, read: Callable[[Tensor], int], *, ends: bool) -> None:
        super().__init__()
        self.read = read
        self.stem, self.inner, self.out = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Identity() if ends else nn.Linear(8, 2)
        self.heads = 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        heads = self.inner(x).view(x.shape[0] * x.shape[1], self.heads, -1)
        heads = (heads.softmax(-1) * heads).reshape(*x.shape[:2], self.read(x))
        out: Tensor = self.head(x + self.out(heads))
        return out


READ: dict[str, Callable[[Tensor], int]] = {
    "shape": lambda x: x.shape[-1],
    "size": lambda x: x.size()[2],
    "size of": lambda x: x.size(-1),
    "size of a dim": lambda x: x.size(dim=2),
}


@pytest.mark.parametrize("read", READ)
def test_what_the_code_gives_one_size_is_one_space(read: str) -> None:
    teacher, x = randomise(Reread(READ[read], ends=False)), noise(2, 5, 3)
    for widths in ({"stem": 1.5}, {"inner": 12}):
        growth = widen(teacher, widths, x)
        assert growth.model.heads == 6
        (row,) = growth.report.rows
        assert row.new == 12 and "inner" in row.note and "one size in the model's code" in row.note


def test_what_has_one_size_with_an_output_stays() -> None:
    teacher, x = randomise(Reread(READ["shape"], ends=True)), noise(2, 5, 3)
    with refused(NotGrowableError, "'inner'", "the size of what stays", teacher=teacher):
        net2net.widen(teacher, {"inner": 2.0}, x)


def test_heads_that_share_a_size_that_stays_stay() -> None:
    """As in CoaT: they are joined to that width, and have ``width // heads`` features each."""

    class Divided(Reread):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).relu()
            heads = self.inner(x).view(*x.shape[:2], self.heads, x.shape[-1] // self.heads)
            heads = (heads.softmax(-1) * heads).reshape(*x.shape[:2], x.shape[-1])
            out: Tensor = x + self.out(heads)
            return out

    teacher, x = randomise(Divided(READ["shape"], ends=True)), noise(2, 5, 3)
    with refused(NotGrowableError, "'inner'", "the size of what stays", teacher=teacher):
        net2net.widen(teacher, {"inner": 2.0}, x)


def test_an_attribute_that_ties_is_named() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 8), nn.Linear(3, 8)
            self.head, self.width = nn.Linear(16, 2), 8

        def forward(self, x: Tensor) -> Tensor:
            a, b = (part(x).view(len(x), self.width).relu() for part in (self.a, self.b))
            return self.head(torch.cat([a, b], -1))  # type: ignore[no-any-return]

    (row,) = widen(randomise(Twice()), {"a": 1.5}, noise(4, 3)).report.rows
    assert "with b, tied by 'width'" in row.note


class Unfolded(nn.Module):
    """A size that is a multiple of the channels, and of an attribute that counts something else."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.kernel = 3

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.stem(x))
        batch, channels, height, width = x.shape
        size = channels * self.kernel * self.kernel
        cut = nn.functional.unfold(x, self.kernel).reshape(batch, size, -1)
        out: Tensor = self.head(nn.functional.fold(cut.sigmoid(), (height, width), self.kernel))
        return out


def test_a_multiple_of_what_grows_says_nothing_of_the_other_factor() -> None:
    growth = widen(randomise(Unfolded()), 2.0, noise(2, 3, 5, 5))
    assert growth.model.kernel == 3 and not growth.report.notes


class Pieces(nn.Module):
    """Each piece of an axis is read by a weight of its own: a quotient of attributes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.count, self.width = 2, width
        self.a = nn.Linear(3, width)
        self.read = nn.ModuleList(nn.Linear(width // 2, 2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        pieces = torch.split(self.a(x).relu(), self.width // self.count, -1)
        return sum(read(piece) for read, piece in zip(self.read, pieces, strict=True))


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_what_is_divided_grows_and_not_the_number_of_pieces(factor: float) -> None:
    growth = widen(randomise(Pieces(8)), factor, noise(4, 3))
    assert type(growth.model) is Pieces
    assert (growth.model.count, growth.model.width) == (2, 8 * factor)


class Thirds(nn.Module):
    """Cuts an axis at two places; neither number is a size of what comes out."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.second = size // 4, size // 2
        self.a = nn.Linear(3, size)
        self.b = nn.Linear(size // 4, 2)
        self.c = nn.Linear(size // 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        out: Tensor = self.b(x[:, self.first : self.second])
        return out + self.c(x.narrow(1, self.second, x.shape[1] - self.second))


def test_places_where_an_axis_is_cut_are_read() -> None:
    growth = widen(randomise(Thirds(8)), 2.0, noise(2, 3))
    assert not growth.report.notes
    grown = growth.model
    assert isinstance(grown, Thirds)
    assert (grown.first, grown.second, grown.a.out_features) == (4, 8, 16)


class Joined(nn.Module):
    """A size that is the sum of two."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__()
        self.both = one + two
        self.a, self.b = nn.Linear(3, one), nn.Linear(3, two)
        self.c = nn.Linear(one + two, 2)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.a(x), self.b(x)], 1).reshape(-1, self.both)
        out: Tensor = self.c(joined.relu())
        return out


def test_parts_of_a_size_grow_by_themselves() -> None:
    growth = widen(randomise(Joined(4, 6)), {"a": 2.0, "b": 9}, noise(2, 3))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 8), ("b", 9)]
    assert growth.model.both == 17


class Grouped(nn.Module):
    """A convolution by its function, whose number of groups has a name of the author's own, and a
    stride of the same value."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.parts, self.pace = size // 4, 2
        self.a, self.b = nn.Conv2d(3, size, 1), nn.Conv2d(size, 2, 1)
        self.weight = nn.Parameter(torch.empty(size, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.conv2d(self.a(x), self.weight, None, 1, 1, self.pace, self.parts)
        out: Tensor = self.b(hidden.relu())
        return out


def test_groups_under_a_name_of_their_own() -> None:
    growth = widen(randomise(Grouped(12)), 2.0, noise(2, 3, 6, 6))
    assert not growth.report.notes
    assert (growth.model.parts, growth.model.pace) == (6, 2)


def test_a_stride_of_as_many_as_there_are_groups_stays() -> None:
    convolutions = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Conv2d(8, 2, 1)
    growth = widen(randomise(nn.Sequential(*convolutions)), 2.0, noise(2, 3, 6, 6))
    grown = growth.model.get_submodule("1")
    assert (grown.groups, grown.stride) == (4, (2, 2))


class Memory(Attention):
    """A state of features × features for every head, which the code starts with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        batch, _, dim = x.shape
        size = dim // self.num_heads
        q, k, v = self.cut(x)
        state = torch.zeros(batch, self.num_heads, size, size, dtype=x.dtype)
        state = state + k.transpose(-2, -1) @ v
        out: Tensor = self.proj((q @ state).transpose(1, 2).reshape(x.shape))
        return out


def test_a_state_for_every_head_starts_with_zeros() -> None:
    assert grows_whole(Memory(8, 4)).num_heads == 8


class Patched(nn.Module):
    """Rows of one sequence go to places of another that a mask names."""

    def __init__(self, *, spread: bool) -> None:
        super().__init__()
        self.spread = spread
        self.a, self.b, self.head = nn.Linear(3, 8), nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
        x, mask = self.a(x), mask.unsqueeze(-1)
        mask = mask.expand_as(x).to(torch.bool) if self.spread else mask
        return self.head(x.masked_scatter(mask, self.b(rows)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("spread", [False, True])
def test_rows_are_put_where_a_mask_says(spread: bool) -> None:
    mask = torch.tensor([[True, False, True], [False, True, False]])
    inputs = noise(2, 3, 3), noise(3, 4), mask
    growth = widen(randomise(Patched(spread=spread)), 1.5, inputs)
    assert growth.model.get_submodule("b").weight.shape == (12, 4)


class Windows(Attention):
    """Attention within windows of one position: the code's sizes of 1 count no heads."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.window = 1

    def forward(self, x: Tensor) -> Tensor:
        batch, time, dim = x.shape
        size = self.window
        x = x.transpose(1, 2).reshape(batch, dim, time // size, size).permute(0, 2, 3, 1)
        x = x.reshape(batch * time // size, size * self.window, dim)
        q, k, v = self.cut(x)
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, time, dim))
        return out


def test_windows_of_one_position_stay() -> None:
    layer = grows_whole(Windows(8, 4))
    assert (layer.num_heads, layer.window) == (8, 1)


def test_a_fourier_transform_leaves_the_axes_beside_it() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.fft.fft(self.a(x), dim=1).real
            x = torch.fft.fftn(self.b(x)).real
            return self.head(x)  # type: ignore[no-any-return]

    growth = widen(randomise(Mixer()), 2.0, noise(2, 5, 3))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 16)]


class HeadNorm(nn.LayerNorm):
    """A scale for every head; what torch's layer has as the shape of its weight is another here."""

    def __init__(self, heads: int, size: int) -> None:
        super().__init__((heads, size))
        self.normalized_shape = (size,)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, self.normalized_shape) * self.weight + self.bias


class NormedAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, HeadNorm(heads, dim // heads)
        self.inner, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.inner(x).unflatten(-1, (self.heads, -1)))
        out: Tensor = self.out(x.flatten(-2))
        return out


def test_attributes_that_mean_something_else_in_a_class_of_the_user() -> None:
    grown = grows_whole(NormedAttention(8, 2))
    assert (grown.heads, grown.norm.weight.shape, grown.norm.normalized_shape) == (4, (4, 4), (4,))


def test_a_plan_for_longer_lists_of_sizes_is_refused() -> None:
    class Listed(nn.Module):
        def __init__(self, *sizes: int) -> None:
            super().__init__()
            self.sizes = sizes
            self.inner, self.out = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(self.inner(x).view(-1, self.sizes[-1]))
            return out

    plan = widen(randomise(Listed(4, 8)), 2.0, noise(2, 3)).plan
    with pytest.raises(PlanError, match="the model has no such size"):
        plan.apply(randomise(Listed(8)))


class Deformable(nn.Module):
    """Every head samples the map at places of its own: heads are rows of what is sampled."""

    def __init__(self, dim: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.values, self.places = nn.Conv2d(dim, dim, 1), nn.Linear(dim, heads * points * 2)
        self.weights, self.out = nn.Linear(dim, heads * points), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        rows = batch * self.heads
        tokens = x.flatten(2).transpose(1, 2)
        places = self.places(tokens).view(batch, -1, self.heads, self.points, 2).sigmoid()
        weights = self.weights(tokens).view(batch, -1, self.heads, self.points).softmax(-1)
        values = self.values(x).reshape(rows, channels // self.heads, height, width)
        grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
        found = nn.functional.grid_sample(values, grid, align_corners=False)
        weights = weights.transpose(1, 2).reshape(rows, 1, height * width, self.points)
        mixed = (found * weights).sum(-1).view(batch, channels, height * width)
        out: Tensor = self.out(mixed.transpose(1, 2))
        return out


def test_heads_that_sample_a_map_grow() -> None:
    layers = nn.Conv2d(3, 8, 1), Deformable(8, 4, points=3), nn.Linear(8, 2)
    growth = widen(randomise(nn.Sequential(*layers)), 2.0, noise(2, 3, 4, 5))
    grown = growth.model.get_submodule("1")
    assert (grown.heads, grown.points, grown.places.out_features) == (8, 3, 48)
    assert not growth.report.notes


class Masked(Attention):
    """A mask that code spreads over the heads before it meets them."""

    mask: Tensor

    def __init__(self, dim: int, heads: int, time: int) -> None:
        super().__init__(dim, heads)
        self.register_buffer("mask", torch.ones(time, time, dtype=torch.bool).tril())

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        scores = (q * self.scale) @ k.transpose(-2, -1)
        hidden = self.mask.logical_not().expand_as(scores)
        out: Tensor = self.proj(
            (scores.masked_fill(hidden, -100.0).softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        )
        return out


class MaskedHeads(Masked):
    """The same, with the number of heads from an attribute."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        seen = self.mask.expand(len(x), self.num_heads, *self.mask.shape)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


class MaskedRows(Masked):
    """One row of scores for each head of each input; the mask is repeated as often."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.flatten(0, 1) for part in self.cut(x))
        seen = self.mask[None].repeat(len(q), 1, 1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        out: Tensor = self.proj(mixed.unflatten(0, (len(x), -1)).transpose(1, 2).reshape(x.shape))
        return out


@pytest.mark.parametrize("kind", [Masked, MaskedHeads, MaskedRows])
def test_a_mask_that_is_the_same_for_all_heads_fixes_none(kind: type[Masked]) -> None:
    assert grows_whole(kind(8, 4, time=5)).num_heads == 8


class Pooler(nn.Module):
    """Queries of its own ask what comes in; torch's attention joins their number and the batch."""

    def __init__(self, dim: int, heads: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, 1, dim))
        self.attention = nn.MultiheadAttention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        out: Tensor = self.attention(self.queries.expand(-1, x.shape[1], -1), x, x)[0]
        return out.transpose(0, 1)


def test_heads_grow_beside_queries_that_stay() -> None:
    grown = grows_whole(Pooler(8, 4, queries=3))
    assert (grown.attention.num_heads, tuple(grown.queries.shape)) == (8, (3, 1, 16))


class Rotated(Attention):
    """As much of each head as a table is wide is turned, which leaves nothing that passes by."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.register_buffer("table", torch.rand(dim // heads))
        self.turned = dim // heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.cut(x)
        turned, rest = q[..., : self.turned] * self.table, q[..., self.turned :]
        q = torch.cat([turned, rest.view(rest.shape)], -1)
        mixed = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return out


def test_an_axis_without_any_positions() -> None:
    assert grows_whole(Rotated(8, 2)).num_heads == 4


class OneKey(FewKeys):
    """One head of keys and one of values, shown to all query heads as torch does it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.groups = heads

    def shown(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).split([x.shape[-1], self.head_dim, self.head_dim], -1)
        q = q.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)
        k, v = self.shown(k[:, None]), self.shown(v[:, None])
        alike = k.shape[1] != q.shape[1]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=alike)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(*x.shape[:2], -1))
        return out


class OneKeyExpanded(OneKey):
    def shown(self, x: Tensor) -> Tensor:
        batch, one, time, features = x.shape
        x = x[:, :, None].expand(batch, one, self.groups, time, features)
        return x.reshape(batch, one * self.groups, time, features)


class OneKeyRepeated(OneKey):
    def shown(self, x: Tensor) -> Tensor:
        return x.repeat(1, self.groups, 1, 1)


class OneKeyInterleaved(OneKey):
    def shown(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.groups, 1)


@pytest.mark.parametrize("kind", [OneKey, OneKeyExpanded, OneKeyRepeated, OneKeyInterleaved])
def test_query_heads_grow_beside_the_one_key_head_that_they_share(kind: type[OneKey]) -> None:
    teacher, x = transformer(kind(8, 2)), noise(2, 5, 3)
    growth = widen(teacher, 2.0, x)
    grown = growth.model.get_submodule("2")
    assert grown.qkv.weight.shape == (16 + 8, 16)
    assert all("branches" in note for note in growth.report.notes)
    assert grown.groups == (2 if kind is OneKey else 4)


@pytest.mark.parametrize("kind", [np.int64, torch.tensor])
def test_sizes_that_were_computed(kind: Callable[[int], int]) -> None:
    layers = nn.Linear(3, kind(8)), nn.ReLU(), nn.Linear(kind(8), 2)
    growth = widen(randomise(nn.Sequential(*layers)), 2.0, noise(4, 3))
    assert growth.model.get_submodule("0").out_features == 16


class Aside(nn.Module):
    """Computes something beside its output, which meets a tensor that was not made of weights."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.stem, self.boxes, self.head = nn.Linear(3, dim), nn.Linear(dim, 4), nn.Linear(dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x).relu()
        _ = (self.boxes(features) + torch.arange(4)).sigmoid()
        out: Tensor = self.head(features)
        return out


def test_what_nobody_reads_still_has_to_fit() -> None:
    teacher, x = randomise(Aside(8)), noise(2, 3)
    growth = widen(teacher, 2.0, x)
    assert [(row.name, row.new) for row in growth.report.rows] == [("stem", 16)]
    assert not any("boxes" in note for note in growth.report.notes)
    (boxes,) = [space for space in net2net.spaces(teacher, x) if space.name == "boxes"]
    assert "constant" in (boxes.reason or "")


class Registers(nn.Module):
    """Tokens of its own before those of the input, of which there may be none."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, count, dim))
        self.embed, self.head = nn.Linear(3, dim), nn.Linear(dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.tokens.expand(len(x), -1, -1), self.embed(x)], 1)
        out: Tensor = self.head(tokens.relu())
        return out


@pytest.mark.parametrize("count", [0, 2])
def test_tokens_of_which_there_are_none_are_as_wide_as_the_others(count: int) -> None:
    growth = widen(randomise(Registers(8, count)), 2.0, noise(2, 5, 3))
    assert growth.model.tokens.shape == (1, count, 16)


class SizesBoth(nn.Module):
    """One attribute is the size of features and of a constant that a layer reads."""

    def __init__(self, stem: bool = True) -> None:
        super().__init__()
        self.width = 8
        self.stem = nn.Linear(4, 6) if stem else nn.Flatten()
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.offset = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.a(self.stem(x).relu()).view(-1, self.width).relu()
        hidden = self.b(hidden).view(-1, self.width)
        return self.head(hidden) + self.offset(torch.arange(self.width, dtype=x.dtype).sin())


def test_of_all_that_is_asked_to_grow_what_shares_its_attribute_with_a_constant_stays() -> None:
    growth = widen(randomise(SizesBoth()), 2.0, noise(3, 4))
    assert [growth.model.stem.out_features, growth.model.width] == [12, 8]
    assert "'a' stays at 8: the size of what stays in 'offset'" in str(growth.report)
    teacher = randomise(SizesBoth())
    named = net2net.widen(teacher, {"a": 2.0}, noise(3, 4)).model
    assert isinstance(named, torch.fx.GraphModule) and named.a.out_features == 16
    assert_exact(teacher, named, noise(5, 4, seed=2))


def test_what_reads_the_constant_grows_beside_it() -> None:
    """It fails where that reads it, with and without its own growth: it is not to blame."""

    class Read(SizesBoth):
        def __init__(self) -> None:
            super().__init__()
            self.offset = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))

    growth = widen(randomise(Read()), 2.0, noise(3, 4))
    assert growth.model.offset[0].out_features == 12 and growth.model.width == 8
    assert "'a' stays at 8: the size of what stays in 'offset.0'" in str(growth.report)


def test_where_nothing_else_can_grow_an_attribute_of_a_constant_is_an_error() -> None:
    teacher = randomise(SizesBoth(stem=False))
    with refused(NotGrowableError, "written into the model's code", teacher=teacher):
        net2net.widen(teacher, 2.0, noise(3, 6))


def test_units_of_one_size_of_which_each_kind_grows_its_own_way() -> None:
    """Those behind a function and a norm by whole copies alone; the others by zeros alone."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.norm(F.gelu(m.stem(x).reshape(*x.shape[:-1], m.size)))
        query = m.query(x).reshape(*x.shape[:-1], m.size)
        return m.head(h) + (query @ query.mT).tanh().mean(-1, keepdim=True)

    layers = {"stem": nn.Linear(3, 8), "query": nn.Linear(3, 8)}
    teacher = Written(code, **layers, norm=nn.LayerNorm(8), head=nn.Linear(8, 2))
    teacher.size = 8
    teacher, x = randomise(teacher), noise(2, 5, 3)
    space = net2net.spaces(teacher, x)["stem"]
    assert set(space.modules) == {"stem", "query"} and space.step == 8
    for method in ("replicate", "fresh"):
        assert widen(teacher, 1.6, x, method=method).model.size == 16
    with refused(WidthError, "steps of 8", "gelu", teacher=teacher):
        net2net.widen(teacher, {"stem": 11}, x)
