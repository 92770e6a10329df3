"""Plans with means, offsets, twins and noise in pairs: the same bits again, whole and by rows."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import net2net
from net2net import Growth, Plan
from net2net.errors import PlanError
from net2net.recipe.axis_map import MIXED
from tests.helpers import noise, randomise, same_bits, tensors, untouched

X = noise(3, 4)


class Stream(nn.Module):
    """Under layer norms with a layer scale, so that means are weighted; and an RMS norm that scales
    by 1 + w, so that w gets an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 6)
        self.scale, self.w = nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(7))
        self.norm, self.d, self.e = nn.LayerNorm(6), nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h = h + self.scale * self.c(torch.tanh(self.b(self.norm(h))))
        h = self.d(self.norm(h))
        return self.e(F.rms_norm(h, h.shape[-1:]) * (1 + self.w))


METHODS = [name for name, one in net2net.METHODS.items() if one.exact and not one.needs_loss]


@cache
def grown(method: str) -> tuple[nn.Module, Growth]:
    teacher = randomise(Stream())
    return teacher, net2net.widen(teacher, 2.5, X, method=method, seed=3)


def test_the_plans_have_all_of_it() -> None:
    def axes(method: str) -> list[Any]:
        return [axis for one in grown(method)[1].plan.recipes.values() for axis in one.axes]

    assert any(mixture.by for axis in axes("replicate") for mixture in axis.mixtures)
    assert any((axis.index <= MIXED).any() for axis in axes("fresh"))
    assert any(axis.offset is not None for axis in axes("fresh"))
    assert all(any(axis.twin is not None for axis in axes(way)) for way in ("pair", "fresh_pair"))
    assert any(one.pair for one in grown("pair")[1].plan.recipes.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_applied_again_gives_the_same_bits(method: str) -> None:
    teacher, growth = grown(method)
    text = growth.plan.to_json()
    again = Plan.from_json(text)
    assert again.to_json() == text
    for plan in (growth.plan, again):
        with untouched(teacher):
            assert same_bits(plan.apply(copy.deepcopy(teacher)), growth.model)
        state = plan.apply(teacher.state_dict())
        assert all(torch.equal(state[name], t) for name, t in growth.model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_applies_to_a_teacher_that_trained_on(method: str) -> None:
    """Means are of its own weights."""
    _, growth = grown(method)
    other = randomise(Stream(), seed=9)
    student = growth.plan.apply(other)
    assert net2net.verify(other, student, X).max_rel < 1e-12


@given(st.sampled_from(METHODS), st.data())
@settings(max_examples=60)
def test_a_block_of_rows_has_the_bits_of_the_whole(method: str, data: st.DataObject) -> None:
    teacher, growth = grown(method)
    make = growth.plan.reader(teacher.state_dict())
    name = data.draw(st.sampled_from([n for n, t in tensors(growth.model).items() if t.ndim]))
    whole = tensors(growth.model)[name]
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5))
    assert torch.equal(make(name, np.array(rows)), whole[rows])
    assert torch.equal(make(name, None), whole)


WRONG = st.one_of(
    st.integers(-9, 99), st.sampled_from([None, "a", 0.5, True, [], [1], {}, 1e300, -1.0, 10**30])
)


@given(st.sampled_from(METHODS), st.data())
@settings(max_examples=60)
def test_a_map_with_another_number_makes_a_whole_student_or_none(
    method: str, data: st.DataObject
) -> None:
    teacher, growth = grown(method)
    plan = json.loads(growth.plan.to_json())
    place: Any = data.draw(st.sampled_from(plan["maps"]))
    while True:  # some number inside, or a list or a table on the way to it
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(place[key], (list, dict)) and place[key]
        if not deeper or data.draw(st.integers(0, 4)) == 0:
            break
        place = place[key]
    place[key] = data.draw(WRONG)
    try:
        student = Plan.from_json(json.dumps(plan), checked=False).apply(teacher)
    except PlanError:
        return
    student(X)
