"""A user's folder of images: read lazily, and refused with a reason where it will not do."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from net2net_lab.experiments.data.data import DataError
from net2net_lab.experiments.data.folders import image_folder
from net2net_lab.experiments.models import ConvNet

RNG = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)


def fill(folder: Path, counts: dict[str, int], *shape: int) -> None:
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{number:03}.png", RNG.integers(0, 256, shape or (6, 6)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "train", {"cat": 7, "dog": 5})
    fill(tmp_path / "val", {"cat": 2, "dog": 3})
    return tmp_path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    fill(tmp_path, {"cat": 20, "dog": 10, "owl": 2})
    return tmp_path


def test_both_parts_are_read_and_standardised_by_the_training_part(folder: Path) -> None:
    data = image_folder(folder, 6)
    assert (data.size, data.classes, data.names) == (12, 2, ["cat", "dog"])
    x, y = next(data.epochs(12, seed=0))
    assert x.shape == (12, 1, 6, 6) and x.dtype == torch.float32
    assert y.bincount().tolist() == [7, 5]
    assert x.mean().abs() < 1e-5 and (x.std(correction=0) - 1).abs() < 1e-5
    batches = list(data.validation(2))
    assert [len(y) for _, y in batches] == [2, 2, 1]
    assert torch.cat([y for _, y in batches]).tolist() == [0, 0, 1, 1, 1]
    raw = np.asarray(Image.open(folder / "val" / "dog" / "002.png")).astype(np.float32)
    last = batches[-1][0][0, 0] * data.deviation[0] + data.mean[0]
    assert np.allclose(last, raw, atol=1e-3)
    assert data.example.shape == (8, 1, 6, 6)


def test_the_order_depends_on_the_seed_alone_and_can_be_entered_anywhere(folder: Path) -> None:
    def batches(seed: int, skip: int = 0, workers: int = 3) -> list[torch.Tensor]:
        stream = image_folder(folder, 6, workers=workers).epochs(5, seed, skip)
        return [next(stream)[0] for _ in range(4)]

    first = batches(0)
    assert all(torch.equal(a, b) for a, b in zip(first, batches(0, workers=1), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first[2:], batches(0, skip=2), strict=False))
    assert not torch.equal(first[0], batches(1)[0])
    assert len(torch.cat(first[:2]).unique(dim=0)) == 10  # an epoch has no image twice


def test_without_two_parts_a_fifth_of_each_class_is_held_out(whole: Path, tmp_path: Path) -> None:
    data = image_folder(whole, 6)
    assert data.train.classes.bincount().tolist() == [16, 8, 1]
    assert data.val.classes.bincount().tolist() == [4, 2, 1]
    assert len({*data.train.paths, *data.val.paths}) == 32
    held_out = [Path(path).name for path in data.val.paths[:4]]
    assert held_out != sorted(held_out)  # neither the first nor the last, nor every fifth
    elsewhere = whole.rename(tmp_path.with_name("elsewhere"))
    assert [Path(path).name for path in image_folder(elsewhere, 6).val.paths[:4]] == held_out


def test_images_are_read_only_when_they_are_needed(folder: Path) -> None:
    """Reading starts with what is asked for and a little more, never with all."""
    fill(folder / "train", {"cat": 200, "dog": 200})
    data = image_folder(folder, 6, workers=1)
    stream = data.epochs(4, seed=0)
    next(stream)
    shutil.rmtree(folder / "train")
    with pytest.raises(DataError, match="cannot be read as an image"):
        for _ in range(20):
            next(stream)


def test_no_thread_outlives_who_asked(folder: Path) -> None:
    data = image_folder(folder, 6)
    before = threading.active_count()
    stream = data.epochs(4, seed=0)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    assert threading.active_count() == before


def test_colour_is_kept_where_there_is_any(folder: Path) -> None:
    fill(folder / "train", {"dog": 5}, 6, 6, 3)
    data = image_folder(folder, 6)
    assert data.example.shape == (8, 3, 6, 6)
    assert data.mean.shape == (3, 1, 1)
    assert image_folder(folder, 6, channels=1).example.shape == (8, 1, 6, 6)


def test_the_middle_square_is_scaled(folder: Path) -> None:
    wide = np.zeros((10, 30))
    wide[:, 10:20] = 200
    save(folder / "val" / "cat" / "000.png", wide)
    data = image_folder(folder, 5)
    image = next(data.validation(1))[0][0, 0] * data.deviation[0] + data.mean[0]
    assert (image[:, 1:-1] - 200).abs().max() < 1e-3
    assert image.min() > 150  # at the edge, the filter reaches a little further


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".gif", ".webp", ".bmp"])
def test_other_formats(folder: Path, suffix: str) -> None:
    smooth = np.linspace(0, 255, 64)[None, :].repeat(64, 0)
    save(folder / "val" / "cat" / f"000{suffix}", smooth)
    (folder / "val" / "cat" / "000.png").unlink()
    data = image_folder(folder, 8)
    image = next(data.validation(1))[0][0, 0] * data.deviation[0] + data.mean[0]
    assert (image - torch.linspace(16, 239, 8)).abs().max() < 4


def test_sixteen_bits_are_read_by_their_upper_eight(folder: Path) -> None:
    path = folder / "val" / "cat" / "000.png"
    Image.fromarray(np.full((6, 6), 0x80FF, np.uint16)).save(path)
    data = image_folder(folder, 6)
    image = next(data.validation(1))[0] * data.deviation + data.mean
    assert (image - 0x80).abs().max() < 1e-3


def test_values_without_a_range_are_refused(folder: Path) -> None:
    path = folder / "val" / "cat" / "000.tiff"
    Image.fromarray(np.ones((6, 6), np.float32)).save(path)
    with pytest.raises(DataError, match=r"000.tiff' cannot be read.*32 bits"):
        list(image_folder(folder, 6).validation(8))


def test_images_all_alike_are_no_division_by_zero(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(2):
            save(tmp_path / name / f"{number}.png", np.full((6, 6), 7))
    assert next(image_folder(tmp_path, 6).epochs(2, 0))[0].abs().max() < 1


def spoil_missing(folder: Path) -> None:
    shutil.rmtree(folder)


def spoil_no_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")


def spoil_no_train(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def spoil_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "cat")


def spoil_empty_class(folder: Path) -> None:
    for path in (folder / "val" / "dog").iterdir():
        path.unlink()
    (folder / "val" / "dog" / ".DS_Store").touch()


def spoil_no_image(folder: Path) -> None:
    (folder / "train" / "dog" / "notes.txt").touch()


def spoil_nested(folder: Path) -> None:
    (folder / "train" / "dog" / "old").mkdir()


def spoil_classes(folder: Path) -> None:
    (folder / "val" / "dog").rename(folder / "val" / "wolf")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing, "There is no folder '.*'. Give one that has"),
        (spoil_no_val, "There is no folder '.*val'. Give one that has"),
        (spoil_no_train, "There is no folder '.*train'. Give one that has"),
        (spoil_one_class, "train' has 1 folders, so no classes to tell apart. Give it"),
        (spoil_empty_class, "The class 'dog' in '.*val' has no images. Give it some"),
        (spoil_no_image, "train.dog.notes.txt' is no image. Remove it"),
        (spoil_nested, "train.dog.old' is no image. Remove it"),
        (spoil_classes, "differ in the classes dog, wolf. Give both"),
    ],
)
def test_a_folder_that_will_not_do(
    folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        image_folder(folder, 6)


def test_a_single_image_cannot_be_held_out(whole: Path) -> None:
    (whole / "owl" / "000.png").unlink()
    with pytest.raises(DataError, match=r"The class 'owl' in '.*' has a single image"):
        image_folder(whole, 6)


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_a_damaged_image_is_named(folder: Path, keep: int) -> None:
    path = folder / "val" / "dog" / "001.png"
    path.write_bytes(path.read_bytes()[:keep])
    data = image_folder(folder, 6)
    with pytest.raises(DataError, match=r"val.dog.001.png' cannot be read.* Remove or replace it"):
        list(data.validation(2))


def test_a_network_runs_on_a_folder(whole: Path) -> None:
    data = image_folder(whole, 8)
    x, y = next(data.epochs(8, seed=0))
    loss = nn.functional.cross_entropy(ConvNet((4,), x.shape[1], data.classes)(x), y)
    assert loss.isfinite()
