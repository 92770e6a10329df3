"""Models of the experiments, built from scratch under a seed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from net2net.errors import UnsupportedModelError

Built = TypeVar("Built", bound=nn.Module)


class ConvNet(nn.Module):
    """Blocks of convolution, BatchNorm and ReLU, each followed by pooling, then a linear head."""

    def __init__(self, channels: Sequence[int], in_channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.Sequential(*(_block(before, after) for before, after in pairwise(sizes)))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self.pool(block(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(before, after, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(after),
            act=nn.ReLU(),
        )
    )


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """Build a model under a seed, and leave torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """The same architecture with new weights: what training from scratch starts from."""

    def build() -> nn.Module:
        fresh = copy.deepcopy(model)
        for path, module in fresh.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
            elif list(module.parameters(recurse=False)):
                raise UnsupportedModelError(
                    f"'{path}' ({type(module).__name__}) has parameters but no reset_parameters, "
                    "so it cannot be trained from scratch. Give it such a method."
                )
        return fresh

    return seeded(build, seed)
