"""Code that branches on hidden values: traced with them, and grown all the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import InputError
from tests.helpers import Written, deepen, noise, randomise, refused, widen


class Experts(nn.Module):
    """Each token goes to the expert that its router likes best; experts nobody chose do not run."""

    def __init__(self, width: int = 6, experts: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(4, width)
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, width))
            for _ in range(experts)
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).tanh()
        chosen = self.router(x).argmax(-1)
        out = torch.zeros_like(x)
        for number in chosen.unique().tolist():
            rows = torch.where(chosen == number)[0]
            out.index_add_(0, rows, self.experts[number](x[rows]))
        return self.head(x + out)


class Attention(nn.Module):
    """Stacked projections, heads, and a way out that depends on what they computed."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.stem, self.qkv, self.out = nn.Linear(4, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        parts = self.qkv(x).view(len(x), -1, 3, self.heads, 4).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(*parts)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return self.head(x.relu() if x.mean() > 0 else x.tanh())


class FewKeys(nn.Module):
    """More heads of queries than of keys and values, all in one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.shared = 4, 2
        self.stem, self.qkv, self.out = nn.Linear(4, 8), nn.Linear(8, 32), nn.Linear(16, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        sizes = [4 * self.heads, 4 * self.shared, 4 * self.shared]
        q, k, v = (
            part.unflatten(-1, (-1, 4)).transpose(1, 2) for part in self.qkv(x).split(sizes, -1)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        x = (x + self.out(y.transpose(1, 2).flatten(2))).flatten(0, 1)
        likes = x.mean(-1)
        return self.head(x[(likes > likes.mean()).nonzero()[:, 0]])


def test_what_a_branch_reads_is_read() -> None:
    """A product over units, which any new one would change."""

    def code(model: Any, x: Tensor) -> Tensor:
        x = model.a(x)
        return model.head(model.b(x.relu() if x.prod() > 0 else x.tanh()))

    teacher = Written(code, a=nn.Linear(4, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 2))
    growth = widen(randomise(teacher), 2.0, noise(3, 4))
    assert (growth.model.a.out_features, growth.model.b.out_features) == (6, 12)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_experts(factor: float) -> None:
    growth = widen(randomise(Experts()), factor, noise(50, 4))
    assert growth.model.stem.out_features == 6 * factor
    assert all(expert[0].out_features == 8 * factor for expert in growth.model.experts)


def test_inputs_have_to_reach_every_expert() -> None:
    teacher = randomise(Experts())
    with refused(InputError, "experts", "more rows", teacher=teacher):
        net2net.widen(teacher, 2.0, noise(1, 4))


def test_attention() -> None:
    growth = widen(randomise(Attention()), 2.0, noise(2, 3, 4))
    assert growth.model.qkv.out_features == 48


def test_fewer_heads_of_keys_in_one_projection() -> None:
    growth = widen(randomise(FewKeys()), 2.0, noise(2, 30, 4), exact=False)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert (growth.model.heads, growth.model.shared) == (8, 4)


def test_rows_that_are_found_by_what_was_computed_of_them() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        x = model.stem(x)
        score = model.score(x)
        rows, _ = torch.where(score > score.mean())
        return model.head(x[rows])

    teacher = Written(code, stem=nn.Linear(4, 8), score=nn.Linear(8, 1), head=nn.Linear(8, 2))
    growth = widen(randomise(teacher), 2.0, noise(9, 4), exact=False)
    assert growth.model.stem.out_features == 16
    assert growth.report.parity is not None and growth.report.parity.exact


def test_heads_alone() -> None:
    growth = widen(randomise(Attention()), {"qkv": 36}, noise(2, 3, 4))
    assert growth.model.heads == 3


def test_buffers_of_the_teacher_stay() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x = self.layers(x)
            return x if x.mean() > 0 else -x

    teacher = randomise(Counts())
    before = teacher.calls.clone()
    net2net.spaces(teacher, noise(2, 4))
    assert torch.equal(teacher.calls, before)


def test_it_deepens_as_well() -> None:
    teacher = randomise(Experts())
    growth = deepen(teacher, {"experts.0.0": 1}, noise(50, 4))
    assert growth.report.flops[1] > growth.report.flops[0]
