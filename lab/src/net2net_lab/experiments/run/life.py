"""A run's life: its stages, one after the other. Most have a single one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from net2net_lab.experiments.lessons import Lesson
from net2net_lab.experiments.methods import Origin
from net2net_lab.experiments.plan import TEACHER, Experiment, Key
from net2net_lab.experiments.run.records import Evaluation, StageStart
from net2net_lab.experiments.run.train import Training


class Life:
    """The training of a run, in stages. Each trains a student of the network that was trained
    before, on as much of the data as there is by then; the optimiser and its schedule begin anew.

    Args:
        model: the trained teacher; of the teacher's own run the untrained one.
    """

    training: Training
    """Of the stage that it is in."""

    def __init__(self, experiment: Experiment, key: Key, model: nn.Module) -> None:
        self.experiment, self.key = experiment, key
        self.shares = experiment.shares(key)
        self.before = experiment.steps_of(key) - len(self.shares) * experiment.schedule.steps
        """Steps of the life that it took over from the teacher."""
        self._enter(0, model)
        self.starts = [self._start()]
        """Of the stages so far."""

    def evaluations(self, measured: bool = False) -> Iterator[Evaluation]:
        """Train through all stages, from where it is; steps count from the life's beginning. See
        ``Training.evaluations``."""
        while True:
            for one in self.training.evaluations(measured):
                yield replace(one, step=self._begin + one.step)
            if self._number + 1 == len(self.shares):
                return
            self._enter(self._number + 1, self.training.model)
            self.starts.append(self._start())
            measured = False

    def state(self) -> dict[str, Any]:
        """All that going on needs: of this moment, an evaluation."""
        return {
            "stage": self._number,
            "starts": [asdict(start) for start in self.starts],
            "training": self.training.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for number in range(1, state["stage"] + 1):  # for what grows, its weights do not matter
            self._enter(number, self.training.model)
        self.starts = [StageStart(**start) for start in state["starts"]]
        self.training.restore(state["training"])

    @property
    def _begin(self) -> int:
        """Step after which the stage begins."""
        return self.before + self._number * self.experiment.schedule.steps

    def _enter(self, number: int, model: nn.Module) -> None:
        self._number = number
        experiment, seed = self.experiment, self.key.seed
        data, lesson = experiment.data.part(self.shares[number]), Lesson()
        if self.key.arm != TEACHER:
            stage = experiment.arms[self.key.arm].stages[number]
            origin = Origin(experiment.network, model.cpu().eval(), data, seed)
            model = stage.student(origin)
            lesson = stage.lesson(origin, model)
        self.training = Training(
            model, data, experiment.schedule, experiment.rates(self.key.arm)[number], seed,
            experiment.machine, lesson,
        )  # fmt: skip

    def _start(self) -> StageStart:
        training = self.training
        return StageStart(
            step=self._begin,
            examples=training.data.size,
            lr=training.lr,
            parameters=sum(one.numel() for one in training.model.parameters()),
            flops_per_step=training.flops_per_step(),
        )
