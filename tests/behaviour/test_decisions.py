"""Code that branches on its input: what was not run is not verified, and the report says so."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net import Growth
from net2net.errors import InputError

from ..helpers import Written, assert_exact, deepen, noise, randomise, refused, untouched, widen

X = noise(4, 3)
POSITIVE, NEGATIVE = X.abs(), -X.abs()


def net(middle: Callable[[Any, Tensor, Tensor], Tensor], **layers: nn.Module) -> nn.Module:
    """A linear layer, what ``middle(model, x, h)`` makes of its 4 units, and a linear layer."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(middle(model, x, model.a(x)))

    return randomise(Written(code, a=nn.Linear(3, 4), head=nn.Linear(4, 2), **layers))


def branching() -> nn.Module:
    return net(lambda m, x, h: m.c(h) if x[0, 0] > 0 else h, c=nn.Linear(4, 4))


def lines(growth: Growth) -> list[str]:
    """The lines of this file that the notes of a report name."""
    found = re.findall(r"test_decisions\.py:(\d+)", str(growth.report.notes))
    return [linecache.getline(__file__, int(line)).strip() for line in found]


def test_a_branch_on_a_value_is_in_the_report_with_its_line() -> None:
    teacher = branching()
    growth = widen(teacher, 2.0, POSITIVE, exact=False)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert not net2net.verify(teacher, growth.model, NEGATIVE).exact  # so it has to be said
    (line,) = lines(growth)
    assert "if x[0, 0] > 0" in line


class Inner(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        if h.shape[0] > 8:
            h = h.cumsum(0)
        return h


def test_the_module_is_named_and_a_line_once() -> None:
    teacher = randomise(
        nn.Sequential(nn.Linear(3, 4), Inner(), nn.Linear(4, 4), Inner(), nn.Linear(4, 2))
    )
    growth = widen(teacher, 2.0, X)
    assert lines(growth) == ["if h.shape[0] > 8:"]
    assert "'1'" in str(growth.report)


BRANCHES: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "bool": lambda m, x, h: h if x.sum() > 0 else h * 2,
    "item": lambda m, x, h: h if x.max().item() > 0 else h * 2,
    "int": lambda m, x, h: h * int(x.max() > 0),
    "float": lambda m, x, h: h * float(x[0, 0]),
    "tolist": lambda m, x, h: h if x.tolist()[0][0] > 0 else h * 2,
    "equal": lambda m, x, h: h if torch.equal(x, x.abs()) else h * 2,
    "in": lambda m, x, h: h if 3.0 in x else h * 2,
    "size": lambda m, x, h: h if x.size(0) < 5 else h * 2,
    "shape": lambda m, x, h: h if x.shape[0] <= 4 else h * 2,
    "made of sizes": lambda m, x, h: h if 2 * x.shape[0] - 1 >= 5 else h * 2,
    "a pixel that is left of the input": lambda m, x, h: (
        h if nn.functional.avg_pool1d(x[:, None], 3).size(2) > 1 else h * 2
    ),
    "remainder": lambda m, x, h: h if x.shape[0] % 2 else h * 2,
    "truth of a size": lambda m, x, h: h if x.shape[0] else h * 2,
    "size of what was selected": lambda m, x, h: h if x[x > 0].shape[0] > 1 else h * 2,
    "written through a view": lambda m, x, h: h if _buffered(x).max() > 0 else h * 2,
}


def _buffered(x: Tensor) -> Tensor:
    buffer = torch.zeros(2, dtype=x.dtype)
    buffer[:1] = x[0, :1]
    return buffer


@pytest.mark.parametrize("how", BRANCHES)
def test_every_way_to_branch(how: str) -> None:
    assert len(lines(widen(net(BRANCHES[how]), 2.0, X))) == 1


def _checked(m: Any, x: Tensor, h: Tensor) -> Tensor:
    if x.shape[0] > 100 or h.shape[1] != m.a.out_features:
        raise ValueError("too large")
    assert x.shape[0] % 2 == 0
    torch._assert(x.shape[0] < 100, "too large")
    return h


def _mean(h: Tensor) -> Tensor:
    return h.mean(1, keepdim=True).sigmoid()


NO_BRANCHES: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "a width": lambda m, x, h: h if h.shape[1] < 100 else h * 2,
    "a weight's size": lambda m, x, h: h if m.a.weight.shape[1] < 100 else h * 2,
    "an attribute": lambda m, x, h: h if m.a.out_features < 100 else h * 2,
    "checks": _checked,
    "arguments": lambda m, x, h: h.view(x.shape[0], -1).expand(x.shape[0], -1)[: x.shape[0]],
    "an axis that a mean leaves": lambda m, x, h: h if _mean(h).shape[1] > 1 else h * 2,
    "an axis put in between": lambda m, x, h: h if (x[None] + 1).shape[0] > 1 else h * 2,
    "a literal": lambda m, x, h: h if x.view(x.shape[0], 1, 3).shape[1] > 1 else h * 2,
    "values of its own": lambda m, x, h: h if torch.arange(3).max() > 1 else h * 2,
}


@pytest.mark.parametrize("how", NO_BRANCHES)
def test_what_is_no_branch_on_the_input(how: str) -> None:
    growth = widen(net(NO_BRANCHES[how]), 2.0, X)
    assert growth.report.notes == ()


def test_attention_of_torch_says_nothing() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0)
    teacher = randomise(nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2)))
    assert widen(teacher, 2.0, noise(2, 5, 3)).report.notes == ()


# -- further inputs --------------------------------------------------------------------------------


def test_without_the_other_branch_its_parameters_stay_and_that_is_said() -> None:
    growth = widen(branching(), 2.0, NEGATIVE)
    assert growth.model.c.weight.shape == (4, 4)  # type: ignore[union-attr]
    assert any("no operation read them: c.weight, c.bias" in one for one in growth.report.notes)
    assert len(lines(growth)) == 1


@pytest.mark.parametrize(("first", "second"), [(POSITIVE, NEGATIVE), (NEGATIVE, POSITIVE)])
def test_what_any_input_reaches_grows(first: Tensor, second: Tensor) -> None:
    teacher = branching()
    growth = widen(teacher, 2.0, first, also=[second])
    assert growth.model.c.weight.shape == (8, 8)  # type: ignore[union-attr]
    assert_exact(teacher, growth.model, second)


def test_inputs_of_other_sizes() -> None:
    teacher = net(lambda m, x, h: m.c(h).cumsum(0) if x.shape[0] > 8 else h, c=nn.Linear(4, 4))
    growth = widen(teacher, 2.0, X, also=[noise(9, 3)])
    assert growth.model.c.weight.shape == (8, 8)  # type: ignore[union-attr]
    assert_exact(teacher, growth.model, noise(12, 3))


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.extra, self.head = nn.Linear(3, 4), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, extra: Tensor | None = None, scale: float | None = None) -> Tensor:
        h = self.a(x)
        if extra is not None:
            h = h + self.extra(extra)
        return self.head(h)


def test_an_argument_that_was_left_out() -> None:
    teacher = randomise(Optional())
    growth = widen(teacher, 2.0, (X, None))
    (note,) = growth.report.notes
    assert "extra.weight" in note and "forward ran without extra, scale" in note
    full = {"x": X, "extra": noise(4, 5)}
    growth = widen(teacher, 2.0, X, also=[full])
    assert growth.report.notes == ()
    assert growth.model.extra.weight.shape == (8, 5)  # type: ignore[union-attr]
    assert_exact(teacher, growth.model, full)


def test_the_table_of_spaces_has_what_any_input_reaches() -> None:
    teacher = branching()
    (space,) = [s for s in net2net.spaces(teacher, NEGATIVE) if s.name == "a"]
    assert "c" not in space.modules
    (space,) = [s for s in net2net.spaces(teacher, NEGATIVE, also=[POSITIVE]) if s.name == "a"]
    assert "c" in space.modules


def test_deepen_verifies_on_each() -> None:
    """The layer runs on the second input only."""
    teacher = branching()
    growth = deepen(teacher, {"c": 1}, NEGATIVE, also=[POSITIVE])
    assert_exact(teacher, growth.model, POSITIVE)
    assert len(lines(growth)) == 1


def test_transfer_matches_and_verifies_on_each() -> None:
    teacher, torch_seed = branching(), torch.manual_seed(1)
    wider = widen(teacher, 2.0, POSITIVE, also=[NEGATIVE]).model
    student = randomise(wider, seed=3)
    with untouched(teacher, student):
        growth = net2net.transfer(teacher, student, NEGATIVE, also=[POSITIVE])
    assert torch_seed and len(lines(growth)) == 1
    for inputs in (NEGATIVE, POSITIVE):
        assert_exact(teacher, growth.model, inputs)


def test_a_student_that_differs_on_a_further_input_does_not_get_out() -> None:
    """The reported difference is the worst of all inputs."""

    def middle(m: Any, x: Tensor, h: Tensor) -> Tensor:
        return h if x[0, 0] > 0 else h + torch.tensor([h.shape[1]])  # values that no trace has

    teacher = net(middle)
    parity = net2net.widen(teacher, 2.0, POSITIVE).report.parity
    assert parity is not None and parity.exact
    with refused(net2net.Net2NetError, "does not compute", teacher=teacher):
        net2net.widen(teacher, 2.0, POSITIVE, also=[NEGATIVE])


def test_experts_that_a_known_branch_hides() -> None:
    """One of two alike runs: the other would stay narrow, and fail on other inputs."""

    def middle(m: Any, x: Tensor, h: Tensor) -> Tensor:
        return m.experts[int(x[0, 0] > 0)](h)

    def teacher() -> nn.Module:
        return net(middle, experts=nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))

    model = teacher()
    with refused(InputError, "experts.0.weight", "test_decisions.py:", "also", teacher=model):
        net2net.widen(model, 2.0, POSITIVE)
    growth = widen(model, 2.0, POSITIVE, also=[NEGATIVE])
    assert_exact(model, growth.model, NEGATIVE)


def test_a_layer_of_another_size_under_a_name_that_counts() -> None:
    """No branch hides it: nothing uses it."""

    def middle(m: Any, x: Tensor, h: Tensor) -> Tensor:
        return m.fc2(h if x[0, 0] > 0 else h * 2)

    teacher = net(middle, fc1=nn.Linear(4, 5), fc2=nn.Linear(4, 4))
    growth = widen(teacher, 2.0, POSITIVE)
    assert any("fc1.weight" in note for note in growth.report.notes)


class LeftOver(nn.Module):
    """Layers of which code uses the first, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, h: Tensor) -> Tensor:
        return self.layers[0](h)  # type: ignore[no-any-return]


class Branch(nn.Module):
    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return h if x[0, 0] > 0 else h * 2


def test_layers_that_no_branch_around_them_leaves_out() -> None:
    """Nothing reads them on any input: they stay, and that is said."""
    teacher = net(lambda m, x, h: m.body(m.branch(x, h)), body=LeftOver(), branch=Branch())
    growth = widen(teacher, 2.0, POSITIVE)
    assert any("body.layers.1.weight" in note for note in growth.report.notes)


class Number(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value, dtype=torch.float64))


def test_a_number_that_a_branch_leaves_out() -> None:
    """It is the same at any width."""
    numbers = nn.ModuleList([Number(0.5), Number(0.7)])
    teacher = net(lambda m, x, h: h * m.numbers[int(x[0, 0] > 0)].value, numbers=numbers)
    growth = widen(teacher, 2.0, NEGATIVE)
    assert_exact(teacher, growth.model, POSITIVE)


def test_an_estimate_has_what_any_input_reaches() -> None:
    teacher = branching()
    report = net2net.estimate(teacher, 2.0, NEGATIVE, also=[POSITIVE])
    assert report.parameters[1] == 8 * 4 + 8 * 9 + 2 * 9


@pytest.mark.parametrize("also", [X, {"x": X}])
def test_further_inputs_are_a_list(also: Any) -> None:
    teacher = branching()
    for call in (
        lambda: net2net.widen(teacher, 2.0, X, also=also),
        lambda: net2net.deepen(teacher, {"a": 1}, X, also=also),
        lambda: net2net.spaces(teacher, X, also=also),
        lambda: net2net.estimate(teacher, 2.0, X, also=also),
        lambda: net2net.transfer(teacher, branching(), X, also=also),
    ):
        with refused(InputError, "list of inputs", teacher=teacher):
            call()
