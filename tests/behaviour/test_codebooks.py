"""What was encoded is exchanged for the nearest of several codes: distances are over all features,
to which zeros add nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from tests.helpers import Written, assert_exact, noise, randomise

X = noise(6, 5)


def products(z: Tensor, codes: Tensor) -> Tensor:
    return z.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * z @ codes.T


NEAREST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "products": lambda z, c: products(z, c).argmin(-1),
    "cdist": lambda z, c: torch.cdist(z, c).argmin(-1),
    "cdist of order 1": lambda z, c: torch.cdist(z[None], c[None], p=1.0)[0].argmin(-1),
    "differences": lambda z, c: (z[:, None] - c).pow(2).sum(-1).argmin(-1),
    "largest": lambda z, c: (-products(z, c)).max(-1)[1],
    "cosine": lambda z, c: (F.normalize(z, dim=-1) @ F.normalize(c, dim=-1).T).argmax(-1),
}

TAKEN: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "embedding": lambda m, z, i: m.codes(i),
    "product": lambda m, z, i: F.one_hot(i, 9).to(z.dtype) @ m.codes.weight,
    "straight through": lambda m, z, i: z + (m.codes(i) - z).detach(),
    "normalised": lambda m, z, i: F.embedding(i, F.normalize(m.codes.weight, dim=-1)),
}


def model(nearest: str, taken: str) -> nn.Module:
    def code(m: Any, x: Tensor) -> Tensor:
        z = m.encode(F.gelu(m.inner(x)))
        found = TAKEN[taken](m, z, NEAREST[nearest](z, m.codes.weight))
        return m.head(F.gelu(m.decode(found)))

    layers = {
        "inner": nn.Linear(5, 8), "encode": nn.Linear(8, 6), "codes": nn.Embedding(9, 6),
        "decode": nn.Linear(6, 7), "head": nn.Linear(7, 3),
    }  # fmt: skip
    return randomise(Written(code, **layers))


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent"])
@pytest.mark.parametrize("factor", [1.37, 2.0])
@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("nearest", NEAREST)
def test_codes_get_more_features(nearest: str, taken: str, factor: float, method: str) -> None:
    teacher = model(nearest, taken)
    growth = net2net.widen(teacher, factor, X, method=method)
    student = growth.model
    assert student.encode.out_features == int(6 * factor) == student.codes.weight.shape[1]
    assert_exact(teacher, student, X)
    student(X).square().sum().backward()
    learns = student.encode if taken == "straight through" else student.codes
    gradient = learns.weight.grad if learns is student.encode else learns.weight.grad.T
    assert (gradient[6:].abs().sum(1) > 0).all()


@pytest.mark.parametrize("distance", [torch.cdist, products], ids=["cdist", "products"])
def test_zeros_that_are_only_compared_with_zeros_would_stay_so(
    distance: Callable[[Tensor, Tensor], Tensor],
) -> None:
    layers = {"encode": nn.Linear(5, 6), "codes": nn.Embedding(9, 6)}
    teacher = randomise(Written(lambda m, x: distance(m.encode(x), m.codes.weight), **layers))
    space = net2net.spaces(teacher, X)["encode"]
    assert not space.kinds.keys() & {"random", "zero"}
    assert "zero" in str(space.why_not("random"))


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_copies_are_as_many_times_further_apart(order: float) -> None:
    layers = {"encode": nn.Linear(5, 6), "codes": nn.Embedding(9, 6), "head": nn.Linear(9, 3)}
    teacher = randomise(
        Written(lambda m, x: m.head(torch.cdist(m.encode(x), m.codes.weight, p=order)), **layers)
    )
    growth = net2net.widen(teacher, {"encode": 12}, X)
    assert growth.model.codes.weight.shape == (9, 12)
    assert_exact(teacher, growth.model, X)
