"""An optimiser goes on with the student: its state, its groups, the age of what is new."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

import net2net
from net2net import Carried, Growth, OptimizerError
from net2net.optim import young
from net2net.plan.plan import Plan
from tests.helpers import randomise

RATE, DECAY, EPS = 1e-2, 0.1, 1e-3
NONE = 1e-20
"""An ε that is none: Adam's corrections scale all but it."""
INPUTS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    randomise(model)
    return model.train()


def losses(model: nn.Module, optimizer: Optimizer, steps: range) -> list[float]:
    result = []
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        x = torch.randn(16, 6, generator=rng, dtype=torch.float64)
        y = torch.randint(0, 3, (16,), generator=rng)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        result.append(loss.item())
    return result


class Lion(Optimizer):
    """As third-party optimisers are written: the sign of a mean of gradients."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p -= group["lr"] * torch.sign(mean * 0.9 + p.grad * 0.1)
                mean.lerp_(p.grad, 0.01)


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=RATE, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=RATE, eps=NONE, weight_decay=0.01),
    "adamw": lambda params: torch.optim.AdamW(params, lr=RATE, eps=NONE, weight_decay=DECAY),
    "foreach": lambda params: torch.optim.AdamW(
        params, lr=RATE, eps=NONE, foreach=True, amsgrad=True
    ),
    "fused": lambda params: torch.optim.AdamW(params, lr=RATE, eps=NONE, fused=True),
    "adamax": lambda params: torch.optim.Adamax(params, lr=RATE, eps=NONE),
    "nadam": lambda params: torch.optim.NAdam(params, lr=RATE),
    "radam": lambda params: torch.optim.RAdam(params, lr=RATE),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=RATE, momentum=0.5, centered=True),
    "adagrad": lambda params: torch.optim.Adagrad(params, lr=RATE),
    "adadelta": lambda params: torch.optim.Adadelta(params),
    "lion": Lion,
}


# -- scale: the teacher's run goes on --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_evenly_shared_copies_go_on_as_the_teacher_would_have(kind: str) -> None:
    """With the groups that make up for what copies do to rates: a weight that is divided by k moves
    a k-th as far, and a gradient that is divided by k is large beside ε / k."""
    model, k = network(), 2
    groups = [{"params": [one]} for one in model.parameters()]
    optimizer: Optimizer = torch.optim.SGD(groups, lr=RATE, momentum=0.9)
    if kind == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY, eps=EPS)
    losses(model, optimizer, range(50))
    alone = copy.deepcopy(model)
    other = type(optimizer)([{"params": [one]} for one in alone.parameters()], lr=RATE)  # type: ignore[call-arg]
    other.load_state_dict(optimizer.state_dict())

    grown = net2net.widen(model, float(k), INPUTS, method="replicate")
    handle = grown.carry(optimizer, state="scale")
    for group, (name, one) in zip(
        optimizer.param_groups, grown.model.named_parameters(), strict=True
    ):
        assert group["params"] == [one]
        reads, makes = name in {"2.weight", "4.weight"}, not name.startswith("4.")
        if kind == "adamw":
            group["lr"] /= k if reads else 1
            group["weight_decay"] *= k if reads else 1
            group["eps"] /= k if makes else 1
        else:
            group["lr"] *= (k if makes else 1) / (k if reads else 1)
    assert not handle.active
    steps = range(50, 250)
    theirs, ours = losses(alone, other, steps), losses(grown.model, optimizer, steps)
    assert max(abs(a - b) for a, b in zip(theirs, ours, strict=True)) < 1e-12
    x = torch.randn(9, 6, dtype=torch.float64)
    torch.testing.assert_close(grown.model(x), alone(x), rtol=1e-12, atol=1e-12)


def test_uneven_shares_have_no_scaled_state() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    losses(model, optimizer, range(2))
    grown = net2net.widen(model, 2.0, INPUTS, method="uneven")
    with pytest.raises(OptimizerError, match="uneven shares"):
        grown.carry(optimizer, state="scale")
    assert grown.carry(optimizer).active


# -- own: what is new is young ---------------------------------------------------------------------


@pytest.mark.parametrize("small", [0, young.SMALL], ids=["alone", "within"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_old_positions_go_on_and_new_ones_begin(
    kind: str, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gradients: old positions get the bits of a run that never grew, new ones what a
    fresh optimiser makes of theirs. What is new is stepped alone, or corrected within."""
    monkeypatch.setattr(young, "SMALL", small)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    optimizer = OPTIMIZERS[kind](model.parameters())
    losses(model, optimizer, range(30))
    alone = copy.deepcopy(model)
    other = OPTIMIZERS[kind](alone.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    grown = net2net.widen(model, 1.5, INPUTS, method="fresh")
    handle = grown.carry(optimizer)
    assert handle.active == (kind in {"adam", "adamw", "foreach", "fused", "adamax", "nadam",
                                      "radam"})  # fmt: skip

    layer, old = grown.model.get_submodule("0"), alone.get_submodule("0")
    assert isinstance(layer, nn.Linear) and isinstance(old, nn.Linear)
    rows = nn.Parameter(layer.weight[8:].detach().clone())
    fresh = OPTIMIZERS[kind]([rows])
    rng = torch.Generator().manual_seed(1)
    for _ in range(100):
        for one, its in zip(grown.model.parameters(), alone.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=rng, dtype=one.dtype)
            its.grad = one.grad[tuple(map(slice, its.shape))].clone()
        assert layer.weight.grad is not None
        rows.grad = layer.weight.grad[8:].clone()
        for each in (optimizer, other, fresh):
            each.step()
    for one, its in zip(grown.model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one[tuple(map(slice, its.shape))], its)
    if small == 0 or kind not in {"nadam", "radam"}:  # whose first steps are others
        torch.testing.assert_close(layer.weight[8:], rows, rtol=1e-10, atol=1e-10)


def grown_and_trained(rewarm: float = 1.0) -> tuple[Growth, Optimizer, Carried]:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    losses(model, optimizer, range(20))
    grown = net2net.widen(model, 1.5, INPUTS, method="fresh")
    return grown, optimizer, grown.carry(optimizer, rewarm=rewarm, over=10)


@pytest.mark.parametrize("small", [0, young.SMALL], ids=["alone", "within"])
@pytest.mark.parametrize("rewarm", [1.0, 1.3])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(
    rewarm: float, small: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(young, "SMALL", small)
    grown, optimizer, handle = grown_and_trained(rewarm)
    losses(grown.model, optimizer, range(20, 25))
    torch.save(
        (grown.model.state_dict(), optimizer.state_dict(), handle.state_dict()), tmp_path / "all.pt"
    )
    losses(grown.model, optimizer, range(25, 60))

    weights, state, told = torch.load(tmp_path / "all.pt", weights_only=True)
    again = grown.plan.apply(network())
    again.load_state_dict(weights)
    resumed = torch.optim.AdamW(again.parameters(), lr=RATE)
    resumed.load_state_dict(state)
    Carried(resumed, again).load_state_dict(told)
    losses(again, resumed, range(25, 60))
    for one, other in zip(grown.model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_handle_ends_by_itself() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.6))
    losses(model, optimizer, range(60))
    handle = net2net.widen(model, 1.5, INPUTS, method="fresh").carry(optimizer)
    params = [one for group in optimizer.param_groups for one in group["params"]]
    for step in range(40):
        assert handle.active == (step < 31), step
        for one in params:
            one.grad = torch.ones_like(one)
        optimizer.step()


def test_updates_of_what_is_new_are_rewarmed() -> None:
    """By a factor that rises to the asked one, for new positions alone, decay left out."""
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    grown = net2net.widen(model, 1.5, INPUTS, method="fresh")
    handle = grown.carry(optimizer, rewarm=2.0, over=4)
    (weight, *_) = grown.model.parameters()
    moved = []
    for _ in range(6):
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        step = before - weight.detach()
        assert torch.allclose(step[:8], torch.ones(8, 6, dtype=torch.float64))
        moved.append(float(step[8:].mean()))
    assert moved == pytest.approx([1.25, 1.5, 1.75, 2.0, 2.0, 2.0])
    handle.remove()
    assert not handle.active


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("kind", ["loop", "foreach", "fused"])
def test_stepped_alone_or_corrected_within(
    kind: str, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways go to the same weights, also while what is new is warmed up again, and leave the
    optimiser's groups and states as they were."""
    ends = []
    for small in (0, young.SMALL):
        monkeypatch.setattr(young, "SMALL", small)
        model, ways = network(), {} if kind == "loop" else {kind: True}
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=RATE, eps=NONE, weight_decay=decay, amsgrad=True, **ways
        )
        losses(model, optimizer, range(20))
        grown = net2net.widen(model, 1.5, INPUTS, method="fresh")
        grown.carry(optimizer, rewarm=1.3, over=10)
        for step in range(20):
            rng = torch.Generator().manual_seed(step)
            for one in grown.model.parameters():
                one.grad = torch.randn(one.shape, generator=rng, dtype=one.dtype)
            optimizer.step()
        assert len(optimizer.param_groups) == 1
        assert set(optimizer.state) == set(optimizer.param_groups[0]["params"])
        assert {float(one["step"]) for one in optimizer.state.values()} == {40.0}
        ends.append([one.detach() for one in grown.model.parameters()])
    for alone, within in zip(*ends, strict=True):
        torch.testing.assert_close(alone, within, rtol=1e-10, atol=1e-10)


def test_hooks_and_closures_meet_whole_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(young, "SMALL", 0)
    grown, optimizer, handle = grown_and_trained()
    whole = list(grown.model.parameters())
    met = []

    def meet(*given: Any) -> None:
        met.append([len(group["params"]) for group in optimizer.param_groups])

    def closure() -> float:
        meet()
        optimizer.zero_grad()
        for one in whole:
            one.grad = torch.ones_like(one)
        return 1.0

    closure()
    optimizer.step(closure)  # type: ignore[arg-type]
    for hook in (optimizer.register_step_pre_hook, optimizer.register_step_post_hook):
        removed = hook(meet)
        optimizer.step()
        removed.remove()
    assert met == [[6]] * 4 and handle.active


def test_a_scaler_of_gradients_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the fused step itself leaves out an update that is not finite."""
    monkeypatch.setattr(young, "SMALL", 0)
    ends = []
    for fused in (False, True):
        model = network().float()
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for step in range(8):
            if step == 4:
                grown = net2net.widen(model, 1.5, INPUTS.float(), method="fresh")
                grown.carry(optimizer)
                model = grown.model  # type: ignore[assignment]
            x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            scaler.scale(model(x).square().mean()).backward()
            if step == 5:
                model[0].weight.grad[0, 0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
        assert {float(one["step"]) for one in optimizer.state.values()} == {7.0}
        assert scaler.get_scale() == 2.0
        ends.append(list(model.parameters()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_that_fails_leaves_whole_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """To whoever saves then, and to the next step."""
    monkeypatch.setattr(young, "SMALL", 0)
    grown, optimizer, _ = grown_and_trained()
    for one in grown.model.parameters():
        one.grad = torch.ones_like(one)

    def fail(*args: Any, **kwargs: Any) -> None:
        assert len(optimizer.param_groups) == 2
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(torch.optim.AdamW, "_init_group", fail)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                optimizer.step()
        saved = optimizer.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [list(range(6))]
    assert saved["state"].keys() == set(range(6))
    optimizer.step()
    assert len(optimizer.param_groups) == 1


# -- groups, schedules -----------------------------------------------------------------------------


def test_groups_names_and_schedule_stay() -> None:
    model = network()
    named = [(n, p) for n, p in model.named_parameters()]
    beside = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW(
        [
            {"params": [(n, p) for n, p in named if p.ndim > 1], "weight_decay": 0.1},
            {"params": [*((n, p) for n, p in named if p.ndim < 2), ("beside", beside)]},
        ],
        lr=RATE,
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    losses(model, optimizer, range(4))
    schedule.step()
    grown = net2net.widen(model, 2.0, INPUTS)
    grown.carry(optimizer)
    (decayed, rest), student = optimizer.param_groups, dict(grown.model.named_parameters())
    assert decayed["param_names"] == ["0.weight", "2.weight", "4.weight"]
    assert rest["param_names"] == ["0.bias", "2.bias", "4.bias", "beside"]
    assert all(student[n] is p for n, p in zip(decayed["param_names"], decayed["params"],
                                              strict=True))  # fmt: skip
    assert rest["params"][-1] is beside
    for _ in range(4):
        losses(grown.model, optimizer, range(1))
        schedule.step()
    assert decayed["lr"] == RATE / 10


def test_what_is_new_in_depth_joins_the_group_of_its_kind() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    optimizer = torch.optim.AdamW(
        [
            {"params": [model[0].weight, model[2].weight], "weight_decay": 0.1},
            {"params": [model[0].bias, model[2].bias], "weight_decay": 0.0},
        ]
    )
    losses(model, optimizer, range(3))
    grown = net2net.deepen(model, {"0": 2}, INPUTS)
    grown.carry(optimizer)
    for group, ndim in zip(optimizer.param_groups, (2, 1), strict=True):
        assert [one.ndim for one in group["params"]] == [ndim] * 4
    assert len(optimizer.state) == 4  # the new ones begin
    assert not set(map(id, model.parameters())) & set(map(id, optimizer.state))
    losses(grown.model, optimizer, range(3, 6))
    assert len(optimizer.state) == 8


class Block(nn.Module):
    """Adds to what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.down(torch.tanh(self.up(x)))
        return found


def test_what_is_new_joins_one_of_two_optimisers() -> None:
    """Also where names of new blocks of a student built by hand are the teacher's of others."""
    model = nn.Sequential(Block(), Block(), nn.Linear(6, 3)).double()
    student = nn.Sequential(*(Block() for _ in range(4)), nn.Linear(6, 3)).double()
    inside = [one for one in model[:2].parameters() if one.ndim == 2]
    others = [one for one in model.parameters() if not any(one is matrix for matrix in inside)]
    optimisers = torch.optim.Muon(inside, lr=RATE), torch.optim.AdamW(others, lr=RATE)
    losses(model, optimisers[0], range(3))
    grown = net2net.transfer(model, student, INPUTS, depth={"1": None, "2": None})
    for optimizer in optimisers:
        grown.carry(optimizer)
    names = {parameter: name for name, parameter in grown.model.named_parameters()}
    matrices, rest = ([names[one] for one in optimizer.param_groups[0]["params"]]
                      for optimizer in optimisers)  # fmt: skip
    assert sorted(matrices) == [f"{n}.{layer}.weight" for n in range(4) for layer in ("down", "up")]
    assert sorted([*matrices, *rest]) == sorted(names.values())
    for optimizer in optimisers:
        losses(grown.model, optimizer, range(3, 6))


def test_a_block_goes_on_behind_an_added_one_that_copies_it() -> None:
    """Also where the plan was saved; the added one begins, wherever it stands."""
    model = nn.Sequential(Block(), Block()).double()
    optimizer = torch.optim.Adam(model.parameters())
    losses(model, optimizer, range(3))
    past = [copy.deepcopy(optimizer.state[one]) for one in model.parameters()]
    student = nn.Sequential(*(Block() for _ in range(4))).double()
    grown = net2net.transfer(model, student, INPUTS, depth={"0": None, "2": None})
    grown = replace(grown, plan=Plan.from_json(grown.plan.to_json()))
    grown.carry(optimizer)
    held = [
        (name, optimizer.state[one]["exp_avg"])
        for name, one in grown.model.named_parameters()
        if one in optimizer.state
    ]
    assert [name for name, _ in held] == [
        f"{block}.{layer}.{part}"
        for block in (1, 3) for layer in ("up", "down") for part in ("weight", "bias")
    ]  # fmt: skip
    assert all(torch.equal(mean, its["exp_avg"]) for (_, mean), its in zip(held, past, strict=True))


def test_tied_weights_and_counts_on_the_device() -> None:
    """A tensor under two names is one, also where its names would be in two groups; counts that
    are tensors (``capturable``) stay such."""
    model = nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.Tanh(),
        nn.Linear(8, 8, bias=False), nn.Linear(8, 3, bias=False),
    ).double()  # fmt: skip
    model[4].weight = model[2].weight
    groups: list[dict[str, Any]] = [
        {"params": [model[4].weight]},
        {"params": [*model[0].parameters(), model[5].weight], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, capturable=True)
    for one in model.parameters():
        moments = {key: torch.rand_like(one) for key in ("exp_avg", "exp_avg_sq")}
        optimizer.state[one] = {"step": torch.tensor(7.0), **moments}
    grown = net2net.widen(model, 1.5, INPUTS, method="fresh")
    grown.carry(optimizer)
    first, rest = (group["params"] for group in optimizer.param_groups)
    student: Any = grown.model
    assert len(first) == 1 and len(rest) == 3
    assert student[4].weight is student[2].weight is first[0]
    assert all(group["capturable"] for group in optimizer.param_groups)
    counts = [state["step"] for state in optimizer.state.values()]
    assert all(isinstance(one, Tensor) and one == 7 for one in counts)
    assert len(set(map(id, counts))) == 4


class Scaled(nn.Module):
    """Adds a multiple of what it is given, times a number."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.scale = nn.Linear(6, 6), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.up(x) * self.scale
        return found


@pytest.mark.parametrize("small", [0, young.SMALL])
@pytest.mark.parametrize("kind", ["loop", "foreach", "fused"])
def test_new_numbers_are_rewarmed(kind: str, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter without axes, and matrices that are wholly new."""
    monkeypatch.setattr(young, "SMALL", small)
    ways = {} if kind == "loop" else {kind: True}
    model, student = nn.Sequential(Scaled()).double(), nn.Sequential(Scaled(), Scaled()).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, eps=NONE, weight_decay=0, **ways)
    losses(model, optimizer, range(2))
    grown = net2net.transfer(model, student, INPUTS, depth={"1": None})
    grown.carry(optimizer, rewarm=2.0, over=2)
    new: Any = grown.model.get_submodule("1")
    for moved in (1.5, 2.0, 2.0):
        before = [one.detach().clone() for one in new.parameters()]
        for one in grown.model.parameters():
            one.grad = torch.ones_like(one)
        optimizer.step()
        for one, old in zip(new.parameters(), before, strict=True):
            torch.testing.assert_close(old - one.detach(), torch.full_like(one, moved * RATE))


def test_frozen_parameters_stay_out() -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)
    grown = net2net.widen(model, 2.0, INPUTS)
    grown.carry(optimizer)
    assert len(optimizer.param_groups[0]["params"]) == 4


@pytest.mark.parametrize("make", [
    lambda params: torch.optim.Muon(params, lr=RATE),
    lambda params: torch.optim.Adafactor(params, lr=RATE),
])  # fmt: skip
@pytest.mark.parametrize("state", ["own", "scale", "drop"])
def test_matrices_as_a_whole_and_factored_means(
    make: Callable[[Any], Optimizer], state: Any
) -> None:
    model = network()
    optimizer = make([one for one in model.parameters() if one.ndim == 2])
    losses(model, optimizer, range(3))
    grown = net2net.widen(model, 2.0, INPUTS)
    grown.carry(optimizer, state=state)
    assert all(torch.isfinite(torch.tensor(losses(grown.model, optimizer, range(3, 9)))))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # in torch's own compiler
@pytest.mark.parametrize("capturable", [False, True])
def test_a_compiled_step(capturable: bool) -> None:
    """Of parameters large enough that new rows would be stepped as tensors of their own."""

    def after(compiled: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layers = nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        model = nn.Sequential(*layers).double()
        rng = torch.Generator().manual_seed(1)
        how = {"capturable": capturable, "foreach": True} if compiled else {}
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, **how)
        step: Callable[[], Any] = optimizer.step
        if compiled:
            step = torch.compile(step, backend="eager")

        def train(one: nn.Module) -> None:
            for parameter in one.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            step()

        for _ in range(3):
            train(model)
        grown = net2net.widen(model, 2.0, torch.randn(2, 3).double(), method="fresh")
        grown.carry(optimizer, rewarm=1.3)
        for _ in range(3):
            train(grown.model)
        return [one.detach() for one in grown.model.parameters()]

    # compiled, torch counts steps in float32; without the handle new rows would be 1e-2 away
    for one, its in zip(after(compiled=True), after(compiled=False), strict=True):
        torch.testing.assert_close(one, its, rtol=0, atol=1e-5)


# -- refused ---------------------------------------------------------------------------------------


def test_an_optimiser_of_another_model() -> None:
    model = network()
    grown = net2net.widen(model, 2.0, INPUTS)
    other = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=RATE)
    with pytest.raises(OptimizerError, match="none of the optimiser's parameters is the teacher's"):
        grown.carry(other)
    own = torch.optim.SGD(model.parameters(), lr=RATE)
    grown.carry(own)
    with pytest.raises(OptimizerError, match="none of the optimiser's parameters"):
        grown.carry(own)  # a second time


def test_a_parameter_that_is_there_twice() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    grown = net2net.widen(model, 2.0, INPUTS)
    optimizer.add_param_group({"params": []})
    optimizer.param_groups[1]["params"].append(model[0].weight)
    before = [list(group["params"]) for group in optimizer.param_groups]
    with pytest.raises(OptimizerError, match=r"'0\.weight' is in the optimiser's groups twice"):
        grown.carry(optimizer)
    assert list(map(len, before)) == [len(group["params"]) for group in optimizer.param_groups]


def test_the_layout_of_bitsandbytes() -> None:
    """Bytes of the parameter's shape, and the table that they point into."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    for one in model.parameters():
        state1 = torch.zeros(one.shape, dtype=torch.uint8)
        optimizer.state[one] = {"step": 3, "state1": state1, "qmap1": torch.zeros(256)}
    grown = net2net.widen(model, 2.0, INPUTS)
    with pytest.raises(OptimizerError, match=r"'state1' of '0\.weight'.* compressed"):
        grown.carry(optimizer)


@pytest.mark.parametrize("entry", [
    torch.zeros(5, 7), torch.zeros(8, 6, dtype=torch.uint8), [torch.zeros(2)], "text",
])  # fmt: skip
def test_state_of_an_unknown_kind(entry: Any) -> None:
    """Compressed, of another shape, or no tensor at all: nothing is changed."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    losses(model, optimizer, range(2))
    optimizer.state[model[0].weight]["odd"] = entry
    grown = net2net.widen(model, 2.0, INPUTS)
    before = [list(group["params"]) for group in optimizer.param_groups]
    held = {id(one): dict(state) for one, state in optimizer.state.items()}
    with pytest.raises(OptimizerError, match=r"'odd' of '0\.weight'"):
        grown.carry(optimizer)
    assert all(
        a is b
        for old, group in zip(before, optimizer.param_groups, strict=True)
        for a, b in zip(old, group["params"], strict=True)
    )
    assert {id(one): dict(state) for one, state in optimizer.state.items()}.keys() == held.keys()
    grown.carry(optimizer, unknown="drop")
    first = optimizer.param_groups[0]["params"][0]
    assert not optimizer.state.get(first)
    losses(grown.model, optimizer, range(2, 4))


def test_an_unknown_entry_has_no_scaled_form() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    losses(model, optimizer, range(2))
    optimizer.state[model[0].weight]["odd"] = torch.zeros(8, 6)
    grown = net2net.widen(model, 2.0, INPUTS)
    with pytest.raises(OptimizerError, match=r"how 'odd' of '0\.weight' follows gradients"):
        grown.carry(optimizer, state="scale")
    grown.carry(optimizer)


@pytest.mark.parametrize("given", [
    {"state": "half"}, {"rewarm": 0}, {"rewarm": float("nan")}, {"over": 0}, {"over": 2.5},
    {"unknown": "keep"},
])  # fmt: skip
def test_bad_arguments(given: dict[str, Any]) -> None:
    model = network()
    grown = net2net.widen(model, 2.0, INPUTS)
    with pytest.raises(OptimizerError, match=f"{next(iter(given))} is"):
        grown.carry(torch.optim.SGD(model.parameters(), lr=RATE), **given)


@pytest.mark.parametrize("state", [
    {}, {"young": 3},
    {"rewarm": 1, "over": 1, "count": 0, "young": {"no": {"begin": 0, "own": []}}},
    {"rewarm": 1, "over": 1, "count": 0,
     "young": {"0.weight": {"begin": 0, "own": [[0, [[0, 99]]]]}}},
])  # fmt: skip
def test_bad_states_of_the_handle(state: dict[str, Any]) -> None:
    model = network()
    handle = Carried(torch.optim.SGD(model.parameters(), lr=RATE), model)
    with pytest.raises(OptimizerError, match="state"):
        handle.load_state_dict(state)


def test_young_elements_are_each_met_once() -> None:
    met: Tensor = torch.zeros(5, 4)
    old, new = young.split({0: ((0, 2), (3, 4)), 1: ((1, 3),)}, met)
    for number, blocks in enumerate((old, new), start=1):
        for block in blocks:
            young.part(met, block).add_(number)
    own = torch.zeros(5, 4)
    own[[[0], [1], [3]], [[1, 2]]] = 1
    assert torch.equal(met, 2 - own)
