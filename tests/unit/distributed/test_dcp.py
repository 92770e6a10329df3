"""Folders of torch.distributed.checkpoint grow: what is loaded from them goes on as in memory."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.optim import AdamW, Optimizer

import net2net
from net2net import Carried, FolderError, OptimizerError
from net2net.distributed import grow_dcp, stored
from net2net.plan.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LAYER = {"up": 12, "down": 2.0}


class Net(nn.Module):
    """With a tie, a buffer, and a norm."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner(x)
        for block in self.blocks:
            h = block(h)
        found: torch.Tensor = self.out(self.norm(h))
        return found


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.down(nn.functional.gelu(self.up(x)))
        return found


def optimizer_of(model: nn.Module) -> Optimizer:
    decay = [one for one in model.parameters() if one.ndim > 1]
    other = [one for one in model.parameters() if one.ndim == 1]
    return AdamW([{"params": decay}, {"params": other, "weight_decay": 0.0}], lr=1e-2)


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = X.roll(step, 0)
        loss = (model(x) - x.sin()).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def trained() -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = Net().double()
    optimizer = optimizer_of(model)
    train(model, optimizer, range(5))
    return model, optimizer


def save(
    folder: Path, model: nn.Module, optimizer: Optimizer, *, flat: bool = False, **more: Any
) -> None:
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    weights, states = get_state_dict(model, optimizer, options=options)
    dcp.save({"model": weights, "optim": states, **more}, checkpoint_id=folder, no_dist=True)


def load(folder: Path, model: nn.Module, optimizer: Optimizer, *, flat: bool = False) -> Carried:
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    weights, states = get_state_dict(model, optimizer, options=options)
    dcp.load({"model": weights, "optim": states}, checkpoint_id=folder, no_dist=True)
    set_state_dict(
        model, optimizer, model_state_dict=weights, optim_state_dict=states, options=options
    )
    handle = Carried(optimizer, model)
    handle.load_state_dict(json.loads((folder / "net2net_carried.json").read_text()))
    return handle


def grown_by(way: str, model: nn.Module) -> net2net.Growth:
    if way == "wider":
        return net2net.widen(model, 1.5, X, method="fresh")
    return net2net.deepen(model, {"blocks": 2}, X)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("way", ["wider", "deeper"])
def test_training_goes_on_as_in_memory(tmp_path: Path, way: str, flat: bool) -> None:
    """Bit for bit. An average of the weights grows too, and what is neither is as it was."""
    model, optimizer = trained()
    average = {name: one + one for name, one in model.state_dict().items()}
    more = {"average": average, "step": 5, "words": torch.arange(3)}
    save(tmp_path / "saved", model, optimizer, flat=flat, **more)
    (tmp_path / "saved" / "run.json").write_text("{}")

    grown = grown_by(way, model)
    grow_dcp(grown.plan, tmp_path / "saved", tmp_path / "grown", rewarm=1.3, over=4)
    again = grown.plan.apply(model)
    resumed = optimizer_of(again)
    train(again, resumed, range(1))  # whatever it holds is overwritten
    load(tmp_path / "grown", again, resumed, flat=flat)
    grown.carry(optimizer, rewarm=1.3, over=4)
    assert train(again, resumed, range(5, 12)) == train(grown.model, optimizer, range(5, 12))

    into: Any = {
        "average": {name: torch.empty_like(t) for name, t in again.state_dict().items()},
        "step": 0, "words": torch.zeros(3, dtype=torch.long),
    }  # fmt: skip
    dcp.load(into, checkpoint_id=tmp_path / "grown", no_dist=True)
    assert into["step"] == 5 and into["words"].tolist() == [0, 1, 2]
    wanted = grown.plan.apply(average)
    assert all(torch.equal(into["average"][name], one) for name, one in wanted.items())
    assert (tmp_path / "grown" / "run.json").is_file()


def test_a_model_alone_in_another_type_by_two_growths(tmp_path: Path) -> None:
    model, _ = trained()
    first = net2net.widen(model, 1.5, X, method="fresh")
    plan = first.plan.then(net2net.deepen(first.model, {"blocks": 1}, X).plan)
    halves = model.bfloat16().state_dict()
    dcp.save(halves, checkpoint_id=tmp_path / "saved", no_dist=True)
    grow_dcp(plan, tmp_path / "saved", tmp_path / "grown")
    wanted = plan.apply(halves)
    into = {name: torch.zeros_like(one) for name, one in wanted.items()}
    dcp.load(into, checkpoint_id=tmp_path / "grown", no_dist=True)
    assert all(torch.equal(into[name], one) for name, one in wanted.items())
    assert not (tmp_path / "grown" / "net2net_carried.json").exists()


def killed(plan: Plan, source: Path, target: Path) -> None:
    """Grow, and be killed at the tenth tensor."""
    left, plain = iter(range(10)), stored._OneByOne.resolve_data

    def resolve(self: Any, item: Any) -> Any:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, item)

    stored._OneByOne.resolve_data = resolve  # type: ignore[method-assign]
    grow_dcp(plan, source, target)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
def test_a_killed_process_leaves_no_target(tmp_path: Path) -> None:
    model, optimizer = trained()
    save(tmp_path / "saved", model, optimizer)
    plan = grown_by("wider", model).plan
    if (process := os.fork()) == 0:
        try:
            killed(plan, tmp_path / "saved", tmp_path / "grown")
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not (tmp_path / "grown").exists()
    grow_dcp(plan, tmp_path / "saved", tmp_path / "grown")
    assert (tmp_path / "grown" / ".metadata").is_file()


@pytest.mark.parametrize("wrong", ["nothing", "empty", "another", "some", "foreign", "twice",
                                   "full", "there"])  # fmt: skip
def test_what_cannot_be_grown(tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error, and no target."""
    model, optimizer = trained()
    plan = grown_by("wider", model).plan
    source, target = tmp_path / "saved", tmp_path / "grown"
    source.mkdir()
    weights, states = get_state_dict(model, optimizer)
    expected: type[Exception] = FolderError
    if wrong == "empty":
        dcp.save({"x": torch.zeros(2)}, checkpoint_id=source, no_dist=True)
    elif wrong == "another":
        dcp.save({"model": Net().state_dict() | {"out.weight": torch.zeros(2, 2)}},
                 checkpoint_id=source, no_dist=True)  # fmt: skip
    elif wrong == "some":
        dcp.save({"model": {"out.weight": weights["out.weight"]}},
                 checkpoint_id=source, no_dist=True)  # fmt: skip
    elif wrong in {"foreign", "twice"}:
        expected = OptimizerError
        groups: Any = states["param_groups"]
        groups[0]["params"].append("other.weight" if wrong == "foreign" else "out.weight")
        dcp.save({"optim": states}, checkpoint_id=source, no_dist=True)
    elif wrong in {"full", "there"}:
        save(source, model, optimizer)
    if wrong == "there":
        target.mkdir()
        (target / "mine").write_text("")
    if wrong == "full":

        def no_room(*args: Any) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", no_room)
    before = sorted(path.name for path in source.iterdir())
    with pytest.raises(expected) as caught:
        grow_dcp(plan, source, target)
    assert caught.value.args[0].count(".") >= 2
    left = ["grown", "saved"] if wrong == "there" else ["saved"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert sorted(path.name for path in source.iterdir()) == before
