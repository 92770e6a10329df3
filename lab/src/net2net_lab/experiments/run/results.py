"""Results of an experiment in a directory: what was to be run, and the runs that are complete."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from net2net.errors import Net2NetError
from net2net.files import write_whole
from net2net_lab.experiments.machine import Machine
from net2net_lab.experiments.methods import Role
from net2net_lab.experiments.plan import TEACHER, Experiment, Key
from net2net_lab.experiments.run.records import BrokenRunError, Run, read_run
from net2net_lab.experiments.schedule import Schedule

logger = logging.getLogger(__name__)

RUNS = "runs"
"""Subdirectory of the records."""


class NoResultsError(Net2NetError):
    """A directory without an experiment, or without the runs that are needed to draw it."""


@dataclass(frozen=True)
class Results:
    """An experiment and its complete runs."""

    experiment: Experiment
    runs: dict[Key, Run]

    @property
    def missing(self) -> list[Key]:
        return [key for key in self.experiment.keys if key not in self.runs]

    @property
    def faults(self) -> dict[Key, str]:
        """Runs that were stopped, and why."""
        return {key: run.fault for key, run in self.runs.items() if run.fault}

    def of(self, arm: str) -> list[Run]:
        """The runs of an arm that went to their end, if their teacher's did too."""
        return [
            self.runs[Key(arm, seed)]
            for seed in self.experiment.seeds
            if self._usable(Key(arm, seed)) and self._usable(Key(TEACHER, seed))
        ]

    def _usable(self, key: Key) -> bool:
        return key in self.runs and self.runs[key].fault is None

    def adds_teacher(self, arm: str) -> bool:
        """Whether the arm needs a teacher whose compute its own records leave out."""
        new = self.experiment.arms[arm].role is Role.SCRATCH
        return not new and not self.experiment.takes_over(arm)

    def teacher(self, run: Run) -> Run:
        """The run of the teacher that this run's student was made from."""
        return self.runs[Key(TEACHER, run.start.seed)]


def save_experiment(experiment: Experiment, out: Path) -> None:
    """Write down what is run in this directory, and which files hold its runs."""
    files = [experiment.file_name(key) for key in experiment.keys]
    saved = {"experiment": asdict(experiment), "files": files}
    write_whole(out / "experiment.json", json.dumps(saved, indent=2) + "\n")


def run_paths(experiment: Experiment, out: Path) -> dict[Key, Path]:
    """Which files hold the runs of an experiment."""
    return {key: out / RUNS / experiment.file_name(key) for key in experiment.keys}


def load_results(out: Path) -> Results:
    """Read an experiment back; of its runs, those that are complete."""
    path = out / "experiment.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        experiment = _experiment(saved["experiment"])
        files = {name.rpartition("-")[0]: name for name in saved["files"]}
        # Since then, the figure may have got an arm.
        paths = {key: out / RUNS / files[str(key)] for key in experiment.keys if str(key) in files}
    except FileNotFoundError:
        raise NoResultsError(
            f"There is no experiment in '{out}'. Run it first, without rendering only."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoResultsError(
            f"'{path}' cannot be read as an experiment. Delete it and run the experiment again."
        ) from error
    runs = {key: complete_run(path) for key, path in paths.items()}
    return Results(experiment, {key: run for key, run in runs.items() if run is not None})


def complete_run(path: Path) -> Run | None:
    """The run of this file; None if it is not complete, with a warning if it should be."""
    if not path.exists():
        return None
    try:
        return read_run(path)
    except BrokenRunError as error:
        logger.warning("%s The run does not count and must be done again.", error)
        return None


def _experiment(fields: dict[str, Any]) -> Experiment:
    return Experiment(
        **{
            **fields,
            "seeds": tuple(fields["seeds"]),
            "schedule": Schedule(**fields["schedule"]),
            "machine": Machine(**fields["machine"]),
        }
    )
