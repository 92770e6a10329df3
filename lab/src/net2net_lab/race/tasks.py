"""Tasks of the race: data, a network at any width and depth, and how it is trained.

A run at the full budget has as many FLOPs as ``steps`` of the full network, whatever it trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from net2net_lab.experiments import tasks
from net2net_lab.experiments.data.data import DataError, InMemory
from net2net_lab.experiments.gpt import GPT
from net2net_lab.experiments.models import seeded
from net2net_lab.models import inception_bn
from net2net_lab.race.nets import MLP, ResNet, ViT

VALIDATION = 2500
"""At most so many examples to validate on, evenly from all there are: 10,000 images take as long as
a third of a short run. All arms have the same, and are compared in pairs."""

CURVE = 8
"""On the way to the end of its budget a run is validated so often, on each so manieth example."""


@dataclass(frozen=True)
class Task:
    """One problem on which arms race."""

    title: str
    data: str
    """In ``experiments.tasks``."""
    build: Callable[[InMemory, float, int], nn.Module]
    """From a part of the full widths, or the nearest that it can have, and a depth, untrained."""
    depth: int
    """Of the full network."""
    deeper: tuple[str, ...]
    """Where it grows in depth: stacks of residual blocks, or layers that identities follow."""
    residual: bool
    """Which of the two."""
    norms: bool
    """Whether layer norms leave a choice between a padded and a copied stream."""
    convolutions: bool
    optimiser: str
    rates: tuple[float, ...]
    """Those that tuning begins with."""
    steps: int
    batch_size: int
    halving: bool = True
    """Whether it has a say in which arms go on. Others see the finalists alone."""

    def load(self) -> InMemory:
        """Raises:
        DataError: they are not at hand.
        """
        data = tasks.load(self.data, None)
        assert isinstance(data, InMemory)
        step = -(-len(data.val_x) // VALIDATION)
        return replace(data, val_x=data.val_x[::step], val_y=data.val_y[::step])

    def absent(self) -> str | None:
        """Why it cannot be run here, in a sentence."""
        try:
            self.load()
        except DataError as error:
            return str(error)
        return None

    def model(self, data: InMemory, width: float, depth: int, seed: int) -> nn.Module:
        return seeded(lambda: self.build(data, width, depth), seed)


def on_the_way(data: InMemory) -> InMemory:
    """The same with a part of the validation examples."""
    return replace(data, val_x=data.val_x[::CURVE], val_y=data.val_y[::CURVE])


def _gpt(data: InMemory, width: float, depth: int) -> nn.Module:
    heads = round(4 * width)
    return GPT(data.classes, data.example.shape[1], 32 * heads, heads, depth)


def _inception(data: InMemory, width: float, depth: int) -> nn.Module:
    return inception_bn(
        size=data.example.shape[2], classes=data.classes, modules=2, stem=8, widths=width,
        pairs=depth,
    )  # fmt: skip


def _resnet(data: InMemory, width: float, depth: int) -> nn.Module:
    return ResNet(data.example.shape[1], data.classes, round(16 * width), depth)


def _vit(data: InMemory, width: float, depth: int) -> nn.Module:
    _, channels, size, _ = data.example.shape
    heads = round(4 * width)
    return ViT(channels, size, data.classes, 16 * heads, heads, depth)


def _mlp(data: InMemory, width: float, depth: int) -> nn.Module:
    return MLP(data.example[0].numel(), data.classes, round(128 * width), depth)


ADAM = (0.001, 0.002, 0.004)

TEXT = Task(
    "a GPT on Python's standard library", "stdlib-text", _gpt, 6, ("blocks",), True, True, False,
    "adamw", (0.002, 0.004, 0.008), 600, 16,
)  # fmt: skip

TASKS: dict[str, Task] = {
    "text": TEXT,
    "inception": Task(
        "InceptionBN on Fashion-MNIST", "fashion-mnist", _inception, 3,
        ("stages.*.middle.0", "stages.*.long.1"), False, False,
        True, "rmsprop", (0.0025, 0.005, 0.01), 400, 64,
    ),
    "resnet": Task(
        "a residual network on Fashion-MNIST", "fashion-mnist", _resnet, 4,
        ("first", "second"), True, False, True, "adamw", ADAM, 400, 64,
    ),
    "vit": Task(
        "a vision transformer on Fashion-MNIST", "fashion-mnist", _vit, 6, ("blocks",), True, True,
        True, "adamw", ADAM, 600, 64,
    ),
    "mlp": Task(
        "a perceptron on digits as a table", "digits", _mlp, 4, ("hidden.0",), False, False,
        False, "adamw", (0.002, 0.004, 0.008), 150, 64,
    ),
    "text-muon": replace(
        TEXT, title="the same GPT under Muon", optimiser="muon", halving=False
    ),
}  # fmt: skip


def available() -> tuple[dict[str, Task], dict[str, str]]:
    """The tasks that can be run here; and of the others, why not."""
    why = {name: task.absent() for name, task in TASKS.items()}
    here = {name: task for name, task in TASKS.items() if why[name] is None}
    return here, {name: reason for name, reason in why.items() if reason is not None}
