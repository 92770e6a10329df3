"""Random sequence networks: attention, norms, gates and recurrence, as people write them by hand.
All of them grow, and the student computes the same."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.helpers import randomise, tokens, widen

VOCABULARY, LENGTH = 7, 4

LIGHT = settings(
    deadline=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Shape:
    """Sizes that all layers of a network share."""

    heads: int
    groups: int
    head_dim: int

    @property
    def width(self) -> int:
        return self.heads * self.head_dim


# -- norms -----------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class HandLayerNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() + (
            self.bias
        )


NORMS = {
    "layer": nn.LayerNorm,
    "layer-hand": HandLayerNorm,
    "rms-hand": RMSNorm,
    "none": lambda width: nn.Identity(),
}


# -- mixing over time ------------------------------------------------------------------------------


class Attention(nn.Module):
    """Multi-head attention; heads never change their size, so code may hold ``head_dim``."""

    def __init__(self, shape: Shape, way: str, product: str) -> None:
        super().__init__()
        self.head_dim, self.repeats = shape.head_dim, shape.heads // shape.groups
        self.way, self.product = way, product
        width = shape.width
        if way == "grouped":
            self.q = nn.Linear(width, width)
            self.k = nn.Linear(width, shape.groups * shape.head_dim, bias=False)
            self.v = nn.Linear(width, shape.groups * shape.head_dim)
        elif way == "separate":
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.way == "chunked":
            q, k, v = (self.heads(part) for part in self.qkv(x).chunk(3, -1))
            return q, k, v
        if self.way == "interleaved":  # q, k and v of one head lie beside each other
            each = self.qkv(x).view(*x.shape[:2], -1, 3 * self.head_dim).transpose(1, 2)
            q, k, v = each.chunk(3, -1)
            return q, k, v
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        if self.way == "grouped" and self.repeats > 1:
            k = k.repeat_interleave(self.repeats, 1)
            batch, groups, time, size = v.shape
            v = v[:, :, None].expand(batch, groups, self.repeats, time, size)
            v = v.reshape(batch, groups * self.repeats, time, size)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)
        if self.product == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.product == "einsum":
            scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / self.head_dim**0.5
            mixed = torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)
        else:
            mixed = (q @ k.transpose(-2, -1) * self.head_dim**-0.5).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Projections(nn.Module):
    """Attention whose weights have an axis for heads: ``[width, heads, head_dim]``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        size = (shape.width, shape.heads, shape.head_dim)
        self.q, self.k, self.v = (nn.Parameter(torch.empty(size)) for _ in range(3))
        self.out = nn.Parameter(torch.empty(shape.heads, shape.head_dim, shape.width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btw,whd->bthd", x, p) for p in (self.q, self.k, self.v))
        weights = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
        return torch.einsum("bhqk,bkhd,hdw->bqw", weights, v, self.out)


class Recurrence(nn.Module):
    def __init__(self, width: int, kind: type[nn.RNNBase], both: bool) -> None:
        super().__init__()
        self.rnn = kind(width, 3, batch_first=True, bidirectional=both)
        self.out = nn.Linear(6 if both else 3, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


class Gated(nn.Module):
    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.up = nn.Linear(width, 10 if fused else 5)
        self.gate = None if fused else nn.Linear(width, 5, bias=False)
        self.down = nn.Linear(5, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            up, gate = self.up(x).chunk(2, -1)
        else:
            up, gate = self.up(x), self.gate(x)
        return self.down(up * F.silu(gate))


# -- networks --------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, norm: nn.Module, layer: nn.Module, first: bool) -> None:
        super().__init__()
        self.norm, self.layer, self.first = norm, layer, first

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(self.norm(x)) if self.first else self.norm(x + self.layer(x))


class Network(nn.Module):
    def __init__(self, shape: Shape, blocks: list[Block], positions: bool, tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, shape.width)
        self.positions = nn.Embedding(LENGTH, shape.width) if positions else None
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(shape.width, VOCABULARY, bias=not tied)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        values = self.embed(x)
        if self.positions is not None:
            values = values + self.positions(torch.arange(x.size(1)))
        for block in self.blocks:
            values = block(values)
        return self.head(values)


@st.composite
def layers(draw: st.DrawFn, shape: Shape) -> nn.Module:
    kind = draw(st.sampled_from(["attention", "projections", "recurrence", "gated", "gated"]))
    if kind == "attention":
        way = draw(st.sampled_from(["separate", "chunked", "interleaved", "grouped"]))
        return Attention(shape, way, draw(st.sampled_from(["fused", "einsum", "matmul"])))
    if kind == "projections":
        return Projections(shape)
    if kind == "recurrence":
        cell = draw(st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]))
        return Recurrence(shape.width, cell, draw(st.booleans()))
    return Gated(shape.width, draw(st.booleans()))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    heads = draw(st.sampled_from([1, 2, 4]))
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if heads % g == 0]))
    shape = Shape(heads, groups, draw(st.sampled_from([2, 3])))
    blocks = []
    for _ in range(draw(st.integers(1, 3))):
        norm = NORMS[draw(st.sampled_from(sorted(NORMS)))](shape.width)
        blocks.append(Block(norm, draw(layers(shape)), draw(st.booleans())))
    return Network(shape, blocks, draw(st.booleans()), draw(st.booleans()))


@given(networks(), st.sampled_from([2, 3]))
@settings(LIGHT, max_examples=30)
def test_random_sequence_networks_grow(network: Network, factor: int) -> None:
    teacher = randomise(network)
    growth = widen(teacher, factor, tokens(2, LENGTH, below=VOCABULARY))
    event(f"{len(growth.report.rows)} spaces grew")
    grown = growth.report.parameters
    assert grown[1] > grown[0]
