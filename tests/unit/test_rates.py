"""Rates by role follow widths, and training goes on with them."""

import pytest
import torch
from torch import nn

import net2net
from net2net import OptimizerError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.hidden = nn.Linear(8, 12)
        self.out = nn.Linear(12, 5)

    def forward(self, words):
        return self.out(self.hidden(self.norm(self.words(words))).relu())


WORDS = torch.randint(10, (4, 6))


def trained(**options):
    model = Net()
    decay = [one for one in model.parameters() if one.ndim > 1]
    other = [one for one in model.parameters() if one.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decay}, {"params": other, "lr": 0.2}], lr=0.1)
    return model, optimizer


def step(model, optimizer):
    model(WORDS).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_rates_follow_what_parameters_read():
    model, optimizer = trained()
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=4)
    step(model, optimizer)
    schedule.step()
    before = [group["lr"] for group in optimizer.param_groups]
    grown = net2net.widen(model, {"words": 16, "hidden": 1.5}, WORDS, method="fresh")
    grown.carry(optimizer)
    state = dict(optimizer.state)
    factors = net2net.lr_groups(grown, optimizer)
    assert factors["words.weight"] == factors["norm.weight"] == factors["out.bias"] == 1
    assert factors["hidden.weight"] == 1 / 2 and factors["out.weight"] == pytest.approx(1 / 1.5)
    found = {
        (group["role"], tuple(one.shape)): group["lr"]
        for group in optimizer.param_groups
        for one in group["params"]
    }
    assert found["input", (10, 16)] == before[0] and found["input", (18,)] == before[1]
    assert found["hidden", (18, 16)] == before[0] / 2
    assert found["read-out", (5, 18)] == pytest.approx(before[0] / 1.5)
    assert dict(optimizer.state) == state

    again = torch.optim.lr_scheduler.LinearLR(
        optimizer, 0.5, total_iters=4, last_epoch=schedule.last_epoch
    )
    step(grown.model, optimizer)
    again.step()
    ratios = [group["lr"] / group["initial_lr"] for group in optimizer.param_groups]
    assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert optimizer.param_groups[0]["initial_lr"] == 0.1


def test_new_parameters_have_a_rate_of_their_own():
    layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(5, 4)
    optimizer = torch.optim.Adam(layers.named_parameters(), lr=0.1)
    grown = net2net.deepen(layers, {"0": 1}, x)
    grown.carry(optimizer)
    factors = net2net.lr_groups(grown, optimizer, new=3.0)
    assert sorted(factors.values()) == [1, 1, 1, 1, 3, 3]
    new = next(group for group in optimizer.param_groups if group["role"] == "new")
    assert new["lr"] == pytest.approx(0.3) and len(new["param_names"]) == 2


def test_what_has_no_such_rates():
    layers, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(5, 4)
    grown = net2net.widen(layers, 2, x)
    with pytest.raises(OptimizerError, match="is SGD"):
        net2net.lr_groups(grown, torch.optim.SGD(grown.model.parameters()))
    with pytest.raises(OptimizerError, match="Carry it over"):
        net2net.lr_groups(grown, torch.optim.Adam(layers.parameters()))
