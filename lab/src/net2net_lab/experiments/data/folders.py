"""A folder of images as data. Only the batches of the moment are in memory, so ImageNet takes the
same path as twenty photographs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net_lab.experiments.data.data import EXAMPLES, DataError, by_hash, nested, shuffled

if TYPE_CHECKING:
    from PIL import Image

SAMPLE = 512
"""Training images that mean and deviation are measured on."""

AHEAD = 2
"""Batches that are read while one is computed."""


@dataclass(frozen=True)
class Part:
    """Images and their classes."""

    paths: list[str]
    classes: Tensor

    def at(self, index: Tensor) -> Part:
        return Part([self.paths[i] for i in index.tolist()], self.classes[index])


@dataclass(frozen=True)
class ImageFolder:
    """Images of two parts, read when they are needed. Threads read them, for Pillow decodes outside
    of Python's lock."""

    train: Part
    val: Part
    names: list[str]
    """Of the classes."""
    pixels: int
    channels: int
    workers: int
    mean: Tensor
    deviation: Tensor

    @property
    def classes(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        return len(self.train.paths)

    @property
    def example(self) -> Tensor:
        return next(self._read([self.train.at(torch.arange(min(EXAMPLES, self.size)))]))[0]

    def part(self, share: float) -> ImageFolder:
        return replace(self, train=self.train.at(nested(self.size, share)))

    def epochs(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        order = islice(shuffled(self.size, batch_size, seed), skip, None)
        return self._read(self.train.at(index) for index in order)

    def validation(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.split(torch.arange(len(self.val.paths)), batch_size)
        return self._read(self.val.at(index) for index in order)

    def _read(self, batches: Iterable[Part]) -> Iterator[tuple[Tensor, Tensor]]:
        pool = ThreadPoolExecutor(self.workers)
        ahead: deque[tuple[list[Future[NDArray[np.uint8]]], Tensor]] = deque()

        def first() -> tuple[Tensor, Tensor]:
            images, classes = ahead.popleft()
            read = torch.from_numpy(np.stack([image.result() for image in images]))
            return (read.permute(0, 3, 1, 2) - self.mean) / self.deviation, classes

        try:
            for part in batches:
                sizes = self.pixels, self.channels
                images = [pool.submit(_pixels, path, *sizes) for path in part.paths]
                ahead.append((images, part.classes))
                if len(ahead) > AHEAD:
                    yield first()
            while ahead:
                yield first()
        finally:  # also when nobody asks for more
            pool.shutdown(cancel_futures=True)


def image_folder(
    path: Path,
    pixels: int | Collection[int],
    channels: int | None = None,
    workers: int | None = None,
) -> ImageFolder:
    """The images of ``path/train/CLASS/*`` and ``path/val/CLASS/*``, or of ``path/CLASS/*``, of
    which a fifth is for validation; which ones depends on their names alone.

    An image's middle square is scaled to ``pixels`` along an edge. They are standardised by mean
    and deviation of each channel. Hidden files do not count.

    Args:
        pixels: along an edge. Of several, the largest that is not above what half of the images
            have (the first of each class are looked at), so that most are scaled down.
        channels: 1 (grey) or 3 (RGB). By default what the first image of each class needs.
        workers: threads that read. By default as many as there are cores.

    Raises:
        DataError: what is there is no such folder; later, where a file is damaged.
    """
    names, train, val = _parts(path)
    firsts = [train.paths[i] for i in np.unique(train.classes, return_index=True)[1]]
    if channels is None:
        channels = 1 if all(map(_is_grey, firsts)) else 3
    if not isinstance(pixels, int):
        edge = median(map(_edge, firsts))
        pixels = max((size for size in pixels if size <= edge), default=min(pixels))
    raw = ImageFolder(
        train, val, names, pixels, channels, workers or os.cpu_count() or 1,
        torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1),
    )  # fmt: skip
    mean, deviation = _moments(raw)
    return replace(raw, mean=mean, deviation=deviation)


def _moments(raw: ImageFolder) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel. Only sums are kept: at 224 pixels, the images themselves
    would take 300 MB."""
    some = torch.linspace(0, raw.size - 1, min(SAMPLE, raw.size)).long()
    sums = [
        torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]).double() * len(x)
        for x, _ in raw._read(raw.train.at(index) for index in torch.split(some, 32))
    ]
    mean, square = torch.stack(sums).sum(0) / len(some)
    deviation = (square - mean.square()).clamp_min(1e-6).sqrt()  # a channel may be constant
    return mean.float().view(-1, 1, 1), deviation.float().view(-1, 1, 1)


# -- what is there ---------------------------------------------------------------------------------


def _parts(path: Path) -> tuple[list[str], Part, Part]:
    """Names of the classes, training part, validation part."""
    folders = path / "train", path / "val"
    if any(folder.is_dir() for folder in folders):
        train, val = (_files(folder) for folder in folders)
        if train.keys() != val.keys():
            raise DataError(
                f"'train' and 'val' in '{path}' differ in the classes "
                f"{', '.join(sorted(train.keys() ^ val.keys()))}. Give both the same folders."
            )
    else:
        folders, train, val = (path, path), {}, {}
        for name, files in _files(path).items():
            if len(files) < 2:
                raise DataError(
                    f"The class '{name}' in '{path}' has a single image, and none to validate on. "
                    "Give it more, or give folders 'train' and 'val'."
                )
            files, held_out = by_hash(files), max(1, len(files) // 5)
            train[name], val[name] = files[held_out:], files[:held_out]
    return list(train), _part(folders[0], train), _part(folders[1], val)


def _part(folder: Path, files: dict[str, list[str]]) -> Part:
    paths = [f"{folder}/{name}/{file}" for name in files for file in files[name]]
    counts = torch.tensor([len(files[name]) for name in files])
    return Part(paths, torch.arange(len(files)).repeat_interleave(counts))


def _files(folder: Path) -> dict[str, list[str]]:
    """Classes and the names of their files, in order."""
    from PIL import Image

    if not folder.is_dir():
        raise DataError(
            f"There is no folder '{folder}'. Give one that has a folder of images for each class, "
            "or 'train' and 'val' that have."
        )
    classes = {one.name: _names(one) for one in sorted(folder.iterdir()) if one.is_dir()}
    classes = {name: files for name, files in classes.items() if not name.startswith(".")}
    if len(classes) < 2:
        raise DataError(
            f"'{folder}' has {len(classes)} folders, so no classes to tell apart. "
            "Give it a folder of images for each class."
        )
    known = tuple(Image.registered_extensions())
    for name, files in classes.items():
        if not files:
            raise DataError(
                f"The class '{name}' in '{folder}' has no images. Give it some, or remove it."
            )
        for file in files:
            if not file.lower().endswith(known):
                raise DataError(f"'{folder / name / file}' is no image. Remove it.")
    return classes


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


# -- reading one -----------------------------------------------------------------------------------


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """An image that Pillow knows how to read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # a decoder raises nearly anything on a damaged file
        raise DataError(
            f"'{path}' cannot be read as an image: {error}. Remove or replace it."
        ) from error


def _is_grey(path: str) -> bool:
    with _opened(path) as image:
        return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def _edge(path: str) -> int:
    """Pixels along the shorter edge."""
    with _opened(path) as image:
        return min(image.size)


def _pixels(path: str, size: int, channels: int) -> NDArray[np.uint8]:
    """The middle square of an image, scaled: ``[size, size, channels]``."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        image.draft(None, (size, size))  # a JPEG need not be decoded at a size far above
        if image.mode.startswith("I;16"):  # Pillow would cut its values off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("I", "F"):
            raise ValueError("its values have 32 bits, and no agreed range")
        image = image.convert("L" if channels == 1 else "RGB")
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(size, size, channels)
