"""Random networks of rare operations: the student is exact, and what cannot grow stays with a
reason that no measurement had to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import net2net
from net2net.errors import VerificationError
from tests.helpers import EXACT, noise, randomise

TO = torch.tensor([0, 1, 1, 2, 0])


class Piece(nn.Module):
    """Weights of n features and m others, and what is done with them."""

    def __init__(self, code: Callable[[Any, Tensor], Tensor], n: int, m: int) -> None:
        super().__init__()
        self.code = code
        self.w, self.v = (nn.Parameter(torch.randn(m, n)) for _ in range(2))
        self.row, self.column = nn.Parameter(torch.randn(m, 1)), nn.Parameter(torch.randn(n))
        self.square = nn.Parameter(torch.randn(n, n))
        self.out, self.own, self.one = nn.Linear(m, n), nn.Linear(n, n), nn.Linear(n, 1)
        self.norm = nn.LayerNorm(n)

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


WEIGHTS: dict[str, Callable[[Any], Tensor]] = {
    "w": lambda m: m.w, "softplus": lambda m: F.softplus(m.w), "exp": lambda m: m.w.exp(),
    "sum": lambda m: m.w + m.v, "shifted": lambda m: m.w + m.row, "plus": lambda m: m.w + 1,
    "gated": lambda m: m.w * m.v.sigmoid(), "quotient": lambda m: m.w / m.v.exp(),
    "column": lambda m: m.w.tanh() * m.column, "square": lambda m: m.w * m.w,
    "scaled": lambda m: m.w / m.w[0].numel() ** 0.5, "len": lambda m: m.w * len(m.w),
    "outer": lambda m: m.row * m.column, "masked": lambda m: m.w * (m.v > 0),
    "clamped": lambda m: m.w.clamp(min=-0.5), "through a square": lambda m: m.w @ m.square,
    "through a transpose": lambda m: m.w @ (m.square - m.square.T),
    "normed": lambda m: m.w.softmax(1), "gram": lambda m: m.v @ (m.square @ m.square.T),
}  # fmt: skip
READS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "linear": lambda m, h, w: F.linear(h, w),
    "matmul": lambda m, h, w: h @ w.mH,
    "tensordot": lambda m, h, w: torch.tensordot(h, w, dims=([1], [1])),
    "inner": lambda m, h, w: torch.inner(h, w),
    "einsum": lambda m, h, w: torch.einsum("oi,bi->bo", w, h),
    "vecdot": lambda m, h, w: torch.linalg.vecdot(h[:, None], w),
    "cosine": lambda m, h, w: F.cosine_similarity(h[:, None], w, -1),
}
STEPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "scaled": lambda m, h: h / h.shape[-1] ** 0.5,
    "scaled norm": lambda m, h: (m.norm(h) * h.shape[-1]).relu(),
    "shifted": lambda m, h: h + h.shape[-1],
    "pooled": lambda m, h: h + (torch.softmax(m.one(h) / h.shape[-1] ** 0.5, 0) * h).sum(0),
    "branch": lambda m, h: h.relu() if h.shape[-1] % 3 else m.own(h),
    "residual": lambda m, h: h + m.own(h * h.shape[-1] ** -0.5),
    "sent": lambda m, h: h.new_zeros(5, h.shape[1]).index_add(0, TO, m.own(h)),
    "scattered": lambda m, h: torch.zeros(5, h.shape[1], dtype=h.dtype).scatter_add(
        0, TO[:, None].expand_as(h), h
    ),
    "gathered": lambda m, h: h.gather(0, h.argsort(0)),
    "transposed": lambda m, h: h + h @ (m.square + m.square.T),
    "normalised": lambda m, h: F.normalize(h, dim=-1),
    "whitened": lambda m, h: h / h.var(-1, unbiased=False, keepdim=True),
    "unbound": lambda m, h: torch.cat(h.view(5, 2, -1).unbind(1), -1),
    "padded": lambda m, h: F.pad(h, (h.shape[1] // 2, h.shape[1] // 2))[:, : h.shape[1]],
    "solved": lambda m, h: torch.linalg.solve(m.square, h.T).T,
}  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    n, m = draw(st.sampled_from([4, 6, 8])), draw(st.sampled_from([3, 5]))

    def read(weight: Callable[[Any], Tensor], how: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda m, h: m.out(how(m, h, weight(m)).tanh())

    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        reads = st.builds(
            read, st.sampled_from(list(WEIGHTS.values())), st.sampled_from(list(READS.values()))
        )
        code = draw(st.one_of(reads, st.sampled_from(list(STEPS.values()))))
        pieces.append(Piece(code, n, m))
    return randomise(nn.Sequential(nn.Linear(3, n), *pieces, nn.Linear(n, 2)))


@settings(max_examples=40, deadline=None)
@given(teacher=networks(), factor=st.sampled_from([2.0, 1.5]), by_name=st.booleans())
def test_the_student_is_exact_or_there_is_none(
    teacher: nn.Module, factor: float, by_name: bool
) -> None:
    inputs = noise(5, 3)
    widths = {"0": factor} if by_name else factor
    try:  # with a further input nothing is exported, which takes seconds
        growth = net2net.widen(teacher, widths, inputs, also=[inputs])
    except net2net.Net2NetError as error:
        assert not isinstance(error, VerificationError)
        return
    assert net2net.verify(teacher, growth.model, noise(5, 3, seed=5)).max_rel < EXACT
    assert not any("verification" in row.note for row in growth.report.stayed)
