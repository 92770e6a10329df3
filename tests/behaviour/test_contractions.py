"""Contractions that torch's layers call by rarer names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from net2net.errors import NotGrowableError
from net2net.widen.widen import widen as widen_as_it_is

from ..helpers import Written, noise, randomise, refused, widen

X = noise(4, 3)


def grown(teacher: nn.Module, inputs: Tensor) -> dict[str, tuple[int, int]]:
    growth = widen(teacher, 2.0, inputs)
    return {row.name.removesuffix(".weight"): (row.old, row.new) for row in growth.report.rows}


def test_an_inner_product() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        h = model.a(x)
        return model.head(h * torch.vdot(model.v.weight[0], h[0]))

    teacher = Written(code, a=nn.Linear(3, 8), v=nn.Linear(8, 1), head=nn.Linear(8, 2))
    assert grown(randomise(teacher), X) == {"a": (8, 16)}


@pytest.mark.parametrize("old", [True, False])
def test_spectral_norm_reads_and_makes_units_that_copy_nothing(old: bool) -> None:
    """Copied columns or rows have another largest singular value, and zeros the same."""
    layer = nn.Linear(8, 8)
    layer = nn.utils.spectral_norm(layer) if old else parametrizations.spectral_norm(layer)
    layers = [nn.Linear(3, 6), nn.Linear(6, 8), layer, nn.Linear(8, 5), nn.Linear(5, 2)]
    teacher = randomise(nn.Sequential(*layers))
    made = "2" if old else "2.parametrizations"
    assert grown(teacher, X) == {"0": (6, 12), "1": (8, 16), made: (8, 16), "3": (5, 10)}


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ["convolution", "_convolution"])
def test_any_convolution(name: str, groups: int, transposed: bool) -> None:
    rest = [False, False, False, False] if name == "_convolution" else []

    def code(model: Any, x: Tensor) -> Tensor:
        layer = model.b
        h = getattr(torch.ops.aten, name)(
            model.a(x), layer.weight, layer.bias, [1, 1], [1, 1], [1, 1], transposed, [0, 0],
            layer.groups, *rest,
        )  # fmt: skip
        return model.head(h.relu().mean((2, 3)))

    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    teacher = randomise(
        Written(code, a=nn.Conv2d(3, 8, 1), b=kind(8, 4, 3, groups=groups), head=nn.Linear(4, 2))
    )
    wanted = {"a": (8, 16)} | ({"b": (4, 8)} if groups == 1 else {})
    assert grown(teacher, noise(2, 3, 6, 6)) == wanted


class Graph(nn.Module):
    """Its neighbours are in a sparse matrix."""

    def __init__(self, held: bool) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(3, 8), nn.Linear(8, 2)
        matrix = noise(4, 4).relu().to_sparse()
        if held:
            self.register_buffer("matrix", matrix)
        else:
            self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sparse.mm(self.matrix, self.a(x)).relu())


def test_a_product_with_a_sparse_constant() -> None:
    assert grown(randomise(Graph(held=False)), X) == {"a": (8, 16)}


def test_a_product_with_a_sparse_buffer() -> None:
    growth = widen_as_it_is(randomise(Graph(held=True)), 2.0, X)
    assert [row.new for row in growth.report.rows] == [16]
    assert growth.model.get_buffer("matrix").is_sparse


@pytest.mark.parametrize("transposed", [False, True])
def test_a_kernel_of_one_position_over_units_as_positions(transposed: bool) -> None:
    """It mixes three vectors, feature by feature."""

    def built(kind: Any, **options: Any) -> nn.Module:
        parts = {"a": nn.Linear(6, 6), "b": nn.Linear(6, 6), "head": nn.Linear(6, 2)}

        def forward(model: Any, x: Tensor) -> Tensor:
            h = model.stem(x).relu()
            return model.head(model.mix(torch.stack([model.a(h), model.b(h), h], 1))[:, 0])

        return randomise(Written(forward, stem=nn.Linear(3, 6), mix=kind(3, 1, **options), **parts))

    kind: Any = nn.ConvTranspose1d if transposed else nn.Conv1d
    assert grown(built(kind, kernel_size=1), X) == {"stem": (6, 12)}
    teacher = built(kind, kernel_size=3, padding=1)
    with refused(NotGrowableError, "slides over it", teacher=teacher):
        widen(teacher, {"stem": 2.0}, X)
