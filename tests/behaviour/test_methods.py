"""Every method on every family of networks: what is kept, what is added, what can learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import Growth, Method
from net2net.maps.methods import method_of
from net2net.recipe.axis_map import ABSENT, NEW
from tests.helpers import EXACT, Written, between, noise, randomise, refused, same_bits

# -- families --------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """By hand, as language models have it: in float32 or wider, scaled by w or by 1 + w."""

    def __init__(self, width: int, *, plus_one: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.plus_one = plus_one

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        scale = 1.0 + self.weight.float() if self.plus_one else self.weight
        return (wide * scale).type_as(x)


class LayerNorm(nn.Module):
    """By hand, of a mean and a variance."""

    def __init__(self, width: int, *, unbiased: bool = False) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.unbiased = unbiased

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        if self.unbiased:
            deviation = x.std(-1, keepdim=True)
            return self.weight * centred / (deviation + 1e-6) + self.bias
        variance = centred.pow(2).mean(-1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-5) * self.weight + self.bias


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, size: int, key_heads: int) -> None:
        super().__init__()
        self.q = nn.Linear(width, heads * size)
        self.kv = nn.Linear(width, 2 * key_heads * size)
        self.o = nn.Linear(heads * size, width)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q = self.q(x).view(batch, time, -1, self.size).transpose(1, 2)
        k, v = (
            one.view(batch, time, -1, self.size).transpose(1, 2)
            for one in self.kv(x).chunk(2, dim=-1)
        )
        k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for one in (k, v))
        made = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(made.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class LanguageModel(nn.Module):
    """Blocks on a stream, with the head tied to the embedding or not."""

    def __init__(
        self, norm: Callable[[int], nn.Module], *, tied: bool = False, scaled: bool = False
    ) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(20, 8), nn.Parameter(torch.zeros(1, 6, 8))
        self.norms = nn.ModuleList(norm(8) for _ in range(3))
        self.attention, self.mlp = Attention(8, 4, 3, 2), Gated(8, 10)
        self.layer_scale = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 20, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        self.scaled = scaled

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        if self.scaled:
            h = h * h.shape[-1] ** 0.5
        h = h + self.position
        h = h + self.attention(self.norms[0](h)) * self.layer_scale
        h = h + self.mlp(self.norms[1](h))
        return self.head(self.norms[2](h))


class Adaptive(nn.Module):
    """Norms without parameters, scaled and shifted by a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (
            nn.Linear(n, m) for n, m in ((4, 6), (6, 7), (7, 6), (6, 3))
        )
        self.scale, self.shift = nn.Linear(4, 6), nn.Linear(4, 6)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.a(x)
        normal = F.layer_norm(h, h.shape[-1:]) * (1 + self.scale(condition)) + self.shift(condition)
        h = h + self.c(F.gelu(self.b(normal)))
        return self.d(F.layer_norm(h, h.shape[-1:]))


def residual() -> nn.Module:
    def code(m: Any, x: Tensor) -> Tensor:
        h = F.leaky_relu(m.bn1(m.conv1(x)))
        h = F.leaky_relu(h + m.bn3(m.conv3(F.leaky_relu(m.bn2(m.conv2(h))))))
        return m.head(m.depthwise(h).mean((2, 3)))

    return Written(
        code, conv1=nn.Conv2d(3, 5, 3), bn1=nn.BatchNorm2d(5), conv2=nn.Conv2d(5, 4, 3, padding=1),
        bn2=nn.BatchNorm2d(4), conv3=nn.Conv2d(4, 5, 3, padding=1), bn3=nn.BatchNorm2d(5),
        depthwise=nn.Conv2d(5, 5, 3, groups=5), head=nn.Linear(5, 3),
    )  # fmt: skip


def recurrent() -> nn.Module:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.head(m.lstm(m.embedding(x))[0])

    return Written(
        code, embedding=nn.Embedding(20, 5), lstm=nn.LSTM(5, 6, batch_first=True),
        head=nn.Linear(6, 4),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


TOKENS = (torch.arange(24).reshape(4, 6) * 7 % 20,)

FAMILIES: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "perceptron": (perceptron, (noise(9, 4),)),
    "residual": (residual, (noise(4, 3, 8, 8),)),
    "recurrent": (recurrent, TOKENS),
    "layer norm": (lambda: LanguageModel(nn.LayerNorm), TOKENS),
    "layer norm, tied": (lambda: LanguageModel(nn.LayerNorm, tied=True), TOKENS),
    "RMS norm": (lambda: LanguageModel(nn.RMSNorm), TOKENS),
    "RMS norm by hand, 1 + w, tied, embedding times a size": (
        lambda: LanguageModel(lambda n: RMSNorm(n, plus_one=True), tied=True, scaled=True),
        TOKENS,
    ),
    "RMS norm by hand": (lambda: LanguageModel(lambda n: RMSNorm(n, plus_one=False)), TOKENS),
    "layer norm by hand": (lambda: LanguageModel(LayerNorm), TOKENS),
    "adaptive norms": (Adaptive, (noise(5, 4), noise(5, 4, seed=1))),
}

EXACT_METHODS = [name for name, one in net2net.METHODS.items() if one.exact and not one.needs_loss]


def grown(family: str, method: str | Method, widths: Any = 1.5) -> tuple[nn.Module, Growth]:
    make, inputs = FAMILIES[family]
    teacher = randomise(make())
    loss = loss_of(method, inputs)
    return teacher, net2net.widen(teacher, widths, inputs, method=method, loss=loss)


def loss_of(method: str | Method, inputs: Any) -> Callable[[nn.Module], Tensor] | None:
    """For a method that needs one."""
    if not method_of(method).needs_loss:
        return None
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    return lambda model: model(*args).sin().sum()


# -- what is kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EXACT_METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_exact_method_keeps_the_function(family: str, method: str) -> None:
    _, growth = grown(family, method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert all(row.new > row.old for row in growth.report.rows) and growth.report.rows
    old, new = growth.report.parameters
    assert new > old and new == sum(p.numel() for p in growth.model.parameters())


@pytest.mark.parametrize("factor", [1.37, 2.0, 2.6])
@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize("family", [name for name in FAMILIES if "norm" in name])
def test_a_stream_under_norms_has_any_width(family: str, method: str, factor: float) -> None:
    _, growth = grown(family, method, factor)
    width = 6 if family == "adaptive norms" else 8
    stream = next(row for row in growth.report.rows if row.name in {"embedding", "a"})
    assert stream.new == math.floor(width * factor + 0.5)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.6])
@pytest.mark.parametrize("family", ["layer norm", "RMS norm by hand", "adaptive norms"])
def test_copies_that_pad_under_norms_do_so_at_any_width(family: str, factor: float) -> None:
    """Elsewhere units are copied."""
    teacher, growth = grown(family, Method(norms="pad"), factor)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    stream, inside = ("a", "b") if family == "adaptive norms" else ("embedding", "mlp.up")
    rows = {row.name: row for row in growth.report.rows}
    assert "copy nothing" in rows[stream].note and "averages over it" in rows[stream].note
    assert not any("copy nothing" in row.note for name, row in rows.items() if name == inside)
    axis = growth.plan.recipes[f"{stream}.weight"].axes[-1]
    own = teacher.get_parameter(f"{stream}.weight").shape[axis.dim]
    assert (axis.index[own:] < 0).all() and axis.size == rows[stream].new


def test_copies_that_cannot_pad_under_a_norm_are_copies() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.b(m.norm(F.gelu(m.a(x))))

    layers = {"a": nn.Linear(3, 4), "norm": nn.LayerNorm(4), "b": nn.Linear(4, 2)}
    teacher, x = randomise(Written(code, **layers)), noise(5, 3)
    growth = net2net.widen(teacher, 2.0, x, method=Method(norms="pad"))
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    [row] = growth.report.rows
    assert (row.old, row.new) == (4, 8)
    assert "copies, for units that copy nothing will not do: " in row.note and "gelu" in row.note


@pytest.mark.parametrize("method", [name for name, one in net2net.METHODS.items() if not one.exact])
def test_a_method_that_is_not_exact_says_so(method: str) -> None:
    _, growth = grown("perceptron", method)
    assert growth.report.parity is not None and growth.report.parity.max_rel > 1e-3
    assert f"{method} does not preserve the function" in str(growth.report)


def test_shrinking_and_perturbing_is_of_all_parameters() -> None:
    """By the law of each layer, whether it grew or not; buffers stay."""
    teacher, x = randomise(residual()), noise(4, 3, 8, 8)
    plain = net2net.widen(teacher, 2.0, x, method="replicate").model.state_dict()
    shrunk = net2net.widen(teacher, 2.0, x, method=Method(shrink=0.5), verify=False).model
    parameters = dict(shrunk.named_parameters())
    for name, tensor in shrunk.state_dict().items():
        assert torch.equal(tensor, plain[name] * 0.5 if name in parameters else plain[name])

    way = Method(shrink=0.5, perturb=0.1)
    growth = net2net.widen(teacher, 2.0, x, method=way, verify=False)
    added = {
        name: tensor - shrunk.state_dict()[name]
        for name, tensor in growth.model.state_dict().items()
    }
    assert torch.allclose(added["bn1.weight"], torch.tensor(0.1).double())
    assert not added["bn1.bias"].any() and not added["bn1.running_var"].any()
    assert 0.08 < added["head.weight"].abs().max() * 10**0.5 <= 0.1
    assert 0.09 < added["conv1.weight"].abs().max() * 27**0.5 <= 0.1
    again = net2net.Plan.from_json(growth.plan.to_json()).apply(teacher.state_dict())
    for name, tensor in growth.model.state_dict().items():
        assert torch.equal(tensor, again[name])


def test_noise_of_a_method_is_on_units_of_its_own() -> None:
    """At any width: under a norm they are as without noise."""
    _, growth = grown("layer norm", Method(noise=1e-3))
    _, plain = grown("layer norm", "replicate")
    assert growth.report.rows == plain.report.rows and "copy nothing" in str(plain.report)
    assert growth.report.parity is not None and EXACT < growth.report.parity.max_rel < 0.05


@pytest.mark.parametrize("method", EXACT_METHODS)
@pytest.mark.parametrize(
    "function",
    [
        lambda h: F.pad(h[..., None], (1, 1), value=2.0).mean(-1),
        lambda h: F.hardtanh(h, 0.5, 2.0),
        lambda h: F.hardtanh(h, -2.0, -0.5),
    ],
    ids=["padding", "hardtanh above zero", "hardtanh below zero"],
)
def test_what_makes_a_number_of_zero_is_seen_by_its_arguments(
    function: Callable[[Tensor], Tensor], method: str
) -> None:
    growth = net2net.widen(between(function), 1.5, noise(5, 3), method=method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert [(row.old, row.new) for row in growth.report.rows] == [(8, 12)]


@pytest.mark.parametrize("method", ["fresh", "silent", "replicate"])
def test_vectors_of_length_one_grow_by_units_that_are_zero(method: str) -> None:
    teacher = between(lambda h: F.normalize(h, dim=-1))
    growth = net2net.widen(teacher, 1.37, noise(5, 3), method=method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert [(row.old, row.new) for row in growth.report.rows] == [(8, 11)]


@pytest.mark.parametrize("method", ["fresh", "silent"])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, LayerNorm])
def test_a_norm_over_several_values_of_each_unit(
    norm: Callable[[int], nn.Module], method: str
) -> None:
    """As where patches are merged: each value's mean is another than that of all."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        return m.c(m.n(torch.cat((h[:, 0::2], h[:, 1::2]), -1)))

    layers = {"a": nn.Linear(3, 4), "n": norm(8), "c": nn.Linear(8, 2)}
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, 2.0, noise(2, 6, 3), method=method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    [row] = growth.report.rows
    assert (row.old, row.new) == (4, 8)
    assert ("several values of each" in row.note) == (norm is not nn.RMSNorm)


@pytest.mark.parametrize("method", ["silent", "fresh", "replicate"])
@pytest.mark.parametrize("normed", [False, True])
def test_positions_are_mixed_with_a_bias_of_their_own(normed: bool, method: str) -> None:
    """Which is neither zero nor scaled in new channels."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        h = m.mix(h.transpose(1, 2)).transpose(1, 2)
        return m.b(m.norm(h) if normed else h)

    layers = {"a": nn.Linear(3, 4), "mix": nn.Linear(6, 6), "norm": nn.RMSNorm(4)}
    teacher = randomise(Written(code, **layers, b=nn.Linear(4, 2)))
    growth = net2net.widen(teacher, {"a": 2.0}, noise(2, 6, 3), method=method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert [(row.old, row.new) for row in growth.report.rows] == [(4, 8)]


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_quotient_that_is_rounded_is_no_multiple(norm: Callable[[int], nn.Module]) -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        return m.c(m.n(torch.div(m.a(x), 0.3, rounding_mode="floor")))

    layers = {"a": nn.Linear(3, 4), "n": norm(4), "c": nn.Linear(4, 2)}
    growth = net2net.widen(randomise(Written(code, **layers)), 2.0, noise(5, 3), method="fresh")
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    [row] = growth.report.rows
    assert (row.old, row.new) == (4, 8) and "copies, for random ones" in row.note


@pytest.mark.parametrize("method", ["fresh", "silent", "replicate"])
def test_weights_that_a_batch_norm_standardises(method: str) -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        flat = m.a.weight.flatten(1)[None]
        weight = F.batch_norm(flat, None, None, m.gain.weight, training=True, momentum=0.0)
        made = F.conv2d(x, weight.reshape(m.a.weight.shape), m.a.bias)
        return m.b(F.gelu(made).mean((2, 3)))

    layers = {"a": nn.Conv2d(3, 8, 3), "gain": nn.PReLU(8), "b": nn.Linear(8, 2)}
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, 1.37, noise(2, 3, 6, 6), method=method)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert [(row.old, row.new) for row in growth.report.rows] == [(8, 11)]


# -- what is told ----------------------------------------------------------------------------------


def test_a_padded_stream_is_told_of_with_the_reason() -> None:
    _, growth = grown("layer norm", "replicate")
    row = next(row for row in growth.report.rows if row.name == "embedding")
    assert "4 of 12 units copy nothing" in row.note and "layer_norm in 'norms.0'" in row.note
    _, doubled = grown("layer norm", "replicate", 2.0)
    assert "copy nothing" not in str(doubled.report)


def test_a_space_that_cannot_have_zeros_gets_random_units_and_the_report_says_why() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2)))
    growth = net2net.widen(teacher, 2.0, noise(5, 3), method="silent")
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert (
        "softplus" in growth.report.rows[0].note
        and "zero ones will not do" in growth.report.rows[0].note
    )


def test_what_cannot_be_padded_grows_by_whole_multiples_and_the_reason_is_told() -> None:
    """Behind a post-norm, a stream is neither zero nor the mean."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.n1(m.a(x))
        return m.c(m.n2(h + m.b(h)))

    teacher = randomise(
        Written(code, a=nn.Linear(3, 4), n1=nn.LayerNorm(4), b=nn.Linear(4, 4), n2=nn.LayerNorm(4),
                c=nn.Linear(4, 2))
    )  # fmt: skip
    space = net2net.spaces(teacher, noise(5, 3))["a"]
    assert space.step == 4 and list(space.kinds) == ["copy"]
    with refused(net2net.WidthError, "grows in steps of 4", "layer_norm", teacher=teacher):
        net2net.widen(teacher, {"a": 6}, noise(5, 3))
    growth = net2net.widen(teacher, 2.0, noise(5, 3), method="fresh")
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert "copies, for random ones will not do" in growth.report.rows[0].note


def test_the_table_of_methods_prints() -> None:
    assert "fresh" in str(net2net.METHODS) and "<table" in net2net.METHODS._repr_html_()


@pytest.mark.parametrize(
    "method",
    [
        {"incoming": "random", "outgoing": "share"}, {"outgoing": "zero"}, {"shares": "fair"},
        {"pair": -1.0}, {"noise": float("nan")}, {"norms": "no"}, {"rescale": "no"},
        {"incoming": "initial", "outgoing": "gradient"}, {"incoming": "zero", "outgoing": "zero"},
        {"rescale": "rms"}, {"incoming": "zero", "outgoing": "random", "rescale": "rms"},
        {"incoming": "random", "outgoing": "zero", "rescale": "rms"},
        {"incoming": "random", "outgoing": "pair", "rescale": "rms"},
        {"incoming": "random", "outgoing": "zero", "pair": 0.5},
        {"incoming": "zero", "outgoing": "random", "shares": "uneven"},
        {"incoming": "random", "outgoing": "random", "norms": "pad"},
    ],
    ids=str,
)  # fmt: skip
def test_a_method_that_makes_no_sense_is_refused_when_it_is_made(method: dict[str, Any]) -> None:
    """No field is left undone."""
    with refused(net2net.UnknownMethodError, "of the method is|cannot go", teacher=nn.Identity()):
        Method(**method)


@pytest.mark.parametrize("method", ["repeat", 3])
def test_what_is_no_method_is_refused(method: Any) -> None:
    teacher = randomise(perceptron())
    with refused(net2net.UnknownMethodError, teacher=teacher):
        net2net.widen(teacher, 2.0, noise(5, 4), method=method)


# -- what can learn --------------------------------------------------------------------------------


def new_positions(growth: Growth) -> dict[tuple[str, int], list[int]]:
    """Of every axis that grew, the positions that are not the teacher's own."""
    return {
        (name, axis.dim): [*axis.later_copies.nonzero()[0], *(axis.index < 0).nonzero()[0]]
        for name, recipe in growth.plan.recipes.items()
        for axis in recipe.axes
    }


@pytest.mark.parametrize("method", [*EXACT_METHODS, "gradmax"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_new_parameter_has_a_gradient_within_two_steps(family: str, method: str) -> None:
    _, growth = grown(family, method)
    assert_gradients(growth, FAMILIES[family][1])


def assert_gradients(growth: Growth, inputs: tuple[Tensor, ...], steps: int = 2) -> None:
    """Every parameter of new units has one within so many steps, and it is finite."""
    model = growth.model
    optimiser = torch.optim.SGD(model.parameters(), 1e-2)
    seen = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for step in range(steps + 1):
        optimiser.zero_grad()
        out = model(*inputs)
        (out * torch.sin(torch.arange(out.numel()).reshape(out.shape))).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()
            seen[name] += parameter.grad.abs()
        if step < steps:
            optimiser.step()
    for (name, dim), positions in new_positions(growth).items():
        for position in positions if name in seen else ():
            assert seen[name].select(dim, int(position)).any(), (name, dim, position)


def test_zero_units_are_not_put_before_what_is_flat_at_zero() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    growth = net2net.widen(teacher, 2.0, noise(5, 3), method="silent")
    assert "relu in '1' is flat at zero" in growth.report.rows[0].note
    assert (growth.plan.recipes["0.weight"].axes[0].index[4:] == NEW).all()


@pytest.mark.parametrize("method", ["uneven", "one_sided", "pair", "fresh", "silent"])
def test_new_units_separate(method: str) -> None:
    """After a few steps no two rows of the hidden layer are alike; of even shares they stay so."""

    def alike(method: str) -> bool:
        _, growth = grown("perceptron", method, {"0": 2.0})
        optimiser = torch.optim.SGD(growth.model.parameters(), 0.1)
        for _ in range(3):
            optimiser.zero_grad()
            growth.model(noise(9, 4)).square().sum().backward()
            optimiser.step()
        rows = growth.model[0].weight  # type: ignore[index]
        return len(rows.detach().round(decimals=9).unique(dim=0)) < len(rows)

    assert alike("replicate") and not alike(method)


def test_gates_are_zero_in_one_factor_only() -> None:
    """Where both factors of a product are zero, neither gets a gradient."""
    _, growth = grown("RMS norm", "silent", {"mlp.gate": 2.0})
    up, gate = (growth.plan.recipes[f"mlp.{name}.weight"].axes[0].index for name in ("up", "gate"))
    assert ((up == ABSENT).any(), (gate == ABSENT).any()) in {(True, False), (False, True)}


def test_what_is_told_of_noise_and_of_pairs() -> None:
    teacher = randomise(perceptron())
    noisy = net2net.widen(teacher, 2.0, noise(5, 4), method=Method(noise=0.1)).report
    assert "noise of 0.1 breaks symmetry" in str(noisy) and "random" not in str(noisy.notes)
    for method in ("fresh", "silent", "fresh_pair"):
        calm = net2net.widen(teacher, 2.0, noise(5, 4), method=method, noise=0.1)
        plain = net2net.widen(teacher, 2.0, noise(5, 4), method=method)
        assert same_bits(calm.model, plain.model)
        assert "noise of 0.1 is on nothing" in str(calm.report)
        assert "roughly" not in str(calm.report)
        student = net2net.transfer(teacher, calm.model, noise(5, 4), method=method, noise=0.1)
        assert "noise of 0.1 is on nothing" in str(student.report)
        assert "roughly" not in str(student.report)
    unread = net2net.widen(teacher, 2.0, noise(5, 4), method="one_sided", noise=0.1).report
    assert unread.parity is not None and unread.parity.exact
    assert "noise of 0.1 is on copies, and what was measured is the function" in str(unread)
    assert "roughly" not in str(unread)
    unmeasured = net2net.widen(
        teacher, 2.0, noise(5, 4), method="one_sided", noise=0.1, verify=False
    )
    assert "roughly" in str(unmeasured.report)
    assert not any("stay equal" in one for one in grown("perceptron", "pair")[1].report.warnings)
    assert any("stay equal" in one for one in grown("perceptron", "replicate")[1].report.warnings)


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("given", ["ones", "activation"])
def test_a_norm_that_scales_by_no_parameter(given: str, method: str) -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        scale = torch.ones(h.shape[-1], dtype=h.dtype) if given == "ones" else m.b(x)[0]
        return m.c(F.layer_norm(h, h.shape[-1:], scale))

    layers = {"a": nn.Linear(3, 4), "b": nn.Linear(3, 4), "c": nn.Linear(4, 2)}
    teacher = randomise(Written(code, **layers))
    for widths in (1.5, 2.0):
        growth = net2net.widen(teacher, widths, noise(5, 3), method=method, verify=False)
        assert net2net.verify(teacher, growth.model, noise(5, 3)).max_rel <= EXACT


@pytest.mark.parametrize("widths", [{"0": 9, "2": 6}, {"0": 7}])
def test_a_zero_unit_without_a_twin_is_read_by_columns_of_its_own(widths: dict[str, int]) -> None:
    """An odd number of them: nobody has to make up for a unit that is zero."""
    teacher, x = randomise(perceptron()), noise(9, 4)
    growth = net2net.widen(teacher, widths, x, method=Method("zero", "pair"))
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert growth.model[2].weight[:5, -1].all()  # type: ignore[index, union-attr, operator]
    growth.model(x).square().sum().backward()
    for name, new in {"0.weight": 6, "2.weight": 5}.items():
        gradient = growth.model.get_parameter(name).grad
        assert gradient is not None and gradient[new:].any(1).all()


def test_a_padded_unit_without_a_twin_learns_as_soon_as_the_others() -> None:
    """Behind an RMS norm it is zero, so that it needs none."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.stem(x)
        normal = m.norm(h)
        return m.head(h + m.down(F.silu(m.gate(normal)) * m.up(normal)))

    layers = {"stem": nn.Linear(4, 6), "norm": nn.RMSNorm(6), "gate": nn.Linear(6, 8)}
    layers |= {"up": nn.Linear(6, 8), "down": nn.Linear(8, 6), "head": nn.Linear(6, 3)}
    teacher, x = randomise(Written(code, **layers)), noise(9, 4)
    growth = net2net.widen(teacher, 1.5, x, method="fresh_pair")
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    assert_gradients(growth, (x,), steps=1)
