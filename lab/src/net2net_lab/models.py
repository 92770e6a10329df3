"""InceptionBN, the network of the paper's experiments.

Three convolutions, then modules: one convolution, then three paths side by side, whose longest has
three more. Rectangular kernels stand in vertical–horizontal pairs, and a BatchNorm and a ReLU
follow every convolution (paper, section 3). With 11 modules there are 25 layers with weights on
the shortest path (3 + 11 · 2) and 47 on the longest (3 + 11 · 4), and a linear classifier.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from net2net.errors import UnsupportedModelError

STEMS: dict[int, tuple[tuple[int, int, int], int]] = {
    8: ((1, 1, 1), 1),
    28: ((2, 1, 1), 1),
    32: ((2, 1, 1), 1),
    224: ((2, 2, 2), 2),
}
"""Pixels along an edge → strides of the three first convolutions, and how often the modules halve
the map after that."""


class InceptionModule(nn.Module):
    """A convolution, then 1×1; a pair 3×1, 1×3; and 1×1 with a pair of 5×1, 1×5, joined.

    Args:
        before: input channels.
        width: channels of the first convolution; a path puts out half as many, so all three
            together one and a half times as many.
        pairs: vertical–horizontal pairs in each path that has any.
    """

    def __init__(self, before: int, width: int, pairs: int = 1) -> None:
        super().__init__()
        path = max(1, width // 2)
        self.entry = _convolution(before, width, (1, 1))
        self.short = _convolution(width, path, (1, 1))
        self.middle = nn.Sequential(*_pairs(width, path, 3, pairs))
        self.long = nn.Sequential(_convolution(width, path, (1, 1)), *_pairs(path, path, 5, pairs))
        self.channels = 3 * path

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        return torch.cat([self.short(x), self.middle(x), self.long(x)], dim=1)


class InceptionBN(nn.Module):
    """What ``inception_bn`` builds: images ``[N, channels, size, size]`` → ``[N, classes]``."""

    def __init__(
        self, strides: Sequence[int], stem: int, widths: Sequence[Sequence[int]], pairs: int,
        in_channels: int, classes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        first, second, third = strides
        self.stem = nn.Sequential(
            _convolution(in_channels, stem, (3, 3), first),
            _convolution(stem, stem, (3, 3), second),
            _convolution(stem, 2 * stem, (3, 3), third),
        )
        channels, stages = 2 * stem, []
        for stage in widths:
            modules = []
            for width in stage:
                modules.append(InceptionModule(channels, width, pairs))
                channels = modules[-1].channels
            stages.append(nn.Sequential(*modules))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages[0](self.stem(x))
        for stage in self.stages[1:]:
            x = stage(self.pool(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def inception_bn(
    *, size: int = 28, in_channels: int = 1, classes: int = 10, modules: int = 11, stem: int = 16,
    widths: float | Sequence[int] = 1.0, pairs: int = 1,
) -> InceptionBN:  # fmt: skip
    """InceptionBN (paper, section 3) for images of one of four sizes.

    Args:
        size: pixels along an edge: 8, 28, 32 or 224.
        modules: how many Inception modules; the paper's 11 by default.
        stem: channels of the first two convolutions; the third has twice as many.
        widths: a factor for the channels of all layers inside the modules, and of no others (the
            paper's narrow teacher has √0.3, its wide student √2); or the width of each stage,
            of which there are two, or three for 224 pixels.
        pairs: vertical–horizontal pairs of convolutions wherever one stands in the standard net.

    Raises:
        UnsupportedModelError: another size, or numbers that build no such net.
    """
    if size not in STEMS:
        raise UnsupportedModelError(
            f"there is no stem for images of {size} pixels. Give one of {sorted(STEMS)}."
        )
    strides, halvings = STEMS[size]
    stages = halvings + 1
    if isinstance(widths, (int, float)):
        each = [round(4 * stem * 2**stage * widths / 2) * 2 for stage in range(stages)]
    else:
        each = list(widths)
    if len(each) != stages or min(each) < 2 or modules < stages or pairs < 1:
        raise UnsupportedModelError(
            f"{modules} modules with widths {each} and {pairs} pairs make no InceptionBN: images "
            f"of {size} pixels need {stages} widths of at least 2, as many modules, and a pair."
        )
    counts = [modules // stages + (stage < modules % stages) for stage in range(stages)]
    runs = [[width] * count for width, count in zip(each, counts, strict=True)]
    return InceptionBN(strides, stem, runs, pairs, in_channels, classes)


def _convolution(
    before: int, after: int, kernel: tuple[int, int], stride: int = 1
) -> nn.Sequential:
    height, width = kernel
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(before, after, kernel, stride, (height // 2, width // 2), bias=False),
            norm=nn.BatchNorm2d(after),
            act=nn.ReLU(),
        )
    )


def pair(before: int, after: int, kernel: int) -> nn.Sequential:
    """A vertical and a horizontal convolution, the first of which may change the width."""
    return nn.Sequential(
        OrderedDict(
            vertical=_convolution(before, after, (kernel, 1)),
            horizontal=_convolution(after, after, (1, kernel)),
        )
    )


def _pairs(before: int, after: int, kernel: int, count: int) -> list[nn.Module]:
    return [pair(after if number else before, after, kernel) for number in range(count)]
