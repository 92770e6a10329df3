"""Rules that claim too much: the spaces to blame are named, and the rest grows without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import VerificationError
from tests.helpers import Written, noise, randomise, refused, widen

X = noise(4, 6)


@torch.library.custom_op("net2net_tests::mixed", mutates_args=())
def mixed(x: Tensor) -> Tensor:
    """Not of each element alone."""
    return x.flip(1).cumsum(1)


mixed.register_fake(torch.empty_like)


@pytest.fixture(autouse=True)
def _wrong(registry: None) -> Iterator[None]:
    @net2net.rule("net2net_tests::mixed")
    def wrong(site: Any) -> Any:
        return site.pointwise([site["x"]])

    yield


def net() -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        x = mixed(model.b(model.a(x).relu()))
        return model.head(model.c(x).tanh())

    layers = {"a": nn.Linear(6, 8), "b": nn.Linear(8, 5), "c": nn.Linear(5, 7)}
    return randomise(Written(code, **layers, head=nn.Linear(7, 2)))


def test_under_one_factor_the_rest_grows() -> None:
    report = widen(net(), 2.0, X).report
    assert {row.name: row.new for row in report.rows} == {"a": 16, "c": 14}
    stayed = {row.name: row.note for row in report.stayed}
    assert "verification measured a relative difference of" in stayed["b"]


def test_a_space_asked_for_by_name_is_named() -> None:
    words = ("'b' 5 → 10", "Leave it out of widths", "verify=False")
    with refused(VerificationError, *words, teacher=net()):
        net2net.widen(net(), {"a": 2.0, "b": 2.0}, X)


def test_where_nothing_else_grows_it_is_a_defect_to_report() -> None:
    for widths in (2.0, {"b": 2.0}):

        def code(model: Any, x: Tensor) -> Tensor:
            return model.head(mixed(model.b(x)))

        teacher = randomise(Written(code, b=nn.Linear(6, 5), head=nn.Linear(5, 2)))
        with refused(VerificationError, "'b' 5 → 10", "please report", teacher=teacher):
            net2net.widen(teacher, widths, X)


def test_what_cannot_be_compared_with_itself_is_told_of_as_it_is() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.a(x)) / 0 * 0

    teacher = randomise(Written(code, a=nn.Linear(6, 5), head=nn.Linear(5, 2)))
    with refused(VerificationError, "without one finite number", teacher=teacher):
        net2net.widen(teacher, 2.0, X)
