"""Methods: the ways to obtain a student, each one a small entry."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from torch import nn

import net2net
from net2net_lab.experiments import keras_mnist
from net2net_lab.experiments.data.data import Data
from net2net_lab.experiments.lessons import Distillation, Frozen, Lesson, LessonError, Prediction
from net2net_lab.experiments.models import reinitialised, seeded
from net2net_lab.experiments.networks import Network, widths_towards

SCRATCH_SEED = 1000
"""Added to the seed for new weights, so that they are not those the teacher began with."""


@dataclass(frozen=True)
class Origin:
    """What a student may be made of."""

    network: Network
    teacher: nn.Module
    """On the CPU, as the student will be: only training is done on a device."""
    data: Data
    seed: int


Target = Callable[[Origin, str, float], nn.Module]
"""How far the teacher is grown: from what there is, the way to widen and the size of the noise, to
the student."""


@dataclass(frozen=True)
class Wider:
    """The target of the widths that the network has which is built with this factor."""

    factor: float

    def __call__(self, origin: Origin, method: str, noise: float) -> nn.Module:
        return self.growth(origin, method, noise).model

    def growth(self, origin: Origin, method: str, noise: float) -> net2net.Growth:
        """The student with the plan that made it."""
        larger = seeded(lambda: origin.network.build(origin.data, self.factor), 0)
        return net2net.widen(
            origin.teacher,
            widths_towards(origin.teacher, larger),
            origin.data.example,
            method=method,
            noise=noise,
            seed=origin.seed,
        )


def deeper(origin: Origin, method: str, noise: float) -> nn.Module:
    """As deep as the network's entry says."""
    return origin.network.deeper(origin.teacher, origin.data, origin.seed)


def deepest(origin: Origin, method: str, noise: float) -> nn.Module:
    """As deep as the network's entry says, beyond the standard."""
    deepened = origin.network.deepest or origin.network.deeper
    return deepened(origin.teacher, origin.data, origin.seed)


def same(origin: Origin, method: str, noise: float) -> nn.Module:
    """No larger than the teacher."""
    return copy.deepcopy(origin.teacher)


class Role(Enum):
    """What a method is there for."""

    NET2NET = "the method"
    BASELINE = "another way to use the teacher"
    SCRATCH = "new weights"
    TEACHER = "no growth"


def _classes(origin: Origin, target: Target, student: nn.Module) -> Lesson:
    """What is in the data, and nothing else."""
    return Lesson()


@dataclass(frozen=True)
class Method:
    """A way to obtain a student of a target, and what it is taught."""

    role: Role
    student: Callable[[Origin, Target], nn.Module]
    lesson: Callable[[Origin, Target, nn.Module], Lesson] = _classes


def _net2net(origin: Origin, target: Target) -> nn.Module:
    """The same function: copies of the teacher's units, told apart by a little noise, or new layers
    that are identities."""
    return target(origin, "replicate", origin.network.noise)


def _fresh(origin: Origin, target: Target) -> nn.Module:
    """The same function: new units at random that nobody reads yet, so without noise."""
    return target(origin, "fresh", 0.0)


def _random_pad(origin: Origin, target: Target) -> nn.Module:
    """The paper's baseline: the teacher's units, and new random ones beside them."""
    return target(origin, "random_pad", 0.0)


def _scratch(origin: Origin, target: Target) -> nn.Module:
    """The same architecture with new weights."""
    return reinitialised(target(origin, "replicate", 0.0), origin.seed + SCRATCH_SEED)


def _going_on(origin: Origin, target: Target) -> nn.Module:
    """The teacher itself, trained on."""
    return target(origin, "replicate", 0.0)


def _keras_pad(origin: Origin, target: Target) -> nn.Module:
    """The baselines of Keras's example; of its target, they know by themselves."""
    return keras_mnist.random_pad(origin.teacher, origin.seed + SCRATCH_SEED)


def _keras_init(origin: Origin, target: Target) -> nn.Module:
    return keras_mnist.random_init(origin.teacher, origin.seed + SCRATCH_SEED)


def _prediction(origin: Origin, target: Target, student: nn.Module) -> Lesson:
    """Beside the classes, the values of the teacher's hidden layers."""
    heads = partial(Prediction, origin.teacher, student, origin.data.example)
    return seeded(heads, origin.seed + SCRATCH_SEED)


def _distillation(origin: Origin, target: Target, student: nn.Module) -> Lesson:
    """Beside the classes, the teacher's soft predictions."""
    return Distillation(origin.teacher)


def _frozen(origin: Origin, target: Target, student: nn.Module) -> Lesson:
    """The classes, with new weights only."""
    if not isinstance(target, Wider):
        raise LessonError("Only a wider student has weights of its teacher's to be frozen.")
    return Frozen(student, target.growth(origin, "random_pad", 0.0).plan)


METHODS: dict[str, Method] = {
    "net2net": Method(Role.NET2NET, _net2net),
    "fresh": Method(Role.NET2NET, _fresh),
    "random_pad": Method(Role.BASELINE, _random_pad),
    "scratch": Method(Role.SCRATCH, _scratch),
    "keras_random_pad": Method(Role.BASELINE, _keras_pad),
    "keras_random_init": Method(Role.BASELINE, _keras_init),
    "going_on": Method(Role.TEACHER, _going_on),
    "prediction": Method(Role.BASELINE, _scratch, _prediction),
    "distillation": Method(Role.BASELINE, _scratch, _distillation),
    "frozen": Method(Role.BASELINE, _random_pad, _frozen),
}
