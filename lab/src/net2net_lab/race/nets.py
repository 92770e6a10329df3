"""Networks of the race that the experiments have not: each is built at any width and depth."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from net2net_lab.experiments.gpt import Block


class MLP(nn.Module):
    """Rows of numbers, of any shape → logits; ``depth`` hidden layers."""

    def __init__(self, features: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, width)
        self.act = nn.ReLU()
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x.flatten(1)))
        for layer in self.hidden:
            x = layer(x)
        logits: Tensor = self.head(x)
        return logits


class ResNet(nn.Module):
    """Images ``[N, channels, H, W]`` → logits; two stages of ``depth`` residual blocks, the second
    of half the resolution and twice the width."""

    def __init__(self, channels: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = _convolution(channels, width, 2)
        self.first = nn.ModuleList(Residual(width) for _ in range(depth))
        self.down = _convolution(width, 2 * width, 2)
        self.second = nn.ModuleList(Residual(2 * width) for _ in range(depth))
        self.act = nn.ReLU()
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        for block in self.first:
            x = block(x)
        x = self.act(self.down(x))
        for block in self.second:
            x = block(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Residual(nn.Module):
    """Two convolutions beside the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = _convolution(width, width), _convolution(width, width)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.act(x + self.two(self.act(self.one(x))))
        return result


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            norm=nn.BatchNorm2d(after),
        )
    )


class ViT(nn.Module):
    """Images ``[N, channels, S, S]`` in patches → logits; the GPT's blocks, looking everywhere."""

    def __init__(
        self, channels: int, size: int, classes: int, width: int, heads: int, depth: int,
        patch: int = 7,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Embedding((size // patch) ** 2, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.patches(x).flatten(2).transpose(1, 2)
        stream = stream + self.positions(torch.arange(stream.shape[1], device=x.device))
        for block in self.blocks:
            stream = block(stream)
        logits: Tensor = self.head(self.norm(stream).mean(1))
        return logits
