"""Choices of the best k: of how many units, and how many are taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from net2net.errors import TransferError
from net2net.plan.choices import Choice, choices
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Trace, trace


class Best(nn.Module):
    def __init__(self, n: int, k: int, *, which: bool = True) -> None:
        super().__init__()
        self.w, self.k, self.which = nn.Parameter(torch.zeros(n)), k, which

    def forward(self, x: Tensor) -> Tensor:
        values, places = self.w.topk(self.k)
        return x + values.sum() + (places.sum() if self.which else 0)


def traced(n: int, k: int, *, which: bool = True) -> Trace:
    return trace(meta_copy(nn.Sequential(nn.Sequential(Best(n, k, which=which)))), torch.zeros(2))


def test_where_the_student_takes_as_many_times_more() -> None:
    assert choices([traced(3, 2)], [traced(3, 2)]) == frozenset()
    assert choices([traced(3, 2)], [traced(9, 6)]) == {Choice("0.", 3, 9)}
    assert choices([traced(3, 1)], [traced(6, 1)]) == {Choice("0.", 3, 6)}


@pytest.mark.parametrize(("q", "many"), [(6, 2), (6, 3), (4, 3)])
def test_where_copies_would_displace_others(q: int, many: int) -> None:
    with pytest.raises(
        TransferError, match=f"in '0.0' takes 2 of 3 .* and {many} of {q} .* 4 of 6"
    ):
        choices([traced(3, 2)], [traced(q, many)])


def test_values_alone_choose_nothing() -> None:
    assert choices([traced(3, 2, which=False)], [traced(6, 2, which=False)]) == frozenset()
