"""Recipes of any kind: rows made alone have the bits of the whole, also from JSON types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from net2net.apply.fingerprint import Fingerprint, TensorSpec
from net2net.errors import PlanError
from net2net.infer.units import Role
from net2net.plan.document import from_data, to_data
from net2net.recipe import draw
from net2net.recipe.axis_map import ABSENT, MIXED, NEW, AxisMap, Mixture
from net2net.recipe.recipe import Mean, Perturbed, Recipe, Spread, Uniform
from net2net.recipe.run import Executor, reader
from tests.helpers import noise

TEACHER = {"w": noise(4, 5, 2), "s": noise(5).abs() + 0.5, "t": noise(4)}


def numbers(draw: st.DrawFn, size: int, kind: st.SearchStrategy[Any]) -> np.ndarray | None:
    given = draw(st.none() | st.lists(kind, min_size=size, max_size=size))
    return None if given is None else np.array(given)


@st.composite
def mixtures(draw: st.DrawFn, size: int) -> Mixture:
    positions = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4))
    by = []
    for name in draw(st.lists(st.sampled_from(["s", "t"]), max_size=2)):
        place = st.integers(0, len(TEACHER[name]) - 1)
        at = draw(st.lists(place, min_size=len(positions), max_size=len(positions)))
        by.append((name, np.array(at)))
    return Mixture(np.array(positions), tuple(by))


@st.composite
def maps(draw: st.DrawFn, dim: int, size: int, role: Role) -> AxisMap:
    new = draw(st.integers(1, 7))
    mixed = tuple(draw(st.lists(mixtures(size), max_size=2)))
    kinds = [NEW, ABSENT, *(MIXED - i for i in range(len(mixed)))]
    index = draw(
        st.lists(
            st.one_of(st.integers(0, size - 1), st.sampled_from(kinds)), min_size=new, max_size=new
        )
    )
    twin = None
    if draw(st.booleans()):  # two by two, of those that are not among a pair yet
        twin = np.arange(new)
        order = draw(st.permutations(range(new)))
        for one, other in list(zip(order[::2], order[1::2], strict=False))[
            : draw(st.integers(0, 3))
        ]:
            twin[max(one, other)] = min(one, other)
    return AxisMap(
        dim, np.array(index), role, numbers(draw, new, st.integers(1, 3)),
        numbers(draw, new, st.floats(-2, 2)), numbers(draw, new, st.floats(-2, 2)), mixed, twin,
    )  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    axes = []
    for dim, size in enumerate(TEACHER["w"].shape):
        if draw(st.booleans()):
            axes.append(draw(maps(dim, size, draw(st.sampled_from(list(Role))))))
    spread = st.builds(Spread, st.floats(0.1, 2), st.none() | st.floats(0.1, 2))
    mean, even = st.builds(Mean, st.none() | st.floats(-2, 2)), st.builds(Uniform, st.floats(0, 2))
    new = draw(st.one_of(spread, mean, even))
    law = st.one_of(st.none(), spread, st.builds(Mean, st.floats(-2, 2)), even)
    after = st.builds(Perturbed, st.floats(-2, 2), st.floats(-2, 2), law)
    return Recipe(
        "w", tuple(axes), new, draw(st.none() | spread), pair=draw(st.none() | spread),
        perturbed=draw(st.none() | after),
    )  # fmt: skip


def shape_of(recipe: Recipe) -> tuple[int, ...]:
    sizes = {axis.dim: axis.size for axis in recipe.axes}
    return tuple(sizes.get(dim, size) for dim, size in enumerate(TEACHER["w"].shape))


def executor(recipe: Recipe, threads: int = 1) -> Executor:
    return Executor(
        {"w": recipe}, {"w": shape_of(recipe)}, {}, 3, reader(TEACHER), reader({}),
        torch.empty(0, dtype=torch.float64), threads,
    )  # fmt: skip


def prints(shape: tuple[int, ...]) -> tuple[Fingerprint, Fingerprint]:
    def one(tensors: dict[str, tuple[int, ...]]) -> Fingerprint:
        return Fingerprint({n: TensorSpec(s, torch.float64) for n, s in tensors.items()}, {})

    teacher = {name: tuple(tensor.shape) for name, tensor in TEACHER.items()}
    return one(teacher), one({"w": shape})


@given(recipes(), st.data())
@settings(max_examples=80)
def test_rows_alone_have_the_bits_of_the_whole(recipe: Recipe, data: st.DataObject) -> None:
    make = executor(recipe).make
    whole = make("w")
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6))
    assert torch.equal(make("w", np.array(rows)), whole[rows])


@given(recipes(), st.integers(1, 4), st.data())
@settings(max_examples=80)
def test_neither_runs_nor_threads_change_what_is_drawn(
    recipe: Recipe, run: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(draw, "BLOCK", 6)  # of one row or some, of several to a tensor
        whole = executor(recipe).make("w")
        changed.setattr(draw, "RUN", run)
        rows = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6))
        assert torch.equal(executor(recipe, threads=2).make("w"), whole)
        assert torch.equal(executor(recipe, threads=2).make("w", np.array(rows)), whole[rows])


@given(recipes())
@settings(max_examples=40)
def test_json_types_make_the_same_bits(recipe: Recipe) -> None:
    written = json.loads(json.dumps(to_data({"w": recipe})))
    again = from_data(written, *prints(shape_of(recipe)))["w"]
    assert torch.equal(executor(again).make("w"), executor(recipe).make("w"))
    assert to_data({"w": again}) == to_data({"w": recipe})


@given(recipes())
@settings(max_examples=40)
def test_mixtures_scales_and_offsets_are_what_they_say(recipe: Recipe) -> None:
    """Against sums written out, of recipes that draw nothing."""
    axes = [axis for axis in recipe.axes if (axis.index != NEW).all()]
    made = executor(Recipe("w", tuple(axes))).make("w")
    wanted = TEACHER["w"]
    for axis in axes:
        slices = [position(wanted, axis, at) for at in range(axis.size)]
        wanted = torch.stack(slices, axis.dim)
    for axis in axes:  # one after the other, for c + w is scaled by adding (f - 1) · c to f · w
        wide = [-1 if dim == axis.dim else 1 for dim in range(3)]
        if axis.scale is not None:
            wanted = wanted * torch.from_numpy(axis.scale).view(wide)
        if axis.offset is not None:
            wanted = wanted + torch.from_numpy(axis.offset).view(wide)
    torch.testing.assert_close(made, wanted, rtol=1e-12, atol=1e-12)


def position(tensor: Tensor, axis: AxisMap, at: int) -> Tensor:
    """One position of an axis, as its map says."""
    index, shares = int(axis.index[at]), 1 if axis.divisor is None else int(axis.divisor[at])
    if index >= 0:
        return tensor.select(axis.dim, index) / shares
    if index == ABSENT:
        return torch.zeros_like(tensor.select(axis.dim, 0))
    one = axis.mixtures[MIXED - index]
    terms = []
    for nth, place in enumerate(one.positions):
        term = tensor.select(axis.dim, int(place))
        for name, places in one.by:
            term = term * TEACHER[name][int(places[nth])]
        terms.append(term)
    return torch.stack(terms).mean(0)


# -- damage ----------------------------------------------------------------------------------------

SOUND: dict[str, Any] = {
    "index": [0, 3, -1, -2, -3, -4], "twin": [0, 1, 2, 3, 4, 4], "offset": [0.5] * 6,
    "mixtures": [[[0, 1], [["s", [0, 4]]]], [[2], []]],
}  # fmt: skip


def read(one: dict[str, Any]) -> Recipe:
    axes, new = [[0, "produces", 0]], ["spread", 1.0, 1.0]
    data = {"maps": [one], "recipes": {"w": {"source": "w", "axes": axes, "new": new}}}
    return from_data(json.loads(json.dumps(data)), *prints((6, 5, 2)))["w"]


def test_the_sound_one_is_sound() -> None:
    assert executor(read(SOUND)).make("w").shape == (6, 5, 2)


RAW = (PlanError, TypeError, ValueError)
"""Of what is no plan at all, ``Plan.from_json`` makes a ``PlanError``."""


@pytest.mark.parametrize(
    "changes",
    [
        {"index": [0, 3, -1, -2, -3, -5]}, {"mixtures": []}, {"mixtures": 3},
        {"mixtures": [3, 4]}, {"mixtures": {"0": 1}}, {"mixtures": [[[0, 1], []], None]},
        {"mixtures": [[[], []], [[2], []]]}, {"mixtures": [[[4], []], [[2], []]]},
        {"mixtures": [[[-1], []], [[2], []]]}, {"mixtures": [[[0.0], []], [[2], []]]},
        {"mixtures": [[[True], []], [[2], []]]}, {"mixtures": [["0", []], [[2], []]]},
        {"mixtures": [[[0], 3], [[2], []]]}, {"mixtures": [[[0], [3]], [[2], []]]},
        {"mixtures": [[[0], [["s"]]], [[2], []]]}, {"mixtures": [[[0], [["s", 0]]], [[2], []]]},
        {"mixtures": [[[0], [["s", [5]]]], [[2], []]]},
        {"mixtures": [[[0], [["s", [-1]]]], [[2], []]]},
        {"mixtures": [[[0], [["s", [0, 1]]]], [[2], []]]},
        {"mixtures": [[[0], [["no", [0]]]], [[2], []]]},
        {"mixtures": [[[0], [[3, [0]]]], [[2], []]]},
        {"mixtures": [[[0], [[["s"], [0]]]], [[2], []]]},
        {"mixtures": [[[0], [], []], [[2], []]]},
        {"twin": 3}, {"twin": [0, 1, 2, 3, 4]}, {"twin": [0, 1, 2, 3, 4, 6]},
        {"twin": [0, 1, 2, 3, 4, -1]}, {"twin": [0, 1, 2, 3, 4, 4.0]}, {"twin": "abcdef"},
        {"twin": [0, 1, 2, 3, 4, True]}, {"twin": [[0]] * 6}, {"twin": {}},
        {"offset": 3}, {"offset": [1.0]}, {"offset": [None] * 6}, {"offset": [1e300] * 6},
        {"offset": ["a"] * 6}, {"offset": [float("nan")] * 6}, {"index": None}, {"index": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_map_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RAW):
        read({**SOUND, **changes})


@pytest.mark.parametrize("law", [draw.normal, draw.uniform])
def test_laws_have_the_moments_of_their_law(law: draw.Law) -> None:
    """Mean, variance and the fourth moment: 0, 1, 3 of a normal law, 0, 1/3, 1/5 of an even one."""
    found = np.empty(2**16, np.float32)
    law(1.0)(np.arange(2**16, dtype=np.uint16), found)
    numbers = found.astype(np.float64)
    moments = [np.mean(numbers**power) for power in (1, 2, 3, 4)]
    wanted = [0, 1, 0, 3] if law is draw.normal else [0, 1 / 3, 0, 1 / 5]
    np.testing.assert_allclose(moments, wanted, atol=1e-3)
    assert len(np.unique(numbers)) == 2**16


def test_even_numbers_are_the_quantiles_of_their_law() -> None:
    """To the last bit what a table of them would have; also where they lie apart."""
    quantiles = ((2 * np.arange(2**16) + 1) / 2**16 - 1).astype(np.float32) * np.float32(0.0371)
    found = np.zeros((2**8, 2**9), np.float32)
    draw.uniform(0.0371)(np.arange(2**16, dtype=np.uint16), found[:, ::2])
    np.testing.assert_array_equal(found[:, ::2].reshape(-1), quantiles)
    assert not found[:, 1::2].any()


def test_numbers_are_drawn_of_all_that_a_law_has() -> None:
    """Neither a part of the table alone, nor one number that depends on the one before."""
    found = draw.drawn(draw.normal, 0, ("w",), np.arange(1000), (1000,)).reshape(-1)
    quantile = np.searchsorted(draw.normal_quantiles(), found)
    assert len(np.unique(quantile)) == 2**16  # 15 of each are expected
    seen = np.bincount(quantile // 2**12)
    np.testing.assert_allclose(seen / len(found), 1 / 16, atol=1e-3)
    after = [np.corrcoef(found[:-lag], found[lag:])[0, 1] for lag in (1, 2, 3, 4, 1000)]
    np.testing.assert_allclose(after, 0, atol=4e-3)
