"""Mixtures of experts: more of them, and code that runs those that its hidden values choose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import InputError, TransferError
from tests.helpers import assert_exact, noise, randomise, refused

X = noise(9, 3)


class Mixture(nn.Module):
    """Experts as one tensor each, of which a router takes the best ``k`` for every row."""

    def __init__(self, experts: int, k: int, *, renormalise: bool = True) -> None:
        super().__init__()
        self.stem, self.router = nn.Linear(3, 4), nn.Linear(4, experts)
        self.up = nn.Parameter(torch.empty(experts, 5, 4))
        self.down = nn.Parameter(torch.empty(experts, 4, 5))
        self.head = nn.Linear(4, 2)
        self.k, self.renormalise = k, renormalise

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        weights, chosen = self.router(h).softmax(-1).topk(self.k, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        inner = F.silu(torch.einsum("tkih,th->tki", self.up[chosen], h))
        made = torch.einsum("tkhi,tki->tkh", self.down[chosen], inner)
        return self.head(h + (made * weights[..., None]).sum(1))


class Branching(nn.Module):
    """Experts as modules, each run on the rows that it is chosen for."""

    def __init__(self, width: int, experts: int = 3, blocks: int = 1) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, width), nn.Linear(width, 2)
        self.routers = nn.ModuleList(nn.Linear(width, experts) for _ in range(blocks))
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4), nn.GELU(), nn.Linear(4, width))
            for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for router in self.routers:
            best = router(h).argmax(-1)
            made = torch.zeros_like(h)
            for number, expert in enumerate(self.experts):
                rows = torch.where(best == number)[0]
                if len(rows):
                    made = made.index_add(0, rows, expert(h[rows]))
            h = h + made
        return self.head(h)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("sizes", [(6, 4), (9, 6)])
def test_copies_of_all_experts(sizes: tuple[int, int], renormalise: bool) -> None:
    """Each gets its part of the weight of what it copies."""
    teacher = randomise(Mixture(3, 2, renormalise=renormalise))
    grown = net2net.transfer(teacher, Mixture(*sizes, renormalise=renormalise), X)
    assert_exact(teacher, grown.model, X)
    assert ("router", 3, sizes[0]) in [(row.name, row.old, row.new) for row in grown.report.rows]
    for name in ("router.weight", "up", "down"):
        one = grown.model.get_parameter(name)
        assert torch.equal(one[3:6], one[:3])


def test_one_of_two_copies_is_the_same_whichever_it_is() -> None:
    teacher = randomise(Mixture(3, 1))
    assert_exact(teacher, net2net.transfer(teacher, Mixture(6, 1), X).model, X)


@pytest.mark.parametrize("sizes", [(6, 2), (4, 2), (4, 3)])
def test_copies_that_would_displace_experts_are_refused(sizes: tuple[int, int]) -> None:
    teacher = randomise(Mixture(3, 2))
    with refused(TransferError, "2 of 3", "in the place of others", "4 of 6", teacher=teacher):
        net2net.transfer(teacher, Mixture(*sizes), X)


def test_code_that_branches_on_hidden_values_is_transferred() -> None:
    teacher = randomise(Branching(4))
    grown = net2net.transfer(teacher, Branching(8).double(), X)
    assert_exact(teacher, grown.model, X)
    assert [(row.name, row.old, row.new) for row in grown.report.rows] == [("stem", 4, 8)]
    with refused(InputError, "neither may be on meta", teacher=teacher):
        net2net.transfer(teacher, Branching(8).to("meta"), X)


def mixtral(**options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=8, num_hidden_layers=1, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, num_local_experts=3, num_experts_per_tok=2,
    )  # fmt: skip
    model = randomise(transformers.MixtralForCausalLM(config))
    for name, value in options.items():
        getattr(model, name)(value)
    return model


def test_mixtral_grows_where_each_expert_runs_alone() -> None:
    """In float64, of which torch has no grouped product."""
    teacher = mixtral(set_experts_implementation="eager")
    target = {"hidden_size": 32, "intermediate_size": 12, "num_hidden_layers": 2}
    grown = net2net.grow(teacher, **target)
    assert grown.report.parity is not None and grown.report.parity.max_rel < 1e-12


def test_mixtral_has_more_experts_in_grouped_products() -> None:
    teacher = mixtral().float()
    grown = net2net.grow(teacher, num_local_experts=6, num_experts_per_tok=4, hidden_size=32)
    assert grown.report.parity is not None and grown.report.parity.exact
