"""Random networks that sum over hidden units (norms of vectors, softmax, products) and multiply by
what they make of the sums, under copies and others at any width: the same function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import net2net
from tests.helpers import noise, randomise

X = noise(6, 5)
EXACT = 1e-9

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "gelu": F.gelu, "relu": F.relu, "softplus": F.softplus,
    "square": torch.square, "none": lambda x: x,
}  # fmt: skip

UNITS: dict[str, Callable[[Sums, Tensor, Tensor], Tensor]] = {
    "normalised": lambda m, h, other: F.normalize(h, dim=-1),
    "softmax": lambda m, h, other: h.softmax(-1),
    "shares": lambda m, h, other: h / (h.abs().sum(-1, keepdim=True) + 1),
    "scaled": lambda m, h, other: h * m.scale.weight[0],
    "by size": lambda m, h, other: h / math.sqrt(h.shape[-1]),
    "sum": lambda m, h, other: h + other,
    "layer": lambda m, h, other: m.layer(h),
    "norm": lambda m, h, other: m.norm(h),
    "less mean": lambda m, h, other: h - h.sum(-1, keepdim=True) / h.shape[-1],
    "of a function": lambda m, h, other: F.linear(h, m.layer.weight.exp()),
    "times": lambda m, h, other: h * (other * other).sum(-1, keepdim=True),
    "over": lambda m, h, other: h / (other.norm(dim=-1, keepdim=True) + 1),
    "gelu": lambda m, h, other: F.gelu(h),
    "slots": lambda m, h, other: (h @ m.keys.weight.T).softmax(-1) @ m.values.weight.T,
}
NUMBERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda h, other: h.sum(-1, keepdim=True),
    "norm": lambda h, other: h.norm(dim=-1, keepdim=True),
    "product": lambda h, other: (h * other).sum(-1, keepdim=True) / h.shape[-1],
    "einsum": lambda h, other: torch.einsum("...i,...i->...", h, other)[..., None],
    "deviation": lambda h, other: h.std(-1, keepdim=True),
}


class Sums(nn.Module):
    """Of units of one or two layers: ``steps`` that go on with one of those made before and
    another, and a number at the end."""

    def __init__(self, first: str, steps: Sequence[tuple[str, int, int]], last: str) -> None:
        super().__init__()
        self.first, self.steps, self.last = first, steps, last
        self.a, self.b, self.layer = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 8)
        self.scale, self.norm = nn.Linear(8, 1), nn.LayerNorm(8)
        self.keys, self.values = nn.Linear(8, 7), nn.Linear(7, 8)
        self.head, self.side, self.end = nn.Linear(8, 3), nn.Linear(1, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = [FUNCTIONS[self.first](self.a(x)), self.b(x)]
        for name, h, other in self.steps:
            made.append(UNITS[name](self, made[h % len(made)], made[other % len(made)]))
        number = NUMBERS[self.last](made[-1], made[0])
        result: Tensor = self.head(made[-1]) + self.end(self.side(number).tanh())
        return result


places = st.integers(0, 5)
steps = st.lists(st.tuples(st.sampled_from(sorted(UNITS)), places, places), min_size=1, max_size=5)


@given(
    first=st.sampled_from(sorted(FUNCTIONS)),
    steps=steps,
    last=st.sampled_from(sorted(NUMBERS)),
    method=st.sampled_from(["replicate", "uneven", "fresh", "silent"]),
    factor=st.sampled_from([1.37, 2.0, 3.0]),
)
def test_the_same_function(
    first: str, steps: list[tuple[str, int, int]], last: str, method: str, factor: float
) -> None:
    teacher = randomise(Sums(first, steps, last))
    try:
        growth = net2net.widen(teacher, factor, X, method=method, verify=False)
    except net2net.NotGrowableError:
        return
    parity = net2net.verify(teacher, growth.model, X)
    assert parity.max_rel <= EXACT, f"{parity}\n{growth.report}"
