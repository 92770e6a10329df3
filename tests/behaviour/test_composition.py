"""Wider and deeper, in any order, any number of times: still the same function."""

from typing import Any

import pytest
import torch
from torch import nn

import net2net
from net2net import Growth, Plan
from tests.behaviour import test_branches, test_calls
from tests.helpers import (
    assert_exact,
    deepen,
    image_model,
    noise,
    randomise,
    same_bits,
    shapes,
    untouched,
    widen,
)

X = noise(2, 3, 8, 8)

W, D = "widen", "deepen"
ORDERS = [
    [W, D],
    [D, W],
    [W, D, W],
    [D, W, D],
    [W, W, W],
    [D, D, D],
    [W, D, W, D, W],
    [D, D, W, W, D],
]


def layers(model: nn.Module, last: str = "") -> list[str]:
    """Convolutions and linear layers that an identity can follow, the head apart."""
    kinds = (nn.Linear, nn.Conv2d)
    found = [path for path, part in model.named_modules() if isinstance(part, kinds)]
    return [path for path in found if path != last]


def step(model: nn.Module, verb: str, number: int, x: Any) -> Growth:
    if verb == W:
        return widen(model, (1.5, 2.0, 1.25)[number % 3], x, seed=number)
    names = layers(model)
    return deepen(model, {names[number % (len(names) - 1)]: 1 + number % 2}, x)


@pytest.mark.parametrize("order", ORDERS, ids=">".join)
def test_any_order_of_verbs_on_a_chain(order: list[str]) -> None:
    first = model = image_model()
    plans = []
    with untouched(first):
        for number, verb in enumerate(order):
            growth = step(model, verb, number, X)
            plans.append(growth.plan.to_json())
            model = growth.model
            assert_exact(first, model, X)
        again = first
        for text in plans:
            again = Plan.from_json(text).apply(again)
        assert same_bits(again, model)


@pytest.mark.parametrize(
    "name",
    ["resnet", "densenet", "inception", "unet", "squeeze_and_excitation", "used_twice", "siamese"],
)
@pytest.mark.parametrize("order", [[W, D, W], [D, W, D]], ids=">".join)
def test_any_order_of_verbs_on_a_graph(name: str, order: list[str]) -> None:
    case = (test_branches.CASES | test_calls.CASES)[name]
    first = model = case.model()
    with untouched(first):
        for number, verb in enumerate(order):
            if verb == W:
                model = widen(model, 1.5, case.inputs(), seed=number).model
            else:
                usable = [
                    path
                    for path in layers(model)
                    if not isinstance(model.get_submodule(path), nn.ConvTranspose2d)
                ]
                at = next(
                    path for path in usable[number % 2 :] if deepens(model, path, case.inputs())
                )
                model = deepen(model, {at: 1}, case.inputs()).model
            assert_exact(first, model, case.inputs())


def deepens(model: nn.Module, path: str, x: Any) -> bool:
    """Whether the activation behind this layer allows an identity."""
    try:
        net2net.deepen(model, {path: 1}, x, verify=False)
    except net2net.errors.DepthError:
        return False
    return True


def test_widening_twice_is_widening_once_in_shape() -> None:
    case = test_branches.CASES["inception"]
    teacher = case.model()
    twice = widen(widen(teacher, 2.0, case.inputs()).model, 1.5, case.inputs())
    once = widen(teacher, 3.0, case.inputs())
    assert shapes(twice.model) == shapes(once.model)


def test_copies_of_copies_divide_their_shares_again() -> None:
    """One unit, four copies in the end: every column is a quarter of the teacher's."""
    teacher = randomise(nn.Sequential(nn.Linear(6, 1), nn.Tanh(), nn.Linear(1, 3)))
    x = noise(4, 6)
    student = widen(widen(teacher, 2.0, x).model, 2.0, x, seed=1).model
    assert torch.equal(student[2].weight, teacher[2].weight.repeat(1, 4) / 4)


def test_identity_layers_widen_like_any_other() -> None:
    """The new layer's own width grows: wider than the layer below it, as the paper allows."""
    x = noise(4, 6)
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    deeper = deepen(teacher, {"0": 2}, x).model
    names = [space.name for space in net2net.spaces(deeper, x).growable]
    assert len(names) == 3
    student = widen(deeper, {names[1]: 20}, x).model
    widths = [part.out_features for part in student.modules() if isinstance(part, nn.Linear)]
    assert widths == [8, 20, 8, 3]
    assert_exact(teacher, student, x)


def test_deepening_a_wider_norm_undoes_the_copied_statistics() -> None:
    teacher = image_model()
    wider = widen(teacher, 1.5, X).model
    deeper = deepen(wider, {"0": 1, "3": 1}, X, calibrate=[noise(8, 3, 8, 8)]).model
    assert_exact(teacher, deeper, X)
    wider_again = widen(deeper, 1.5, X).model
    assert_exact(teacher, wider_again, X)


def test_a_student_grows_after_it_has_trained() -> None:
    """Lifelong learning: grow, train, grow, train; each growth keeps what was learned so far."""
    model = image_model()
    x, y = noise(16, 3, 8, 8), noise(16, 3)
    losses = []
    for number, verb in enumerate([W, D, W]):
        model.train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(5):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        model.eval()
        with torch.no_grad():
            before = (model(x) - y).square().mean()
        model = step(model, verb, number, X).model.eval()
        with torch.no_grad():
            after = (model(x) - y).square().mean()
        torch.testing.assert_close(after, before, rtol=1e-12, atol=0)
    assert losses[-1] < losses[0]


def test_many_small_steps() -> None:
    """Five times by little: rounding does not pile up."""
    x = noise(4, 6)
    teacher = model = randomise(
        nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 3))
    )
    for number in range(5):
        model = widen(model, 1.2, x, seed=number).model
        model = deepen(model, {layers(model)[1]: 1}, x).model
    assert_exact(teacher, model, x)
