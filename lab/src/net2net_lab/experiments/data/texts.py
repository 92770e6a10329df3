"""Text as data: contexts of characters, and for every position the character that comes next."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net_lab.experiments.data.data import DataError, InMemory, by_hash

CONTEXT = 64
"""Characters that a model sees at once."""

RARE = 10
"""A character that the training part has less often is read as ``UNKNOWN``."""

UNKNOWN = "\ufffd"

VALIDATION = 512
"""Contexts to validate on, spread evenly over the validation part: 32,768 characters say an
accuracy to about 0.3 points, and all of them would take longer than the training between."""

APART = {"encodings", "idlelib", "lib2to3", "pydoc_data", "turtledemo"}
"""Left out of the standard library: tables, a copy of the manual, and programs rather than
modules. Its tests are no modules of it."""


def stdlib_text(context: int = CONTEXT, folder: Path | None = None) -> InMemory:
    """The source of Python's standard library. A tenth of the files is for validation; which ones
    depends on their names alone.

    Raises:
        DataError: this Python comes without its sources.
    """
    folder = folder or Path(sysconfig.get_paths()["stdlib"])
    names = by_hash(path.relative_to(folder).as_posix() for path in _modules(folder))
    if len(names) < 2:
        raise DataError(
            f"'{folder}' has no sources of the standard library. "
            "Install them, or give a text file of your own."
        )
    texts = [_read(folder / name) for name in names]
    held_out = max(1, len(names) // 10)
    return _data("\n".join(texts[held_out:]), "\n".join(texts[:held_out]), context, str(folder))


def text_file(path: Path, context: int = CONTEXT) -> InMemory:
    """Any text in UTF-8. Its last tenth is for validation.

    Raises:
        DataError: the file is missing, is no text, or is too short.
    """
    text = _read(path)
    begin = len(text) - len(text) // 10
    return _data(text[:begin], text[begin:], context, str(path))


def _modules(folder: Path) -> Iterator[Path]:
    for name in sys.stdlib_module_names - APART:
        yield from folder.glob(f"{name}.py")
        for path in folder.glob(f"{name}/**/*.py"):
            if not {"test", "tests"} & set(path.relative_to(folder).parts):
                yield path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read as text: {error}. Give a file in UTF-8."
        ) from error


def _data(train: str, val: str, context: int, name: str) -> InMemory:
    often = np.flatnonzero(np.bincount(_code_points(train)) >= RARE).tolist()
    vocabulary = [ord(UNKNOWN), *(point for point in often if point != ord(UNKNOWN))]
    parts = [_contexts(text, vocabulary, context) for text in (train, val)]
    (train_x, train_y), (val_x, val_y) = parts
    if not len(val_x):
        raise DataError(
            f"'{name}' has {len(train) + len(val)} characters, too few for contexts of {context}. "
            "Give a longer text."
        )
    some = torch.linspace(0, len(val_x) - 1, min(VALIDATION, len(val_x))).long()
    return InMemory(train_x, train_y, val_x[some], val_y[some], len(vocabulary))


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _contexts(text: str, vocabulary: list[int], context: int) -> tuple[Tensor, Tensor]:
    """The text in pieces, as places in the vocabulary, and the same one character further."""
    points = _code_points(text)
    places = np.zeros(1 + max(*vocabulary, points.max(initial=0)), np.int64)
    places[vocabulary] = np.arange(len(vocabulary))
    ids = torch.from_numpy(places[points])
    end = (len(ids) - 1) // context * context
    return ids[:end].view(-1, context), ids[1 : end + 1].view(-1, context)
