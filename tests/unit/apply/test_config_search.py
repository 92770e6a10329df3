"""Configurations whose student is found by going back, or in a field that said nothing before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net import Plan
from net2net.errors import PlanError
from tests.helpers import assert_exact, noise, randomise, shapes, untouched, widen


class Config:
    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def to_dict(self) -> dict[str, Any]:
        return copy.deepcopy(vars(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        return cls(**data)


class Attention(nn.Module):
    """Heads of queries and fewer of keys; the size of each may be said, or follow from the width;
    so may that of the inner layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, heads = config.width, config.heads
        self.size = config.size or width // heads
        self.groups = heads // config.key_heads
        self.stem = nn.Linear(3, width)
        self.q = nn.Linear(width, heads * self.size)
        self.k = nn.Linear(width, config.key_heads * self.size)
        self.v = nn.Linear(width, config.key_heads * self.size)
        self.o = nn.Linear(heads * self.size, width)
        self.up = nn.Linear(width, config.inner or 4 * width)
        self.down = nn.Linear(config.inner or 4 * width, width)
        self.register_buffer("turns", torch.linspace(1, 2, self.size // 2))
        self.low, self.high = nn.Linear(width, config.rank), nn.Linear(config.rank, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        shape = (*x.shape[:2], -1, self.size)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        q = q * torch.cat([self.turns, self.turns])
        k, v = (part.repeat_interleave(self.groups, 1) for part in (k, v))
        mixed = torch.softmax(q @ k.mT, -1) @ v
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        return self.head(x + self.down(self.up(x).relu()) + self.high(self.low(x)))


def attention(**changed: Any) -> nn.Module:
    values = {"width": 16, "heads": 4, "key_heads": 2, "size": None, "inner": None, "pad": None}
    return randomise(Attention(Config(**{**values, "rank": 1, **changed})))


@pytest.mark.parametrize(
    ("given", "widths", "changed"),
    [
        # the size of heads would fit more at first
        ({"size": 8}, 2.0, {"width": 32, "heads": 8, "key_heads": 4, "rank": 2}),
        ({"size": 8}, 1.5, {"width": 24, "heads": 6, "key_heads": 3, "rank": 2}),
        ({}, 2.0, {"width": 32, "heads": 8, "key_heads": 4, "rank": 2}),
        ({}, {"up": 2.0}, {"inner": 128}),
        ({}, {"stem": 2.0}, {"width": 32, "size": 4, "inner": 64}),
        ({}, {"stem": 1.5, "up": 1.5}, {"width": 24, "size": 4}),
        (
            {},
            {"stem": 1.5, "up": 1.5, "q": 2.0},
            {"width": 24, "heads": 8, "key_heads": 4, "size": 4},
        ),
        ({}, {"low": 3}, {"rank": 3}),
    ],
)
def test_the_config_of_the_student_is_found(
    given: dict[str, int], widths: Any, changed: dict[str, int]
) -> None:
    teacher, x = attention(**given), noise(2, 5, 3)
    growth = widen(teacher, widths, x)
    assert not growth.report.notes
    before, after = (model.config.to_dict() for model in (teacher, growth.model))
    found = {name: value for name, value in after.items() if value != before[name]}
    assert found == changed
    built = Attention(growth.model.config).double().eval()
    assert shapes(built) == shapes(growth.model)
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built, x)


class Strict(Config):
    """Loaded only if the heads divide the width, whatever their size."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Strict:
        if data["width"] % data["heads"]:
            raise ValueError(f"{data['width']} is no multiple of {data['heads']} heads.")
        return cls(**data)


def strict(kind: type[Attention] = Attention) -> nn.Module:
    values = {"width": 24, "heads": 3, "key_heads": 1, "size": 8, "inner": None, "rank": 1}
    return randomise(kind(Strict(**values)))


def test_a_config_that_its_class_refuses_is_told_with_its_reason() -> None:
    teacher = strict()
    growth = widen(teacher, 1.5, noise(2, 5, 3))
    (note,) = growth.report.notes
    assert "width=36, heads=5, rank=2 would, and its class refuses that" in note
    assert '"36 is no multiple of 5 heads"' in note and "loadable=True" in note
    assert growth.model.config.to_dict() == teacher.config.to_dict()


def test_a_number_that_code_reads_from_the_config_is_refused_only_together_with_others() -> None:
    class Reads(Attention):
        """Six heads are no divisor of a width of 27, but of one of 54."""

        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.more = nn.Linear(config.heads * self.size, 3)

        def forward(self, x: Tensor) -> Tensor:
            heads = self.q(self.stem(x)).view(*x.shape[:2], self.config.heads, self.size)
            return super().forward(x) + self.more(heads.flatten(2))  # type: ignore[no-any-return]

    values = {"width": 27, "heads": 3, "key_heads": 3, "size": 8, "inner": 2, "rank": 2}
    teacher = randomise(Reads(Strict(**values)))
    growth = widen(teacher, 2.0, noise(2, 5, 3))
    assert not [note for note in growth.report.notes if "config" in note]
    assert (growth.model.config.width, growth.model.config.heads) == (54, 6)


def test_a_plan_sets_a_field_only_where_the_config_has_it() -> None:
    teacher = attention()
    plan = widen(teacher, {"up": 2.0}, noise(2, 5, 3)).plan
    assert Plan.from_json(plan.to_json()).apply(teacher).config.inner == 128
    other = copy.deepcopy(teacher)
    del other.config.inner
    with untouched(teacher), pytest.raises(PlanError, match="no such size"):
        plan.apply(other)
