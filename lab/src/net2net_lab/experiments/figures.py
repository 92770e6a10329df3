"""Figures: which teacher, and which arms are compared, each one a small entry.

Learning rates are relative to the teacher's. What is trained from scratch gets the teacher's. What
continues from a trained teacher gets a lower one, or its first steps undo what was kept; the paper
(section 3) takes a tenth. Tried on digits (``starts``), seeds 100 to 105: with three tenths, random
pad and Net2DeeperNet end about a point higher than with a tenth, and Net2WiderNet as high; the full
rate gets all of them higher still at the end, but first costs 5 to 20 points. Random pad gets the
same as Net2WiderNet, so that the two differ in their initial weights only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from net2net_lab.experiments import keras_mnist
from net2net_lab.experiments.lessons import Lesson
from net2net_lab.experiments.methods import (
    METHODS,
    Origin,
    Role,
    Target,
    Wider,
    deeper,
    deepest,
    same,
)
from net2net_lab.experiments.networks import NARROW, WIDE

GROWN, SCRATCH = 0.3, 1.0
"""Learning rates, relative to the teacher's."""

KERAS = keras_mnist.LR_SCALE

RATES = (1.0, 0.3, 0.1)
"""Those that the figure of wider students compares."""


class _Student:
    """How a student is made of what there is, and what it is taught."""

    method: str
    target: Target
    lr_scale: float

    def student(self, origin: Origin) -> nn.Module:
        return METHODS[self.method].student(origin, self.target)

    def lesson(self, origin: Origin, student: nn.Module) -> Lesson:
        return METHODS[self.method].lesson(origin, self.target, student)


@dataclass(frozen=True)
class Stage(_Student):
    """A later part of a life, that of a student of the network before."""

    method: str
    target: Target
    lr_scale: float


@dataclass(frozen=True)
class Arm(_Student):
    """A student: how it is obtained, how large it is, and the learning rate it starts with."""

    label: str
    question: str
    """Arms of one question are compared with each other, in one plot and one table."""
    method: str
    target: Target
    lr_scale: float
    later: tuple[Stage, ...] = ()
    """What it becomes when there are more data."""

    @property
    def role(self) -> Role:
        return METHODS[self.method].role

    @property
    def stages(self) -> tuple[Arm | Stage, ...]:
        return (self, *self.later)


@dataclass(frozen=True)
class Figure:
    """What is compared."""

    title: str
    teacher: float
    """The factor of the teacher's widths."""
    arms: Mapping[str, Arm]
    shares: tuple[float, ...] = (1.0,)
    """Of the training data, how much there is in each stage. The teacher lives in the first one
    only. An arm that has a stage less goes on from there, and its life begins with the
    teacher's."""
    parts: tuple[float, ...] = (0.05, 0.2)
    """Of the training, after which the tables look at it; besides its begin and its end."""


def _at_rates(name: str, label: str, question: str, method: str, target: Target) -> dict[str, Arm]:
    """One arm for each learning rate."""
    return {
        f"{name}-{rate:g}": Arm(f"{label}, rate × {rate:g}", question, method, target, rate)
        for rate in RATES
    }


DOUBLE, STANDARD, LARGER = Wider(2.0), Wider(1.0), Wider(WIDE)

SIZES = (0.3, NARROW, 1.0, WIDE)
"""Factors of the widths in the stages of a life. In all of them all arms have the full rate: there
is more to learn than to keep. On digits (seeds 100 and 101), with three tenths of it, all that go
on end lower: the large one by 0.2 to 1.6 points, Net2WiderNet by 3 to 6, the small one by 10."""

FULL = 1.0
GOING_ON = ("going_on", same, FULL)


def _grown(label: str, method: str) -> Arm:
    """An arm that becomes wider whenever there are more data."""
    first, *later = (Stage(method, Wider(size), FULL) for size in SIZES[1:])
    return Arm(label, "lifelong", method, first.target, FULL, tuple(later))


FIGURES: dict[str, Figure] = {
    "starts": Figure(
        "Growing a trained network",
        1.0,
        {
            "net2wider": Arm("Net2WiderNet", "wider", "net2net", DOUBLE, GROWN),
            "fresh": Arm("fresh units", "wider", "fresh", DOUBLE, GROWN),
            "random_pad": Arm("random pad", "wider", "random_pad", DOUBLE, GROWN),
            "scratch_wide": Arm("from scratch", "wider", "scratch", DOUBLE, SCRATCH),
            "net2deeper": Arm("Net2DeeperNet", "deeper", "net2net", deeper, GROWN),
            "scratch_deep": Arm("from scratch", "deeper", "scratch", deeper, SCRATCH),
        },
    ),
    "wider": Figure(
        "Figure 4: the narrow network becomes the standard one",
        NARROW,
        {
            **_at_rates("net2wider", "Net2WiderNet", "wider", "net2net", STANDARD),
            **_at_rates("fresh", "fresh units", "wider", "fresh", STANDARD),
            **_at_rates("random_pad", "random pad", "wider", "random_pad", STANDARD),
            "scratch_wide": Arm("from scratch", "wider", "scratch", STANDARD, SCRATCH),
        },
    ),
    "deeper": Figure(
        "Figure 5: more layers in the standard network",
        1.0,
        {
            **_at_rates("net2deeper", "Net2DeeperNet", "deeper", "net2net", deeper),
            "scratch_deep": Arm("from scratch", "deeper", "scratch", deeper, SCRATCH),
        },
    ),
    "explore": Figure(
        "Figure 6: the standard network grows beyond itself",
        1.0,
        {
            "net2wider": Arm("Net2WiderNet", "larger", "net2net", LARGER, GROWN),
            "net2deeper": Arm("Net2DeeperNet", "larger", "net2net", deepest, GROWN),
            "original": Arm("the original, trained on", "larger", "going_on", same, GROWN),
        },
    ),
    "keras": Figure(
        "The example that came with Keras",
        1.0,
        {
            "net2wider": Arm("Net2WiderNet", "wider", "net2net", DOUBLE, KERAS),
            "random_pad": Arm("random pad", "wider", "keras_random_pad", DOUBLE, KERAS),
            "net2deeper": Arm("Net2DeeperNet", "deeper", "net2net", deeper, KERAS),
            "random_init": Arm("random init", "deeper", "keras_random_init", deeper, KERAS),
        },
        parts=(1 / 3, 2 / 3),  # it has three epochs
    ),
    "prediction": Figure(
        "Section 2.1: predicting the teacher's hidden layers",
        NARROW,
        {
            "net2wider": Arm("Net2WiderNet", "wider", "net2net", STANDARD, GROWN),
            "prediction": Arm("feature prediction", "wider", "prediction", STANDARD, SCRATCH),
            "scratch_wide": Arm("from scratch", "wider", "scratch", STANDARD, SCRATCH),
        },
    ),
    "related": Figure(
        "The neighbours in the paper's related work",
        NARROW,
        {
            "net2wider": Arm("Net2WiderNet", "wider", "net2net", STANDARD, GROWN),
            "distillation": Arm("distillation", "wider", "distillation", STANDARD, SCRATCH),
            # Nothing old can be spoilt, so the full rate; on digits (seeds 100, 101) it is better.
            "frozen": Arm("old weights frozen", "wider", "frozen", STANDARD, SCRATCH),
            "scratch_wide": Arm("from scratch", "wider", "scratch", STANDARD, SCRATCH),
        },
    ),
    "lifelong": Figure(
        "Lifelong learning: data and networks that grow",
        SIZES[0],
        {
            "net2wider": _grown("Net2WiderNet at every stage", "net2net"),
            "retrained": _grown("from scratch at every stage", "scratch"),
            "small": Arm("small, trained on", "lifelong", *GOING_ON, (Stage(*GOING_ON),) * 2),
            "large": Arm(
                "large from the start",
                "lifelong",
                "scratch",
                Wider(SIZES[-1]),
                FULL,
                (Stage(*GOING_ON),) * 3,
            ),
        },
        (0.1, 0.25, 0.5, 1.0),
    ),
}
