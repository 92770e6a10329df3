"""Carry out an experiment: the runs that are not complete yet, one after the other."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from net2net.experiments.arms import ARMS, Origin
from net2net.experiments.data import Data
from net2net.experiments.models import seeded
from net2net.experiments.plan import TEACHER, Experiment, Key
from net2net.experiments.records import End, Recorder, Run, Start, read_run, recording
from net2net.experiments.results import RUNS, Results, complete_run, save_experiment
from net2net.experiments.tasks import TASKS
from net2net.experiments.train import train

logger = logging.getLogger(__name__)

Progress = Callable[[Key, int], None]
"""Called with the run and how many more of its training steps are done."""


def run_experiment(experiment: Experiment, out: Path, progress: Progress) -> Results:
    """Do what is missing of an experiment, and return all of its runs."""
    (out / RUNS).mkdir(parents=True, exist_ok=True)
    paths = save_experiment(experiment, out)
    runner = _Runner(experiment, paths, TASKS[experiment.task].load(), progress)
    with _threads(experiment.schedule.threads):
        return Results(experiment, {key: runner.complete(key) for key in experiment.keys})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Runner:
    experiment: Experiment
    paths: dict[Key, Path]
    data: Data
    progress: Progress

    def weights_path(self, seed: int) -> Path:
        return self.paths[Key(TEACHER, seed)].with_suffix(".pt")

    def complete(self, key: Key) -> Run:
        """The run, from its file if that is complete."""
        run = complete_run(self.paths[key])
        if run is not None and key.arm == TEACHER and self.load_teacher(key.seed) is None:
            logger.warning("The weights of %s cannot be read: it is trained again.", key)
            run = None
        if run is not None:
            self.progress(key, self.experiment.schedule.steps)
            return run
        model = self.model(key)
        with recording(self.paths[key]) as recorder:
            self.record(key, model, recorder)
            if key.arm == TEACHER:
                self.save_teacher(key.seed, model)
        run = read_run(self.paths[key])
        logger.info("%s: %.2f %% after %d steps", key, 100 * run.final, run.evaluations[-1].step)
        return run

    def record(self, key: Key, model: nn.Module, recorder: Recorder) -> None:
        """Train the model and record it."""
        lr = self.experiment.lr(key.arm)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        recorder.add(Start(key.arm, key.seed, lr, parameters, self.experiment.config(key)))
        begin, steps = time.perf_counter(), [0]
        for evaluation in train(model, self.data, self.experiment.schedule, lr=lr, seed=key.seed):
            recorder.add(evaluation)
            self.progress(key, evaluation.step - steps[-1])
            steps.append(evaluation.step)
        recorder.add(End(len(steps) - 1, time.perf_counter() - begin))

    def model(self, key: Key) -> nn.Module:
        """What the run trains."""
        task = TASKS[self.experiment.task]
        if key.arm == TEACHER:
            return seeded(task.build, key.seed)
        teacher = self.load_teacher(key.seed)
        assert teacher is not None, "the teacher's run is complete"
        return ARMS[key.arm].student(Origin(task, teacher, self.data, key.seed))

    def save_teacher(self, seed: int, model: nn.Module) -> None:
        """Keep the trained weights, for the students of a resumed experiment."""
        path = self.weights_path(seed)
        part = path.with_name(path.name + ".part")
        torch.save(model.state_dict(), part)
        part.replace(path)

    def load_teacher(self, seed: int) -> nn.Module | None:
        """The trained teacher; None if its weights cannot be read."""
        teacher = seeded(TASKS[self.experiment.task].build, seed)
        try:
            teacher.load_state_dict(torch.load(self.weights_path(seed), weights_only=True))
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
            return None
        return teacher.eval()
