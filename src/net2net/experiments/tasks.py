"""Tasks: which data, and what is trained on them for how long unless one says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from net2net.experiments import data


@dataclass(frozen=True)
class Task:
    """One problem on which the ways to obtain a student are compared."""

    title: str
    load: Callable[[Path | None], data.Data]
    """From the folder that the user gave, if any."""
    network: str
    steps: int
    batch_size: int


TASKS: dict[str, Task] = {
    "digits": Task(
        "handwritten digits of scikit-learn", lambda folder: data.digits(), "inception-2", 300, 64
    ),
    "mnist5k": Task("5,000 digits of MNIST", lambda folder: data.mnist5k(), "inception-2", 600, 64),
    # With these, a figure of three seeds takes about an hour on two cores.
    "fashion-mnist": Task(
        "Fashion-MNIST", lambda folder: data.fashion_mnist(folder or data.FASHION),
        "inception-4", 1200, 128,
    ),
}  # fmt: skip


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        DataError: there is none.
    """
    if name in TASKS:
        return TASKS[name]
    raise data.DataError(f"There are no data '{name}'. Give one of {', '.join(TASKS)}.")


@lru_cache(maxsize=1)
def load(name: str, folder: str | None) -> data.Data:
    """The data of a task, read once."""
    return task_named(name).load(Path(folder) if folder else None)
