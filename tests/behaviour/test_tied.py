"""Graphs: embeddings that are the head as well."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError
from tests.helpers import (
    assert_exact,
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
    assert [(row.name, row.new) for row in growth.report.rows] == [("embed", 12), ("mix", 9)]
    features = net2net.spaces(teacher, x)["inner"]  # added to what the embedding makes
    assert features.kinds.keys() == {"random", "zero"}  # no norm takes the shares of copies


class Recurrent(nn.Module):
    """A language model whose states are compared with the rows that it reads."""

    def __init__(self, kind: type[nn.Module], **options: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.cells = kind(8, 12 if "proj_size" in options else 8, batch_first=True, **options)
        self.head = nn.Linear(8, 11)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embed(x))[0])


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("factor", [1.37, 2.0])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(nn.LSTM, {}), (nn.GRU, {"num_layers": 2}), (nn.LSTM, {"proj_size": 8})],
    ids=["lstm", "gru of two layers", "projected"],
)
def test_recurrent_ones_read_zeros_of_what_is_new(
    kind: type[nn.Module], options: dict[str, int], factor: float, method: str
) -> None:
    """No norm takes the shares of copies. So new columns of the table are zero, and learn."""
    teacher, x = randomise(Recurrent(kind, **options)), tokens(3, 5, below=11)
    growth = net2net.widen(teacher, factor, x, method=method)
    student = growth.model
    assert student.embed.weight.shape == (11, int(8 * factor + 0.5))
    assert student.head.weight is student.embed.weight
    assert_exact(teacher, student, x)
    student(x).square().sum().backward()
    assert (student.embed.weight.grad[:, 8:].abs().sum(0) > 0).all()


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
