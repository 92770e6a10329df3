"""The paper's pair of a vertical and a horizontal convolution, on top of a module (Figure 6)."""

from __future__ import annotations

from torch import nn

from net2net.deepen.made import BlockBuilder

LENGTH = 3
"""Of both kernels."""


def pair_like(module: nn.Module) -> BlockBuilder:
    """A function from a number of channels to a pair, with a ReLU behind each, and a batch norm if
    the module has any."""
    normed = any(isinstance(part, nn.BatchNorm2d) for part in module.modules())

    def convolution(channels: int, kernel: tuple[int, int]) -> nn.Sequential:
        layer = nn.Conv2d(channels, channels, kernel, padding="same", bias=not normed)
        norm = [nn.BatchNorm2d(channels)] if normed else []
        return nn.Sequential(layer, *norm, nn.ReLU())

    def pair(channels: int) -> nn.Module:
        return nn.Sequential(convolution(channels, (LENGTH, 1)), convolution(channels, (1, LENGTH)))

    return pair
