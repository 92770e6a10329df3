"""Models that a deep copy alone cannot do: what they hold is shared, what they wrap follows."""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim.swa_utils import AveragedModel

import net2net
from net2net.widen.widen import widen as widen_as_it_is

from ..helpers import Written, assert_exact, noise, randomise, widen

X = noise(4, 6)


def base() -> Any:
    return randomise(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)))


# -- what has no copies ----------------------------------------------------------------------------


def _numbers() -> Iterator[int]:
    yield from range(3)


class Holder:
    def __init__(self, inner: Any) -> None:
        self.inner, self.lock = inner, threading.RLock()


HELD: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "event": threading.Event,
    "local": threading.local,
    "generator": _numbers,
    "file": lambda: Path(__file__).open(),  # noqa: SIM115
    "nested": lambda: {"all": [Holder({"deep": threading.Lock()})]},
}


@pytest.mark.parametrize("what", HELD)
def test_what_has_no_copies_is_shared(what: str) -> None:
    held = HELD[what]()
    teacher = base()
    teacher[0].held = held
    growth = widen_as_it_is(teacher, 2.0, X)
    assert [row.name for row in growth.report.rows] == ["0"]
    student: Any = growth.model
    if what == "nested":
        mine, theirs = student[0].held["all"][0], held["all"][0]
        assert mine is not theirs and mine.lock is theirs.lock
        assert mine.inner is not theirs.inner and mine.inner["deep"] is theirs.inner["deep"]
    else:
        assert student[0].held is held or isinstance(held, threading.Event)  # that shares its lock
    if what == "file":
        held.close()


def test_a_module_that_refuses_copies_is_not_shared() -> None:
    class Refusing(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("there is one of me")

    teacher = base()
    teacher[2] = Refusing(8, 2, dtype=torch.float64)
    teacher[0].lock = threading.Lock()
    with pytest.raises(net2net.Net2NetError, match=r"cannot be copied.*there is one of me"):
        net2net.widen(teacher, 2.0, X)


# -- a forward that was replaced -------------------------------------------------------------------


def _autocast(forward: Any) -> Any:
    return torch.autocast("cpu", torch.bfloat16)(forward)


def _counted(forward: Any) -> Any:
    calls = 0

    @functools.wraps(forward)
    def call(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(*args)

    return call


def _calls_itself(forward: Any) -> Any:
    def call(x: Tensor, again: bool = True) -> Any:
        return call(x, False) if again else forward(x)

    return call


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "autocast": _autocast,
    "counted": _counted,
    "twice": lambda forward: _counted(_counted(forward)),
    "calls itself": _calls_itself,
    "partial": lambda forward: functools.partial(forward),
    "no_grad": torch.no_grad(),
}


@pytest.mark.parametrize("where", ["whole", "part"])
@pytest.mark.parametrize("how", WRAPPERS)
def test_a_forward_that_was_replaced(how: str, where: str) -> None:
    teacher = base()
    part = teacher if where == "whole" else teacher[2]
    part.forward = WRAPPERS[how](part.forward)
    growth = net2net.widen(teacher, 2.0, X)
    assert [(row.name, row.new) for row in growth.report.rows] == [("0", 16)]
    assert_exact(teacher, growth.model, X)
    before = teacher(X)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
    torch.testing.assert_close(growth.model(X), before)  # it runs its own weights


def _in_default(model: nn.Sequential) -> None:
    model[1].forward = lambda x, layer=model[2]: layer(x.relu())


def _in_a_list(model: nn.Sequential) -> None:
    layer, steps = model[2], [torch.relu]
    steps.append(lambda x: layer(x))
    model[1].forward = lambda x: steps[1](steps[0](x))


def _in_a_dict_of_the_module(model: nn.Sequential) -> None:
    layer, part = model[2], model[1]
    part.steps = {"last": lambda x: layer(x)}
    part.forward = types.MethodType(lambda self, x: self.steps["last"](x.relu()), part)


def _in_a_partial(model: nn.Sequential) -> None:
    layer = model[2]
    model[1].forward = functools.partial(lambda how, x: layer(how(x)), torch.relu)


def _in_a_hook(model: nn.Sequential) -> None:
    layer = model[2]
    model[1].register_forward_hook(lambda part, args, output: layer(output))


def _of_a_weight(model: nn.Sequential) -> None:
    weight, bias = model[2].weight, model[2].bias
    model[1].forward = lambda x: nn.functional.linear(x.relu(), weight, bias)


PLACES = (
    _in_default, _in_a_list, _in_a_dict_of_the_module, _in_a_partial, _in_a_hook, _of_a_weight,
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_function_that_holds_a_layer(place: Callable[[nn.Sequential], None]) -> None:
    teacher = base()
    place(teacher)
    teacher[2] = nn.Sequential(teacher[2])  # it runs where the function is
    teacher.forward = types.MethodType(lambda self, x: self[1](self[0](x)), teacher)
    growth = net2net.widen(teacher, 2.0, X)
    assert [(row.name, row.new) for row in growth.report.rows] == [("0", 16)]
    assert_exact(teacher, growth.model, X)
    before = teacher(X)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
    torch.testing.assert_close(growth.model(X), before)  # it runs its own weights


def test_an_averaged_model_whose_forward_was_replaced() -> None:
    teacher = base()
    first, _, last = teacher
    teacher.forward = lambda x: last(first(x).relu())
    plan = net2net.widen(teacher, 2.0, X).plan
    averaged = AveragedModel(nn.Identity())
    averaged.module = teacher
    student = plan.apply(averaged)
    before = teacher(X)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
    torch.testing.assert_close(student(X), before)


# -- outputs and distributions ---------------------------------------------------------------------


@dataclass
class Inner:
    hidden: Tensor
    name: str


@dataclass
class Answer:
    logits: Tensor
    inner: Inner
    kind: type = Inner


def test_outputs_in_dataclasses() -> None:
    def code(model: Any, x: Tensor) -> Any:
        hidden = model.a(x).relu()
        return [Answer(model.head(hidden), Inner(hidden.mean(1), "mean"))]

    teacher = randomise(Written(code, a=nn.Linear(6, 8), head=nn.Linear(8, 2)))
    growth = widen(teacher, 2.0, X)
    assert growth.report.parity is not None and growth.report.parity.outputs == 2
    table = net2net.spaces(teacher, X)
    assert any("[0].logits" in str(space.reason) for space in table)


def _drawing(model: Any, x: Tensor) -> Tensor:
    hidden = model.a(x).relu()
    return model.head(Normal(model.mean(hidden), model.scale(hidden).exp()).rsample())


def test_distributions_that_check_their_parameters() -> None:
    def build(width: int) -> nn.Module:
        layers = {name: nn.Linear(width, 4) for name in ("mean", "scale")}
        return randomise(Written(_drawing, a=nn.Linear(6, width), head=nn.Linear(4, 2), **layers))

    teacher = build(8)
    growth = widen(teacher, {"a": 16}, X)
    assert growth.report.notes == ()
    assert_exact(teacher, net2net.transfer(teacher, build(16), X).model, X)
    with pytest.raises(ValueError, match="constraint"):
        Normal(torch.zeros(()), -torch.ones(()))  # they do so again
