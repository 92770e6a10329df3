"""How long and how fast a model is trained. An optimiser, or a decay, is one entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Optimiser:
    """How steps are made, and a learning rate that is a fair first choice for it."""

    make: Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]
    lr: float


OPTIMISERS: dict[str, Optimiser] = {
    # The paper's; its rates are 0.002 to 0.01. The lowest trains more slowly on digits (600 steps,
    # seeds 100 and 101) and Fashion-MNIST (350 steps, seed 100); the others are much alike.
    "rmsprop": Optimiser(lambda them, lr: torch.optim.RMSprop(them, lr, alpha=0.9), 0.005),
    "sgd": Optimiser(lambda them, lr: torch.optim.SGD(them, lr, momentum=0.9), 0.1),
    # Of 0.002, 0.004, 0.008 and 0.016 the best for a GPT of a million parameters on the standard
    # library (1,500 steps, seed 100); one of a quarter of them is better still with 0.008.
    "adamw": Optimiser(lambda them, lr: torch.optim.AdamW(them, lr), 0.004),
}

DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda part: (1 + math.cos(math.pi * part)) / 2,
    "constant": lambda part: 1.0,
    # Constant until the last fifth, and then straight down: one can stop anywhere before it.
    "wsd": lambda part: min(1.0, (1 - part) / 0.2),
}
"""Part of the training that is over → factor of the learning rate."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a model is trained."""

    steps: int = 300
    every: int = 10
    """Steps between evaluations."""
    batch_size: int = 64
    lr: float = 0.1
    """Initial learning rate of the teacher. Every arm scales it, see ``figures``."""
    optimizer: str = "sgd"
    decay: str = "cosine"
    threads: int = 1
    """Part of what determines the numbers, for sums depend on it. Small models gain nothing from
    more."""

    def evaluates(self, step: int) -> bool:
        return step % self.every == 0 or step == self.steps

    def rate(self, lr: float, step: int) -> float:
        """Learning rate of a step, of which the first is 1."""
        return lr * DECAYS[self.decay]((step - 1) / self.steps)
