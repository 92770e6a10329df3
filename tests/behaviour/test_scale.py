"""Time grows with the number of layers, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.infer.infer import infer
from net2net.infer.spaces import spaces_of
from net2net.maps.methods import Method
from net2net.plan.match import match
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace

SHORT, LONG = 100, 400
SLACK = 2.5
"""Four times the layers may take 2.5 × 4 times as long; by the square it would be 16."""

INPUTS = torch.ones(2, 4)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


def mlp(layers: int) -> nn.Module:
    """Every layer has a space of its own."""
    hidden = [part for _ in range(layers) for part in (nn.Linear(4, 4), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(4, 2))


def residual(layers: int) -> nn.Module:
    """One space goes through everything."""
    return nn.Sequential(
        nn.Linear(4, 4), *(Residual() for _ in range(layers // 2)), nn.Linear(4, 2)
    )


def inference(model: nn.Module) -> Any:
    """Everything between the model and the maps."""
    found = infer([trace(meta_copy(model), INPUTS)])
    spaces_of(found)
    return match(found, found, method=Method(), balanced=True, seed=0)


def widened(model: nn.Module) -> Any:
    return net2net.widen(model, {"*": 2.0}, INPUTS, verify=False)


def seconds(function: Callable[[nn.Module], Any], model: nn.Module) -> float:
    """Of this process alone, the better of two runs."""
    times = []
    for _ in range(2):
        begin = time.process_time()
        function(model)
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("build", [mlp, residual])
@pytest.mark.parametrize("function", [inference, widened])
def test_time_is_proportional_to_layers(
    build: Callable[[int], nn.Module], function: Callable[[nn.Module], Any]
) -> None:
    function(build(4))  # what a process does only once
    ratios = []
    for _ in range(3):  # whatever else the machine does, it spares one of three
        short, long = (seconds(function, build(layers)) for layers in (SHORT, LONG))
        ratios.append(long / short)
        if ratios[-1] < SLACK * (LONG / SHORT):
            return
    pytest.fail(f"{LONG} layers took {ratios} times as long as {SHORT}")
