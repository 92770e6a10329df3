"""The Net2Net example that came with Keras, with its own settings: a small network on MNIST, wider
and deeper students, and for each the example's baseline.

Its convolutions have no activation. Only the first one and the hidden layer become wider. Both of
its baselines keep the teacher's weights and draw only the new ones at random, so neither is a
training from scratch.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor, nn

from net2net_lab.experiments.data.data import InMemory, mnist5k
from net2net_lab.experiments.models import seeded
from net2net_lab.experiments.schedule import Schedule

SCHEDULE = Schedule(375, 25, 32, 0.01, "sgd", "constant")
"""Three epochs of the 4,000 images."""

LR_SCALE = 0.1
"""Learning rate of all students, relative to the teacher's."""

NOISE = 0.05
"""On the copies of Net2WiderNet, relative to the deviation of the weights."""

PAD = 0.1
"""Deviation of the new weights of a random pad, and the value of its new biases."""

WIDER = {"conv1": 2.0, "fc1": 2.0}
DEEPER = {"conv2": 1, "fc1": 1}
"""What ``net2net.widen`` and ``net2net.deepen`` are told."""


def data() -> InMemory:
    """The 5,000 images of MNIST at hand, with pixels between 0 and 1."""
    found = mnist5k()
    low, high = found.train_x.min(), found.train_x.max()
    train_x, val_x = ((x - low) / (high - low) for x in (found.train_x, found.val_x))
    return replace(found, train_x=train_x, val_x=val_x)


def network(width: int = 64, deeper: bool = False, classes: int = 10) -> nn.Sequential:
    """The teacher, or what a student looks like.

    Args:
        width: units of the first convolution and of the hidden layer.
        deeper: with one more convolution and one more hidden layer.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(1, width, 3, padding=1)
    layers["pool1"] = nn.MaxPool2d(2)
    layers["conv2"] = nn.Conv2d(width, 64, 3, padding=1)
    if deeper:
        layers["conv2_deeper"] = nn.Conv2d(64, 64, 3, padding=1)
    layers["pool2"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(64 * 7 * 7, width)
    layers["fc1_act"] = nn.ReLU()
    if deeper:
        layers["fc1_deeper"] = nn.Linear(width, width)
        layers["fc1_deeper_act"] = nn.ReLU()
    layers["fc2"] = nn.Linear(width, classes)
    for layer in layers.values():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):  # as Keras draws them
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return nn.Sequential(layers)


@torch.no_grad()
def random_pad(teacher: nn.Module, seed: int) -> nn.Module:
    """The wider student's baseline: new units and what reads them at random."""

    def padded() -> nn.Module:
        student = network(2 * 64)
        for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
            if old.shape != new.shape:
                new.normal_(0, PAD) if new.dim() > 1 else new.fill_(PAD)
            _first(new, old.shape).copy_(old)
        return student

    return seeded(padded, seed)


def random_init(teacher: nn.Module, seed: int) -> nn.Module:
    """The deeper student's baseline: new layers at random."""
    student = seeded(lambda: network(deeper=True), seed)
    student.load_state_dict({**student.state_dict(), **teacher.state_dict()})
    return student


def _first(tensor: Tensor, shape: torch.Size) -> Tensor:
    for axis, size in enumerate(shape):
        tensor = tensor.narrow(axis, 0, size)
    return tensor
