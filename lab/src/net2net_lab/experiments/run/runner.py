"""One run of an experiment: trained from where it was left, recorded, and taken note of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from net2net_lab.experiments.machine import environment
from net2net_lab.experiments.plan import TEACHER, Experiment, Key
from net2net_lab.experiments.run import checkpoint
from net2net_lab.experiments.run.faults import disk_told, memory_told
from net2net_lab.experiments.run.life import Life
from net2net_lab.experiments.run.records import Run, Start, write_run
from net2net_lab.experiments.run.results import complete_run, run_paths
from net2net_lab.experiments.run.train import DivergedError
from net2net_lab.experiments.run.waiting import Queue

logger = logging.getLogger(__name__)

Progress = Callable[[Key, int], None]
"""Called with the run and how many more of its training steps are done."""


@dataclass
class Runner:
    """What carries out single runs of an experiment."""

    experiment: Experiment
    out: Path
    paths: dict[Key, Path] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = run_paths(self.experiment, self.out)

    def is_complete(self, key: Key) -> bool:
        """Whether the run need not be done again."""
        run = complete_run(self.paths[key])
        if run is None:
            return False
        if key.arm == TEACHER and run.fault is None and self._teacher(key.seed) is None:
            logger.warning("The weights of %s cannot be read: it is trained again.", key)
            return False
        return True

    def carry_out(self, key: Key, progress: Progress) -> None:
        """Train what the run trains, from where it was left, and record it."""
        batch_size, machine = self.experiment.schedule.batch_size, self.experiment.machine
        with disk_told(), memory_told(f"run {key}", batch_size), machine.random(key.seed):
            life = Life(self.experiment, key, self._model(key))
            run = self._recorded(key, life, progress)
            if key.arm == TEACHER and run.fault is None:
                checkpoint.save(self._weights(key.seed), life.training.model.state_dict())
            write_run(self.paths[key], run)
            self._progress(key).unlink(missing_ok=True)

    def _recorded(self, key: Key, life: Life, progress: Progress) -> Run:
        teacher = None
        if self.experiment.takes_over(key.arm):
            teacher = complete_run(self.paths[Key(TEACHER, key.seed)])
        done = list(teacher.evaluations) if teacher else []
        first = teacher.start if teacher else life.starts[0]
        start = Start(
            arm=key.arm,
            seed=key.seed,
            lr=first.lr,
            parameters=first.parameters,
            config=self.experiment.config(key),
            flops_per_step=first.flops_per_step,
            environment=environment(self.experiment.machine.device),
        )
        seconds, fault = 0.0, None
        kept = checkpoint.load_progress(self._progress(key))
        if kept is not None:
            state, done, seconds = kept
            life.restore(state)
        if done:
            progress(key, done[-1].step)
        begin = time.perf_counter() - seconds
        try:
            for one in life.evaluations(measured=kept is not None):
                progress(key, one.step - (done[-1].step if done else 0))
                done.append(one)
                spent = time.perf_counter() - begin
                checkpoint.save_progress(self._progress(key), life.state(), done, spent)
        except DivergedError as error:
            fault = str(error)
            progress(key, self.experiment.steps_of(key) - (done[-1].step if done else 0))
        stages = tuple(life.starts if teacher else life.starts[1:])
        return Run(start, tuple(done), time.perf_counter() - begin, fault, stages)

    def _model(self, key: Key) -> nn.Module:
        if key.arm == TEACHER:
            return self.experiment.teacher(key.seed)
        teacher = self._teacher(key.seed)
        assert teacher is not None, "the teacher's run is complete"
        return teacher

    def _teacher(self, seed: int) -> nn.Module | None:
        """The trained teacher; None if its weights cannot be read."""
        teacher = self.experiment.teacher(seed)
        state = checkpoint.load(self._weights(seed))
        try:
            teacher.load_state_dict(state or {})
        except RuntimeError:
            return None
        return teacher.eval()

    def _weights(self, seed: int) -> Path:
        return self.paths[Key(TEACHER, seed)].with_suffix(".pt")

    def _progress(self, key: Key) -> Path:
        return self.paths[key].with_suffix(".part.pt")


def finish(runner: Runner, queue: Queue, key: Key, progress: Progress) -> None:
    """Take note of a run that has ended, for good or ill."""
    run = complete_run(runner.paths[key])
    assert run is not None, "it was written a moment ago"
    if run.fault:
        logger.warning("%s was stopped: %s. The other runs go on.", key, run.fault)
    else:
        last = run.evaluations[-1]
        logger.info("%s: %.2f %% after %d steps", key, 100 * run.final, last.step)
    for dropped in queue.finished(key, usable=run.fault is None):
        logger.warning("%s is left out: its teacher was stopped.", dropped)
        progress(dropped, runner.experiment.steps_of(dropped))
