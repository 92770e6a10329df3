"""One training run: a model, its data, a schedule → evaluations. It can stop at any of them and go
on from there, to the same numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from net2net.errors import Net2NetError
from net2net_lab.experiments.data.data import Data
from net2net_lab.experiments.lessons import Lesson, cross_entropy
from net2net_lab.experiments.machine import Machine, random_state, set_random_state
from net2net_lab.experiments.run.records import Evaluation
from net2net_lab.experiments.schedule import OPTIMISERS, Schedule


class DivergedError(Net2NetError):
    """The loss is no number any more."""


@dataclass
class Training:
    """The training of a model, in place.

    The seed determines the order of the batches, so all models of one seed see the same batches.
    """

    model: nn.Module
    data: Data
    schedule: Schedule
    lr: float
    seed: int
    machine: Machine = field(default_factory=Machine)
    lesson: Lesson = field(default_factory=Lesson)

    def __post_init__(self) -> None:
        self.model.to(self.machine.device)
        # Convolutions on a CPU are up to a third faster so.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.lesson.to(self.machine.device)
        both = (*self.model.parameters(), *self.lesson.parameters())
        trained = [one for one in both if one.requires_grad]
        self.optimizer = OPTIMISERS[self.schedule.optimizer].make(trained, self.lr)
        self.step = 0
        """The last evaluation's; before the first, 0 as well."""

    def state(self) -> dict[str, Any]:
        """All that going on needs: of this moment, an evaluation."""
        return {
            "model": self.model.state_dict(),
            "lesson": self.lesson.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "random": random_state(self.machine.device),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.model.load_state_dict(state["model"])
        self.lesson.load_state_dict(state["lesson"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        set_random_state(self.machine.device, state["random"])

    def evaluations(self, measured: bool = False) -> Iterator[Evaluation]:
        """Train, and yield what is measured before training and on the way.

        Args:
            measured: the evaluation of the state is known: it was restored.

        Raises:
            DivergedError: the loss is no finite number.
        """
        run = self.model
        if self.machine.compile and not self.lesson.watches:
            run = cast(nn.Module, torch.compile(self.model))
        if not measured:
            yield self._evaluation(run, None, None, self.lr)
        sums: list[Tensor] = []
        batches = self.data.epochs(self.schedule.batch_size, self.seed, skip=self.step)
        todo = islice(batches, self.schedule.steps - self.step)
        for step, (x, y) in enumerate(todo, start=self.step + 1):
            rate = self.schedule.rate(self.lr, step)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.model.train()
            sums.append(self._gradients(run, self.lesson, x, y))
            self.optimizer.step()
            self.lesson.stepped(self.model)
            if self.schedule.evaluates(step):
                loss, accuracy = torch.stack(sums).double().mean(0).tolist()
                sums.clear()
                self.step = step
                self._check_finite(loss)
                yield self._evaluation(run, loss, accuracy, rate)

    def flops_per_step(self) -> int:
        """Floating-point operations of one step, forward and backward, two for each multiply-add of
        a contraction; those of optimiser and evaluations are not counted."""
        x, y = next(self.data.epochs(self.schedule.batch_size, self.seed))
        return flops_of_step(self.model, self.lesson, x, y, self.machine)

    def _gradients(self, model: nn.Module, lesson: Lesson, x: Tensor, y: Tensor) -> Tensor:
        """Set the gradients of one batch. Returns its loss and accuracy."""
        return gradients(model, lesson, x, y, self.machine)

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {self.step}")

    def _evaluation(
        self, model: nn.Module, train_loss: float | None, train_accuracy: float | None, lr: float
    ) -> Evaluation:
        loss, accuracy = validated(model, self.data, self.machine)
        self._check_finite(loss)
        return Evaluation(
            step=self.step,
            val_accuracy=accuracy,
            val_loss=loss,
            train_loss=train_loss,
            lr=lr,
            train_accuracy=train_accuracy,
        )


def gradients(model: nn.Module, lesson: Lesson, x: Tensor, y: Tensor, machine: Machine) -> Tensor:
    """Set the gradients of one batch. Returns its loss and accuracy."""
    x, y = x.to(machine.device), y.to(machine.device)
    with machine.arithmetic():
        logits, loss = lesson(model, x, y)
    model.zero_grad()
    lesson.zero_grad()
    loss.backward()
    correct = (logits.argmax(-1) == y).float().mean()
    return torch.stack([loss.detach().float(), correct])


def flops_of_step(model: nn.Module, lesson: Lesson, x: Tensor, y: Tensor, machine: Machine) -> int:
    """Floating-point operations of one batch, forward and backward, on copies."""
    counter = FlopCounterMode(display=False)
    # Attention as one operation of the CPU is none that PyTorch counts.
    with machine.random(0), sdpa_kernel(SDPBackend.MATH), counter:
        model, lesson = copy.deepcopy((model, lesson))
        gradients(model.train(), lesson, x, y, machine)
    return counter.get_total_flops()


@torch.no_grad()
def validated(model: nn.Module, data: Data, machine: Machine) -> tuple[float, float]:
    """Loss and accuracy on the validation part, in evaluation mode."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for x, y in data.validation(256):
        x, y = x.to(machine.device), y.to(machine.device)
        with machine.arithmetic():
            logits = model(x)
            loss += cross_entropy(logits, y).item() * y.numel()
        correct += int((logits.argmax(-1) == y).sum())
        count += y.numel()
    return loss / count, correct / count
