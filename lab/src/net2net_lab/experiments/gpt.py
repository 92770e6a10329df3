"""A small language model of the GPT kind: blocks of causal attention and an MLP on a stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GPT(nn.Module):
    """Texts ``[N, T]`` of at most ``context`` symbols → the logits of what comes next at every
    position ``[N, T, classes]``. A million parameters at the default size.

    Norms stand before attention and MLP (pre-norm), so a block whose branches end in zeros returns
    what it is given, and a deeper model can compute the same.
    """

    def __init__(
        self, classes: int, context: int = 64, width: int = 128, heads: int = 4, blocks: int = 5
    ) -> None:
        super().__init__()
        self.symbols = nn.Embedding(classes, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.symbols(x) + self.positions(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            stream = block(stream)
        logits: Tensor = self.head(self.norm(stream))
        return logits


class Block(nn.Module):
    """Attention, then an MLP four times as wide, each added to the stream."""

    def __init__(self, width: int, heads: int, causal: bool = True) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.attention(self.before_attention(stream))
        result: Tensor = stream + self.mlp(self.before_mlp(stream))
        return result


class Attention(nn.Module):
    """Self-attention, to what came before if it is causal."""

    def __init__(self, width: int, heads: int, causal: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        each = self.inputs(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = each.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        result: Tensor = self.output(found.transpose(1, 2).flatten(2))
        return result
