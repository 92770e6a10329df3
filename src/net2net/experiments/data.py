"""Data sets: fixed, stratified splits of real data, standardised by the training part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """Inputs and classes of the two parts. Validation data are never trained on."""

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor

    @property
    def example(self) -> Tensor:
        """A few training inputs, for tracing and verifying a model."""
        return self.train_x[:8]

    def epochs(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches without end, in an order that only the seed determines.

        The last, smaller batch of an epoch is left out: BatchNorm would weigh it like the others.
        """
        generator = torch.Generator().manual_seed(seed)
        batch_size = min(batch_size, len(self.train_x))
        while True:
            order = torch.randperm(len(self.train_x), generator=generator)
            for start in range(0, len(order) - batch_size + 1, batch_size):
                index = order[start : start + batch_size]
                yield self.train_x[index], self.train_y[index]


def digits() -> Data:
    """The 1797 handwritten digits (8 × 8 pixels) that scikit-learn brings along.

    A third is for validation: with so few images, a smaller part would measure mostly luck.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    images = np.asarray(pixels, dtype=np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, classes, test_size=1 / 3, stratify=classes, random_state=0)
    train_x, val_x, train_y, val_y = (torch.from_numpy(part) for part in parts)
    mean, deviation = train_x.mean(), train_x.std()
    return Data((train_x - mean) / deviation, train_y, (val_x - mean) / deviation, val_y)
