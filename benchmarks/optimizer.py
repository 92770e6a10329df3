"""Time ``Growth.carry`` and the steps of the optimiser that it hands on, as ratios to baselines
measured in the same run.

    python benchmarks/optimizer.py [--repeat 9]

Prints JSON lines. Seconds are the process's own, in one thread, medians; ratios are of turns.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.optim import AdamW

import net2net

WIDTH = 768


class Block(nn.Module):
    """A residual MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def timed(function: Callable[[], Any]) -> float:
    """The process's seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over turns."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def trained(kind: str) -> tuple[nn.Module, AdamW]:
    """A model of 19 million parameters after two steps."""
    model = nn.Sequential(nn.Linear(64, WIDTH), *(Block() for _ in range(4)), nn.Linear(WIDTH, 64))
    optimizer = AdamW(model.parameters(), lr=1e-3, **({kind: True} if kind else {}))
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def clone(optimizer: AdamW) -> list[Tensor]:
    """All tensors of a state again."""
    return [one.clone() for state in optimizer.state.values() for one in state.values()]


def measured(kind: str, repeat: int) -> dict[str, Any]:
    """Ratios for one way of stepping: a loop, ``foreach`` or ``fused``."""
    model, optimizer = trained(kind)
    grown = net2net.widen(model, 4 / 3, torch.randn(8, 64), method="fresh")
    carries, clones = [], []
    for _ in range(repeat):
        again = AdamW(model.parameters(), lr=1e-3)
        again.load_state_dict(optimizer.state_dict())
        carries.append(timed(lambda again=again: grown.carry(again)))  # type: ignore[misc]
        clones.append(timed(lambda again=again: clone(again)))  # type: ignore[misc]
    plain = copy.deepcopy(grown.model)
    alone = AdamW(plain.parameters(), lr=1e-3, **({kind: True} if kind else {}))
    for one, other in zip(grown.model.parameters(), plain.parameters(), strict=True):
        one.grad = other.grad = torch.randn_like(one) * 1e-3
    alone.step()
    again.step()
    turns = [(timed(again.step), timed(alone.step)) for _ in range(repeat)]
    x = torch.randn(256, 64)
    passes = [timed(lambda: plain(x).square().mean().backward()) for _ in range(3)]
    extra = statistics.median(ours - theirs for ours, theirs in turns)
    whole = statistics.median(passes) + statistics.median(theirs for _, theirs in turns)
    return {
        "AdamW": kind or "loop",
        "parameters": list(grown.report.parameters),
        "carry / clone of the student's state": round(ratio(carries, clones), 2),
        "step with handle / without": round(ratio(*map(list, zip(*turns, strict=True))), 2),
        "handle / training step at 256 rows": round(extra / whole, 3),
    }


@click.command()
@click.option("--repeat", default=9, show_default=True)
def main(repeat: int) -> None:
    """Print one line for every way of stepping."""
    torch.set_num_threads(1)
    for kind in ("", "foreach", "fused"):
        click.echo(json.dumps(measured(kind, repeat)))


if __name__ == "__main__":
    main()
