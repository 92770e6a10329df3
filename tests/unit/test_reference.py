"""The fast path against the paper's equations, and the maps against the paper's."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

import net2net
from net2net import Growth, reference
from net2net.maps.copy import replicate
from net2net.recipe.axis_map import NEW
from net2net.recipe.draw import generator
from tests.helpers import noise, randomise, tensors, widen


def array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().numpy()


def map_of(growth: Growth, tensor: str, dim: int) -> list[int]:
    """The map that the plan used on one axis."""
    (index,) = [axis.index for axis in growth.plan.recipes[tensor].axes if axis.dim == dim]
    return index.tolist()


# -- the equations keep the function, by themselves ------------------------------------------------


def test_the_reference_preserves_a_dense_network() -> None:
    rng = np.random.default_rng(0)
    w1, b1, w2 = rng.normal(size=(6, 8)), rng.normal(size=8), rng.normal(size=(8, 3))
    g = reference.random_map(8, 20, rng)
    u1, c1, u2 = reference.wider_dense(w1, b1, w2, g)
    x = rng.normal(size=(5, 6))
    np.testing.assert_allclose(
        np.tanh(x @ u1 + c1) @ u2, np.tanh(x @ w1 + b1) @ w2, rtol=0, atol=1e-12
    )
    eye, zero = reference.deeper_dense(8)
    hidden = np.maximum(x @ w1 + b1, 0)
    np.testing.assert_array_equal(np.maximum(hidden @ eye + zero, 0), hidden)


def test_the_reference_preserves_a_convolution() -> None:
    rng = np.random.default_rng(0)
    k1, b1, k2 = rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4), rng.normal(size=(2, 4, 1, 3))
    g = reference.random_map(4, 11, rng)
    u1, c1, u2 = reference.wider_conv(k1, b1, k2, g)
    x = noise(2, 3, 7, 6)

    def run(
        first: NDArray[np.float64], bias: NDArray[np.float64], second: NDArray[np.float64]
    ) -> Tensor:
        hidden = F.conv2d(x, torch.from_numpy(first), torch.from_numpy(bias))
        return F.conv2d(torch.tanh(hidden), torch.from_numpy(second))

    torch.testing.assert_close(run(u1, c1, u2), run(k1, b1, k2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 1), (2, 4)])
def test_the_reference_kernel_is_an_identity(kernel: tuple[int, int]) -> None:
    weight, _ = reference.deeper_conv(3, *kernel)
    x = noise(2, 3, 7, 6)
    before = [(size - 1) // 2 for size in kernel]
    behind = [size - 1 - left for size, left in zip(kernel, before, strict=True)]
    padded = F.pad(x, (before[1], behind[1], before[0], behind[0]))
    assert torch.equal(F.conv2d(padded, torch.from_numpy(weight)), x)


# -- the fast path says the same, bit for bit ------------------------------------------------------


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("width", [8, 9, 16, 29])
def test_wider_dense(width: int, balanced: bool) -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))
    growth = widen(teacher, {"0": width}, noise(4, 6), balanced=balanced)
    g = map_of(growth, "0.weight", 0) if width > 8 else list(range(8))
    assert len(g) == width
    first, bias, second = reference.wider_dense(
        array(teacher[0].weight).T, array(teacher[0].bias), array(teacher[2].weight).T, g
    )
    student = growth.model
    np.testing.assert_array_equal(array(student[0].weight).T, first)
    np.testing.assert_array_equal(array(student[0].bias), bias)
    np.testing.assert_array_equal(array(student[2].weight).T, second)
    np.testing.assert_array_equal(array(student[2].bias), array(teacher[2].bias))


def test_wider_conv_with_batch_norm_and_a_flattened_consumer() -> None:
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(5 * 6, 2),
        )
    )
    growth = widen(teacher, {"0": 11, "3": 7}, noise(2, 3, 7, 6), balanced=False, seed=3)
    g, h = map_of(growth, "0.weight", 0), map_of(growth, "3.weight", 0)
    student = growth.model
    kernel, bias, following = reference.wider_conv(
        array(teacher[0].weight), array(teacher[0].bias), array(teacher[3].weight), g
    )
    np.testing.assert_array_equal(array(student[0].weight), kernel)
    np.testing.assert_array_equal(array(student[0].bias), bias)
    for name in ("weight", "bias", "running_mean", "running_var"):
        old, new = getattr(teacher[1], name), getattr(student[1], name)
        np.testing.assert_array_equal(array(new), reference.wider_batch_norm(array(old), g))
    # both axes of the second kernel: its rows by h, its columns (already divided) by g
    rows, bias, _ = reference.wider_conv(following, array(teacher[3].bias), following, h)
    np.testing.assert_array_equal(array(student[3].weight), rows)
    np.testing.assert_array_equal(array(student[3].bias), bias)
    pixels = reference.flattened_map(h, 6)
    weight = array(teacher[6].weight).T
    _, _, columns = reference.wider_dense(weight.T, weight[:, 0], weight, pixels)
    np.testing.assert_array_equal(array(student[6].weight).T, columns)


class Concatenation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 3), nn.Conv2d(3, 3, 3)
        self.head = nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.a(x), self.b(x), self.c(x)], 1).relu())


def test_concatenation_joins_the_maps_with_offsets() -> None:
    """Inception: the map of a joined layer is its producers' maps, joined."""
    teacher = randomise(Concatenation())
    growth = widen(teacher, {"a": 7, "c": 5}, noise(2, 3, 5, 5))
    maps = [map_of(growth, "a.weight", 0), [0, 1], map_of(growth, "c.weight", 0)]
    assert map_of(growth, "head.weight", 1) == reference.concatenated_map(maps, (4, 2, 3))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (1, 5)])
def test_deeper(kernel: tuple[int, int]) -> None:
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, kernel),
            nn.BatchNorm2d(4, eps=0.01),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )
    )
    x = noise(2, 3, 7, 6)
    growth = net2net.deepen(teacher, {"0": 1, "5": 1}, x, calibrate=[noise(8, 3, 7, 6)])
    conv = [part for part in growth.model.modules() if isinstance(part, nn.Conv2d)][1]
    norm = [part for part in growth.model.modules() if isinstance(part, nn.BatchNorm2d)][1]
    dense = [part for part in growth.model.modules() if isinstance(part, nn.Linear)][1]
    for layer, (weight, bias) in (
        (conv, reference.deeper_conv(4, *kernel)),
        (dense, reference.deeper_dense(5)),
    ):
        np.testing.assert_array_equal(array(layer.weight), weight)
        np.testing.assert_array_equal(array(layer.bias), bias)
    gamma, beta = reference.deeper_batch_norm(
        array(norm.running_mean), array(norm.running_var), 0.01
    )
    np.testing.assert_array_equal(array(norm.weight), gamma)
    np.testing.assert_array_equal(array(norm.bias), beta)


# -- the random map --------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 40), st.integers(0, 120), st.integers(0, 2**40))


@given(sizes, st.booleans())
@settings(max_examples=60)
def test_the_first_units_are_the_teachers_own(size: tuple[int, int, int], balanced: bool) -> None:
    n, extra, seed = size
    g = replicate(n, n + extra, generator(seed, "layer"), balanced)
    assert len(g) == n + extra
    assert g[:n].tolist() == list(range(n))
    assert set(g.tolist()) <= set(range(n))


@given(sizes)
@settings(max_examples=60)
def test_balanced_counts_differ_by_at_most_one(size: tuple[int, int, int]) -> None:
    n, extra, seed = size
    counts = Counter(replicate(n, n + extra, generator(seed, "layer"), True).tolist())
    assert max(counts.values()) - min(counts.values()) <= 1


def test_balanced_maps_still_choose_at_random() -> None:
    extras = {
        tuple(replicate(8, 12, generator(seed, "layer"), True)[8:].tolist()) for seed in range(20)
    }
    assert len(extras) > 15


def test_unbalanced_maps_are_uniform_samples() -> None:
    """As in the paper: each new unit on its own, so counts vary, and all units are as likely."""
    draws = [replicate(8, 12, generator(seed, "layer"), False)[8:] for seed in range(2000)]
    counts = np.bincount(np.concatenate(draws), minlength=8)
    assert abs(counts - 1000).max() < 5 * (8000 * 1 / 8 * 7 / 8) ** 0.5  # five deviations
    assert any(len(set(draw.tolist())) < 4 for draw in draws)
    assert not np.corrcoef(np.array(draws).T)[np.triu_indices(4, 1)].max() > 0.1


def test_growth_is_balanced_unless_asked_otherwise() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)))

    def spread(balanced: bool, seed: int) -> int:
        growth = widen(teacher, {"0": 40}, noise(4, 6), balanced=balanced, seed=seed)
        counts = Counter(map_of(growth, "0.weight", 0))
        return max(counts.values()) - min(counts.values())

    assert [spread(True, seed) for seed in range(5)] == [1] * 5
    assert max(spread(False, seed) for seed in range(5)) > 1


def test_random_pad_copies_nothing() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))
    growth = widen(teacher, {"0": 13}, noise(4, 6), method="random_pad", exact=False)
    assert map_of(growth, "0.weight", 0) == [*range(5), *[NEW] * 8]


# -- seeds -----------------------------------------------------------------------------------------

PINNED_MAP = [0, 1, 2, 3, 4, 0, 3, 4, 1, 2, 2, 0, 4]
PINNED_SAMPLE = [0, 1, 2, 3, 4, 3, 3, 4, 1, 3, 2, 0, 0]
PINNED_STUDENT = "ef13c18f05fc6f5a"


def test_random_numbers_are_pinned() -> None:
    """PCG64DXSM, so the same on every platform and for every version of numpy."""
    assert replicate(5, 13, generator(7, "conv1"), True).tolist() == PINNED_MAP
    assert replicate(5, 13, generator(7, "conv1"), False).tolist() == PINNED_SAMPLE


def counted() -> nn.Module:
    """A network with the same weights everywhere."""
    model = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)
    ).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            values = torch.arange(parameter.numel(), dtype=torch.float64).view_as(parameter)
            parameter.copy_((values * (number + 3)) % 11 - 5)
    return model


def test_the_student_is_pinned() -> None:
    """The same seed gives the same student on every platform: bit for bit this one."""
    student = widen(counted(), {"0": 13, "2": 10}, noise(4, 3), seed=5).model
    digest = hashlib.sha256()
    for name, tensor in tensors(student).items():
        digest.update(name.encode() + array(tensor).astype("<f8").tobytes())
    assert digest.hexdigest()[:16] == PINNED_STUDENT


@pytest.mark.parametrize("method", ["replicate", "random_pad"])
def test_the_same_seed_gives_the_same_student_and_another_seed_another(method: str) -> None:
    def weights(seed: int, scale: float) -> list[Tensor]:
        growth = widen(
            counted(), 1.5, noise(4, 3), seed=seed, method=method, noise=scale,
            exact=method == "replicate" and not scale,
        )  # fmt: skip
        return list(tensors(growth.model).values())

    for scale in (0.0, 0.1):
        one, same, other = weights(1, scale), weights(1, scale), weights(2, scale)
        assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_callers_random_state_neither_matters_nor_changes() -> None:
    torch.manual_seed(1)
    one = widen(counted(), 1.5, noise(4, 3), noise=0.1, exact=False)
    teacher = counted()
    torch.manual_seed(2)
    np.random.seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    two = widen(teacher, 1.5, noise(4, 3), noise=0.1, exact=False)
    net2net.spaces(teacher, noise(4, 3))
    net2net.verify(teacher, two.model, noise(4, 3))
    for a, b in zip(tensors(one.model).values(), tensors(two.model).values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == numpy_state


def test_deepening_leaves_the_callers_random_state_alone() -> None:
    model = counted()
    state = torch.get_rng_state()
    net2net.deepen(model, {"0": 1}, noise(4, 3), calibrate=[noise(4, 3)])
    assert torch.equal(torch.get_rng_state(), state)


def test_one_spaces_map_does_not_depend_on_what_else_grows() -> None:
    alone = widen(counted(), {"0": 9}, noise(4, 3))
    together = widen(counted(), {"0": 9, "2": 10}, noise(4, 3))
    assert map_of(alone, "0.weight", 0) == map_of(together, "0.weight", 0)
