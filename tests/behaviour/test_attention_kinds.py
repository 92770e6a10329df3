"""Attention as models vary it (caps, sinks, slopes, numbers of a configuration), and models of rare
kinds: each grows exactly, or says why it cannot."""

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import Net2NetError, NotGrowableError
from tests.helpers import noise, randomise, tokens, widen

TOKENS = noise(2, 5, 12)


class Attention(nn.Module):
    """Interleaved heads: the rows of query, key and value of each lie together."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.size = 4, 6
        self.fused, self.out = nn.Linear(12, 72), nn.Linear(24, 12)

    def probabilities(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.fused(x).view(*x.shape[:2], self.heads, 3 * self.size).transpose(1, 2)
        query, key, value = made.chunk(3, -1)
        made = self.probabilities(query @ key.mT * 0.4) @ value
        return self.out(made.transpose(1, 2).flatten(2))


class Capped(Attention):
    def probabilities(self, scores: Tensor) -> Tensor:
        return ((scores / 5).tanh() * 5).softmax(-1)


class Sinks(Attention):
    """Each head has a score of its own, which takes probability and gives nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sinks = nn.Parameter(torch.randn(4))

    def probabilities(self, scores: Tensor) -> Tensor:
        sinks = self.sinks.view(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[-2], -1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


class Slopes(Attention):
    """Scores fall with distance, in each head by a slope that the code makes of its number."""

    def probabilities(self, scores: Tensor) -> Tensor:
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=scores.dtype)
        return (scores - slopes[:, None, None] * torch.arange(5)).softmax(-1)


class LearntSlopes(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.rand(4))

    def probabilities(self, scores: Tensor) -> Tensor:
        return (scores - self.slopes[:, None, None] * torch.arange(5)).softmax(-1)


@pytest.mark.parametrize("kind", [Attention, Capped, Sinks, LearntSlopes])
def test_heads_grow_in_number(kind):
    student = widen(randomise(nn.Sequential(kind())), {"*.fused": 1.5}, TOKENS).model[0]
    assert (student.heads, student.fused.out_features) == (6, 108)


MERGED = {
    "unbind": lambda heads: torch.cat(heads.unbind(1), -1),
    "select": lambda heads: torch.cat([heads[:, i] for i in range(heads.shape[1])], dim=-1),
    "stack": lambda heads: torch.stack(heads.unbind(1), -2).flatten(2),
}


class Merged(Attention):
    """Heads are put side by side one by one."""

    def __init__(self, way: str, heads: int) -> None:
        super().__init__()
        self.way, self.heads, self.size = way, heads, 24 // heads

    def forward(self, x: Tensor) -> Tensor:
        made = self.fused(x).view(*x.shape[:2], self.heads, 3 * self.size).transpose(1, 2)
        query, key, value = made.chunk(3, -1)
        made = self.probabilities(query @ key.mT * 0.4) @ value
        return self.out(MERGED[self.way](made))


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("way", MERGED)
def test_heads_that_are_put_side_by_side_one_by_one_grow_in_number(way, heads):
    teacher = randomise(nn.Sequential(Merged(way, heads)))
    for factor in (2.0, 1 + 1 / heads):
        student = widen(teacher, factor, TOKENS).model[0]
        assert (student.heads, student.size) == (heads * factor, 24 // heads)
        assert student.fused.out_features == 72 * factor


def test_heads_of_which_the_code_writes_out_two_stay():
    class Two(Merged):
        def forward(self, x: Tensor) -> Tensor:
            made = self.fused(x).view(*x.shape[:2], self.heads, 3 * self.size).transpose(1, 2)
            query, key, value = made.chunk(3, -1)
            made = self.probabilities(query @ key.mT * 0.4) @ value
            return self.out(torch.cat([made[:, 0], made[:, 1]], -1))

    growth = net2net.widen(randomise(nn.Sequential(nn.Linear(12, 12), Two("", 2))), 2.0, TOKENS)
    assert [row.name for row in growth.report.rows] == ["0"]
    (why,) = [row.note for row in growth.report.stayed if row.name == "1.fused"]
    assert "a size is written into the code" in why


def test_heads_that_the_code_tells_apart_stay():
    with pytest.raises(NotGrowableError, match="constant"):
        net2net.widen(randomise(nn.Sequential(Slopes())), {"*.fused": 1.5}, TOKENS)


class Scaled(nn.Module):
    """Numbers that follow no size: of the embedding, of the branch, of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(7, 8), nn.RMSNorm(8)
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) * 12.0
        x = x + self.b(self.a(x).relu()) * 0.22
        return self.norm(x) @ self.embed.weight.T / 16.0


@pytest.mark.parametrize("width", [11, 16])
def test_numbers_of_a_configuration_stay(width):
    growth = widen(randomise(Scaled()), {"embed": width, "a": 20}, tokens(2, 5, below=7))
    assert growth.model.norm.weight.shape == (width,)


class Codebook(nn.Module):
    """The nearest code stands for what was encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.encode = nn.Linear(12, 9), nn.Linear(9, 4)
        self.codes, self.decode = nn.Embedding(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.encode(self.inner(x).tanh())
        return self.decode(self.codes(torch.cdist(made, self.codes.weight).argmin(-1)))


def test_codes_get_more_features_and_stay_as_many():
    growth = widen(randomise(Codebook()), 2, TOKENS)
    assert [row.name for row in growth.report.rows] == ["inner", "encode"]
    assert growth.model.codes.weight.shape == (6, 8)


class TiedRecurrence(nn.Module):
    """A cell reads the table that its states are compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell = nn.Embedding(7, 8), nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(self.embed(x))[0] @ self.embed.weight.T


def test_a_cell_between_two_ends_of_one_table():
    growth = widen(randomise(TiedRecurrence()), {"cell": 2.0}, tokens(2, 5, below=7))
    assert growth.model.embed.weight.shape == (7, 16)


class Hypernetwork(nn.Module):
    """One network makes the weights of another."""

    def __init__(self) -> None:
        super().__init__()
        self.units, self.context = 8, nn.Linear(12, 6)
        self.make, self.head = nn.Linear(6, 8 * 12), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.make(self.context(x).relu()).unflatten(-1, (self.units, 12))
        return self.head(torch.einsum("btui,bti->btu", weight, x).tanh())


def test_a_network_that_makes_weights_grows():
    growth = widen(randomise(Hypernetwork()), 1.5, TOKENS)
    assert {(row.name, row.new) for row in growth.report.rows} == {("context", 9), ("make", 144)}
    assert growth.model.units == 12


class Latent(nn.Module):
    """Keys put together of a part for each head and one for all, of a narrow stream."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.own, self.shared, self.value, self.latent = 4, 4, 2, 6, 5
        self.query = nn.Linear(12, 4 * 6)
        self.narrow, self.wide = nn.Linear(12, 5 + 2), nn.Linear(5, 4 * 10)
        self.out, self.fused = nn.Linear(4 * 6, 12), fused

    def key(self, own: Tensor, shared: Tensor) -> Tensor:
        return torch.cat([own, shared.expand(-1, self.heads, -1, -1)], -1)

    def turned(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] / 3
        a, b = x.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        query = self.query(x).view(batch, time, self.heads, self.own + self.shared).transpose(1, 2)
        own, turning = query.split([self.own, self.shared], -1)
        query = torch.cat([own, self.turned(turning)], -1)
        latent, shared = self.narrow(x).split([self.latent, self.shared], -1)
        made = self.wide(latent).view(batch, time, self.heads, self.own + self.value)
        own, value = made.transpose(1, 2).split([self.own, self.value], -1)
        key = self.key(own, self.turned(shared.view(batch, time, 1, self.shared).transpose(1, 2)))
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            scale = (self.own + self.shared) ** -0.5
            mixed = (query @ key.mT * scale).softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, time, self.heads * self.value))


class ExpandedLike(Latent):
    def key(self, own: Tensor, shared: Tensor) -> Tensor:
        return torch.cat([own, shared.expand(*own.shape[:-1], -1)], -1)


class Repeated(Latent):
    def key(self, own: Tensor, shared: Tensor) -> Tensor:
        return torch.cat([own, shared.repeat(1, own.shape[1], 1, 1)], dim=-1)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [Latent, ExpandedLike, Repeated])
def test_heads_grow_in_number_whose_keys_have_a_part_for_all(kind, fused):
    teacher = randomise(nn.Sequential(nn.Linear(12, 12), kind(fused)))
    for factor in (1.5, 2.0):
        growth = widen(teacher, factor, TOKENS)
        student = growth.model[1]
        sizes = (student.heads, student.own, student.shared, student.value)
        assert sizes == (4 * factor, 4, 2, 6)
        assert student.wide.out_features == 40 * factor
        stayed = {row.name: row.note for row in growth.report.stayed if row.old == 2}
        assert stayed == {"1.narrow": "cat in '1' joins blocks of different make"}


def test_the_size_of_values_grows_where_keys_have_a_part_for_all():
    student = widen(randomise(nn.Sequential(Latent())), {"*.value": 9}, TOKENS).model[0]
    assert (student.heads, student.own, student.value, student.out.in_features) == (4, 4, 9, 36)


def test_the_size_of_keys_stays_where_they_have_a_part_for_all():
    with pytest.raises(Net2NetError):
        net2net.widen(randomise(nn.Sequential(Latent())), {"*.own": 6}, TOKENS)


def test_heads_stay_whose_keys_have_a_part_that_differs_by_head():
    class Told(Latent):
        def key(self, own: Tensor, shared: Tensor) -> Tensor:
            numbers = torch.arange(1, self.heads + 1, dtype=own.dtype)[:, None, None]
            return torch.cat([own, shared.expand(-1, self.heads, -1, -1) * numbers], -1)

    teacher = randomise(nn.Sequential(nn.Linear(12, 12), Told()))
    growth = widen(teacher, 2.0, TOKENS)
    assert "1.query" not in {row.name for row in growth.report.rows}


class Sampling(nn.Module):
    """Each head weighs some points of each level, and there is one level (deformable attention)."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.levels, self.points = 2, 1, 4
        self.stem, self.value = nn.Linear(3, 8), nn.Linear(8, 8)
        self.weights = nn.Linear(8, self.heads * self.levels * self.points)
        self.out, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        h, batch = self.stem(x), len(x)
        weights = self.weights(h).view(batch, -1, self.heads, self.levels, self.points)
        values = self.value(h).view(batch, -1, self.heads, 4)[:, : self.points]
        seen = torch.einsum("bthlp,bphs->bths", weights.softmax(-1), values)
        return self.head(h + self.out(seen.flatten(2)))


def test_one_level_of_each_head_stays_one():
    teacher = randomise(Sampling())
    student = widen(teacher, 2.0, noise(2, 5, 3)).model
    assert (student.heads, student.levels, student.points) == (4, 1, 4)
