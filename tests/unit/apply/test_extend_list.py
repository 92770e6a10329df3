"""A list gets blocks: a plan put together by hand, as data and applied."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net import Plan
from net2net.apply.attributes import SetAttribute
from net2net.apply.edits import renamed
from net2net.apply.extend_list import ExtendList
from net2net.apply.fingerprint import fingerprint
from net2net.errors import PlanError
from net2net.recipe.fill import Constant
from net2net.recipe.recipe import Recipe
from tests.helpers import assert_exact, noise, randomise, same_bits, tensors, untouched

X = noise(5, 6)


class Block(nn.Module):
    """x + down(relu(norm(up(x)))), and a number that says where it stands."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.up, self.norm, self.down = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.norm(self.up(x)).relu())
        return out


class Listed(nn.Module):
    """A list of blocks between two layers."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.blocks = nn.ModuleList([Block(i) for i in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x)
        return out


def named(*names: str) -> nn.Sequential:
    """A stack that is the model, its blocks under names."""
    return nn.Sequential(OrderedDict((name, Block(i)) for i, name in enumerate(names)))


LISTED = ExtendList("blocks", (("0", "0"), ("1", "0"), ("2", "1"), ("3", "1")))
NAMED = ExtendList("", (("first", "a"), ("a", "a"), ("b", "b")))
CASES = {
    "a list": (Listed(2), Listed(4), LISTED),
    "a stack under names": (named("a", "b"), named("first", "a", "b"), NAMED),
}


def plan_of(teacher: nn.Module, like: nn.Module, edit: ExtendList) -> Plan:
    """New blocks copy the block that they are like, and their last layer is zero."""
    start = f"{edit.at}." if edit.at else ""
    before = {new: old for old, new in renamed([edit], tensors(teacher)).items()}
    recipes = {}
    for name in tensors(like):
        block, _, rest = name.removeprefix(start).partition(".")
        new = name.startswith(start) and block in edit.added
        source = f"{start}{edit.added[block]}.{rest}" if new else before[name]
        recipes[name] = Recipe(source, fill=Constant(0.0) if new and "down" in rest else None)
    numbers = [
        SetAttribute(f"{start}{name}", "number", i) for i, (name, _) in enumerate(edit.blocks)
    ]
    return Plan(
        "deepen", "copy", 0, fingerprint(teacher), fingerprint(like), recipes, (edit, *numbers)
    )


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module, ExtendList]:
    teacher, like, edit = CASES[request.param]
    return randomise(teacher.double()).eval(), like.double(), edit


def test_the_student_has_the_blocks_and_computes_the_same(case: Any, tmp_path: Path) -> None:
    teacher, like, edit = case
    plan = plan_of(teacher, like, edit)
    with untouched(teacher):
        student = plan.apply(teacher)
    assert list(tensors(student)) == list(tensors(like)) and repr(student) == repr(like)
    blocks = list(student.get_submodule(edit.at).children())
    assert [block.number for block in blocks] == list(range(len(edit.blocks)))
    assert_exact(teacher, student, X)
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.edits == plan.edits and same_bits(again.apply(teacher), student)
    state = again.apply(teacher.state_dict())
    assert {name: list(map(float, t.flatten())) for name, t in state.items()} == {
        name: list(map(float, t.flatten())) for name, t in student.state_dict().items()
    }


def test_every_block_has_tensors_of_its_own(case: Any) -> None:
    teacher, like, edit = case
    student = plan_of(teacher, like, edit).apply(teacher).train()
    before = {name: tensor.clone() for name, tensor in tensors(student).items()}
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
    student(X).square().sum().backward()
    optimiser.step()
    changed = [name for name, t in student.named_parameters() if not torch.equal(t, before[name])]
    # behind a layer of zeros nothing learns in the first step
    behind = [f"{edit.at}.{name}".removeprefix(".") for name in edit.added]
    still = [f"{name}.{part}" for name in behind for part in ("up", "norm")]
    assert [
        n for n, _ in student.named_parameters() if n.rpartition(".")[0] not in still
    ] == changed


def test_it_prints() -> None:
    teacher, like, edit = CASES["a list"]
    assert "new blocks in blocks: 1 like 0, 3 like 1" in str(plan_of(teacher, like, edit))


def test_names_before_and_after() -> None:
    names = ["stem.weight", "blocks.0.up.weight", "blocks.1.up.weight", "blocks_1.x", "norm"]
    assert list(renamed([LISTED], names).values()) == [
        "stem.weight", "blocks.0.up.weight", "blocks.2.up.weight", "blocks_1.x", "norm",
    ]  # fmt: skip
    assert renamed([NAMED], ["a.up.bias", "b.up.bias"]) == {
        "a.up.bias": "first.up.bias", "b.up.bias": "b.up.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "nowhere"},
        {"at": "head"},
        {"at": 3},
        {"blocks": []},
        {"blocks": 3},
        {"blocks": [3]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "1"], ["3"]]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "1"], [3, 1]]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "1"], ["3", []]]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "1"], ["3", "9"]]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "0"], ["3", "0"]]},
        {"blocks": [["0", "0"], ["1", "0"], ["1", "1"], ["3", "1"]]},
        {"blocks": [["0", "0"], ["1", "0"], ["3", "1"], ["2", "1"]]},
        {"blocks": [["0", "0"], ["1", "0"], ["2", "1"]]},
    ],
    ids=str,
)
def test_a_damaged_plan(changes: dict[str, Any]) -> None:
    teacher, like, edit = CASES["a list"]
    data = json.loads(plan_of(teacher, like, edit).to_json())
    data["edits"][0].update(changes)
    with untouched(teacher), pytest.raises(PlanError):
        Plan.from_json(json.dumps(data), checked=False).apply(teacher)


@pytest.mark.parametrize("name", ["forward", "a.b", ""])
def test_a_name_that_no_block_can_have(name: str) -> None:
    teacher, like, _ = CASES["a stack under names"]
    edit = replace(NAMED, blocks=(("a", "a"), ("b", "b"), (name, "a")))
    plan = replace(plan_of(teacher, like, NAMED), edits=(edit,))
    with untouched(teacher), pytest.raises(PlanError, match="do not fit at ''"):
        plan.apply(teacher)
