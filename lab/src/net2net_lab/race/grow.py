"""From one network on the way to the next, with the plan that its optimiser follows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from torch import Tensor, nn

import net2net
from net2net.errors import Net2NetError
from net2net_lab.experiments.data.data import InMemory
from net2net_lab.experiments.lessons import Lesson
from net2net_lab.race.arms import DEEPER, IDENTITY, Arm, Size
from net2net_lab.race.tasks import Task

CALIBRATION = 8
"""Batches on which the norms of identity layers are measured."""


class RaceError(Net2NetError):
    """What was grown is not what was to be raced."""


def grown(
    model: nn.Module, arm: Arm, task: Task, data: InMemory, sizes: tuple[Size, Size], seed: int
) -> net2net.Growth:
    """The network of the second size.

    Raises:
        RaceError: it has not the parameters of one built at that size.
        Net2NetError: it cannot be had in this way.
    """
    before, after = sizes
    depths = tuple(size.blocks(task.depth) for size in sizes)
    larger = task.model(data, after.width, depths[1], seed)
    if before.width == after.width:
        growth = _deeper(model, arm, task, data, depths[1] - depths[0], seed)
    else:
        loss = _loss(task, data, seed) if arm.growth.needs_loss else None
        growth = net2net.transfer(
            model, larger, data.example, method=arm.growth, seed=seed, loss=loss
        )
    found, wanted = (sum(one.numel() for one in net.parameters()) for net in (growth.model, larger))
    if found != wanted:
        raise RaceError(
            f"'{arm}' makes a network of {found:,} parameters where {wanted:,} are raced for. "
            "Correct the task's places to be deeper."
        )
    return growth


def _loss(task: Task, data: InMemory, seed: int) -> Callable[[nn.Module], Tensor]:
    """Of the first batch."""
    x, y = next(data.epochs(task.batch_size, seed))

    def loss(model: nn.Module) -> Tensor:
        value: Tensor = Lesson()(model, x, y)[1]
        return value

    return loss


def _deeper(
    model: nn.Module, arm: Arm, task: Task, data: InMemory, more: int, seed: int
) -> net2net.Growth:
    depths = dict.fromkeys(task.deeper, more)
    if arm.method == IDENTITY:
        batches = data.epochs(task.batch_size, seed)
        calibrate = [x for x, _ in islice(batches, CALIBRATION)]
        return net2net.deepen(model, depths, data.example, seed=seed, calibrate=calibrate)
    return net2net.deepen(model, depths, data.example, seed=seed, **DEEPER[arm.method])
