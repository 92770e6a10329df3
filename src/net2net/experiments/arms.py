"""Arms: the ways to obtain a student that are compared, each one a small entry.

Learning rates are relative to the teacher's. What is trained from scratch gets the teacher's. What
continues from a trained teacher gets a lower one, or its first steps undo what was kept; the paper
(section 3) takes a tenth. Tried here on seeds 100 to 105: with three tenths, random pad and
Net2DeeperNet end about a point higher than with a tenth, and Net2WiderNet as high; the full rate
gets all of them higher still at the end, but first costs 5 to 20 points. Random pad gets the same
as Net2WiderNet, so that the two differ in their initial weights only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from torch import nn

import net2net
from net2net.experiments.data import Data
from net2net.experiments.models import reinitialised
from net2net.experiments.tasks import Task

GROWN, SCRATCH = 0.3, 1.0
"""Learning rates, relative to the teacher's."""

SCRATCH_SEED = 1000
"""Added to the seed for new weights, so that they are not those the teacher began with."""


@dataclass(frozen=True)
class Origin:
    """What a student may be made of."""

    task: Task
    teacher: nn.Module
    data: Data
    seed: int


class Role(Enum):
    """What an arm is there for."""

    NET2NET = "the method"
    BASELINE = "another way to use the teacher's weights"
    SCRATCH = "new weights"


@dataclass(frozen=True)
class Arm:
    """A way to obtain a student, and the learning rate it starts with."""

    label: str
    question: str
    """Arms of one question train the same architecture, and are compared with each other."""
    lr_scale: float
    student: Callable[[Origin], nn.Module]
    role: Role


ARMS: dict[str, Arm] = {}


def arm(
    name: str, label: str, *, question: str, lr_scale: float, role: Role
) -> Callable[[Callable[[Origin], nn.Module]], Callable[[Origin], nn.Module]]:
    """Register a way to obtain a student."""

    def register(student: Callable[[Origin], nn.Module]) -> Callable[[Origin], nn.Module]:
        ARMS[name] = Arm(label, question, lr_scale, student, role)
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


@arm("net2wider", "Net2WiderNet", question="wider", lr_scale=GROWN, role=Role.NET2NET)
def net2wider(origin: Origin) -> nn.Module:
    """Copies of the teacher's units, told apart by a little noise."""
    return _widened(origin, "replicate", origin.task.noise)


@arm("random_pad", "random pad", question="wider", lr_scale=GROWN, role=Role.BASELINE)
def random_pad(origin: Origin) -> nn.Module:
    """The paper's baseline: the teacher's units, and new random ones beside them."""
    return _widened(origin, "random_pad", 0.0)


@arm("scratch_wide", "from scratch", question="wider", lr_scale=SCRATCH, role=Role.SCRATCH)
def scratch_wide(origin: Origin) -> nn.Module:
    """The wider architecture with new weights."""
    return reinitialised(_widened(origin, "replicate", 0.0), origin.seed + SCRATCH_SEED)


@arm("net2deeper", "Net2DeeperNet", question="deeper", lr_scale=GROWN, role=Role.NET2NET)
def net2deeper(origin: Origin) -> nn.Module:
    """The teacher's layers, and new ones that are identities."""
    return net2net.deepen(
        origin.teacher,
        origin.task.depths,
        origin.data.example,
        seed=origin.seed,
        calibrate=[x for x, _ in islice(origin.data.epochs(256, origin.seed), 8)],
    ).model


@arm("scratch_deep", "from scratch", question="deeper", lr_scale=SCRATCH, role=Role.SCRATCH)
def scratch_deep(origin: Origin) -> nn.Module:
    """The deeper architecture with new weights."""
    return reinitialised(net2deeper(origin), origin.seed + SCRATCH_SEED)
