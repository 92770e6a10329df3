"""All widths of a configuration in one proportion: in what steps, and with which multiples kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from net2net.errors import TransferError, WidthError
from net2net.hf.numbers import (
    Numbers,
    depth_numbers,
    few_blocks,
    grows,
    width_numbers,
    with_numbers,
)
from net2net.trace.meta_copy import named_tensors


@dataclass(frozen=True)
class Proportion:
    """Numbers of a configuration that grow together.

    Attributes:
        old: what they are; none where nothing grows.
        steps: in how many steps they become twice as much.
        multiple_of: what ``sizes`` are to be multiples of.
        sizes: of weights that are multiples now, each with what it is at twice the width.
    """

    old: Numbers
    steps: int
    multiple_of: int
    sizes: frozenset[tuple[int, int]]

    def numbers(self, k: int) -> Numbers:
        """After k steps."""
        return {name: old + old * k // self.steps for name, old in self.old.items()}

    def allows(self, k: int) -> bool:
        """Whether the sizes stay multiples; each is affine in k."""
        return all(
            (old + (new - old) * k // self.steps) % self.multiple_of == 0 for old, new in self.sizes
        )

    def nearest(self, factor: float) -> int:
        """How many steps come nearest to a factor; of two as near the larger."""
        far = math.ceil(factor) * self.steps
        return min(
            (k for k in range(far, -1, -1) if self.allows(k)),
            key=lambda k: abs(1 + k / self.steps - factor),
        )


def proportion(bare: nn.Module, multiple_of: int) -> Proportion:
    """The widths of a model on ``meta``, as they are found at twice the width. Where only whole
    multiples keep the function, one step is one of these."""
    depths = depth_numbers(bare)
    try:
        double = width_numbers(bare, 2.0)
    except (WidthError, TransferError):
        double = {}
    if not double:
        return Proportion({}, 1, multiple_of, frozenset())
    old = {name: value // 2 for name, value in double.items()}
    steps = math.gcd(*old.values())
    small = with_numbers(bare, few_blocks(bare, depths))
    if steps > 1 and not grows(small, {name: v + v // steps for name, v in old.items()}):
        steps = 1
    return Proportion(old, steps, multiple_of, _multiples(bare, double, multiple_of))


def _multiples(bare: nn.Module, double: Numbers, multiple_of: int) -> frozenset[tuple[int, int]]:
    wide = with_numbers(bare, double)
    return frozenset(
        (old, new)
        for (_, one), (_, other) in zip(named_tensors(bare), named_tensors(wide), strict=True)
        for old, new in zip(one.shape, other.shape, strict=True)
        if old != new and old % multiple_of == 0
    )
