"""Attention whose heads stay as many and get larger: widths that name an integer of the code."""

import math

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, TransferError, UnknownModuleError, WidthError
from tests.helpers import assert_exact, randomise, refused, widen

TOKENS = torch.randn(2, 5, 12)


class Attention(nn.Module):
    """Four heads of eight features, and key-value heads of which each serves ``groups`` queries."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.heads, self.size, self.groups = 4, 8, groups
        self.query, self.out = nn.Linear(12, 32), nn.Linear(32, 12)
        self.key, self.value = nn.Linear(12, 32 // groups), nn.Linear(12, 32 // groups)

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(
            query, key, value, enable_gqa=self.groups > 1
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.split(layer(x)) for layer in (self.query, self.key, self.value)]
        return self.out(self.attend(*parts).transpose(1, 2).flatten(2))


class Scaled(Attention):
    """Scores written out, divided by a number that is computed from the size at hand."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        return scores.softmax(-1) @ value


class ScaledQuery(Attention):
    """The query scaled by the attribute before, in a tensor."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = query / torch.full([], self.size**0.5, dtype=query.dtype)
        return (query @ key.mT).softmax(-1) @ value


class InPlace(Attention):
    """The query rectified and scaled where it lies, and so the scores."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = nn.functional.relu_(query).mul_(self.size**-0.25)
        return (query @ key.mT).div_(self.size**0.25).softmax(-1) @ value


class Added(Attention):
    """Scores scaled and added to a bias in one operation."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.flatten(0, 1) for x in (query, key, value))
        bias = torch.linspace(0, 1, 5, dtype=query.dtype).expand(len(query), 5, 5)
        scores = torch.baddbmm(bias, query, key.mT, alpha=query.shape[-1] ** -0.5)
        return (scores.softmax(-1) @ value).unflatten(0, (-1, self.heads))


class Shown(Scaled):
    """The code shows heads of keys and values to their queries by itself."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        key, value = (x.repeat_interleave(self.groups, 1) for x in (key, value))
        return super().attend(query, key, value)


class Unscaled(Attention):
    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.einsum("bhqd,bhkd->bhqk", query, key).softmax(-1) @ value


class Fused(Attention):
    """One projection makes query, key and value; its bias is added by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.fused, self.bias = nn.Linear(12, 96, bias=False), nn.Parameter(torch.randn(96))
        del self.query, self.key, self.value

    def forward(self, x: Tensor) -> Tensor:
        made = self.fused(x) + self.bias
        parts = made.reshape(*x.shape[:2], 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        return self.out(self.attend(*parts.unbind(0)).transpose(1, 2).flatten(2))


class Interleaved(Fused):
    """Query, key and value of each head lie beside each other."""

    def parts(self, made: Tensor) -> tuple[Tensor, ...]:
        return made.view(*made.shape[:2], self.heads, 3 * self.size).chunk(3, -1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [part.transpose(1, 2) for part in self.parts(self.fused(x) + self.bias)]
        return self.out(self.attend(*parts).transpose(1, 2).flatten(2))


class InterleavedLast(Interleaved):
    """Those of each feature do."""

    def parts(self, made: Tensor) -> tuple[Tensor, ...]:
        return made.view(*made.shape[:2], self.heads, self.size, 3).unbind(-1)


class Sloped(Attention):
    """Each head has a constant of its own, by which scores fall with distance."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = nn.Linear(12, 96)
        del self.query, self.key, self.value

    def parts(self, made: Tensor) -> tuple[Tensor, ...]:
        made = made.view(*made.shape[:2], self.heads, 3, self.size)
        return made[..., 0, :], made[..., 1, :], made[..., 2, :]

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (part.transpose(1, 2) for part in self.parts(self.fused(x)))
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=x.dtype)[:, None, None]
        scores = query @ key.mT / math.sqrt(self.size) + slopes * torch.arange(5.0, dtype=x.dtype)
        made = (scores.softmax(-1) @ value).transpose(1, 2)
        return self.out(made.reshape(*x.shape[:2], self.heads * self.size))


class SlopedInThirds(Sloped):
    """Query, key and value lie one after the other."""

    def parts(self, made: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            part.reshape(*made.shape[:2], self.heads, self.size) for part in made.chunk(3, -1)
        )


class Biased(Attention):
    """A bias of each head is added before the scores are divided."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(4, 5, 5))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = (query @ key.transpose(-1, -2) + self.bias) / math.sqrt(query.shape[-1])
        return scores.softmax(-1) @ value


class Capped(Attention):
    """Scores are capped by a number that follows the size of heads: no weight makes up for it."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = (query @ key.mT).tanh() * query.shape[-1] ** 0.5
        return scores.softmax(-1) @ value


class Rotary(Attention):
    def split(self, x: Tensor) -> Tensor:
        x = super().split(x)
        angles = torch.arange(5.0)[:, None] / 10.0 ** torch.arange(0, self.size // 2)
        angles = torch.cat([angles, angles], -1)
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()


class Partial(Attention):
    """The first four features of each head are turned by position, pair by pair."""

    turns = 4

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.arange(5.0, dtype=x.dtype)[:, None] / 10.0 ** torch.arange(self.turns // 2)
        angles = torch.cat([angles, angles], -1)
        left, right = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-right, left], -1) * angles.sin()

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key = (
            torch.cat([self.turned(x[..., : self.turns]), x[..., self.turns :]], -1)
            for x in (query, key)
        )
        return nn.functional.scaled_dot_product_attention(
            query, key, value, scale=0.3, enable_gqa=self.groups > 1
        )


class InterleavedPartial(Partial, Interleaved):
    """Some features of query and key are turned, and none of the value that lies beside them."""

    def __init__(self) -> None:
        Interleaved.__init__(self)


class PartialByCount(Partial):
    """Divided by a number that follows the size of heads, as turned features are too."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return super().attend(query / self.size**0.5, key, value)


class PartialByDefault(Partial):
    """What torch divides by follows the size of heads by itself, behind the turn."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key = (
            torch.cat([self.turned(x[..., : self.turns]), x[..., self.turns :]], -1)
            for x in (query, key)
        )
        return nn.functional.scaled_dot_product_attention(query, key, value)


class ByHand(Attention):
    """The weights of one layer are multiplied by the code, which turns them before."""

    def forward(self, x: Tensor) -> Tensor:
        query = self.split(x @ self.query.weight.T + self.query.bias)
        key, value = self.split(self.key(x)), self.split(self.value(x))
        return self.out(self.attend(query, key, value).transpose(1, 2).reshape(*x.shape[:2], -1))


class Merged(Attention):
    """All turned by position; heads are merged by their number and size."""

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            layer(x).view(*x.shape[:2], self.heads, self.size).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        turned = [Partial.turned(self, part) for part in parts[:2]]
        made = self.attend(*turned, parts[2]).transpose(1, 2)
        return self.out(made.reshape(*x.shape[:2], self.heads * self.size))

    turns = 8


class Twice(Attention):
    """Both query and key are read by two products: dividing one of them would change both."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.mT + query @ query.mT + key @ key.mT
        return scores.softmax(-1) @ value


@pytest.mark.parametrize(
    "make",
    [
        Attention,
        Scaled,
        ScaledQuery,
        InPlace,
        Added,
        Unscaled,
        Fused,
        Interleaved,
        InterleavedLast,
        Sloped,
        SlopedInThirds,
        Biased,
        lambda: Attention(groups=2),
        lambda: Attention(groups=4),
        lambda: Shown(groups=4),
        lambda: Shown(groups=2),
    ],
)
@pytest.mark.parametrize("size", [12, 2.0])
@pytest.mark.parametrize("balanced", [True, False])
def test_heads_grow_inside(make, size, balanced):
    teacher = nn.Sequential(make(), make()).double().eval()
    grown = net2net.widen(teacher, {"*.size": size}, TOKENS.double(), balanced=balanced)
    new = 12 if size == 12 else 16
    for layer in grown.model:
        assert (layer.heads, layer.size, layer.out.in_features) == (4, new, 4 * new)
    assert grown.report.parity.max_rel < 1e-12
    again = net2net.Plan.from_json(grown.plan.to_json()).apply(teacher)
    assert torch.equal(again(TOKENS.double()), grown.model(TOKENS.double()))


@pytest.mark.parametrize(
    "make",
    [
        Partial,
        lambda: Partial(groups=2),
        lambda: Partial(groups=4),
        PartialByCount,
        PartialByDefault,
        ByHand,
    ],
)
@pytest.mark.parametrize(("size", "method"), [(12, "replicate"), (1.5, "fresh"), (20, "silent")])
def test_heads_grow_inside_beside_what_turns(make, size, method):
    teacher = randomise(nn.Sequential(make()))
    student = widen(teacher, {"*.size": size}, TOKENS.double(), method=method).model[0]
    new = 12 if size == 1.5 else size
    assert (student.heads, student.size, student.query.out_features) == (4, new, 4 * new)
    assert student.value.out_features == 4 * new // student.groups
    if isinstance(student, Partial):
        old = teacher[0].key.weight.view(-1, 8, 12)
        assert torch.equal(student.key.weight.view(-1, new, 12)[:, :8], old)


@pytest.mark.parametrize("make", [Attention, Shown, Partial])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transfer_into_larger_heads(make, groups):
    teacher, student = randomise(make(groups)), larger(make(groups))
    growth = net2net.transfer(teacher, student, TOKENS.double())
    assert_exact(teacher, growth.model, TOKENS.double())


@pytest.mark.parametrize("make", [Sloped, SlopedInThirds, Interleaved, InterleavedLast])
@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_transfer_into_larger_heads_that_one_layer_makes(make, method):
    """Also where the number of heads stays by itself, for a constant of each."""
    teacher, student = randomise(make()), make().double()
    student.size, student.out = 12, nn.Linear(48, 12).double()
    student.fused = nn.Linear(12, 144, bias=student.fused.bias is not None).double()
    if "bias" in student._parameters:
        student.bias = nn.Parameter(torch.zeros(144).double())
    growth = net2net.transfer(teacher, student, TOKENS.double(), method=method)
    assert_exact(teacher, growth.model, TOKENS.double())


@pytest.mark.parametrize("make", [Sloped, SlopedInThirds])
def test_heads_with_a_constant_of_their_own_stay_as_many(make):
    teacher = randomise(make())
    with refused(NotGrowableError, "constant", teacher=teacher):
        net2net.widen(teacher, {"heads": 8}, TOKENS.double())
    student = make().double()
    student.heads, student.fused = 8, nn.Linear(12, 192).double()
    student.out = nn.Linear(64, 12).double()
    with refused(TransferError, "constant", teacher=teacher):
        net2net.transfer(teacher, student, TOKENS.double())


def larger(layer: Attention) -> Attention:
    """Heads of half as many features more."""
    layer.size = 12
    layer.query, layer.out = nn.Linear(12, 48), nn.Linear(48, 12)
    layer.key, layer.value = (nn.Linear(12, 48 // layer.groups) for _ in range(2))
    return layer.double()


def test_heads_grow_in_number_by_their_attribute():
    class Counted(Attention):
        def split(self, x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    grown = net2net.widen(nn.Sequential(Counted()), {"*.heads": 6}, TOKENS)
    assert grown.model[0].heads == 6
    assert grown.model[0].out.in_features == 48


def test_new_features_at_random_keep_the_scale_of_their_weights():
    teacher = nn.Sequential(Attention()).double()
    grown = net2net.widen(teacher, {"0.size": 16}, TOKENS.double(), method="random_pad")
    query, key = (grown.model[0].get_submodule(name).weight for name in ("query", "key"))
    # √(16/8) makes up for the smaller scale of scores; no feature has copies.
    assert torch.allclose(
        query.view(4, 16, 12)[:, :8], 2**0.5 * teacher[0].query.weight.view(4, 8, 12)
    )
    ratio = query.view(4, 16, 12)[:, 8:].std() / key.view(4, 16, 12)[:, 8:].std()
    assert 1.2 < ratio < 1.7


def test_noise_tells_copies_apart():
    teacher = nn.Sequential(Attention()).double()
    grown = net2net.widen(teacher, {"0.size": 16}, TOKENS.double(), noise=0.1)
    assert 1e-6 < grown.report.parity.max_rel < 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (InterleavedPartial, "pieces"), (Capped, "number"), (Rotary, "position"),
        (Merged, "position"), (Twice, "shares"),
    ],
)  # fmt: skip
def test_what_cannot_grow_inside_says_why(make, why):
    with pytest.raises(net2net.Net2NetError, match=why):
        net2net.widen(nn.Sequential(make()), {"0.size": 12}, TOKENS)


def test_a_feature_that_is_read_by_number_stays():
    class Read(InterleavedLast):
        def forward(self, x: Tensor) -> Tensor:
            first = self.fused(x).view(*x.shape[:2], self.heads, self.size, 3)[..., 0, :]
            return super().forward(x) + self.last(first.flatten(2))

    teacher = Read()
    teacher.last = nn.Linear(12, 12)
    with refused(NotGrowableError, "stays", teacher=teacher):
        net2net.widen(teacher, {"size": 12}, TOKENS)


def test_sizes_that_cannot_be_had():
    teacher = nn.Sequential(Attention())
    with pytest.raises(WidthError, match="smaller"):
        net2net.widen(teacher, {"0.size": 7}, TOKENS)
    with pytest.raises(UnknownModuleError, match="sise"):
        net2net.widen(teacher, {"0.sise": 12}, TOKENS)


def test_a_norm_over_the_features_of_a_head_keeps_their_number():
    class Normed(Attention):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return super().attend(self.norm(query), self.norm(key), value)

    with pytest.raises(NotGrowableError, match="norm"):
        net2net.widen(nn.Sequential(Normed()), {"0.size": 16}, TOKENS)


class Latent(nn.Module):
    """Keys of a part for each head and one for all, and values that are made with the former."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.shared, self.size = 4, 2, 6
        self.query = nn.Linear(12, 4 * 6)
        self.both, self.all = nn.Linear(12, 4 * 10), nn.Linear(12, 2)
        self.out = nn.Linear(4 * 6, 12)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).view(*x.shape[:2], -1, self.own + self.shared).transpose(1, 2)
        both = self.both(x).view(*x.shape[:2], -1, self.own + self.size).transpose(1, 2)
        mine, value = both.split([self.own, self.size], -1)
        key = both.new_empty(*both.shape[:-1], self.own + self.shared)
        key[..., : self.own].copy_(mine)
        key[..., self.own :].copy_(self.all(x)[:, None].expand(-1, mine.shape[1], -1, -1))
        made = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(made.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("size", "method"), [(9, "replicate"), (1.5, "fresh"), (12, "silent")])
def test_values_grow_inside_heads_whose_keys_are_put_together(size, method):
    teacher = randomise(nn.Sequential(Latent(), Latent()))
    grown = widen(teacher, {"*.size": size}, TOKENS.double(), method=method)
    for layer in grown.model:
        new = 12 if size == 12 else 9
        assert (layer.own, layer.size, layer.query.out_features) == (4, new, 24)
        assert (layer.both.out_features, layer.out.in_features) == (4 * (4 + new), 4 * new)
    with pytest.raises(NotGrowableError, match="repeats it inside every unit"):
        net2net.widen(teacher, {"*.own": 8}, TOKENS.double())
