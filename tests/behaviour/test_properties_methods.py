"""Random networks on a stream of features, under every exact method at any width: the student
computes what the teacher does, or there is none and a typed error says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import net2net
from net2net.errors import VerificationError
from tests.helpers import randomise, tokens

VOCABULARY, LENGTH = 7, 4
EXACT = 1e-9
METHODS = [name for name, one in net2net.METHODS.items() if one.exact and not one.needs_loss]

LIGHT = settings(
    deadline=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]
)

Code = Callable[[Any, Tensor], Tensor]


class Piece(nn.Module):
    """What a function makes of ``[batch, time, n]``. The function makes its parameters when it is
    first run, of the size that the stream has then."""

    def __init__(self, code: Code, name: str) -> None:
        super().__init__()
        self.code, self.name = code, name

    def forward(self, h: Tensor) -> Tensor:
        return self.code(self, h)

    def extra_repr(self) -> str:
        return self.name


def own(m: nn.Module, name: str, make: Callable[[], Any]) -> Any:
    """A part of a module, made the first time."""
    if not hasattr(m, name):
        made = make()
        setattr(m, name, made)
    return getattr(m, name)


def vector(m: nn.Module, h: Tensor, name: str = "weight") -> Tensor:
    return own(m, name, lambda: nn.Parameter(torch.ones(h.shape[-1])))


def linear(m: nn.Module, h: Tensor, out: int = 0, name: str = "a", bias: bool = True) -> Tensor:
    width = h.shape[-1]
    return own(m, name, lambda: nn.Linear(width, out or width, bias=bias))(h)


def layer(make: Callable[[int], nn.Module]) -> Code:
    return lambda m, h: own(m, "layer", lambda: make(h.shape[-1]))(h)


# -- norms -----------------------------------------------------------------------------------------


def rms(m: Any, h: Tensor) -> Tensor:
    return vector(m, h) * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6))


def rms_cast(m: Any, h: Tensor) -> Tensor:
    wide = h.to(torch.promote_types(h.dtype, torch.float32))
    made = wide / torch.sqrt((wide * wide).mean(-1, keepdim=True) + 1e-6)
    return (1.0 + vector(m, h)) * made.type_as(h)


def rms_of_norm(m: Any, h: Tensor) -> Tensor:
    size = h.norm(dim=-1, keepdim=True) * h.shape[-1] ** -0.5
    return h / (size + 1e-8) * vector(m, h)


def rms_by_sum(m: Any, h: Tensor) -> Tensor:
    return h * (h.square().sum(-1, keepdim=True) / h.shape[-1] + 1e-6).rsqrt() * vector(m, h)


def by_variance(unbiased: bool) -> Code:
    def code(m: Any, h: Tensor) -> Tensor:
        centred = h - h.mean(-1, keepdim=True)
        variance = h.var(-1, keepdim=True, unbiased=unbiased)
        return centred / torch.sqrt(variance + 1e-5) * vector(m, h) + vector(m, h, "bias")

    return code


def by_deviation(m: Any, h: Tensor) -> Tensor:
    return (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + 1e-6) * vector(m, h)


def by_squares(m: Any, h: Tensor) -> Tensor:
    centred = h - h.mean(dim=-1, keepdim=True)
    return vector(m, h) * centred * (centred.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()


def by_moments(m: Any, h: Tensor) -> Tensor:
    mean = h.mean(-1, keepdim=True)
    variance = h.pow(2).mean(-1, keepdim=True) - mean.pow(2)
    return (h - mean) * (variance + 1e-5).rsqrt() * vector(m, h)


def both_at_once(m: Any, h: Tensor) -> Tensor:
    variance, mean = torch.var_mean(h, -1, keepdim=True, unbiased=False)
    return (h - mean) / (variance + 1e-5).sqrt() * vector(m, h)


def in_place(m: Any, h: Tensor) -> Tensor:
    made = h - h.mean(-1, keepdim=True)
    made /= (made.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return made.mul_(vector(m, h)).add_(vector(m, h, "bias"))


def adaptive(m: Any, h: Tensor) -> Tensor:
    told = linear(m, h.mean(1, keepdim=True).tanh(), 3, "told")
    scale, shift = linear(m, told, h.shape[-1], "scale"), linear(m, told, h.shape[-1], "shift")
    return F.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift


NORMS: dict[str, Code] = {
    "layer": layer(nn.LayerNorm),
    "layer without bias": layer(lambda n: nn.LayerNorm(n, bias=False)),
    "layer without scale": layer(lambda n: nn.LayerNorm(n, elementwise_affine=False)),
    "rms layer": layer(nn.RMSNorm),
    "rms without scale": layer(lambda n: nn.RMSNorm(n, elementwise_affine=False)),
    "1 + w": lambda m, h: F.layer_norm(h, h.shape[-1:], 1 + vector(m, h), vector(m, h, "bias")),
    "rms 1 + w": lambda m, h: F.rms_norm(h, h.shape[-1:], weight=vector(m, h) + 1),
    "rms exp": lambda m, h: F.rms_norm(h, h.shape[-1:], weight=vector(m, h).exp()),
    "rms": rms, "rms cast": rms_cast, "rms of norm": rms_of_norm, "rms by sum": rms_by_sum,
    "variance": by_variance(False), "unbiased": by_variance(True), "deviation": by_deviation,
    "squares": by_squares, "moments": by_moments, "both": both_at_once, "in place": in_place,
    "normalize": lambda m, h: F.normalize(h, dim=-1) * vector(m, h),
    "normalize √d": lambda m, h: F.normalize(h, dim=-1) * h.shape[-1] ** 0.5 * vector(m, h),
    "centre": lambda m, h: h - h.mean(-1, keepdim=True),
    "adaptive": adaptive,
    "batch": lambda m, h: layer(nn.BatchNorm1d)(m, h.flatten(0, 1)).view_as(h),
    "channels": lambda m, h: own(m, "layer", lambda: nn.GroupNorm(1, h.shape[-1]))(
        h.flatten(0, 1)
    ).view_as(h),
    "twice": lambda m, h: F.layer_norm(
        own(m, "layer", lambda: nn.RMSNorm(h.shape[-1]))(h), h.shape[-1:]
    ),
    "twice the same": lambda m, h: layer(nn.LayerNorm)(m, layer(nn.LayerNorm)(m, h)),
    "none": lambda m, h: h,
}  # fmt: skip


# -- layers ----------------------------------------------------------------------------------------


def attention(
    heads: int, groups: int, fused: bool = False, normed: str = "", scale: str = "",
    norm: Callable[[int], nn.Module] = nn.RMSNorm,
) -> Code:  # fmt: skip
    def code(m: Any, h: Tensor) -> Tensor:
        batch, time, _ = h.shape
        size = 3
        if fused:
            q, k, v = linear(m, h, 3 * heads * size, "qkv").chunk(3, -1)
        else:
            q = linear(m, h, heads * size, "q")
            k, v = (linear(m, h, groups * size, name) for name in "kv")
        if normed == "all":
            q, k = (own(m, f"n{i}", lambda: norm(heads * size))(x) for i, x in enumerate((q, k)))
        q, k, v = (x.view(batch, time, -1, size).transpose(1, 2) for x in (q, k, v))
        if normed == "each":
            q, k = (own(m, f"n{i}", lambda: norm(size))(x) for i, x in enumerate((q, k)))
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        if scale:
            made = ((q @ k.mT) * h.shape[-1] ** -0.5).softmax(-1) @ v
        else:
            made = F.scaled_dot_product_attention(q, k, v)
        made = made.transpose(1, 2).reshape(batch, time, -1)
        if normed == "output":
            made = own(m, "n", lambda: norm(heads * size))(made)
        return linear(m, made, h.shape[-1], "o")

    return code


def mlp(function: Callable[[Tensor], Tensor]) -> Code:
    return lambda m, h: linear(m, function(linear(m, h, 5)), h.shape[-1], "b")


def gated(m: Any, h: Tensor) -> Tensor:
    made = F.silu(linear(m, h, 5, "gate")) * linear(m, h, 5, "up")
    return linear(m, made, h.shape[-1], "down")


def gated_fused(m: Any, h: Tensor) -> Tensor:
    a, b = linear(m, h, 10).chunk(2, -1)
    return linear(m, a * torch.sigmoid(b), h.shape[-1], "b")


def normed_inside(norm: Callable[[int], nn.Module]) -> Code:
    def code(m: Any, h: Tensor) -> Tensor:
        made = own(m, "inner", lambda: norm(6))(F.gelu(linear(m, h, 6)))
        return linear(m, made, h.shape[-1], "b")

    return code


def recurrence(kind: Any, **options: Any) -> Code:
    def code(m: Any, h: Tensor) -> Tensor:
        made = own(m, "rnn", lambda: kind(h.shape[-1], 4, batch_first=True, **options))(h)[0]
        return linear(m, made, h.shape[-1], "b")

    return code


def convolution(groups: int = 1, inner: int = 0) -> Code:
    def code(m: Any, h: Tensor) -> Tensor:
        n = h.shape[-1]
        made = own(m, "c", lambda: nn.Conv1d(n, inner or n, 3, padding=1, groups=groups or n))
        made = made(h.mT).mT
        return linear(m, made.tanh(), n, "b") if inner else made

    return code


def excite(m: Any, h: Tensor) -> Tensor:
    return h * linear(m, linear(m, h.mean(1, keepdim=True), 3).relu(), h.shape[-1], "b").sigmoid()


def of_function(function: Callable[[Tensor], Tensor]) -> Code:
    def code(m: Any, h: Tensor) -> Tensor:
        w = own(m, "w", lambda: nn.Parameter(torch.ones(h.shape[-1], h.shape[-1])))
        return F.linear(h, function(w))

    return code


def pooled(m: Any, h: Tensor) -> Tensor:
    weight = torch.softmax(linear(m, h, 1) / h.shape[-1] ** 0.5, 1)
    return (weight * h).sum(1, keepdim=True).expand_as(h)


def same_twice(m: Any, h: Tensor) -> Tensor:
    return linear(m, linear(m, h).tanh())


def transposed(m: Any, h: Tensor) -> Tensor:
    w = own(m, "w", lambda: nn.Parameter(torch.ones(5, h.shape[-1])))
    return (h @ w.mT).relu() @ w


def joined(m: Any, h: Tensor) -> Tensor:
    return linear(m, torch.cat([h, linear(m, h, 3).tanh()], -1), h.shape[-1], "b")


def parted(m: Any, h: Tensor) -> Tensor:
    a, b = linear(m, h, 8).split(4, -1)
    return linear(m, torch.cat([b, a.tanh()], -1), h.shape[-1], "b")


def masked(m: Any, h: Tensor) -> Tensor:
    mask = torch.arange(h.shape[1])[:, None] % 2 == 0
    return linear(m, h).masked_fill(mask, 0.0) + torch.where(mask, h, linear(m, h, name="b"))


def filled(m: Any, h: Tensor) -> Tensor:
    mask = torch.arange(h.shape[1])[:, None] % 2 == 0
    return torch.where(mask, linear(m, h), torch.zeros_like(h)).masked_fill(~mask, 0.5)


def clamped(m: Any, h: Tensor) -> Tensor:
    return linear(m, h).clamp(-0.5, 1.0)


def between_norms(m: Any, h: Tensor) -> Tensor:
    """Its own output, normalised."""
    return own(m, "post", lambda: nn.LayerNorm(h.shape[-1]))(mlp(torch.tanh)(m, h))


def written(m: Any, h: Tensor) -> Tensor:
    out = torch.zeros_like(h)
    out[:, 1:] = linear(m, h)[:, :-1]
    return out


def repeated(m: Any, h: Tensor) -> Tensor:
    return F.layer_norm(linear(m, h, 4).repeat_interleave(2, -1), (8,)) @ own(
        m, "w", lambda: nn.Parameter(torch.ones(8, h.shape[-1]))
    )


def heads_normed(m: Any, h: Tensor) -> Tensor:
    """Over heads and what they hold, at once."""
    made = linear(m, h, 6).unflatten(-1, (-1, 3))
    made = F.layer_norm(made, made.shape[-2:]).flatten(-2)
    return linear(m, made.tanh(), h.shape[-1], "b")


def flat_normed(m: Any, h: Tensor) -> Tensor:
    """Over features and time, flattened."""
    flat = linear(m, h, 5).tanh().flatten(1)
    flat = own(m, "n", lambda: nn.LayerNorm(flat.shape[-1]))(flat)
    return linear(m, flat, h.shape[-1], "b")[:, None].expand_as(h)


def whole_normed(m: Any, h: Tensor) -> Tensor:
    inner = linear(m, h, 5).tanh()
    return linear(m, F.layer_norm(inner, inner.shape[1:]), h.shape[-1], "b")


def cat_normed(m: Any, h: Tensor) -> Tensor:
    """One norm over two groups."""
    both = torch.cat([linear(m, h, 3), linear(m, h, 4, "c").tanh()], -1)
    return linear(m, own(m, "n", lambda: nn.LayerNorm(7))(both), h.shape[-1], "b")


def shifted(m: Any, h: Tensor) -> Tensor:
    return F.pad(linear(m, h), (0, 0, 1, 0))[:, :-1]


LAYERS: dict[str, Code] = {
    "linear": lambda m, h: linear(m, h),
    "without bias": lambda m, h: linear(m, h, bias=False),
    "relu": mlp(F.relu), "gelu": mlp(F.gelu), "softplus": mlp(F.softplus),
    "squared": mlp(lambda x: x.relu().square()), "softmax": mlp(lambda x: x.softmax(-1)),
    "prelu": lambda m, h: linear(
        m, own(m, "p", lambda: nn.PReLU(5))(linear(m, h, 5).mT).mT, h.shape[-1], "b"
    ),
    "gated": gated, "gated, fused": gated_fused,
    "norm inside": normed_inside(nn.LayerNorm), "rms inside": normed_inside(nn.RMSNorm),
    "attention": attention(2, 2), "grouped": attention(4, 2), "fused": attention(2, 2, True),
    "one key": attention(2, 1), "normed heads": attention(2, 2, normed="each"),
    "normed queries": attention(2, 2, normed="all"), "by width": attention(2, 2, scale="width"),
    "normed queries, centred": attention(2, 2, normed="all", norm=nn.LayerNorm),
    "normed heads, centred": attention(2, 2, normed="each", norm=nn.LayerNorm),
    "normed output": attention(2, 2, normed="output"),
    "normed output, centred": attention(2, 2, normed="output", norm=nn.LayerNorm),
    "lstm": recurrence(nn.LSTM), "gru": recurrence(nn.GRU, bidirectional=True),
    "rnn": recurrence(nn.RNN, num_layers=2),
    "convolution": convolution(), "depthwise": convolution(0), "depthwise wider": convolution(0, 0),
    "convolution in two groups": convolution(1, 4),
    "excite": excite, "pooled": pooled, "same twice": same_twice, "transposed": transposed,
    "joined": joined, "parted": parted, "masked": masked, "filled": filled, "clamped": clamped,
    "post-normed": between_norms, "written": written, "shifted": shifted,
    "of tanh": of_function(torch.tanh), "of halves": of_function(lambda w: w / 2),
    "of a sum": of_function(lambda w: w + 1), "of a square": of_function(lambda w: w * w),
    "of a norm": of_function(lambda w: F.normalize(w, dim=1)),
    "symmetric": of_function(lambda w: w + w.mT), "of a size": of_function(lambda w: w / len(w)),
    "heads normed": heads_normed, "flat normed": flat_normed, "all normed": whole_normed,
    "joined, normed": cat_normed, "repeated": repeated,
    "by size": lambda m, h: linear(m, h) * h.shape[-1] ** -0.5,
    "plus": lambda m, h: linear(m, h) + 0.5,
}  # fmt: skip


# -- networks --------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "pre": lambda b, h: h + b.layer(b.norm(h)),
    "post": lambda b, h: b.norm(h + b.layer(h)),
    "plain": lambda b, h: b.layer(b.norm(h)),
    "scaled": lambda b, h: h + b.layer(b.norm(h)) * vector(b, h, "scale"),
    "scaled 1 +": lambda b, h: h + (1 + vector(b, h, "scale")) * b.layer(b.norm(h)),
    "both scaled": lambda b, h: vector(b, h, "s1") * h + vector(b, h, "s2") * b.layer(b.norm(h)),
    "by a number": lambda b, h: 0.5 * h + b.layer(b.norm(h)) / 3,
    "by a parameter": lambda b, h: h + b.layer(b.norm(h)) * own(
        b, "rate", lambda: nn.Parameter(torch.ones(1))
    ),
    "in place": lambda b, h: h.clone().add_(b.layer(b.norm(h)), alpha=0.7),
    "product": lambda b, h: h * b.layer(b.norm(h)).sigmoid(),
    "normed": lambda b, h: b.norm(h) + b.layer(h),
    "shifted": lambda b, h: h + b.layer(b.norm(h)) + vector(b, h, "shift"),
    "less": lambda b, h: h - b.layer(b.norm(h)),
    "parallel": lambda b, h: h + b.layer(b.norm(h)) + linear(b, b.norm(h), name="beside"),
    "mean": lambda b, h: (h + b.layer(b.norm(h))) / 2,
    "drop": lambda b, h: h + F.dropout(b.layer(b.norm(h)), 0.1, b.training),
}  # fmt: skip


class Block(nn.Module):
    def __init__(self, way: str, norm: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.way, self.norm, self.layer = way, norm, layer

    def forward(self, h: Tensor) -> Tensor:
        return WAYS[self.way](self, h)

    def extra_repr(self) -> str:
        return self.way


STARTS: dict[str, Code] = {
    "plain": lambda m, h: h,
    "positions": lambda m, h: h + own(
        m, "positions", lambda: nn.Parameter(torch.ones(1, LENGTH, h.shape[-1]))
    ),
    "root": lambda m, h: h * math.sqrt(h.shape[-1]),
    "root of the weight": lambda m, h: h * m.embed.weight.shape[1] ** 0.5,
    "token": lambda m, h: torch.cat(
        [own(m, "token", lambda: nn.Parameter(torch.ones(1, 1, h.shape[-1]))).expand(
            len(h), -1, -1), h[:, 1:]], 1
    ),
    "normed": lambda m, h: own(m, "first", lambda: nn.LayerNorm(h.shape[-1]))(h),
    "projected": lambda m, h: linear(m, h, 6, "project"),
}  # fmt: skip
ENDS: dict[str, Code] = {
    "head": lambda m, h: linear(m, h, 3, "head"),
    "tied": lambda m, h: F.linear(h, m.embed.weight),
    "tied, by root": lambda m, h: F.linear(h, m.embed.weight) * h.shape[-1] ** -0.5,
    "pooled": lambda m, h: linear(m, h.mean(1), 3, "head"),
    "first": lambda m, h: linear(m, h[:, 0].tanh(), 3, "head"),
    "largest": lambda m, h: linear(m, h.amax(1), 3, "head"),
}  # fmt: skip


class Network(nn.Module):
    def __init__(self, start: str, blocks: list[nn.Module], norm: nn.Module, end: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 6)
        self.start, self.end = start, end
        self.blocks, self.norm = nn.ModuleList(blocks), norm

    def forward(self, x: Tensor) -> Tensor:
        h = STARTS[self.start](self, self.embed(x))
        for block in self.blocks:
            h = block(h)
        return ENDS[self.end](self, self.norm(h))

    def extra_repr(self) -> str:
        return f"{self.start} → {self.end}"


X, Y = (tokens(3, LENGTH, below=VOCABULARY, seed=seed) for seed in (1, 2))


@st.composite
def pieces(draw: st.DrawFn, of: dict[str, Code]) -> Piece:
    name = draw(st.sampled_from(list(of)))
    return Piece(of[name], name)


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    # one norm in most places, for each second kind of norm may want the stream otherwise
    common = draw(st.sampled_from(list(NORMS)))

    def norm() -> Piece:
        other = draw(st.integers(0, 3)) == 0
        name = draw(st.sampled_from(list(NORMS))) if other else common
        return Piece(NORMS[name], name)

    blocks: list[nn.Module] = [
        Block(draw(st.sampled_from(list(WAYS))), norm(), draw(pieces(LAYERS)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    if len(blocks) > 1 and draw(st.integers(0, 4)) == 0:
        blocks[-1] = blocks[0]
    made = Network(
        draw(st.sampled_from(list(STARTS))), blocks, norm(), draw(st.sampled_from(list(ENDS)))
    )
    made(X)
    return randomise(made, seed=draw(st.integers(0, 99)))


@st.composite
def widths(draw: st.DrawFn, teacher: nn.Module) -> Any:
    factor = draw(st.sampled_from([1.2, 1.34, 1.5, 2.0, 2.5, 3.0]))
    if draw(st.booleans()):
        return factor
    table = net2net.spaces(teacher, X)
    if not table.growable:
        return factor
    space = draw(st.sampled_from(table.growable))
    return {space.name: draw(st.sampled_from([factor, space.size + space.step]))}


def difference(teacher: nn.Module, student: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        old, new = teacher(x), student(x)
    return float((old - new).abs().max() / old.abs().max())


@given(teacher=networks(), method=st.sampled_from(METHODS), data=st.data())
@settings(LIGHT, max_examples=6)
def test_the_student_is_exact_or_a_typed_refusal(
    teacher: nn.Module, method: str, data: st.DataObject
) -> None:
    try:  # with a further input nothing is exported, which takes seconds
        wanted = data.draw(widths(teacher))
        growth = net2net.widen(teacher, wanted, X, method=method, also=[X], verify=False)
    except net2net.Net2NetError as error:
        event(f"refused: {type(error).__name__}")
        assert not isinstance(error, VerificationError)
        return
    event("grew")
    for x in (X, Y):
        assert difference(teacher, growth.model, x) <= EXACT
    counted = sum(p.numel() for p in growth.model.parameters())
    old, new = growth.report.parameters
    assert new == counted and (new > old) == bool(growth.report.rows)
