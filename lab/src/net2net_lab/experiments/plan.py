"""The plan of an experiment: which figure, data, network and seeds, and the runs these make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

import net2net
from net2net_lab.experiments.data.data import Data
from net2net_lab.experiments.figures import FIGURES, Arm, Figure
from net2net_lab.experiments.machine import Machine
from net2net_lab.experiments.models import seeded
from net2net_lab.experiments.networks import Network, network
from net2net_lab.experiments.schedule import Schedule
from net2net_lab.experiments.tasks import load

TEACHER = "teacher"


@dataclass(frozen=True, order=True)
class Key:
    """One run of an experiment: the teacher's or an arm's, under a seed."""

    arm: str
    seed: int

    def __str__(self) -> str:
        return f"{self.arm}-seed{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """Everything that determines what is run; all of it plain data."""

    figure: str
    task: str
    model: str
    seeds: tuple[int, ...] = (0, 1, 2)
    schedule: Schedule = field(default_factory=Schedule)
    machine: Machine = field(default_factory=Machine)
    data_dir: str | None = None

    @property
    def entry(self) -> Figure:
        return FIGURES[self.figure]

    @property
    def arms(self) -> Mapping[str, Arm]:
        return self.entry.arms

    @property
    def questions(self) -> list[str]:
        return list(dict.fromkeys(arm.question for arm in self.arms.values()))

    def arms_of(self, question: str) -> list[str]:
        return [name for name, arm in self.arms.items() if arm.question == question]

    @property
    def keys(self) -> list[Key]:
        """All runs in their order: of each seed, first the teacher's."""
        return [Key(arm, seed) for seed in self.seeds for arm in (TEACHER, *self.arms)]

    @property
    def steps(self) -> int:
        """Training steps of all runs together."""
        return sum(map(self.steps_of, self.keys))

    def shares(self, key: Key) -> tuple[float, ...]:
        """How much of the training data there is in each stage of a run."""
        shares = self.entry.shares
        return shares[:1] if key.arm == TEACHER else shares[-len(self.arms[key.arm].stages) :]

    def steps_of(self, key: Key) -> int:
        """Training steps of a run, with those that it takes over from its teacher."""
        return self.schedule.steps * (1 if key.arm == TEACHER else len(self.entry.shares))

    def takes_over(self, arm: str) -> bool:
        """Whether the arm's life begins with its teacher's."""
        return arm != TEACHER and len(self.arms[arm].stages) < len(self.entry.shares)

    @property
    def data(self) -> Data:
        return load(self.task, self.data_dir)

    @property
    def network(self) -> Network:
        return network(self.model)

    def teacher(self, seed: int) -> nn.Module:
        """The teacher, untrained."""
        return seeded(lambda: self.network.build(self.data, self.entry.teacher), seed)

    @cached_property
    def _architecture(self) -> str:
        return str(self.teacher(0))

    def rates(self, arm: str) -> list[float]:
        """The learning rates that its stages start with."""
        scales = [1.0] if arm == TEACHER else [one.lr_scale for one in self.arms[arm].stages]
        return [self.schedule.lr * scale for scale in scales]

    def lr(self, arm: str) -> float:
        return self.rates(arm)[0]

    def config(self, key: Key) -> dict[str, Any]:
        """All that the numbers of a run depend on, as plain data."""
        config: dict[str, Any] = {
            "task": self.task,
            "examples": [self.data.size, *self.data.example.shape[1:]],
            "model": self.model,
            "teacher": self._architecture if key.arm == TEACHER else _hash(self._architecture),
            "arm": key.arm,
            "seed": key.seed,
            "lr": self.lr(key.arm),
            "schedule": asdict(self.schedule),
            "machine": asdict(self.machine),
            "versions": {"net2net": net2net.__version__, "torch": torch.__version__},
        }
        if len(self.entry.shares) > 1:
            config["shares"] = list(self.shares(key))
            config["rates"] = self.rates(key.arm)
        if key.arm != TEACHER:
            config["figure"] = self.figure
            config["noise"] = self.network.noise
        return config

    def file_name(self, key: Key) -> str:
        """Name of the run's records. A changed configuration is another file, so is run anew."""
        return f"{key}-{_hash(json.dumps(self.config(key), sort_keys=True))}.jsonl"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
