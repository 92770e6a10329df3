"""Heads of keys and values beside their queries in one projection: one block for each group."""

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, WidthError
from tests.any_width import drawn, hf, text
from tests.helpers import assert_exact, noise, randomise, refused, widen

TOKENS = noise(2, 5, 12)
SIZE = 4
"""Features of a head."""


class Fused(nn.Module):
    """Rows lie by group: its queries, its key, its value. Keys are shown, then turned."""

    def __init__(self, heads: int = 4, groups: int = 2) -> None:
        super().__init__()
        self.heads, self.groups = heads, groups
        self.qkv = nn.Linear(12, (heads + 2 * groups) * SIZE)
        self.out = nn.Linear(heads * SIZE, 12)

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.arange(5.0, dtype=x.dtype)[:, None] / 10.0 ** torch.arange(0, SIZE // 2)
        angles = torch.cat([angles, angles], -1)
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        rows = self.qkv(x).view(*x.shape[:2], -1, self.heads // self.groups + 2, SIZE)
        query, key, value = rows[:, :, :, :-2], rows[:, :, :, [-2]], rows[:, :, :, [-1]]
        shown = query, key.broadcast_to(query.shape), value.broadcast_to(query.shape)
        return tuple(one.flatten(2, 3) for one in shown)

    def forward(self, x: Tensor) -> Tensor:
        heads = (one.transpose(1, 2).reshape(len(x), self.heads, -1, SIZE) for one in self.split(x))
        query, key, value = heads
        scores = self.turned(query) @ self.turned(key).mT * SIZE**-0.5
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class OneKey(Fused):
    """All queries, then a key and a value that they share."""

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        rows = self.qkv(x).view(*x.shape[:2], self.heads + 2, SIZE)
        key, value = (rows[..., [place], :].expand(-1, -1, self.heads, -1) for place in (-2, -1))
        return rows[..., :-2, :], key, value


def layer(heads: int, groups: int, kind: type[Fused] = Fused) -> nn.Module:
    torch.manual_seed(0)
    return randomise(nn.Sequential(kind(heads, groups)))


def grown(teacher, widths, heads, groups, **options):
    student = widen(teacher, widths, TOKENS, **options).model[0]
    assert student.qkv.out_features == (heads + 2 * groups) * SIZE
    assert student.out.in_features == heads * SIZE
    assert student.heads // student.groups == heads // groups
    return student.qkv.weight.view(groups, -1, SIZE, 12)


METHODS = pytest.mark.parametrize("method", ["replicate", "fresh", "uneven", "silent"])


@METHODS
@pytest.mark.parametrize("widths", [1.5, {"*.qkv": 1.5}, {"*.heads": 6}])
def test_whole_groups_grow(widths, method):
    grown(layer(4, 2), widths, 6, 3, method=method)


@METHODS
@pytest.mark.parametrize("kind", [Fused, OneKey])
@pytest.mark.parametrize("widths", [1.5, {"*.heads": 6}])
def test_queries_grow_beside_the_key_that_all_share(kind, widths, method):
    teacher = layer(4, 1, kind)
    new = grown(teacher, widths, 6, 1, method=method)
    assert torch.equal(new[:, -2:], teacher[0].qkv.weight.view(1, -1, SIZE, 12)[:, -2:])


@pytest.mark.parametrize("kind", [Fused, OneKey])
def test_new_queries_may_be_random(kind):
    """What is taken of the rows beside them is none of theirs."""
    report = widen(layer(4, 1, kind), 1.5, TOKENS, method="fresh").report
    assert not any("copies" in row.note for row in report.rows)


@METHODS
@pytest.mark.parametrize(
    "widths", [{"*.heads": 6, "*.groups": 2}, {"*.heads": 1.5, "*.groups": 1.0}]
)
def test_queries_grow_within_each_group_where_the_number_of_groups_stays(widths, method):
    teacher = layer(4, 2)
    new, old = grown(teacher, widths, 6, 2, method=method), teacher[0].qkv.weight
    old = old.view(2, -1, SIZE, 12)
    assert torch.equal(new[:, :2], old[:, :2]) and torch.equal(new[:, -2:], old[:, -2:])


def test_the_number_of_groups_follows():
    with refused(
        NotGrowableError, "divides by it, so it follows", teacher=(teacher := layer(4, 2))
    ):
        net2net.widen(teacher, {"*.groups": 4}, TOKENS)


def test_where_each_group_has_one_query_it_gets_no_more():
    with refused(WidthError, "stay 4, and would be 8", teacher=(teacher := layer(4, 4))):
        net2net.widen(teacher, {"*.heads": 8, "*.groups": 4}, TOKENS)


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize(
    ("old", "new"), [((4, 2), (8, 2)), ((4, 2), (8, 4)), ((4, 1), (6, 1)), ((4, 1), (8, 2))]
)
def test_transfer(old, new, method):
    teacher = layer(*old)
    growth = net2net.transfer(teacher, layer(*new), TOKENS, method=method)
    assert_exact(teacher, growth.model, TOKENS)


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize(("groups", "widths", "numbers"), [
    (2, 2.0, (8, 4)), (2, 1.5, (6, 3)), (1, 2.0, (8, 1)),
    (2, {"*.num_heads": 8, "*.num_kv_heads": 2, "*.word_embeddings": 64}, (8, 2)),
])  # fmt: skip
def test_a_language_model_and_its_config(groups, widths, numbers, method):
    pytest.importorskip("transformers")
    sizes = {"num_attention_heads": 4, "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 40}
    build = hf(
        "FalconForCausalLM", "FalconConfig", new_decoder_architecture=True, num_kv_heads=groups,
        **sizes,
    )  # fmt: skip
    teacher = drawn(build())
    growth = net2net.widen(teacher, widths, text(), method=method)
    assert growth.report.parity.max_rel < 1e-12
    config = growth.model.config
    assert (config.num_attention_heads, config.num_kv_heads) == numbers
    type(teacher)(config).load_state_dict(growth.model.state_dict())
