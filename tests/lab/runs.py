"""What the tests of the experiments share."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from torch import nn

from net2net_lab import cli
from net2net_lab.experiments.data.data import Data
from net2net_lab.experiments.plan import Experiment, Key
from net2net_lab.experiments.run.records import Evaluation, StageStart
from net2net_lab.experiments.run.results import load_results

STARTS = Experiment(figure="starts", task="digits", model="convnet")
"""As ``net2net-lab reproduce starts``, with a schedule of its own."""


class Killed(BaseException):
    """Stands for a signal that cannot be handled: nothing after it runs."""


def ignore(key: Key, steps: int) -> None:
    """A progress that nobody sees."""


def measured(out: Path) -> dict[Key, tuple[tuple[Evaluation, ...], tuple[StageStart, ...]]]:
    """All numbers of an experiment that do not depend on when and where it ran."""
    return {key: (run.evaluations, run.stages) for key, run in load_results(out).runs.items()}


def reproduce(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["reproduce", *arguments])


def with_dropout(data: Data, width: float) -> nn.Module:
    """A network for digits that draws random numbers and has running statistics."""
    units = round(16 * width)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(units, data.classes),
    )  # fmt: skip
