"""Tasks: which data, which teacher, and how far it is grown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from net2net.experiments import data
from net2net.experiments.models import ConvNet


@dataclass(frozen=True)
class Task:
    """One problem on which the ways to obtain a student are compared."""

    title: str
    load: Callable[[], data.Data]
    build: Callable[[], nn.Module]
    """The teacher, untrained."""
    widths: float | Mapping[str, float | int]
    depths: Mapping[str, int]
    noise: float
    """Size of the noise on the copies of Net2WiderNet. Even copies get equal gradients, so without
    noise (or dropout) they would stay copies for ever and the student would gain no capacity."""

    @property
    def growth(self) -> dict[str, Any]:
        """How the teacher is grown, as plain data."""
        widths = dict(self.widths) if isinstance(self.widths, Mapping) else self.widths
        return {"widths": widths, "depths": dict(self.depths), "noise": self.noise}


TASKS: dict[str, Task] = {
    "digits": Task(
        title="handwritten digits of scikit-learn",
        load=data.digits,
        # Small enough to leave something to gain: its best accuracy is below the students'.
        build=partial(ConvNet, (4, 8)),
        widths=2.0,
        depths={"blocks.*.conv": 1},
        noise=0.02,
    ),
}
