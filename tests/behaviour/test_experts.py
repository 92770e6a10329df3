"""Mixtures of experts: more of them, and code that runs those that its hidden values choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net import InputError, NotGrowableError, Plan, TransferError
from tests.helpers import assert_exact, noise, randomise, refused, same_bits

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


def test_the_number_of_experts_is_no_width() -> None:
    teacher = randomise(Mixture(3, 2))
    with refused(NotGrowableError, "'router'", "topk", "chooses", "transfer", teacher=teacher):
        net2net.widen(teacher, {"router": 6}, X)


def test_code_that_branches_on_hidden_values_is_transferred() -> None:
    teacher = randomise(Branching(4))
    grown = net2net.transfer(teacher, Branching(8).double(), X)
    assert_exact(teacher, grown.model, X)
    assert [(row.name, row.old, row.new) for row in grown.report.rows] == [("stem", 4, 8)]
    with refused(InputError, "neither may be on meta", teacher=teacher):
        net2net.transfer(teacher, Branching(8).to("meta"), X)


# -- more experts that are modules of a list -------------------------------------------------------


class Chosen(nn.Module):
    """A block whose experts are modules, run one by one on the rows that they are chosen for."""

    def __init__(self, experts: int, k: int, kind: str, width: int, inner: int) -> None:
        super().__init__()
        self.k, self.kind, self.num_experts = k, kind, experts
        self.gate, self.norm = nn.Linear(width, experts), nn.LayerNorm(width)
        self.experts = nn.ModuleDict(
            {
                f"expert_{number}": nn.Sequential(
                    nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)
                )
                for number in range(experts)
            }
        )
        self.shared = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        scores = self.gate(h)
        scores = scores.sigmoid() if self.kind == "sigmoid" else scores.softmax(-1)
        weights, chosen = scores.topk(self.k, dim=-1)
        if self.kind == "renormalised":
            weights = weights / weights.sum(-1, keepdim=True)
        made = torch.zeros_like(h)
        for number in F.one_hot(chosen, self.num_experts).sum((0, 1)).nonzero():
            rows, place = torch.where(chosen == number)
            expert = self.experts[f"expert_{int(number)}"]
            made = made.index_add(0, rows, expert(h[rows]) * weights[rows, place, None])
        return x + made + self.shared(h)


def listed(
    experts: int, k: int, kind: str = "softmax", *, width: int = 4, inner: int = 5, depth: int = 1
) -> nn.Module:
    blocks = nn.Sequential(*(Chosen(experts, k, kind, width, inner) for _ in range(depth)))
    return nn.Sequential(nn.Linear(3, width), blocks, nn.Linear(width, 2)).double()


MANY = noise(60, 3)


@pytest.mark.parametrize(
    ("kind", "sizes", "times"),
    [
        ("softmax", (6, 4), None),
        ("softmax", (6, 2), 2),
        ("renormalised", (9, 6), None),
        ("renormalised", (4, 1), None),
        ("sigmoid", (6, 4), 0.5),
        ("sigmoid", (6, 1), None),
    ],
)
def test_copies_of_experts_that_are_modules(
    kind: str, sizes: tuple[int, int], times: float | None
) -> None:
    """What their weights do not add up to is made up for. Other rows choose other experts."""
    k = {(6, 4): 2, (9, 6): 2}.get(sizes, 1)
    sizes = (6, 1) if sizes == (6, 2) else sizes
    teacher = randomise(listed(3, k, kind), seed=3)
    grown = net2net.transfer(teacher, listed(*sizes, kind), MANY)
    assert_exact(teacher, grown.model, MANY)
    assert_exact(teacher, grown.model, noise(60, 3, seed=9))
    said = [note for note in grown.report.notes if "multiplied by" in note]
    assert [f"multiplied by {times:g}," in note for note in said] == [True] * (times is not None)
    rows = [(row.name, row.old, row.new) for row in grown.report.rows]
    assert ("1.0.experts", 3, sizes[0]) in rows and ("1.0.gate", 3, sizes[0]) in rows
    assert any("copies of an expert are alike" in one for one in grown.report.warnings)


def test_more_experts_in_more_and_wider_blocks() -> None:
    teacher = randomise(listed(3, 2, "sigmoid", depth=2), seed=3)
    student = listed(6, 4, "sigmoid", width=8, inner=7, depth=3)
    grown = net2net.transfer(teacher, student, MANY)
    assert_exact(teacher, grown.model, MANY)
    assert_exact(teacher, grown.model, noise(60, 3, seed=9))
    again = Plan.from_json(grown.plan.to_json()).apply(teacher, student=student)
    assert same_bits(again, grown.model)


def test_copies_that_would_displace_modules_are_refused() -> None:
    teacher = randomise(listed(3, 2))
    with refused(TransferError, "2 of 3", "in the place of others", "4 of 6", teacher=teacher):
        net2net.transfer(teacher, listed(6, 2), MANY)
    teacher = randomise(listed(3, 1), seed=3)
    with refused(TransferError, "weigh otherwise", "twice as many", teacher=teacher):
        net2net.transfer(teacher, listed(4, 1), MANY)


def test_noise_tells_copies_apart() -> None:
    teacher = randomise(listed(3, 2), seed=3)
    grown = net2net.transfer(teacher, listed(6, 4), MANY, noise=0.1)
    own, copy = (grown.model.get_parameter(f"1.0.experts.expert_{i}.0.weight") for i in (1, 4))
    assert torch.equal(own, teacher.get_parameter("1.0.experts.expert_1.0.weight"))
    assert 0.03 < (copy - own).std() / own.std() < 0.3
    gate = grown.model.get_parameter("1.0.gate.weight")
    assert not torch.equal(gate[3:], gate[:3])
    assert not any("are alike" in one for one in grown.report.warnings)


class Grouped(Mixture):
    """The best group of experts is chosen first, by what the two best of it add up to."""

    def __init__(self, experts: int, k: int, groups: int, taken: int, width: int = 4) -> None:
        super().__init__(experts, k)
        self.n_group, self.topk_group = groups, taken

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        scores = self.router(h).sigmoid()
        every = scores.view(len(h), self.n_group, -1)
        best = every.topk(2)[0].sum(-1).topk(self.topk_group)[1]
        outside = torch.ones_like(every[..., 0]).scatter(1, best, 0.0).bool()
        left = every.masked_fill(outside[..., None], 0.0).flatten(1)
        chosen = left.topk(self.k)[1]
        weights = scores.gather(1, chosen)
        weights = weights / weights.sum(-1, keepdim=True)
        inner = F.silu(torch.einsum("tkih,th->tki", self.up[chosen], h))
        made = torch.einsum("tkhi,tki->tkh", self.down[chosen], inner)
        return self.head(h + (made * weights[..., None]).sum(1))


def test_routers_that_choose_among_groups() -> None:
    """Groups come again, as large as they were."""
    teacher = randomise(Grouped(6, 3, 3, 2))
    grown = net2net.transfer(teacher, Grouped(12, 6, 6, 4), MANY)
    assert_exact(teacher, grown.model, MANY)
    with refused(TransferError, "best of 2 units", "more groups", teacher=teacher):
        net2net.transfer(teacher, Grouped(12, 6, 3, 2), MANY)


# -- from an MLP to experts ------------------------------------------------------------------------


class Around(nn.Module):
    """What lies around layers that are one MLP, or a mixture of experts."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.stem, self.mlp, self.head = nn.Linear(3, 4), mlp, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        return self.head(h + self.mlp(h))


class Gated(nn.Module):
    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(4, 5, bias=bias) for _ in range(2))
        self.down_proj = nn.Linear(5, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Routed(nn.Module):
    """Of four experts two are taken."""

    def __init__(self, *, renormalise: bool = True) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4, bias=False)
        self.renormalise = renormalise

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(2, dim=-1)
        if self.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        every = torch.stack([self.expert(number, x) for number in range(4)], 1)
        rows = torch.arange(len(x))[:, None]
        return (every[rows, chosen] * weights[..., None]).sum(1)

    def expert(self, number: int, x: Tensor) -> Tensor:
        raise NotImplementedError


class Merged(Routed):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate_up = nn.Parameter(torch.randn(4, 10, 4))
        self.down = nn.Parameter(torch.randn(4, 4, 5))

    def expert(self, number: int, x: Tensor) -> Tensor:
        gate, up = F.linear(x, self.gate_up[number]).chunk(2, -1)
        return F.linear(up * F.silu(gate), self.down[number])


class Interleaved(Routed):
    """Transposed, with gates and values in turns."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate_up = nn.Parameter(torch.randn(4, 4, 10))
        self.down = nn.Parameter(torch.randn(4, 5, 4))

    def expert(self, number: int, x: Tensor) -> Tensor:
        both = x @ self.gate_up[number]
        return (both[:, 1::2] * F.silu(both[:, ::2])) @ self.down[number]


class Listed(Routed):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.experts = nn.ModuleList(Gated(bias=True) for _ in range(4))

    def expert(self, number: int, x: Tensor) -> Tensor:
        return self.experts[number](x)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("kind", [Merged, Interleaved, Listed])
def test_experts_are_copies_of_an_mlp(kind: type[Routed], renormalise: bool) -> None:
    teacher = randomise(Around(Gated(bias=kind is Listed)))
    student = Around(kind(renormalise=renormalise)).double()
    grown = net2net.transfer(teacher, student, X)
    assert_exact(teacher, grown.model, X)
    router = grown.model.get_parameter("mlp.gate.weight")
    own = student.get_parameter("mlp.gate.weight")
    assert torch.equal(router, own if renormalise else torch.zeros_like(own))
    assert same_bits(
        Plan.from_json(grown.plan.to_json()).apply(teacher, student=student), grown.model
    )
    read = grown.plan.reader(teacher.state_dict(), student=student)
    for name, tensor in grown.model.named_parameters():
        assert torch.equal(read(name, torch.tensor([1, 0]).numpy()), tensor[[1, 0]])


class Columns(nn.Module):
    """A router with a column for every expert."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3] @ self.weight


def test_a_router_that_is_transposed() -> None:
    teacher, mixture = randomise(Around(Gated())), Merged(renormalise=False)
    mixture.gate = Columns()  # type: ignore[assignment]
    grown = net2net.transfer(teacher, Around(mixture).double(), X)
    assert_exact(teacher, grown.model, X)


@pytest.mark.parametrize("size", [0.0, 1e-3])
def test_an_expert_beside_the_others_is_not_taken_for_nothing(size: float) -> None:
    """Unless it is nothing."""

    class Shared(Merged):
        def __init__(self) -> None:
            super().__init__()
            self.beside = nn.Linear(3, 1)
            for parameter in self.beside.parameters():
                nn.init.normal_(parameter, 0, size)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.beside(x[:, :3])

    teacher, student = randomise(Around(Gated())), Around(Shared()).double()
    if size:
        with refused(TransferError, "'mlp'", "without shared ones", teacher=teacher):
            net2net.transfer(teacher, student, X)
    else:
        assert_exact(teacher, net2net.transfer(teacher, student, X).model, X)


class Twice(nn.Module):
    def __init__(self, kind: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(kind() for _ in range(2))
        self.stem, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("kind", [Merged, Listed])
@pytest.mark.parametrize("deviation", [1e-3, 0.02, 1.0, 30.0])
def test_weights_that_are_nearly_constant_are_not_taken_for_constant(
    deviation: float, kind: type[Routed], renormalise: bool
) -> None:
    """Those of a router that chooses all experts alike, or always one: whatever it begins with, it
    is zero if what the mixture returns depends on it."""
    teacher = randomise(Twice(lambda: Gated(bias=kind is Listed)))
    for seed in range(2):
        torch.manual_seed(seed)
        student = Twice(lambda: kind(renormalise=renormalise)).double()
        routers = [f"blocks.{block}.gate.weight" for block in range(2)]
        for name in routers:
            nn.init.normal_(student.get_parameter(name), 0, deviation)
        for exact in (True, False):
            grown = net2net.transfer(teacher, student, X, exact=exact)
            assert_exact(teacher, grown.model, X)
            for name in routers:
                kept = torch.equal(grown.model.get_parameter(name), student.get_parameter(name))
                assert kept == renormalise


def test_noise_tells_experts_apart() -> None:
    teacher, student = randomise(Around(Gated())), Around(Merged()).double()
    grown = net2net.transfer(teacher, student, X, noise=0.1)
    down = grown.model.get_parameter("mlp.down")
    assert torch.equal(down[0], teacher.get_parameter("mlp.down_proj.weight"))
    apart = (down[1:] - down[0]).std() / down[0].std()
    assert 0.05 < apart < 0.2 and not torch.equal(down[1], down[2])


def test_experts_of_another_kind_are_refused() -> None:
    class Other(Merged):
        def expert(self, number: int, x: Tensor) -> Tensor:
            return super().expert(number, x).tanh()

    teacher = randomise(Around(Gated()))
    with refused(TransferError, "'mlp'", "experts of the teacher's kind", teacher=teacher):
        net2net.transfer(teacher, Around(Other()).double(), X)
    with refused(TransferError, "'mlp'", "real device", teacher=teacher):
        net2net.transfer(teacher, Around(Merged()).to("meta"), X)


# -- models of transformers ------------------------------------------------------------------------


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
