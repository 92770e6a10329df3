"""A longer student's ``config`` builds it: numbers, lists by block, numbers of blocks, stages."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from torch import Tensor, nn

import net2net
from net2net import Plan
from tests.helpers import assert_exact, deepen, noise, randomise

X = noise(4, 6)


class Config:
    """As model libraries have them."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def to_dict(self) -> dict[str, Any]:
        return copy.deepcopy(vars(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        if len(data["kinds"]) != data["layers"] or max(data["crossing"]) >= data["layers"]:
            raise ValueError("one kind for each layer")
        return cls(**data)


class Block(nn.Module):
    def __init__(self, config: Config, number: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self.kind = config, number, config.kinds[number]
        self.cross = number in config.crossing
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)
        self.drop_prob = config.rate * number / max(config.layers - 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flip(-1) if self.cross else x
        out: Tensor = x + self.down(self.up(h).relu())
        return out


class Layered(nn.Module):
    """Runs as many layers as its configuration says."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.count = config, config.layers
        self.layers = nn.ModuleList([Block(config, i) for i in range(config.layers)])
        self.head = nn.Linear(6, config.labels)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[: self.config.layers]:
            x = layer(x)
        out: Tensor = self.head(x)
        return out


def layered(**changed: Any) -> nn.Module:
    values = {
        "labels": 4, "layers": 4, "kinds": ["a", "b", "a", "b"], "crossing": [1, 3], "rate": 0.3,
        "heads": 4, "names": ["w", "x", "y", "z"],
    }  # fmt: skip
    return randomise(Layered(Config(**{**values, **changed})))


def test_the_class_builds_the_student_from_its_config() -> None:
    teacher = layered()
    growth = deepen(teacher, {"layers": 2}, X)
    student = growth.model
    assert not growth.report.notes
    assert student.config.to_dict() == {
        "labels": 4, "layers": 6, "kinds": ["a", "b"] * 3, "crossing": [1, 3, 5], "rate": 0.3,
        "heads": 4, "names": ["w", "x", "w", "x", "y", "z"],
    }  # fmt: skip
    assert student.count == 6 and teacher.config.layers == 4
    assert len({id(layer.config) for layer in student.layers}) == 1
    built = Layered(Config.from_dict(student.config.to_dict())).double().eval()
    built.load_state_dict(student.state_dict())
    assert_exact(teacher, built, X)
    for ours, theirs in zip(student.layers, built.layers, strict=True):
        assert (ours.layer_idx, ours.kind, ours.cross) == (
            theirs.layer_idx, theirs.kind, theirs.cross,
        )  # fmt: skip
        assert ours.drop_prob == pytest.approx(theirs.drop_prob)
    again = Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert again.config.to_dict() == student.config.to_dict()


def test_a_config_that_builds_something_else_is_told() -> None:
    """An adapter was put in: the class builds no such thing, but the layers run all the same."""
    teacher = layered()
    teacher.layers[0].up = nn.Sequential(teacher.layers[0].up, nn.Linear(8, 8)).double()
    growth = net2net.deepen(teacher, {"layers": 1}, X, order=[2])
    assert growth.model.config.layers == 5 and len(growth.model.layers) == 5
    assert any("loads by its state dict" in note for note in growth.report.notes)
    assert growth.report.parity is not None and growth.report.parity.exact


class Staged(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(
            [nn.ModuleList([Block(config, 0) for _ in range(n)]) for n in config.depths]
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x


def test_depths_of_stages() -> None:
    config = layered().config
    config.depths = [2, 2, 3]
    teacher = randomise(Staged(config))
    growth = deepen(teacher, {"stages.1": 2, "stages.2": 1}, X)
    assert growth.model.config.depths == [2, 4, 4] and growth.model.config.layers == 4
    assert not growth.report.notes
