"""One training run: a model, its data, a schedule → evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from net2net.experiments.data import Data
from net2net.experiments.records import Evaluation
from net2net.experiments.schedule import Schedule


def train(
    model: nn.Module, data: Data, schedule: Schedule, *, lr: float, seed: int
) -> Iterator[Evaluation]:
    """Train the model in place. Yields what is measured before training and on the way.

    The seed determines the order of the batches, so all models of one seed see the same batches.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=schedule.momentum)
    yield _evaluate(model, data, 0, None, lr)
    losses: list[Tensor] = []
    batches = islice(data.epochs(schedule.batch_size, seed), schedule.steps)
    for step, (x, y) in enumerate(batches, start=1):
        rate = lr * (1 + math.cos(math.pi * (step - 1) / schedule.steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        loss = _loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
        if schedule.evaluates(step):
            yield _evaluate(model, data, step, torch.stack(losses).mean().item(), rate)
            losses.clear()


def _loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy over every position that is classified (one for each image)."""
    return F.cross_entropy(logits.flatten(0, -2), classes.flatten())


@torch.no_grad()
def _evaluate(
    model: nn.Module, data: Data, step: int, train_loss: float | None, lr: float
) -> Evaluation:
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for x, y in data.validation(256):
        logits = model(x)
        loss += _loss(logits, y).item() * y.numel()
        correct += int((logits.argmax(-1) == y).sum())
        count += y.numel()
    return Evaluation(
        step=step,
        val_accuracy=correct / count,
        val_loss=loss / count,
        train_loss=train_loss,
        lr=lr,
    )
