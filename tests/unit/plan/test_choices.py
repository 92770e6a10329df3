"""Choices of the best k: of how many units, and how many are taken."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from net2net.errors import TransferError
from net2net.plan.choices import Choice, check_choices, choices
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Trace, trace


class Best(nn.Module):
    """The best ``k`` of ``groups`` times ``n``. ``which``: it matters which they are; ``first``: of
    the groups one is chosen by what its best two add up to."""

    def __init__(
        self, n: int, k: int, *, which: bool = True, groups: int = 1, first: bool = False
    ) -> None:
        super().__init__()
        self.w, self.k = nn.Parameter(torch.zeros(groups, n)), k
        self.which, self.first = which, first

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.w.topk(2)[0].sum(-1).argmax(dim=-1)
        values, places = self.w.flatten().topk(self.k)
        return x + values.sum() + (places.sum() if self.which else 0)


def traced(n: int, k: int, **options: bool | int) -> Trace:
    best = Best(n, k, **options)  # type: ignore[arg-type]
    return trace(meta_copy(nn.Sequential(nn.Sequential(best))), torch.zeros(2))


def test_where_the_student_takes_as_many_times_more() -> None:
    assert choices(traced(3, 2), traced(3, 2)) == []
    for old, new in [((3, 2), (9, 6)), ((3, 1), (6, 1)), ((3, 1), (4, 1))]:
        found = choices(traced(*old), traced(*new))
        assert found == [Choice("*.*", old[0], new[0], old[1], new[1])]
        check_choices(found)


@pytest.mark.parametrize(("q", "many"), [(6, 2), (6, 3), (4, 3)])
def test_where_copies_would_displace_others(q: int, many: int) -> None:
    with pytest.raises(TransferError, match=f"takes 2 of 3 .* and {many} of {q} .* 4 of 6"):
        check_choices(choices(traced(3, 2), traced(q, many)))


def test_values_alone_choose_nothing() -> None:
    found = choices(traced(3, 2, which=False), traced(6, 2, which=False))
    assert found == [Choice("*.*", 3, 6, 2, 2, adds=True)]
    check_choices(found)


def test_groups_are_as_large_as_before() -> None:
    old = traced(3, 2, groups=2, first=True)
    check_choices(choices(old, traced(3, 4, groups=4, first=True)))
    with pytest.raises(TransferError, match=r"best of 3 .* of 6 .* as many times more groups"):
        check_choices(choices(old, traced(6, 4, groups=2, first=True)))
    one = traced(3, 2, groups=1, first=True)
    check_choices(choices(one, traced(6, 4, groups=1, first=True)))
