"""What is said of new units, against the operations themselves; and what cannot be had."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.new_units import follow as module
from net2net.infer.new_units.follow import follow, why_not
from net2net.infer.new_units.holds import Enlarged, Holds, NotPossible, State, same
from net2net.infer.new_units.on import On
from net2net.infer.units import Axis
from net2net.trace.graph import Node
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace
from tests.helpers import noise, randomise

Code = Callable[[Any, Tensor], Tensor]
N = 6


class Network(nn.Module):
    """``head(end(code(stem(x))))``, of tensors ``[rows, time, features]``."""

    def __init__(
        self, code: Code, end: Callable[[int], nn.Module], parts: dict[str, Any], n: int = N
    ) -> None:
        super().__init__()
        self.stem, self.piece = nn.Linear(3, n), Piece(code, parts)
        self.end, self.head = end(n), nn.Linear(n, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.end(self.piece(self.stem(x))))


class Piece(nn.Module):
    def __init__(self, code: Code, parts: dict[str, Any]) -> None:
        super().__init__()
        self.code = code
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, h: Tensor) -> Tensor:
        return self.code(self, h)


def vector() -> nn.Parameter:
    return nn.Parameter(torch.ones(N))


def one() -> nn.Parameter:
    return nn.Parameter(torch.ones(1))


def into(h: Tensor, value: Tensor) -> Tensor:
    h[:, 1:3] = value
    return h


X = noise(2, 4, 3)
"""Rows, time, features."""

SMALL = torch.arange(4)[:, None] < 2

# -- operations alone ------------------------------------------------------------------------------

FAMILIES: dict[str, tuple[Code, Callable[[], dict[str, Any]]]] = {
    "nothing": (lambda m, h: h, dict),
    **{
        name: ((lambda m, h, f=function: f(h)), dict)
        for name, function in {
            "relu": torch.relu, "gelu": F.gelu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
            "softplus": F.softplus, "exp": torch.exp, "neg": torch.neg, "square": torch.square,
            "abs": torch.abs, "leaky": F.leaky_relu, "relu6": F.relu6, "expm1": torch.expm1,
            "pow 3": lambda h: h**3, "pow 2": lambda h: h.pow(2),
            "clamp": lambda h: h.clamp(-0.2, 0.3), "clamp from above zero": lambda h: h.clamp(0.2),
            "times": lambda h: h * 1.7, "over": lambda h: h / 3, "inverse": lambda h: 1 / h,
            "plus": lambda h: h + 0.3, "minus": lambda h: 0.3 - h, "less itself": lambda h: h - h,
            "doubled": lambda h: h + h, "residual": lambda h: h + h.tanh(),
            "with alpha": lambda h: torch.add(h, h.tanh(), alpha=0.4),
            "squared": lambda h: h * h, "silu by hand": lambda h: h * h.sigmoid(),
            "over one and": lambda h: h / (1 + h.abs()), "itself over": lambda h: h / h.exp(),
            "centred": lambda h: h - h.mean(-1, keepdim=True),
            "the mean less": lambda h: h.mean(-1, keepdim=True) - h,
            "twice the mean": lambda h: h - 2 * h.mean(-1, keepdim=True),
            "plus the mean": lambda h: h + h.mean(-1, keepdim=True),
            "by the mean": lambda h: h * h.mean(-1, keepdim=True),
            "by the mean square": lambda h: h * h.square().mean(-1, keepdim=True).rsqrt(),
            "by the sum": lambda h: h * h.sum(-1, keepdim=True),
            "by the norm": lambda h: h / h.norm(dim=-1, keepdim=True),
            "normalize": lambda h: F.normalize(h, dim=-1),
            "by the norm 1": lambda h: h / h.norm(p=1, dim=-1, keepdim=True),
            "by the norm inf": lambda h: h / h.norm(p=float("inf"), dim=-1, keepdim=True),
            "by the norm 0": lambda h: h * h.norm(p=0, dim=-1, keepdim=True),
            "by the norm -1": lambda h: h * torch.linalg.vector_norm(
                h, ord=-1, dim=-1, keepdim=True
            ),
            "by the variance": lambda h: h / h.var(-1, keepdim=True),
            "by the deviation": lambda h: h / h.std(-1, keepdim=True, unbiased=False),
            "by the corrected": lambda h: h / h.var(-1, keepdim=True, correction=2).sqrt(),
            "by the largest": lambda h: h / h.amax(-1, keepdim=True),
            "by the mean over all": lambda h: h * h.mean(),
            "by the mean over time": lambda h: h * h.mean(1, keepdim=True),
            "softmax": lambda h: h.softmax(-1), "softmax over time": lambda h: h.softmax(1),
            "summed over time": lambda h: h.cumsum(1), "sorted": lambda h: h.sort(-1)[0],
            "transposed": lambda h: h.mT.contiguous().mT, "flipped": lambda h: h.flip(1),
            "padded": lambda h: F.pad(h, (0, 0, 1, 0))[:, 1:],
            "padded by 1": lambda h: F.pad(h, (0, 0, 1, 0), value=1.0)[:, :-1],
            "cat": lambda h: torch.cat([h[:, 2:], h.tanh()[:, :2]], 1),
            "cat of sigmoids": lambda h: torch.cat([h[:, 2:], h.sigmoid()[:, :2]], 1),
            "where": lambda h: torch.where(SMALL, h, h.tanh()),
            "where zero": lambda h: torch.where(SMALL, h, torch.zeros_like(h)),
            "where a number": lambda h: torch.where(SMALL, h, 0.5),
            "where zero and a number": lambda h: torch.where(SMALL, 0.5, torch.zeros_like(h)),
            "masked": lambda h: h.masked_fill(SMALL, 0.0),
            "masked by a number": lambda h: h.masked_fill(SMALL, 0.7),
            "masked by values": lambda h: h.masked_fill(h > 0.1, 0.7),
            "where values": lambda h: torch.where(h > 0.1, h, 0.0),
            "where small": lambda h: torch.where(h < 0.1, 0.7, h),
            "greater": lambda h: (h > -0.1).double(), "maximum": lambda h: torch.maximum(h, -h),
            "shifted in place": lambda h: h.clone().add_(0.3).mul_(2.0),
            "written": lambda h: torch.zeros_like(h).copy_(h),
            "filled in part": lambda h: torch.cat([h, h], 1).index_fill(1, torch.tensor([0]), 3.0),
            "hardtanh": F.hardtanh, "hardtanh above zero": lambda h: F.hardtanh(h, 0.2, 0.5),
            "threshold": lambda h: F.threshold(h, 0.1, 0.3), "elu": F.elu, "sign": torch.sign,
            "mean pooled": lambda h: h.mean(1, keepdim=True),
            "average pooled": lambda h: F.avg_pool1d(h.mT, 2).mT,
            "largest pooled": lambda h: F.max_pool1d(h.mT, 2).mT,
            "interpolated": lambda h: F.interpolate(h.mT, scale_factor=2, mode="linear").mT,
            "lerp": lambda h: torch.lerp(h, h.tanh(), 0.3),
            "addcmul": lambda h: torch.addcmul(h, h, h.tanh(), value=0.5),
            "addcdiv": lambda h: torch.addcdiv(h, h, 2 + h.tanh()),
            "hypot": lambda h: torch.hypot(h, 2 * h), "atan2": lambda h: torch.atan2(h, 1 + h * h),
            "floor": torch.floor, "cos": torch.cos, "dropout": lambda h: F.dropout(h, 0.5, False),
            "glu over time": lambda h: F.glu(h, 1), "logsumexp": lambda h: h - h.logsumexp(1, True),
            "rms": lambda h: F.rms_norm(h, h.shape[-1:]),
            "layer": lambda h: F.layer_norm(h, h.shape[-1:]),
            "group": lambda h: F.group_norm(h.mT, 1).mT,
            "instance": lambda h: F.instance_norm(h.mT).mT,
            "expanded": lambda h: h[:, :1].expand_as(h),
            "root of width": lambda h: h * h.shape[-1] ** 0.5,
            "over root of width": lambda h: h / h.shape[-1] ** 0.5,
            "width over": lambda h: h.shape[-1] / (1 + h.abs()),
            "outer": lambda h: h * h.mean(-1, keepdim=True).mean(1, keepdim=True).tanh(),
            "attended": lambda h: F.scaled_dot_product_attention(X @ X.mT, X @ X.mT, h),
            "mixed": lambda h: (X @ X.mT).softmax(-1) @ h,
        }.items()
    },
    "scaled": (lambda m, h: h * m.a, lambda: {"a": vector()}),
    "scaled twice": (lambda m, h: h * m.a * m.b, lambda: {"a": vector(), "b": vector()}),
    "divided": (lambda m, h: h / m.a, lambda: {"a": vector()}),
    "scaled by 1 +": (lambda m, h: h * (1 + m.a), lambda: {"a": vector()}),
    "scaled by 1 -": (lambda m, h: h * (1 - m.a), lambda: {"a": vector()}),
    "scaled by exp": (lambda m, h: h * m.a.exp(), lambda: {"a": vector()}),
    "scaled by a product": (lambda m, h: h * (m.a * m.b), lambda: {"a": vector(), "b": vector()}),
    "scaled by a sum": (lambda m, h: h * (m.a + m.b), lambda: {"a": vector(), "b": vector()}),
    "shifted": (lambda m, h: h + m.a, lambda: {"a": vector()}),
    "shifted twice": (lambda m, h: h + m.a + m.b, lambda: {"a": vector(), "b": vector()}),
    "shifted by": (lambda m, h: torch.add(h, m.a, alpha=0.3), lambda: {"a": vector()}),
    "less": (lambda m, h: m.a - h, lambda: {"a": vector()}),
    "shift, scaled": (lambda m, h: (h + m.a) * m.b, lambda: {"a": vector(), "b": vector()}),
    "scaled residual": (
        lambda m, h: h + m.a * h.tanh(), lambda: {"a": vector()}
    ),
    "two scales": (lambda m, h: m.a * h + m.b * h.tanh(), lambda: {"a": vector(), "b": vector()}),
    "same scale": (lambda m, h: m.a * (m.a * h).tanh(), lambda: {"a": vector()}),
    **{
        name: ((lambda m, h, f=function: f(m, h)), lambda: {"a": vector(), "o": one()})
        for name, function in {
            "maximum of a vector": lambda m, h: torch.maximum(h, m.a),
            "maximum of one": lambda m, h: torch.maximum(h, m.o),
            "hypot of a vector": lambda m, h: torch.hypot(h, m.a),
            "hypot of one": lambda m, h: torch.hypot(m.o, h),
            "lerp to a vector": lambda m, h: torch.lerp(h, m.a, 0.3),
            "lerp to one": lambda m, h: torch.lerp(h, m.o.expand_as(h), 0.3),
            "addcmul of one": lambda m, h: torch.addcmul(m.o, h, h),
            "addcmul of a vector": lambda m, h: torch.addcmul(m.a, h, h),
            "addcmul by a vector": lambda m, h: torch.addcmul(h, m.a, h),
            "where one": lambda m, h: torch.where(SMALL, h, m.o),
            "where a vector": lambda m, h: torch.where(SMALL, h, m.a),
            "where one or zero": lambda m, h: torch.where(SMALL, m.o, 0 * h),
            "masked by one": lambda m, h: h.masked_fill(SMALL, m.o.squeeze()),
            "greater than a vector": lambda m, h: torch.where(h > m.a, h, 0.0),
            "where a vector says": lambda m, h: torch.where(m.a > 0.8, h, 0.0),
            "clamped by a vector": lambda m, h: torch.clamp(h, max=m.a),
            "to a power": lambda m, h: (h * h).pow(m.o.abs()),
            "over a vector": lambda m, h: m.a / (1 + h * h), "over one": lambda m, h: m.o / h,
            "times one": lambda m, h: h * m.o, "plus one": lambda m, h: h + m.o,
            "less one": lambda m, h: m.o - h, "divided by one": lambda m, h: h / m.o,
            "floored by a vector": lambda m, h: torch.floor_divide(h, m.a),
            "remainder of a vector": lambda m, h: torch.remainder(h, m.a),
            "signs of a vector": lambda m, h: torch.copysign(h, m.a),
            "less scaled": lambda m, h: torch.sub(h, h.mean(-1, keepdim=True), alpha=0.5),
            "mean, scaled": lambda m, h: h * m.a - (h * m.a).mean(-1, keepdim=True),
            "less another mean": lambda m, h: h - (h * m.a).mean(-1, keepdim=True),
            "centred, in place": lambda m, h: h.clone().sub_(h.mean(-1, keepdim=True)).mul_(m.a),
            "written in part": lambda m, h: into(h.clone(), m.a),
            "index put": lambda m, h: h.index_put((torch.tensor([0]),), m.a),
            "index add": lambda m, h: h.index_add(1, torch.tensor([0, 1, 1, 3]), h.tanh()),
            "softmax pooled": lambda m, h: ((h * m.a).sum(-1, keepdim=True).softmax(1) * h).sum(
                1, keepdim=True),
            "dot with a vector": lambda m, h: h * (h * m.a).sum(-1, keepdim=True),
            "matmul with a vector": lambda m, h: h * (h @ m.a)[..., None],
            "mean of a product": lambda m, h: h * (h * m.a).mean(-1, keepdim=True),
            "rms of a vector": lambda m, h: h * m.a / m.a.square().mean().sqrt(),
            "rms, scaled before": lambda m, h: F.rms_norm(h * m.a, h.shape[-1:]),
            "layer, scaled before": lambda m, h: F.layer_norm(h * m.a, h.shape[-1:]),
            "layer, shifted before": lambda m, h: F.layer_norm(h + m.a, h.shape[-1:]),
            "layer, centred before": lambda m, h: F.layer_norm(
                h - h.mean(-1, keepdim=True), h.shape[-1:]),
            "rms, centred before": lambda m, h: F.rms_norm(
                h - h.mean(-1, keepdim=True), h.shape[-1:]),
            "cosine": lambda m, h: h * F.cosine_similarity(h, h.roll(1, 1), -1)[..., None],
            "distances": lambda m, h: torch.cdist(h, h).softmax(-1) @ h,
            "products of all": lambda m, h: (h @ h.mT).softmax(-1) @ h,
            "einsum": lambda m, h: h * torch.einsum("btn,btn,n->bt", h, h, m.a)[..., None],
            "var_mean": lambda m, h: (h - torch.var_mean(h, -1, keepdim=True)[1]) * m.a,
            "by both": lambda m, h: (h - torch.var_mean(h, -1, keepdim=True)[1]) * (
                torch.std_mean(h, -1, keepdim=True, correction=0)[0] + 1e-6).reciprocal() * m.a,
            "scaled by exp": lambda m, h: F.rms_norm(h, h.shape[-1:]) * m.a.exp(),
            "scaled by 1 + 2 w": lambda m, h: F.rms_norm(h, h.shape[-1:]) * (1 + 2 * m.a),
            "heaviside": lambda m, h: torch.heaviside(h, m.a) * h,
            "standardised": lambda m, h: (h - h.mean(-1, keepdim=True)) / (
                h.std(-1, keepdim=True) + 1e-6) * m.a,
            "standardised, 0": lambda m, h: (h - h.mean(-1, keepdim=True)) * (
                h.var(-1, keepdim=True, correction=0) + 1e-6).rsqrt() * m.a + m.a,
            "by squares": lambda m, h: h / (h.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * m.a,
            "by means of absolutes": lambda m, h: h / h.abs().mean(-1, keepdim=True),
            "by fourth powers": lambda m, h: h / h.pow(4).mean(-1, keepdim=True).pow(0.25),
            "number of zeros": lambda m, h: h * (h == 0).double().mean(-1, keepdim=True),
            "by logs": lambda m, h: h * h.square().mean(-1, keepdim=True).log(),
            "by a softmax of means": lambda m, h: h * h.mean(-1, keepdim=True).softmax(1),
        }.items()
    },
    "layer norm": (lambda m, h: m.n(h), lambda: {"n": nn.LayerNorm(N)}),
    "rms norm": (lambda m, h: m.n(h), lambda: {"n": nn.RMSNorm(N)}),
    "norm twice": (lambda m, h: m.n(m.n(h)), lambda: {"n": nn.LayerNorm(N)}),
    "post norm": (lambda m, h: m.n(h + h.tanh()), lambda: {"n": nn.LayerNorm(N)}),
    "pre norm": (lambda m, h: h + m.n(h), lambda: {"n": nn.LayerNorm(N)}),
    "batch norm": (lambda m, h: m.n(h.mT).mT, lambda: {"n": nn.BatchNorm1d(N)}),
    "batch norm alone": (
        lambda m, h: m.n(h.mT).mT, lambda: {"n": nn.BatchNorm1d(N, affine=False)}
    ),
    "depthwise": (lambda m, h: m.c(h.mT).mT, lambda: {"c": nn.Conv1d(N, N, 3, groups=N)}),
    "depthwise without bias": (
        lambda m, h: m.c(h.mT).mT, lambda: {"c": nn.Conv1d(N, N, 3, groups=N, bias=False)}
    ),
    "prelu": (lambda m, h: m.p(h.mT).mT, lambda: {"p": nn.PReLU(N)}),
    "one slope": (lambda m, h: m.p(h), lambda: {"p": nn.PReLU()}),
    "block": (lambda m, h: h + m.b(m.a(h).tanh()),
              lambda: {"a": nn.Linear(N, 4), "b": nn.Linear(4, N)}),
    "block of a norm": (lambda m, h: h + m.b(m.a(m.n(h)).tanh()),
                        lambda: {"a": nn.Linear(N, 4), "b": nn.Linear(4, N), "n": nn.RMSNorm(N)}),
    "square": (lambda m, h: h + m.a(h), lambda: {"a": nn.Linear(N, N)}),
    "addmm": (lambda m, h: torch.addmm(h.flatten(0, 1), h.flatten(0, 1), m.w).view_as(h),
              lambda: {"w": nn.Parameter(torch.ones(N, N))}),
    "addmm of a vector": (lambda m, h: torch.addmm(m.a, h.flatten(0, 1), m.w).view_as(h),
              lambda: {"w": nn.Parameter(torch.ones(N, N)), "a": vector()}),
    "baddbmm": (lambda m, h: torch.baddbmm(h, X @ X.mT, h), dict),
    "square of tanh": (lambda m, h: h + F.linear(h, m.w.tanh()),
                       lambda: {"w": nn.Parameter(torch.ones(N, N))}),
    "square twice": (lambda m, h: m.a(m.a(h)), lambda: {"a": nn.Linear(N, N)}),
    "square of a norm": (lambda m, h: h + m.a(F.rms_norm(h, h.shape[-1:])),
                         lambda: {"a": nn.Linear(N, N)}),
    "gate of all": (lambda m, h: h * m.a(h).sigmoid(), lambda: {"a": nn.Linear(N, 1)}),
    "added from all": (lambda m, h: h + m.a(h), lambda: {"a": nn.Linear(N, 1)}),
}  # fmt: skip

ENDS: dict[str, Callable[[int], nn.Module]] = {
    "anything": nn.Identity, "zero": nn.Identity, "rms": nn.RMSNorm, "layer": nn.LayerNorm,
}  # fmt: skip


def inference(model: nn.Module, x: Any = X) -> Inference:
    return infer([trace(meta_copy(model), x)])


def group_on(found: Inference, axis: Axis) -> int:
    return next(key for key, group in found.groups.items() if axis in group.places)


STEM = Axis("stem.weight", 0)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[On]:
    """The walks through traces, the last one last."""
    seen: list[On] = []

    class Kept(On):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(self)

    monkeypatch.setattr(module, "On", Kept)
    return seen


def state_at(walk: On, path: str, *, before: bool) -> State | None:
    """What units hold before or behind a module; None where it has none there."""
    call = next(one for one in walk.group.trace.calls if one.path == path)
    tensor, at = (call.inputs[0], call.begin) if before else (call.outputs[0], call.end)
    node: Node = walk.group.graph.node(tensor, at)
    return walk._state(node) if walk.group.has(node) else None


def enlarged(x: Tensor, new: int, state: State, model: nn.Module, seed: int) -> Tensor:
    """Features ``x`` as the student's that hold this."""
    old = x * state.factor
    for name in state.by:
        x = x * model.get_parameter(name.removeprefix("piece."))
    more = new - x.shape[-1]
    mean = state.factor * x.mean(-1, keepdim=True).expand(*x.shape[:-1], more)
    fresh = noise(*x.shape[:-1], more, seed=seed)
    return torch.cat(
        [old, {Holds.ZERO: 0 * fresh, Holds.MEAN: mean, Holds.ANYTHING: fresh}[state.holds]], -1
    )


NEW = 8


def said(
    model: nn.Module, wide: nn.Module, end: str, walks: list[On], copies: int = 1
) -> On | None:
    """The walk that found what new units hold; None: there can be none."""
    found = inference(model)
    key = next((k for k, g in found.groups.items() if STEM in g.places and not g.fixed), None)
    if key is None:
        return None
    try:
        follow(
            found, Enlarged(key, N, copies, NEW, readers_get_zero=end == "zero"),
            [trace(meta_copy(wide), X)],
        )  # fmt: skip
    except NotPossible:
        return None
    return walks[-1]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", [name for name, (_, parts) in FAMILIES.items() if not parts()])
def test_what_is_said_of_an_operation_holds(name: str, end: str, walks: list[On]) -> None:
    code, _ = FAMILIES[name]
    teacher, wide = (randomise(Network(code, ENDS[end], {}, n)) for n in (N, NEW))
    walk = said(teacher, wide, end, walks)
    if walk is not None:
        check(walk, teacher.piece, wide.piece)


def check(walk: On, teacher: Any, student: Any) -> None:
    """Whether it makes of units that hold what is said what is said again."""
    first, last = (state_at(walk, "piece", before=before) for before in (True, False))
    assert first is not None
    for seed in range(2):
        x = noise(*X.shape[:2], N, seed=seed)
        y = teacher(x)
        made = student(enlarged(x, NEW, first, teacher, 10 + seed))
        wanted = y if last is None else enlarged(y, NEW, last, teacher, 0)
        anything = last is not None and last.holds is Holds.ANYTHING
        kept = slice(0, N) if anything else slice(None)
        torch.testing.assert_close(made[..., kept], wanted[..., kept], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", [name for name, (_, parts) in FAMILIES.items() if parts()])
def test_what_is_said_of_weights_holds(name: str, end: str, walks: list[On]) -> None:
    code, parts = FAMILIES[name]
    teacher = randomise(Network(code, ENDS[end], parts()))
    method = "silent" if end == "zero" else "fresh"
    try:
        growth = net2net.widen(teacher, {"stem": NEW}, X, method=method, also=[X], verify=False)
    except net2net.Net2NetError:
        return
    student: Any = growth.model
    torch.testing.assert_close(student(X), teacher(X), rtol=1e-9, atol=1e-12)
    if (growth.plan.recipes["stem.weight"].axes[0].index[N:] < 0).all():
        walk = next(one for one in reversed(walks) if one.group.student is not None)
        check(walk, teacher.piece, student.piece)


# -- what cannot be had ----------------------------------------------------------------------------


def reason(code: Code, *, zero: bool = False, **parts: Any) -> str | None:
    model = randomise(Network(code, nn.Identity, parts))
    found = inference(model)
    key = next(key for key, group in found.groups.items() if STEM in group.places)
    return why_not(found, key, zero=zero)


def layer(h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:])


def rms(h: Tensor) -> Tensor:
    return F.rms_norm(h, h.shape[-1:])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (lambda m, h: layer(h) + rms(h), "mean for layer_norm|zero for rms_norm"),
        (lambda m, h: layer(h + layer(h)), "would have to be their mean"),
        (lambda m, h: rms(torch.cat([h, h[..., :2]], -1))[..., :6], "other units as well"),
        (lambda m, h: layer(h) + layer(h * m.a), "another mean"),
        (lambda m, h: layer(h / m.a), "divides each by a number of its own"),
        (lambda m, h: layer(h.tanh()), "tanh in 'piece' makes would have to be their mean"),
        (lambda m, h: rms(h.sigmoid()), "sigmoid in 'piece' makes would have to be zero"),
        (lambda m, h: rms(rms(h).tanh()), "scaled"),
        (lambda m, h: h / h.amax(-1, keepdim=True), "reduces them"),
        (lambda m, h: F.layer_norm(h, h.shape[1:]), "over other axes"),
        (lambda m, h: layer(m.b(m.b(h))), "otherwise than others do"),
    ],
)  # fmt: skip
def test_why_not_is_told(code: Code, words: str) -> None:
    why = reason(code, a=vector(), b=nn.Linear(N, N))
    assert why is not None and re.search(words, why), why


def test_a_centred_stream_holds_the_weighted_mean(walks: list[On]) -> None:
    teacher, wide = (
        randomise(Network(lambda m, h: layer(h * m.a), nn.Identity, {"a": nn.Parameter(
            torch.ones(n))}, n)) for n in (N, NEW)
    )  # fmt: skip
    walk = said(teacher, wide, "anything", walks)
    assert walk is not None
    state = state_at(walk, "piece", before=True)
    assert state == State(Holds.MEAN, (NEW / N) ** 0.5, ("piece.a",))


@pytest.mark.parametrize(("unbiased", "factor"), [(False, 8 / 6), (True, 7 / 5)])
def test_variances_count_with_and_without_their_mean(
    unbiased: bool, factor: float, walks: list[On]
) -> None:
    def code(m: Any, h: Tensor) -> Tensor:
        spread = h.var(-1, keepdim=True, unbiased=unbiased)
        return (h - h.mean(-1, keepdim=True)) * (spread + 1e-6).rsqrt()

    walk = said(*(randomise(Network(code, nn.Identity, {}, n)) for n in (N, NEW)), "any", walks)  # type: ignore[misc]
    assert walk is not None
    state = state_at(walk, "piece", before=True)
    assert state is not None and abs(state.factor**2 - factor) < 1e-12


def test_copies_beside_units_that_copy_nothing(walks: list[On]) -> None:
    """Of 3 units twice and two more, a norm finds 8/6 of the variance, as of 6 and two more."""
    model = randomise(Network(lambda m, h: h, nn.RMSNorm, {}))
    found = inference(model)
    key = group_on(found, STEM)
    wanted = ((17, 2), (12, 2), (7, 1))
    for new, copies in wanted:
        follow(found, Enlarged(key, N, copies, new))
        state = state_at(walks[-1], "piece", before=False)
        assert state is not None and state.holds is Holds.ZERO
        assert abs(state.factor**2 - new / (N * copies)) < 1e-12


def test_what_meets_scaled_units_is_scaled_too(walks: list[On]) -> None:
    """Nobody demands anything of what is added by the block until its stream is scaled."""
    model = randomise(Network(lambda m, h: h + m.b(m.c(h)).tanh(), nn.RMSNorm, {
        "b": nn.Linear(4, N), "c": nn.Linear(N, 4)}))  # fmt: skip
    assert why_not(inference(model), group_on(inference(model), STEM)) is not None
    model = randomise(Network(lambda m, h: h + m.b(m.c(h).tanh()), nn.RMSNorm, {
        "b": nn.Linear(4, N), "c": nn.Linear(N, 4)}))  # fmt: skip
    held = follow(inference(model), Enlarged(group_on(inference(model), STEM), N, 1, NEW))
    made, read = (held.positions[Axis(f"piece.{n}.weight", dim)] for n, dim in (("b", 0), ("c", 1)))
    assert same(made.factor, (NEW / N) ** 0.5) and same(read.factor, (N / NEW) ** 0.5)
