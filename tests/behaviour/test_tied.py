"""Graphs: embeddings that are the head as well."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError
from tests.helpers import (
    randomise,
    refused,
    tokens,
    widen,
)


class Tied(nn.Module):
    """Input and output embeddings are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.inner = nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(x + self.inner(F.relu(self.mix(x))))


def test_tied_embeddings_stay_tied() -> None:
    teacher = randomise(Tied())
    x = tokens(2, 5, below=11)
    growth = widen(teacher, 1.5, x)
    assert growth.model.head.weight is growth.model.embed.weight
    assert [(row.name, row.new) for row in growth.report.rows] == [("mix", 9)]
    features = net2net.spaces(teacher, x)["inner"]  # added to what the embedding makes
    assert not features.growable and "'embed.weight'" in str(features.reason)


class TiedNorm(nn.Module):
    """Between the last features and the tied weight stands a norm: torch's, or one written out."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.embed, self.mix, self.inner = nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.norm, self.kind = nn.LayerNorm(8), norm
        self.head = nn.Linear(8, 11)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.inner(F.relu(self.mix(x)))
        if self.kind == "written":
            x = self.norm.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))
            x = (x * 0.5 + self.norm.bias).to(x.dtype)
        elif self.kind == "rectified":
            x = F.leaky_relu_(self.norm(x)).flip(1)
        elif self.kind == "twice":
            x = self.norm(x) + self.norm(x.flip(1))
        else:
            x = self.norm(x)
        if self.kind == "read again":
            x = self.head(x) @ self.head.weight
        return self.head(x[:, :-1])


@pytest.mark.parametrize("norm", ["torch", "written", "rectified"])
def test_tied_embeddings_grow_where_a_norm_takes_the_shares(norm: str) -> None:
    teacher, x = randomise(TiedNorm(norm)), tokens(2, 5, below=11)
    growth = widen(teacher, {"embed": 2.0}, x)
    model = growth.model
    assert model.head.weight is model.embed.weight and model.embed.weight.shape == (11, 16)
    torch.testing.assert_close(model.norm.weight[:8], teacher.norm.weight / 2)


def test_tied_embeddings_get_units_that_copy_nothing_where_no_norm_is_theirs_alone() -> None:
    teacher, x = randomise(TiedNorm("twice")), tokens(2, 5, below=11)
    growth = widen(teacher, {"embed": 2.0}, x)
    assert growth.model.embed.weight.shape == (11, 16)
    assert "tied weights" in growth.report.rows[0].note


def test_tied_embeddings_stay_where_their_own_product_is_read() -> None:
    teacher = randomise(TiedNorm("read again"))
    with refused(NotGrowableError, "'embed'", "tied", "norm", teacher=teacher):
        net2net.widen(teacher, {"embed": 2.0}, tokens(2, 5, below=11))
