"""Tasks: which data, and what is trained on them, how long and how, unless one says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from net2net_lab.experiments import keras_mnist
from net2net_lab.experiments.data import data, folders, texts
from net2net_lab.experiments.schedule import OPTIMISERS, Schedule
from net2net_lab.models import STEMS


@dataclass(frozen=True)
class Task:
    """One problem on which the ways to obtain a student are compared."""

    title: str
    load: Callable[[], data.Data]
    network: str
    schedule: Schedule
    load_from: Callable[[Path], data.Data] | None = None
    """The same from a folder of the user's, if it may lie elsewhere."""


def _images(steps: int, batch_size: int) -> Schedule:
    """With the paper's optimiser, and about 24 points on a curve."""
    return Schedule(steps, steps // 24, batch_size, OPTIMISERS["rmsprop"].lr, "rmsprop")


# With these two, a figure of three seeds takes about an hour on two cores.
LARGE = _images(1200, 128)
TEXT = Schedule(1000, 40, 32, OPTIMISERS["adamw"].lr, "adamw")

TASKS: dict[str, Task] = {
    "digits": Task(
        "handwritten digits of scikit-learn", data.digits, "inception-2", _images(300, 64)
    ),
    "mnist5k": Task("5,000 digits of MNIST", data.mnist5k, "inception-2", _images(600, 64)),
    "fashion-mnist": Task(
        "Fashion-MNIST", data.fashion_mnist, "inception-4", LARGE, data.fashion_mnist
    ),
    "stdlib-text": Task(
        "characters of Python's standard library", texts.stdlib_text, "gpt", TEXT,
        lambda folder: texts.stdlib_text(folder=folder),
    ),
    "keras-mnist": Task(
        "5,000 digits of MNIST, as in Keras's example", keras_mnist.data,
        "keras", keras_mnist.SCHEDULE,
    ),
}  # fmt: skip


def task_named(name: str) -> Task:
    """The task of this name, or that of a text file or a folder of images.

    Raises:
        DataError: there is none.
    """
    path = Path(name)
    if name in TASKS:
        return TASKS[name]
    if path.is_dir():
        return Task(
            title(name), lambda: folders.image_folder(path, tuple(STEMS)), "inception-4", LARGE
        )
    if path.is_file():
        return Task(title(name), lambda: texts.text_file(path), "gpt", TEXT)
    raise data.DataError(
        f"There are no data '{name}'. Give one of {', '.join(TASKS)}, or the path of a text file "
        "or of a folder of images."
    )


def title(name: str) -> str:
    """Of a task, also where its data are not at hand: records can be drawn without them."""
    return TASKS[name].title if name in TASKS else Path(name).resolve().name


@lru_cache(maxsize=1)
def load(name: str, folder: str | None) -> data.Data:
    """The data of a task, read once.

    Raises:
        DataError: they cannot be read, or the folder would not be looked at.
    """
    task = task_named(name)
    if folder is None:
        return task.load()
    if task.load_from is None:
        raise data.DataError(f"'{name}' takes no folder. Leave out --data-dir.")
    return task.load_from(Path(folder))
