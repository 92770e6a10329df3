"""One run of the race: train, grow, train on, until as many FLOPs are spent as there are.

The rate warms up, is constant, and decays once, over the last fifth of the FLOPs. Batches come in
one order, which the seed determines, before and after growing. Evaluations, the optimiser's own
arithmetic and the growth itself cost nothing here, and seconds nowhere.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice

import torch
from torch import nn

import net2net
from net2net.errors import Net2NetError
from net2net_lab.experiments.data.data import InMemory
from net2net_lab.experiments.lessons import Lesson
from net2net_lab.experiments.machine import Machine, environment
from net2net_lab.experiments.run.train import DivergedError, flops_of_step, gradients, validated
from net2net_lab.experiments.schedule import DECAYS
from net2net_lab.race.arms import STATES, Size
from net2net_lab.race.grow import grown
from net2net_lab.race.optimisers import Optimisers, made
from net2net_lab.race.records import Phase, Record, Spec
from net2net_lab.race.tasks import CURVE, TASKS, VALIDATION, Task, on_the_way

WARM_UP = 0.05
"""Part of the steps that the full network has within the budget, over which the rate rises."""

DECAY = DECAYS["wsd"]

MACHINE = Machine()


@dataclass(frozen=True)
class Budget:
    """What a run may spend, and how its rate follows that."""

    rate: float
    flops: int
    warm: int
    """Steps."""

    def at(self, spent: int, since: int) -> float:
        """The rate of a step, ``since`` the one from which the rate warms up (1 is the first)."""
        return self.rate * min(1.0, since / self.warm) * DECAY(spent / self.flops)


@dataclass
class Course:
    """Where a run is."""

    model: nn.Module
    optimisers: Optimisers
    step: int = 0
    spent: int = 0
    since: int = 0
    """The step after which the rate warms up."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    handles: list[net2net.Carried] = field(default_factory=list)

    def train(
        self, data: InMemory, task: Task, seed: int, budget: Budget, steps: int, flops: int
    ) -> None:
        """So many steps more, each of so many FLOPs.

        Raises:
            DivergedError: the loss is no finite number.
        """
        some = on_the_way(data)
        for x, y in islice(data.epochs(task.batch_size, seed, skip=self.step), steps):
            rate = budget.at(self.spent, self.step + 1 - self.since)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate
            self.model.train()
            gradients(self.model, Lesson(), x, y, MACHINE)
            for optimiser in self.optimisers:
                optimiser.step()
            self.step += 1
            before, self.spent = self.spent, self.spent + flops
            if CURVE * self.spent // budget.flops > CURVE * before // budget.flops:
                self.curve.append((self.spent, self.loss(some)[0]))

    def loss(self, data: InMemory) -> tuple[float, float]:
        """Validation loss and accuracy.

        Raises:
            DivergedError: the loss is no finite number.
        """
        loss, accuracy = validated(self.model, data, MACHINE)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss is {loss} at step {self.step}")
        return loss, accuracy


def entry_of(name: str) -> str:
    """What a task's entry says of its runs' numbers, in short. A network that is built otherwise
    needs another name."""
    task = TASKS[name]
    said = (
        task.data, task.depth, task.deeper, task.optimiser, task.steps, task.batch_size,
        WARM_UP, VALIDATION, CURVE,
    )  # fmt: skip
    return hashlib.sha256(repr(said).encode()).hexdigest()[:10]


def carry_out(spec: Spec) -> Record:
    """Train what is to be trained, in this process and on one thread."""
    torch.set_num_threads(1)
    begin = time.process_time()
    record = Record(spec, entry_of(spec.task), environment=environment(MACHINE.device))
    try:
        with MACHINE.random(spec.seed):
            record = _raced(record)
    except Net2NetError as error:
        record = replace(record, fault=f"{type(error).__name__}: {error}")
    return replace(record, cpu_seconds=round(time.process_time() - begin, 1))


def _raced(record: Record) -> Record:
    spec = record.spec
    task, arm = TASKS[spec.task], spec.arm
    data = task.load()
    costs = [cost(spec.task, size) for size in arm.sizes]
    full = round(spec.budget * task.steps)
    budget = Budget(spec.rate, full * cost(spec.task, Size())[1], max(1, round(WARM_UP * full)))
    each = steps_of(arm.parts, [flops for _, flops in costs], budget.flops)
    phases = [Phase(*costs[0], each[0])]
    course = copy.deepcopy(_begun(spec.task, arm.sizes[0], spec.seed, budget, each[0]))
    some = on_the_way(data)
    for sizes, one, steps in zip(
        zip(arm.sizes[:-1], arm.sizes[1:], strict=True), costs[1:], each[1:], strict=True
    ):
        before, _ = course.loss(some)
        growth = grown(course.model.eval(), arm, task, data, sizes, spec.seed)
        state = STATES[arm.state]
        course.handles = [
            growth.carry(optimiser, state=state.policy, rewarm=state.rewarm)
            for optimiser in course.optimisers
        ]
        course.model = growth.model
        if state.again:
            course.since = course.step
        phases.append(Phase(*one, steps, before, course.loss(some)[0]))
        course.train(data, task, spec.seed, budget, steps, one[1])
    loss, accuracy = course.loss(data)
    return replace(
        record, allowed=budget.flops, flops=course.spent, phases=tuple(phases),
        curve=tuple(course.curve), loss=loss, accuracy=accuracy,
    )  # fmt: skip


def steps_of(parts: tuple[float, ...], flops: list[int], budget: int) -> list[int]:
    """Steps of each phase: in these parts of all steps, and together as many FLOPs as there are,
    to less than a step of the last.

    >>> steps_of((0.5, 0.5), [1, 3], 100)
    [25, 25]
    """
    whole = budget / sum(part * each for part, each in zip(parts, flops, strict=True))
    steps = [round(part * whole) for part in parts[:-1]]
    left = budget - sum(count * each for count, each in zip(steps, flops, strict=False))
    return [*steps, left // flops[-1]]


@lru_cache(maxsize=1)
def _begun(name: str, size: Size, seed: int, budget: Budget, steps: int) -> Course:
    """The first phase, which arms share that differ in what comes after."""
    task = TASKS[name]
    data = task.load()
    model = task.model(data, size.width, size.blocks(task.depth), seed)
    course = Course(model, made(task.optimiser, model, budget.rate))
    course.train(data, task, seed, budget, steps, cost(name, size)[1])
    return course


@lru_cache
def cost(name: str, size: Size) -> tuple[int, int]:
    """Parameters of a network, and FLOPs of one step: forward and backward, two for each
    multiply-add of a contraction."""
    task = TASKS[name]
    data = task.load()
    model = task.model(data, size.width, size.blocks(task.depth), 0)
    x, y = next(data.epochs(task.batch_size, 0))
    parameters = sum(one.numel() for one in model.parameters())
    return parameters, flops_of_step(model, Lesson(), x, y, MACHINE)
