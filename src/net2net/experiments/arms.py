"""Arms: the ways to obtain a student that are compared, each one a small entry.

Learning rates are relative to the teacher's. What is trained from scratch gets the teacher's; what
continues from a trained teacher gets a tenth, as in the paper (section 3), or its progress would be
undone by the first steps. Random pad gets the same as Net2WiderNet, so that the two differ in their
initial weights only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

import net2net
from net2net.experiments.data import Data
from net2net.experiments.models import reinitialised
from net2net.experiments.tasks import Task

SCRATCH_SEED = 1000
"""Added to the seed for new weights, so that they are not those the teacher began with."""


@dataclass(frozen=True)
class Origin:
    """What a student may be made of."""

    task: Task
    teacher: nn.Module
    data: Data
    seed: int


@dataclass(frozen=True)
class Arm:
    """A way to obtain a student, and the learning rate it starts with."""

    label: str
    question: str
    """Arms of one question train the same architecture, and are compared with each other."""
    lr_scale: float
    student: Callable[[Origin], nn.Module]
    grows: bool
    """Whether the student starts from the teacher's weights."""


ARMS: dict[str, Arm] = {}


def arm(
    name: str, label: str, *, question: str, lr_scale: float, grows: bool = True
) -> Callable[[Callable[[Origin], nn.Module]], Callable[[Origin], nn.Module]]:
    """Register a way to obtain a student."""

    def register(student: Callable[[Origin], nn.Module]) -> Callable[[Origin], nn.Module]:
        ARMS[name] = Arm(label, question, lr_scale, student, grows)
        return student

    return register


def _widened(origin: Origin, method: str, noise: float) -> nn.Module:
    return net2net.widen(
        origin.teacher,
        origin.task.widths,
        origin.data.example,
        method=method,
        noise=noise,
        seed=origin.seed,
    ).model


@arm("net2wider", "Net2WiderNet", question="wider", lr_scale=0.1)
def net2wider(origin: Origin) -> nn.Module:
    return _widened(origin, "replicate", origin.task.noise)


@arm("random_pad", "random pad", question="wider", lr_scale=0.1)
def random_pad(origin: Origin) -> nn.Module:
    return _widened(origin, "random_pad", 0.0)


@arm("scratch_wide", "from scratch", question="wider", lr_scale=1.0, grows=False)
def scratch_wide(origin: Origin) -> nn.Module:
    return reinitialised(_widened(origin, "replicate", 0.0), origin.seed + SCRATCH_SEED)


@arm("net2deeper", "Net2DeeperNet", question="deeper", lr_scale=0.1)
def net2deeper(origin: Origin) -> nn.Module:
    return net2net.deepen(
        origin.teacher,
        dict(origin.task.depths),
        origin.data.example,
        seed=origin.seed,
        calibrate=origin.data.train_x.split(256),
    ).model


@arm("scratch_deep", "from scratch", question="deeper", lr_scale=1.0, grows=False)
def scratch_deep(origin: Origin) -> nn.Module:
    return reinitialised(net2deeper(origin), origin.seed + SCRATCH_SEED)
