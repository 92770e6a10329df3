"""Weights that pass a function before they are multiplied with units that grow: what is divided has
to be divided where they meet; else another factor takes the shares, or what comes before makes up
for whole copies, or the space stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import net2net
from net2net.errors import InputError, NotGrowableError, WidthError
from tests.helpers import EXACT, Written, noise, randomise, refused, widen

X = noise(2, 5, 3)
TIMES = torch.arange(5, dtype=torch.float64)
Made = Callable[[Any], Tensor]


class Weight(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))


def net(weight: Made, *, before: bool = False, behind: bool = False) -> nn.Module:
    """What is made of weights reads 8 units that grow beside others, and makes 6. ``before``,
    ``behind``: there, a part of what goes into a function makes no such part."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(model.first(x).relu())
        h = F.linear(h.tanh() if before else h, weight(model))
        return model.head(h.sigmoid() if behind else h.relu())

    layers: dict[str, nn.Module] = {
        "first": nn.Linear(3, 4), "stem": nn.Linear(4, 8), "head": nn.Linear(6, 2),
        "w": Weight(6, 8), "v": Weight(6, 8), "row": Weight(6, 1), "column": Weight(8),
        "a": Weight(6, 3), "b": Weight(3, 8),
    }  # fmt: skip
    return randomise(Written(code, **layers))


UNDIVIDED: dict[str, Made] = {
    "softplus": lambda m: F.softplus(m.w.weight),
    "tanh": lambda m: m.w.weight.tanh(),
    "exp": lambda m: m.w.weight.exp(),
    "square": lambda m: m.w.weight**2,
    "times itself": lambda m: m.w.weight * m.w.weight,
    "clamp": lambda m: m.w.weight.clamp(-0.1, 0.1),
    "round": lambda m: (8 * m.w.weight).round(),
    "rounded quotient": lambda m: m.w.weight.div(0.1, rounding_mode="trunc"),
    "plus a number": lambda m: m.w.weight + 1,
    "plus a row": lambda m: m.w.weight + m.row.weight,
    "divisor": lambda m: m.row.weight / m.w.weight,
    "filled": lambda m: m.w.weight.masked_fill(m.v.weight > 0, 1.0),
    "chosen or one": lambda m: torch.where(m.v.weight > 0, m.w.weight, 1.0),
    "softmax": lambda m: m.w.weight.softmax(1),
    "with a bias": lambda m: F.linear(m.a.weight, m.b.weight.T, m.column.weight),
    "padded with ones": lambda m: F.pad(m.w.weight[:5], (0, 0, 0, 1), value=1.0),
    "filled by itself": lambda m: m.w.weight.masked_fill(m.w.weight < 0, 0.0),
    "joined with ones": lambda m: torch.cat([m.w.weight[:3], torch.ones_like(m.w.weight[:3])]),
}
MULTIPLIED = {"plus a row", "divisor", "with a bias"}
"""Not along the units, but as a whole."""
PASSES_ZEROS: dict[str, Made] = {
    "tanh": UNDIVIDED["tanh"],
    "clamp": UNDIVIDED["clamp"],
    "expm1": lambda m: m.w.weight.expm1(),
    "sine": lambda m: (3 * m.w.weight).sin(),
    "normalised rows": lambda m: F.normalize(m.w.weight, dim=1),
    "normalised, with a gain": lambda m: m.row.weight * F.normalize(m.w.weight, dim=1),
    "normalised as a whole": lambda m: m.w.weight / m.w.weight.norm(),
    "by the sum of magnitudes": lambda m: m.w.weight / m.w.weight.abs().sum(1, keepdim=True),
    "by squares": lambda m: m.w.weight / (m.w.weight.pow(2).sum() + 1e-3).sqrt(),
    "by the largest": lambda m: m.w.weight / m.w.weight.abs().max(),
    "by the largest of a row": lambda m: m.w.weight / m.w.weight.abs().amax(1, keepdim=True),
    "fake quantised": lambda m: torch.fake_quantize_per_tensor_affine(
        m.w.weight, 1e-3, 3, -999, 999
    ),
    "fake quantised rows": lambda m: torch.fake_quantize_per_channel_affine(
        m.w.weight,
        m.row.weight.detach().abs()[:, 0].float() / 1e6 + 1e-6,
        torch.zeros(6),
        0,
        -9999,
        9999,
    ),
    "tanh of a product": lambda m: (m.a.weight @ m.b.weight).tanh(),
}
"""Of zeros it makes zeros, that can change, and leaves the rest as it is."""
REDUCED = {
    name for name in PASSES_ZEROS
    if name.startswith(("norm", "by ")) and name != "normalised, with a gain"
}  # fmt: skip
"""What is drawn in place of the zeros would change the rest; a gain would follow."""
CHANGED: dict[str, Made] = {
    "less its mean": lambda m: m.w.weight - m.w.weight.mean(1, keepdim=True),
    "by the mean of magnitudes": lambda m: m.w.weight / m.w.weight.abs().mean(),
    "by a deviation": lambda m: m.w.weight / m.w.weight.std(1, keepdim=True),
    "by the largest, with its sign": lambda m: m.w.weight / m.w.weight.amax(1, keepdim=True),
    "by the smallest": lambda m: m.w.weight / m.w.weight.abs().amin(),
    "columns normalised": lambda m: F.normalize(m.w.weight, dim=0),
    "layer norm": lambda m: F.layer_norm(m.w.weight, m.w.weight.shape[1:]),
    "root": lambda m: m.w.weight.exp().sqrt() - m.v.weight.square().sqrt(),
    "logarithm": lambda m: (m.w.weight.abs() + 1e-3).log(),
    "above half the largest": lambda m: m.w.weight * (m.w.weight > m.w.weight.max() / 2),
}
"""Zeros among it would change the rest, or are changed."""
GROWS: dict[str, Made] = {
    "relu": lambda m: m.w.weight.relu(),
    "abs": lambda m: m.w.weight.abs() * 3,
    "sum": lambda m: m.w.weight + m.v.weight,
    "product": lambda m: m.a.weight @ m.b.weight,
    "added product": lambda m: torch.addmm(m.w.weight, m.a.weight, m.b.weight),
    "one factor passes a function": lambda m: m.v.weight.exp() * m.column.weight,
    "the other does": lambda m: m.w.weight * m.column.weight.sigmoid(),
    "quotient": lambda m: m.w.weight / m.v.weight.exp(),
    "by a column": lambda m: m.column.weight / m.v.weight,
    "outer": lambda m: m.row.weight * m.column.weight,
    "chosen": lambda m: torch.where(m.v.weight > 0, m.w.weight, 0.0),
    "the larger": lambda m: torch.maximum(m.w.weight, m.v.weight),
    "filled with zeros": lambda m: m.w.weight.masked_fill(m.v.weight > 0, 0.0),
    "joined": lambda m: torch.cat([m.w.weight[:3], m.v.weight[3:]]),
}
BENT: dict[str, Made] = {
    "relu": GROWS["relu"],
    "abs": GROWS["abs"],
    "leaky relu": lambda m: F.leaky_relu(m.w.weight, 0.3),
    "of a sum": lambda m: (m.w.weight - m.v.weight).relu(),
    "of a product": lambda m: (m.a.weight @ m.b.weight).abs(),
    "beside what is linear": lambda m: m.w.weight.relu() - m.w.weight,
    "the larger": GROWS["the larger"],
    "hypotenuse": lambda m: torch.hypot(m.w.weight, m.v.weight),
    "chosen by itself": lambda m: torch.where(m.w.weight > 0, m.w.weight, 0.0),
    "joined with relu": lambda m: torch.cat([m.w.weight[:3], m.v.weight[3:].relu()]),
}
"""What is divided, and of which two that differ do not sum to twice what it is without."""
LINEAR: dict[str, Made] = {
    name: made for name, made in GROWS.items() if name not in BENT
} | {
    "negative": lambda m: -m.w.weight,
    "relu of the other factor": lambda m: m.w.weight * m.v.weight.relu(),
    "masked": lambda m: m.w.weight * (m.v.weight > 0),
    "W + AB": lambda m: m.w.weight + 2 * (m.a.weight @ m.b.weight),
}  # fmt: skip


@pytest.mark.parametrize("factor", [2.0, 1.5])
@pytest.mark.parametrize(
    "name", sorted(UNDIVIDED.keys() - MULTIPLIED - PASSES_ZEROS.keys() - {"softmax"})
)
def test_what_is_not_divided_leaves_the_space_as_it_is(name: str, factor: float) -> None:
    report = widen(net(UNDIVIDED[name], before=True, behind=True), factor, X).report
    assert "first" in {row.name for row in report.rows}
    (why,) = {row.note for row in report.stayed if row.name == "stem"}
    assert "verification" not in why


@pytest.mark.parametrize("factor", [2.0, 3.0])
@pytest.mark.parametrize("name", sorted(UNDIVIDED.keys() - {"softmax"} - PASSES_ZEROS.keys()))
def test_what_comes_before_makes_up_for_whole_copies(name: str, factor: float) -> None:
    teacher = net(UNDIVIDED[name])
    grown = {row.name: row.new for row in widen(teacher, factor, X).report.rows}
    assert grown["stem"] == 8 * factor
    with refused(WidthError, "16", teacher=teacher):
        widen(teacher, {"stem": 12}, X)


@pytest.mark.parametrize("factor", [2.0, 3.0])
@pytest.mark.parametrize("name", sorted(UNDIVIDED.keys() - MULTIPLIED))
def test_what_follows_makes_up_for_whole_copies(name: str, factor: float) -> None:
    teacher = net(UNDIVIDED[name], before=True)
    grown = {row.name: row.new for row in widen(teacher, factor, X).report.rows}
    assert grown["stem"] == 8 * factor
    if name not in PASSES_ZEROS:
        with refused(WidthError, "16", teacher=teacher):
            widen(teacher, {"stem": 12}, X)


def test_whole_copies_of_a_softmax_share_it() -> None:
    teacher = net(UNDIVIDED["softmax"], before=True, behind=True)
    assert widen(teacher, {"stem": 24}, X).report.rows[0].new == 24


@pytest.mark.parametrize("name", PASSES_ZEROS)
def test_zeros_that_stay_zeros_read_new_units(name: str) -> None:
    teacher = net(PASSES_ZEROS[name], before=True)
    assert net2net.spaces(teacher, X)["stem"].kinds.keys() - {"copy"} == (
        {"random"} if name in REDUCED else {"random", "zero"}
    )
    grown = widen(teacher, 1.5, X, method="fresh")
    assert told(grown, "stem") == ""
    parameters = dict(grown.model.named_parameters())
    for _ in range(2):  # what reads them first, then what makes them
        learned = {key: one.detach().clone() for key, one in parameters.items()}
        grown.model.zero_grad()
        loss(grown.model).backward()
        with torch.no_grad():
            for one in parameters.values():
                if one.grad is not None:
                    one -= 0.01 * one.grad
    assert (parameters["stem.weight"] != learned["stem.weight"])[8:].all()


@pytest.mark.parametrize("factor", [1.5, 2.0, 2.5])
@pytest.mark.parametrize("method", ["replicate", "fresh", "silent", "gradmax"])
@pytest.mark.parametrize("name", ["tanh", "by the largest"])
def test_new_units_beside_whole_copies(name: str, method: str, factor: float) -> None:
    """What makes up for copies makes up for these alone."""
    needed = loss if net2net.METHODS[method].needs_loss else None
    grown = widen(net(PASSES_ZEROS[name]), {"stem": factor}, X, method=method, loss=needed)
    assert {row.name: row.new for row in grown.report.rows} == {"stem": 8 * factor}


def test_what_zero_units_are_read_with_is_drawn() -> None:
    grown = widen(net(PASSES_ZEROS["tanh"], before=True), {"stem": 16}, X, method="silent")
    columns = dict(grown.model.named_parameters())["w.weight"][:, 8:]
    assert len(columns.detach().unique()) == columns.numel()


@pytest.mark.parametrize("name", CHANGED)
def test_zeros_that_change_the_rest_are_none(name: str) -> None:
    teacher = net(CHANGED[name], before=True, behind=True)
    report = net2net.widen(teacher, 1.5, X).report
    (why,) = {row.note for row in report.stayed if row.name == "stem"}
    assert "verification" not in why and "tied" not in why


def test_random_rows_could_be_the_largest_of_a_weight() -> None:
    """Whichever are drawn."""
    space = net2net.spaces(net(PASSES_ZEROS["by the largest"]), X)["w.weight"]
    assert space.kinds.keys() == {"copy"}
    assert "max reduces 'w.weight'" in str(space.why_not("random"))


@pytest.mark.parametrize("factor", [2.0, 1.5])
@pytest.mark.parametrize("name", GROWS)
def test_what_is_divided_takes_the_shares(name: str, factor: float) -> None:
    grown = {row.name: row.new for row in widen(net(GROWS[name]), factor, X).report.rows}
    assert grown["stem"] == 8 * factor


def kernel(first: str, second: str) -> Callable[[Any, Tensor], Tensor]:
    """A diagonal state space layer; whichever factor comes first."""

    def code(model: Any, x: Tensor) -> Tensor:
        factors = {
            "ds": model.c.weight,
            "dst": torch.exp(model.rates.weight[..., None] * TIMES),
        }
        made = torch.einsum(f"{first},{second}->dt", factors[first], factors[second])
        return model.head((model.stem(x).transpose(1, 2) * made).transpose(1, 2))

    return code


@pytest.mark.parametrize(("first", "second"), [("ds", "dst"), ("dst", "ds")])
def test_of_a_state_space_what_reads_it_takes_the_shares(first: str, second: str) -> None:
    layers = {"stem": nn.Linear(3, 8), "c": Weight(8, 4), "rates": Weight(8, 4)}
    teacher = randomise(Written(kernel(first, second), **layers, head=nn.Linear(8, 2)))
    grown = {row.name: row.new for row in widen(teacher, 1.5, X).report.rows}
    assert grown == {"stem": 12, "c.weight": 6}


@pytest.mark.parametrize(
    "weight",
    [
        lambda w: w - w.T,
        lambda w: w + w.T,
        lambda w: w @ w.T,
        lambda w: w * w.T,
        lambda w: w[:, :3] @ w[:, :3].T,
        lambda w: w.tril() - w.T,
    ],
    ids=["minus", "plus", "product", "elementwise", "narrow", "triangle"],
)
def test_a_weight_that_meets_its_transpose(weight: Callable[[Tensor], Tensor]) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(model.first(x).relu())
        return model.head(h + F.linear(h, weight(model.w.weight)))

    layers = {"first": nn.Linear(3, 4), "stem": nn.Linear(4, 8), "w": Weight(8, 8)}
    teacher = randomise(Written(code, **layers, head=nn.Linear(8, 2)))
    report = widen(teacher, 2.0, X).report
    assert "first" in {row.name for row in report.rows}
    assert not any("verification" in row.note for row in report.stayed)


class Standardised(nn.Conv2d):
    """Weights of mean 0 and deviation 1 over what they read (Qiao et al., 2019), times a gain for
    each row if there is one."""

    def __init__(self, reads: int, makes: int, *, gain: bool) -> None:
        super().__init__(reads, makes, 3)
        self.gain = nn.Parameter(torch.ones(makes, 1, 1, 1)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, len(self.weight), -1)
        gain = None if self.gain is None else (self.gain * 0.3).view(-1)
        made = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0)
        return F.conv2d(x, made.reshape_as(self.weight), self.bias)


@pytest.mark.parametrize(
    ("gain", "between", "grows"),
    [(True, nn.Tanh(), True), (False, nn.ReLU(), True), (False, nn.Tanh(), False)],
)
def test_standardised_weights(gain: bool, between: nn.Module, grows: bool) -> None:
    """Of k copies the sum is k times as large: the gain makes up for it, or what comes before."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), between, Standardised(8, 6, gain=gain),
            nn.Tanh(), nn.Flatten(), nn.Linear(24, 2),
        )
    )  # fmt: skip
    grown = {row.name: row.new for row in widen(teacher, 2.0, noise(2, 3, 6, 6)).report.rows}
    assert grown == ({"0": 16, "3": 12} if grows else {"3": 12})


def loss(model: nn.Module) -> Tensor:
    return model(X).square().mean()


ALL = UNDIVIDED | PASSES_ZEROS | CHANGED | GROWS | BENT | LINEAR
METHODS = sorted(name for name, one in net2net.METHODS.items() if one.exact)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ALL)
def test_every_method_is_exact(name: str, method: str) -> None:
    """Whatever makes the weight: ``widen`` raises if what it measures is no rounding."""
    made = (ALL)[name]
    for bounded, factor in ((False, 2.0), (True, 1.5)):
        needed = loss if net2net.METHODS[method].needs_loss else None
        teacher = net(made, before=bounded)
        try:
            grown = net2net.widen(teacher, factor, X, method=method, loss=needed)
        except InputError as error:  # what is divided by zeros has no gradient
            assert name in {"divisor", "root", "hypotenuse"} and "not finite" in str(error)
            continue
        assert grown.report.parity.max_rel <= EXACT
        assert not any("verification" in row.note for row in grown.report.stayed)


@pytest.mark.parametrize("name", LINEAR)
def test_opposite_noise_on_weights_that_are_linear_in_it(name: str) -> None:
    grown = net2net.widen(net(LINEAR[name]), 2.0, X, method="pair")
    assert told(grown, "stem") == ""
    assert not any("equal gradients" in warning for warning in grown.report.warnings)


@pytest.mark.parametrize("name", BENT)
def test_opposite_noise_is_left_out_where_a_weight_is_not_linear_in_it(name: str) -> None:
    """Relu of W + N and of W − N do not sum to twice relu of W."""
    grown = net2net.widen(net(BENT[name]), 2.0, X, method="pair")
    assert "for opposite noise will not do: " in told(grown, "stem")
    assert net2net.widen(net(BENT[name]), {"stem": 2.0}, X, method="uneven").report.parity.exact


def told(grown: net2net.Growth, name: str) -> str:
    return next(row.note for row in grown.report.rows if row.name == name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize("between", [nn.Tanh(), nn.ReLU()])
def test_every_method_on_parametrised_layers(norm: Any, method: str, between: nn.Module) -> None:
    teacher = nn.Sequential(
        nn.Linear(3, 8), between, norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, 2)
    )
    needed = loss if net2net.METHODS[method].needs_loss else None
    grown = net2net.widen(randomise(teacher), 1.5, X, method=method, loss=needed)
    assert grown.report.parity.max_rel <= EXACT
    assert "0" in {row.name for row in grown.report.rows}


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("factor", [1.37, 2.0])
@pytest.mark.parametrize("name", ["rows", "columns", "of a function"])
def test_a_weight_by_its_own_transpose_has_zero_rows(name: str, factor: float, method: str) -> None:
    """Each row of it is made of rows of its own, which learn by those of all others."""

    def code(model: Any, x: Tensor) -> Tensor:
        h, w = model.stem(x), model.w.weight
        made = {"rows": w @ w.T, "columns": w.T.mT @ w.T, "of a function": (w @ w.T).tanh()}[name]
        return model.head(F.gelu(h + h.tanh() @ made))

    layers = {"stem": nn.Linear(3, 8), "w": Weight(8, 4), "head": nn.Linear(8, 2)}
    teacher = randomise(Written(code, **layers))
    student = net2net.widen(teacher, factor, X, method=method).model
    assert student.w.weight.shape == (int(8 * factor + 0.5), 4)
    assert (student(X) - teacher(X)).abs().max() < EXACT
    student(X).square().sum().backward()
    assert (student.w.weight.grad[8:].abs().sum(1) > 0).all()
    inner = next(one for one in net2net.spaces(teacher, X) if one.size == 4)
    assert "stay zero" in str(inner.reason)


def test_a_weight_that_meets_itself_along_both_axes_has_no_zero_rows() -> None:
    """They would be multiplied with its columns, which need not be zero."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(F.gelu(model.stem(x) @ (model.w.weight @ model.w.weight)))

    layers = {"stem": nn.Linear(3, 8), "w": Weight(8, 8), "head": nn.Linear(8, 2)}
    space = net2net.spaces(randomise(Written(code, **layers)), X)["stem"]
    assert not space.kinds.keys() & {"random", "zero"}


@pytest.mark.parametrize("method", ["replicate", "fresh"])
@pytest.mark.parametrize("factor", [1.37, 2.0])
def test_a_weight_that_is_normalised_over_units_that_it_makes(factor: float, method: str) -> None:
    """Neither zeros beside it nor copies leave what its rows are divided by, and make rows."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        u = F.linear(h, F.normalize(model.mix.weight))
        return model.head(F.softplus(u)) + model.head(h / ((h * u).sum(-1, keepdim=True).abs() + 1))

    layers = {"stem": nn.Linear(3, 8), "mix": nn.Linear(8, 8), "head": nn.Linear(8, 3)}
    teacher = randomise(Written(code, **layers))
    assert not net2net.spaces(teacher, X)["stem"].growable
    with refused(NotGrowableError, "reduces", teacher=teacher):
        net2net.widen(teacher, factor, X, method=method)
