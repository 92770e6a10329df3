"""Heads of keys and values that several queries share: all grow together, or queries alone in each
group, or the keys alone, as copies among which the queries are dealt out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import TransferError, WidthError
from tests.any_width import LLAMA, drawn, hf, text
from tests.helpers import Written, assert_exact, noise, randomise, refused, widen

TOKENS = noise(2, 5, 12)
SIZE = 4
"""Features of a head."""


class Grouped(nn.Module):
    """Heads of keys and values, each for several queries, turned by position."""

    def __init__(self, heads: int = 4, shared: int = 2) -> None:
        super().__init__()
        self.heads, self.shared, self.groups = heads, shared, heads // shared
        self.query, self.out = nn.Linear(12, heads * SIZE), nn.Linear(heads * SIZE, 12)
        self.key, self.value = nn.Linear(12, shared * SIZE), nn.Linear(12, shared * SIZE)

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.arange(5.0, dtype=x.dtype)[:, None] / 10.0 ** torch.arange(0, SIZE // 2)
        angles = torch.cat([angles, angles], -1)
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, SIZE).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.split(f(x)) for f in (self.query, self.key, self.value))
        made = self.attend(self.turned(query), self.turned(key), value)
        return self.out(made.transpose(1, 2).flatten(2))


class Expanded(Grouped):
    """The code shows each to as many queries as an attribute says."""

    def shown(self, x: Tensor) -> Tensor:
        batch, heads, time, size = x.shape
        x = x[:, :, None].expand(batch, heads, self.groups, time, size)
        return x.reshape(batch, heads * self.groups, time, size)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ self.shown(key).mT * SIZE**-0.5
        return scores.softmax(-1) @ self.shown(value)


class Repeated(Expanded):
    def shown(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.groups, dim=1)


class Once(Expanded):
    """The code does nothing where each serves one query."""

    def shown(self, x: Tensor) -> Tensor:
        return x if self.groups == 1 else super().shown(x)


class OnceRepeated(Expanded):
    def shown(self, x: Tensor) -> Tensor:
        return x if self.groups == 1 else x.repeat_interleave(self.groups, dim=1)


class Counted(Expanded):
    """The code says how many heads there are of each."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).view(*x.shape[:2], heads, SIZE).transpose(1, 2)
            for layer, heads in (
                (self.query, self.heads), (self.key, self.shared), (self.value, self.shared)
            )
        )  # fmt: skip
        made = self.attend(self.turned(query), self.turned(key), value)
        return self.out(made.transpose(1, 2).reshape(*x.shape[:2], -1))


KINDS = [Grouped, Expanded, Repeated, Counted, Once, OnceRepeated]
ALL = pytest.mark.parametrize("kind", KINDS)


def layer(kind: type[Grouped], heads: int = 8, shared: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return randomise(nn.Sequential(kind(heads, shared)))


def grown(teacher, widths, heads, shared, **options):
    """The student, which is as wide as this; where code reads an attribute, that says so."""
    student = widen(teacher, widths, TOKENS, **options).model[0]
    assert student.query.out_features == student.out.in_features == heads * SIZE
    assert student.key.out_features == student.value.out_features == shared * SIZE
    if isinstance(student, Expanded):
        assert student.groups == heads // shared
    if isinstance(student, Counted):
        assert (student.heads, student.shared) == (heads, shared)
    return student


def heads_of(linear: nn.Linear) -> Tensor:
    return linear.weight.view(-1, SIZE, 12)


@ALL
def test_each_serves_more_queries_where_keys_stay(kind):
    teacher = layer(kind)
    student = grown(teacher, {"*.query": 1.5, "*.key": 1.0}, 12, 2)
    old, new = (heads_of(one.query).unflatten(0, (2, -1)) for one in (teacher[0], student))
    assert torch.equal(old, new[:, :4])  # the queries of a head remain at it


@ALL
def test_queries_are_dealt_out_among_copies_where_they_stay(kind):
    teacher = layer(kind)
    student = grown(teacher, {"*.key": 16, "*.query": 32}, 8, 4)
    assert torch.equal(heads_of(student.key), heads_of(teacher[0].key).repeat_interleave(2, 0))


@pytest.mark.parametrize("kind", [Grouped, Expanded, Repeated, Once, OnceRepeated])
@pytest.mark.parametrize("shared", [1, 2])
def test_each_query_gets_a_head_of_its_own(kind, shared):
    """Where code shows heads to several queries alone, it then does fewer operations."""
    teacher = layer(kind, shared=shared)
    student = grown(teacher, {"*.key": 8 / shared, "*.query": 1.0}, 8, 8)
    old, new = (heads_of(one.key) for one in (teacher[0], student))
    assert torch.equal(new, old.repeat_interleave(8 // shared, 0))


def test_named_alone_all_grow_together():
    grown(layer(Grouped), {"*.query": 1.5}, 12, 3)


@pytest.mark.parametrize(
    ("widths", "heads", "shared"),
    [
        ({"*.groups": 6}, 12, 2),
        ({"*.heads": 12, "*.shared": 2}, 12, 2),
        ({"*.shared": 4, "*.heads": 8}, 8, 4),
        ({"*.shared": 4}, 16, 4),
    ],
)
def test_attributes_name_them_as_well(widths, heads, shared):
    grown(layer(Counted), widths, heads, shared)


@pytest.mark.parametrize("kind", [Grouped, Expanded, Repeated])
def test_one_head_of_all_queries(kind):
    """Queries grow beside it one by one; or it is copied."""
    teacher = layer(kind, shared=1)
    grown(teacher, {"*.query": 36}, 9, 1)
    grown(teacher, {"*.key": 4 * SIZE, "*.query": 8 * SIZE}, 8, 4)


def test_new_queries_may_be_of_any_kind_and_keys_are_copies():
    """New keys are read at once."""
    teacher = layer(Grouped)
    grown(teacher, {"*.query": 1.5, "*.key": 1.0}, 12, 2, method="fresh")
    student = grown(teacher, {"*.key": 2.0, "*.query": 1.0}, 8, 4, method="fresh")
    assert torch.equal(heads_of(student.value), heads_of(teacher[0].value).repeat_interleave(2, 0))


def test_copies_that_queries_cannot_be_dealt_out_among():
    with pytest.raises(WidthError, match="16"):
        net2net.widen(layer(Expanded), {"*.key": 12, "*.query": 32}, TOKENS)
    with pytest.raises(WidthError, match="tied"):  # both more keys and more queries for each
        net2net.widen(layer(Grouped), {"*.key": 2.0, "*.query": 4.0}, TOKENS)


@ALL
def test_a_single_head_of_keys_grows_with_its_queries_where_it_is_named(kind):
    """Else they grow beside it."""
    teacher = layer(kind, 4, 1)
    student = grown(teacher, {"*.key": 3.0}, 12, 3)
    assert torch.equal(heads_of(student.key), heads_of(teacher[0].key).repeat(3, 1, 1))
    old, new = (heads_of(one.query).unflatten(0, (-1, 4)) for one in (teacher[0], student))
    assert torch.equal(new, old.expand(3, -1, -1, -1))
    grown(teacher, {"*.key": 2.0, "*.query": 2.0}, 8, 2)
    grown(teacher, 2.0, 8, 1)


def test_new_groups_may_be_of_any_kind():
    grown(layer(Grouped, 4, 1), {"*.key": 3.0}, 12, 3, method="fresh")


WAYS = [
    ((8, 2), (12, 2)), ((8, 2), (8, 4)), ((8, 2), (8, 8)), ((8, 2), (12, 3)), ((8, 1), (8, 8)),
    ((8, 1), (8, 4)), ((8, 1), (9, 1)), ((4, 1), (8, 2)), ((3, 1), (9, 3)), ((4, 4), (8, 4)),
    ((2, 2), (6, 2)),
]  # fmt: skip


@pytest.mark.parametrize("kind", [Grouped, Expanded, Repeated, Once, OnceRepeated])
@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize(("old", "new"), WAYS)
def test_transfer(old, new, kind, method):
    teacher, student = layer(kind, *old), layer(kind, *new)
    growth = net2net.transfer(teacher, student, TOKENS, method=method)
    assert_exact(teacher, growth.model, TOKENS)
    assert growth.model[0].key.out_features == new[1] * SIZE


@pytest.mark.parametrize("kind", [Grouped, Once])
@pytest.mark.parametrize(
    ("old", "new", "half"),
    [
        ((8, 2), (16, 8), (8, 4)), ((4, 2), (8, 8), (4, 4)), ((6, 2), (12, 3), (9, 3)),
        ((4, 1), (8, 4), (4, 2)),
    ],
)  # fmt: skip
def test_transfer_names_the_first_of_two_steps(old, new, half, kind):
    teacher, last = layer(kind, *old), layer(kind, *new)
    words = f"{half[1]} heads of keys for {half[0]} queries first"
    with refused(TransferError, words, teacher=teacher):
        net2net.transfer(teacher, last, TOKENS)
    first = net2net.transfer(teacher, layer(kind, *half), TOKENS).model
    assert_exact(teacher, net2net.transfer(first, last, TOKENS).model, TOKENS)


@pytest.mark.parametrize("kind", KINDS)
def test_queries_cannot_be_dealt_out_among_heads_that_are_no_multiple(kind):
    teacher = layer(kind, 6, 2)
    with refused(TransferError, "2 heads of keys for 6 .* 3 heads of keys for 6", teacher=teacher):
        net2net.transfer(teacher, layer(kind, 6, 3), TOKENS)
    growth = net2net.transfer(teacher, layer(kind, 6, 3), TOKENS, exact=False)
    assert growth.report.parity is not None and not growth.report.parity.exact


LANGUAGE = {**LLAMA, "hidden_size": 48, "num_attention_heads": 8, "num_hidden_layers": 1}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("heads", [4, 8])
def test_a_language_model_and_its_config(attention, heads):
    pytest.importorskip("transformers")
    sizes = {**LANGUAGE, "attn_implementation": attention}
    teacher = drawn(hf("LlamaForCausalLM", "LlamaConfig", vocab_size=40, **sizes)())
    growth = net2net.widen(teacher, {"*.k_proj": heads / 2, "*.q_proj": 1.0}, text())
    assert growth.report.parity.max_rel < 1e-12
    assert growth.model.config.num_key_value_heads == heads
    type(teacher)(growth.model.config).load_state_dict(growth.model.state_dict())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("old", "new"), [((4, 2), (4, 4)), ((4, 1), (8, 2)), ((4, 4), (8, 4)), ((6, 2), (6, 6))]
)
def test_a_language_model_by_its_own_configuration(old, new, attention):
    pytest.importorskip("transformers")
    names = "num_attention_heads", "num_key_value_heads"
    sizes = {**LANGUAGE, "head_dim": 8, "attn_implementation": attention}
    small = {**sizes, **dict(zip(names, old, strict=True))}
    teacher = drawn(hf("LlamaForCausalLM", "LlamaConfig", vocab_size=40, **small)())
    growth = net2net.grow(teacher, text(), **dict(zip(names, new, strict=True)))
    assert growth.report.parity.max_rel < 1e-12


def test_values_of_which_each_query_has_its_own() -> None:
    """Only keys are shared."""

    def code(model: Any, x: Tensor) -> Tensor:
        def heads(made: Tensor, many: int) -> Tensor:
            return made.unflatten(-1, (many, -1)).transpose(1, 2)

        query, key, value = heads(model.q(x), 4), heads(model.k(x), 2), heads(model.v(x), 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return model.out(mixed.transpose(1, 2).flatten(2))

    layers = {"q": nn.Linear(3, 8), "k": nn.Linear(3, 4), "v": nn.Linear(3, 8)}
    teacher = randomise(Written(code, **layers, out=nn.Linear(8, 2)))
    x = noise(2, 5, 3)
    assert len(net2net.spaces(teacher, x))
    assert net2net.deepen(teacher, {"out": 1}, x, kind="linear").report.parity.exact
