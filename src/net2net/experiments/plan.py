"""The plan of an experiment: which arms, which seeds, which schedule, and the runs these make."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import net2net
from net2net.experiments.arms import ARMS
from net2net.experiments.models import seeded
from net2net.experiments.schedule import Schedule
from net2net.experiments.tasks import TASKS

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
    """Everything that determines what is run."""

    name: str = "demo"
    task: str = "digits"
    arms: tuple[str, ...] = tuple(ARMS)
    seeds: tuple[int, ...] = (0, 1, 2)
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def questions(self) -> list[str]:
        return list(dict.fromkeys(ARMS[name].question for name in self.arms))

    def arms_of(self, question: str) -> list[str]:
        return [name for name in self.arms if ARMS[name].question == question]

    @property
    def keys(self) -> list[Key]:
        """All runs in their order: of each seed, first the teacher's."""
        return [Key(arm, seed) for seed in self.seeds for arm in (TEACHER, *self.arms)]

    @property
    def steps(self) -> int:
        """Training steps of all runs together."""
        return len(self.keys) * self.schedule.steps

    def lr(self, arm: str) -> float:
        return self.schedule.lr * (1.0 if arm == TEACHER else ARMS[arm].lr_scale)

    def config(self, key: Key) -> dict[str, Any]:
        """All that the numbers of a run depend on, as plain data."""
        task = TASKS[self.task]
        config: dict[str, Any] = {
            "task": self.task,
            "teacher": str(seeded(task.build, 0)),
            "arm": key.arm,
            "seed": key.seed,
            "lr": self.lr(key.arm),
            "schedule": asdict(self.schedule),
            "versions": {"net2net": net2net.__version__, "torch": torch.__version__},
        }
        if key.arm != TEACHER:
            config["growth"] = task.growth
        return config

    def file_name(self, key: Key) -> str:
        """Name of the run's records. A changed configuration is another file, so is run anew."""
        text = json.dumps(self.config(key), sort_keys=True)
        return f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.jsonl"
