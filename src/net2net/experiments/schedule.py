"""How long and how fast a model is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent with momentum; the learning rate falls to 0 along a cosine."""

    steps: int = 300
    every: int = 10
    """Steps between evaluations."""
    batch_size: int = 64
    lr: float = 0.1
    """Initial learning rate of the teacher. Every arm scales it, see ``arms``."""
    momentum: float = 0.9
    threads: int = 1
    """Part of what determines the numbers, for sums depend on it. Small models gain nothing from
    more."""

    def evaluates(self, step: int) -> bool:
        return step % self.every == 0 or step == self.steps
