"""``exact=False``: widths that no exact student has, by units that come as close as they can."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from tests.helpers import EXACT, Written, noise, randomise, refused

X = noise(7, 3)


def post_norm(*, neutral: bool = False) -> nn.Module:
    """A stream that is what a norm puts out; ``neutral``: its scales are 1, and its shifts 0."""

    def code(m: Any, x: Tensor) -> Tensor:
        h = m.n1(m.a(x))
        return m.d(m.n2(h + m.c(torch.tanh(m.b(h)))))

    model = randomise(
        Written(
            code, a=nn.Linear(3, 8), n1=nn.LayerNorm(8), b=nn.Linear(8, 5), c=nn.Linear(5, 8),
            n2=nn.LayerNorm(8), d=nn.Linear(8, 2),
        )
    )  # fmt: skip
    if neutral:
        for norm in (model.n1, model.n2):
            norm.reset_parameters()  # type: ignore[operator, union-attr]
    return model


def behind(function: Any) -> nn.Module:
    """A stream that ends in a function, before a norm."""
    layers = {"a": nn.Linear(3, 8), "n": nn.LayerNorm(8), "b": nn.Linear(8, 2)}
    return randomise(Written(lambda m, x: m.b(m.n(function(m.a(x)))), **layers))


def test_a_width_that_no_exact_student_has_is_refused_with_the_way_out() -> None:
    teacher = post_norm()
    with refused(net2net.WidthError, "grows in steps of 8", "exact=False", teacher=teacher):
        net2net.widen(teacher, {"a": 11}, X)


@pytest.mark.parametrize("width", [11, 19])
def test_its_difference_is_reported(width: int) -> None:
    teacher = randomise(post_norm(), seed=1)  # pads are closer by far, whatever is drawn
    growth = net2net.widen(teacher, {"a": width}, X, exact=False)
    row = growth.report.rows[0]
    assert (row.old, row.new) == (8, width)
    assert f"3 of {width} units change what is computed" in row.note and "layer_norm" in row.note
    measured = net2net.verify(teacher, growth.model, X)
    assert growth.report.parity == measured and EXACT < measured.max_rel < 0.1
    said = net2net.estimate(teacher, {"a": width}, X, exact=False)
    assert said.rows == growth.report.rows


def test_where_scales_are_one_and_shifts_zero_only_epsilon_is_left() -> None:
    growth = net2net.widen(post_norm(neutral=True), {"a": 11}, X, exact=False)
    assert growth.report.parity is not None and growth.report.parity.max_rel < 1e-4


def test_copies_are_taken_where_they_are_closer() -> None:
    """Where units are large on average, pads that a function makes of a mean are far off."""
    teacher = behind(torch.square)
    growth = net2net.widen(teacher, {"a": 11}, X, method="replicate", exact=False)
    row = growth.report.rows[0]
    assert row.note.startswith("copies change what is computed") and row.new == 11


def test_what_can_be_exact_is() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    one, other = (net2net.widen(teacher, 1.5, X, exact=exact) for exact in (True, False))
    assert other.report.parity is not None and other.report.parity.max_rel <= EXACT
    assert one.plan.to_json() == other.plan.to_json()
    doubled = net2net.widen(post_norm(), {"a": 16}, X, exact=False)
    assert doubled.report.parity is not None and doubled.report.parity.max_rel <= EXACT


def test_every_space_goes_where_one_factor_says() -> None:
    report = net2net.widen(post_norm(), 1.37, X, exact=False).report
    assert [(row.old, row.new) for row in report.rows] == [(8, 11), (5, 7)]


def test_the_plan_makes_it_again() -> None:
    teacher = post_norm()
    growth = net2net.widen(teacher, {"a": 11}, X, exact=False)
    again = net2net.Plan.from_json(growth.plan.to_json()).apply(teacher)
    for name, tensor in growth.model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
