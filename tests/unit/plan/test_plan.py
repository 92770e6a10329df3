"""Plans: plain data that does it again, bit for bit; what is no plan, or not of this teacher."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import net2net
from net2net import Growth, Plan
from net2net.errors import PlanError
from net2net.recipe.draw import QUANTILES
from tests.behaviour import test_tied
from tests.behaviour.test_head_sizes import Attention
from tests.helpers import (
    Written,
    assert_exact,
    image_model,
    noise,
    randomise,
    same_bits,
    tensors,
    untouched,
)

X = noise(2, 3, 8, 8)


def grow(kind: str, **options: Any) -> tuple[nn.Module, Growth]:
    teacher = image_model()
    if kind == "widen":
        return teacher, net2net.widen(teacher, {"0": 7, "3": 1.5}, X, seed=3, **options)
    return teacher, net2net.deepen(teacher, {"0": 2, "8": 1}, X, calibrate=[noise(8, 3, 8, 8)])


KINDS = pytest.mark.parametrize("kind", ["widen", "deepen"])
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("widen", {}),
    ("widen", {"noise": 0.1}),
    ("widen", {"method": "random_pad"}),
    ("widen", {"balanced": False}),
    ("deepen", {}),
]


@pytest.mark.parametrize(("kind", "options"), WAYS, ids=str)
def test_a_plan_applied_again_gives_the_same_bits(kind: str, options: dict[str, Any]) -> None:
    teacher, growth = grow(kind, **options)
    for plan in (growth.plan, Plan.from_json(growth.plan.to_json())):
        with untouched(teacher):
            assert same_bits(plan.apply(teacher), growth.model)
        assert same_bits(plan.apply(copy.deepcopy(teacher)), growth.model)
    assert same_bits(growth.plan.apply(image_model()), growth.model)


@KINDS
def test_a_plan_is_json_types_only(kind: str) -> None:
    _, growth = grow(kind)
    text = growth.plan.to_json()
    data = json.loads(text)
    assert {"format", "kind", "teacher", "recipes"} <= set(data) and data["kind"] == kind
    assert Plan.from_json(text).to_json() == text


@KINDS
def test_save_and_load(kind: str, tmp_path: Path) -> None:
    teacher, growth = grow(kind)
    path = tmp_path / "plan.json"
    for where in (path, str(path)):  # a second time, over the first
        growth.plan.save(where)
        assert same_bits(Plan.load(where).apply(teacher), growth.model)
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, growth = grow("widen")
    path = tmp_path / "plan.json"
    growth.plan.save(path)
    before = path.read_text()

    def fails(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="disk full"):
        growth.plan.save(path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_prints() -> None:
    _, widened = grow("widen")
    text = str(widened.plan)
    assert all(
        word in text for word in ("widen", "fresh", "seed 3", "0.weight", "4 → 7", "consumes")
    )
    _, deepened = grow("deepen")
    assert "2 identity layers after 1" in str(deepened.plan) and "8" in str(deepened.plan)


def test_a_plan_predicts_the_parameters() -> None:
    _, growth = grow("widen")
    predicted = growth.plan.parameters
    assert predicted == sum(tensor.numel() for tensor in tensors(growth.model).values())
    wide = (3 * 9 + 1) * 7 + 4 * 7 + 1 + (7 * 9 + 1) * 9 + 4 * 9 + 1 + (9 * 4 + 1) * 5 + (5 + 1) * 3
    assert predicted == wide


def test_a_plan_applies_to_a_teacher_that_trained_on() -> None:
    """Maps and shares, not values: another teacher of these shapes grows the same way, exactly."""
    _, growth = grow("widen")
    other = randomise(image_model(), seed=99)
    student = growth.plan.apply(other)
    assert not same_bits(student, growth.model)
    assert_exact(other, student, X)


def test_plans_of_a_chain_apply_in_order() -> None:
    teacher = image_model()
    plans, model = [], teacher
    for step in range(4):
        if step % 2:
            growth = net2net.deepen(model, {"*8*" if step == 1 else "3*": 1}, X)
        else:
            growth = net2net.widen(model, 1.5, X, seed=step)
        plans.append(growth.plan.to_json())
        model = growth.model
    again = copy.deepcopy(teacher)
    for text in plans:
        again = Plan.from_json(text).apply(again)
    assert same_bits(again, model)
    assert_exact(teacher, again, X)


def test_models_with_tied_weights_and_buffers() -> None:
    teacher = randomise(test_tied.Tied())
    growth = net2net.widen(teacher, 1.5, torch.arange(10).view(2, 5))
    again = Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert same_bits(again, growth.model) and again.head.weight is again.embed.weight


# -- what is no plan, or not of this teacher -------------------------------------------------------


@KINDS
def test_another_teacher(kind: str) -> None:
    """The message names the first tensor that differs, and both shapes."""
    teacher, growth = grow(kind)
    other = net2net.widen(teacher, {"0": 5}, X).model
    with (
        untouched(other),
        pytest.raises(PlanError, match=r"'0\.weight'.*\[4, 3, 3, 3\].*\[5, 3, 3, 3\]"),
    ):
        growth.plan.apply(other)
    fewer = nn.Sequential(*list(teacher.children())[:-1])
    with pytest.raises(PlanError, match=r"'10\.weight'.*None"):
        growth.plan.apply(fewer)
    with pytest.raises(PlanError, match=r"'11\.weight'"):
        growth.plan.apply(nn.Sequential(*teacher.children(), nn.Linear(3, 3)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"plan"',
        "{}",
        '{"format": "net2net-plan-1"}',
        '{"format": "net2net-plan-2"}',
        "[" * 100_000,
        '{"format": ' * 5_000,
    ],
    ids=lambda text: text[:20],
)
def test_no_plan(text: str) -> None:
    with pytest.raises(PlanError, match=r"Plan\.to_json"):
        Plan.from_json(text)


TEXTS = {kind: grow(kind)[1].plan.to_json() for kind in ("widen", "deepen")}


def changed(made: str, changes: dict[str, Any]) -> str:
    """A plan's JSON with other values at some places: ``maps__0__0``."""
    data = json.loads(TEXTS[made])
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = data
        for key in parents:
            place = place[int(key) if isinstance(place, list) else key.replace("_", ".")]
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(data)


def test_another_version() -> None:
    with pytest.raises(PlanError, match=r"net2net-plan-99.*net2net-plan-2"):
        Plan.from_json(changed("widen", {"format": "net2net-plan-99"}))
    with pytest.raises(PlanError):
        Plan.from_json(changed("widen", {"kind": "shrink"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"maps__0__index__0": 4000},
        {"maps__0__index__0": -3},
        {"maps__0__index__0": "a"},
        {"maps__0__index__0": 0.5},
        {"maps__0__index__0": True},
        {"maps__0__divisor": [0] * 7},
        {"maps__0__divisor": [1]},
        {"maps__0__scale": [float("inf")] * 7},
        {"maps__0__scale": [1e30] * 7},
        {"maps": 3},
        {"recipes__0_weight__axes__0": [9, "produces", 0]},
        {"recipes__0_weight__axes__0": [-1, "produces", 0]},
        {"recipes__0_weight__axes__0": [0, "produces", 99]},
        {"recipes__0_weight__axes__0": [0, "steals", 0]},
        {"recipes__0_weight__axes__0": [0, "produces"]},
        {"recipes__0_weight__axes__0": [0.0, "produces", 0]},
        {"recipes__0_weight__source": "nowhere"},
        {"recipes__0_weight__source": 3},
        {"recipes__0_weight__noise": ["loud", 1.0]},
        {"recipes__0_weight__noise": [-1.0, 1.0]},
        {"recipes__0_weight__noise": [1.0, float("nan")]},
        {"recipes__0_weight__new": ["spread", 1.0]},
        {"recipes__0_weight__norm": ["nowhere", 0]},
        {"recipes__0_weight__fill": ["eye", ["a"], None]},
        {"recipes__0_weight__fill": ["eye", None, [9, 9]]},
        {"recipes__0_weight__fill": ["values", [1.0]]},
        {"recipes__0_weight__fill": ["constant", 1e999]},
        {"recipes__nothing": {"source": "0.weight"}},
        {"edits__0": {"edit": "set_attribute", "path": "nowhere", "name": "out", "value": 3}},
        {"edits__0": {"edit": "set_attribute", "path": "0", "name": "no_such", "value": 3}},
        {"edits__0": {"edit": "set_attribute", "path": "0", "name": "forward", "value": 3}},
        {"edits__0": {"edit": "set_attribute", "path": "0", "name": "__class__", "value": 3}},
        {"edits__0": {"edit": "steal"}},
        {"edits__0": 7},
        {"method": 3},
        {"seed": None},
        {"seed": 1.5},
        {"built": 1},
        {"teacher": []},
        {"teacher__tensors__0_weight": [[4, 3, 3, 3.0], "float64"]},
        {"teacher__tensors__0_weight": [[4, 3, 3, 3], "int99"]},
        {"student__tensors__0_weight": [[10**9, 3, 3, 3], "float64"]},
        {"student__tensors__0_weight": [[10**13, 3, 3, 3], "float64"]},
        {"student__tensors__0_weight": [[10**30, 3, 3, 3], "float64"]},
        {"student__ties": {"a": "nowhere"}},
    ],
    ids=str,
)
def test_a_damaged_plan_of_widening(changes: dict[str, Any]) -> None:
    """Refused when it is read, or when it is applied; never a broken student, never a raw error."""
    text = changed("widen", changes)
    with untouched(teacher := image_model()), pytest.raises(PlanError):
        Plan.from_json(text, checked=False).apply(teacher)


@pytest.mark.parametrize(
    "changes",
    [
        {"edits__0__at": "nowhere"},
        {"edits__0__at": 3},
        {"edits__0__count": -1},
        {"edits__0__count": "many"},
        {"edits__0__count": 1},
        {"edits__0__layers": {"nowhere": []}},
        {"edits__0__layers": {}},
        {"edits__0__activation": "nowhere"},
        {"edits__0__activation": ["steal", {}]},
        {"edits__0__norms": ["nowhere"]},
        {"edits__0__extra": 1},
        {"edits": 3},
        {"edits": []},
    ],
    ids=str,
)
def test_a_damaged_plan_of_deepening(changes: dict[str, Any]) -> None:
    text = changed("deepen", changes)
    with untouched(teacher := image_model()), pytest.raises(PlanError):
        Plan.from_json(text, checked=False).apply(teacher)


@given(st.sampled_from(["widen", "deepen"]), st.data())
@settings(max_examples=40)
def test_a_plan_with_a_piece_cut_out_is_refused(kind: str, data: st.DataObject) -> None:
    """Truncated downloads, lost bytes."""
    text = TEXTS[kind]
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, min(start + 40, len(text))))
    try:
        student = Plan.from_json(text[:start] + text[end:]).apply(image_model())
    except PlanError:
        return
    student(X)  # what is still a plan makes a whole model


@pytest.mark.parametrize("wrong", [None, 3, "model", {"0.weight": 3}, [torch.ones(1)]], ids=str)
def test_what_a_plan_does_not_apply_to(wrong: Any) -> None:
    with pytest.raises(PlanError, match="copy of the teacher"):
        grow("widen")[1].plan.apply(wrong)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\x80\x02PK\xff")
    with pytest.raises(PlanError, match=r"plan\.json' is no text"):
        Plan.load(path)


def test_a_plan_edited_by_hand_can_be_signed_again(tmp_path: Path) -> None:
    """Read without its checksum and saved, it has one of its own."""
    _, growth = grow("widen")
    path = tmp_path / "plan.json"
    data = json.loads(growth.plan.to_json())
    data["seed"] = 4
    path.write_text(json.dumps(data))
    with pytest.raises(PlanError, match=r"checked=False"):
        Plan.load(path)
    Plan.load(path, checked=False).save(path)
    assert Plan.load(path).seed == 4


# -- growths in a row ------------------------------------------------------------------------------


def test_growths_in_a_row_are_one_plan(tmp_path: Path) -> None:
    teacher = image_model()
    first = net2net.widen(teacher, {"0": 9}, X, noise=0.1)
    second = net2net.deepen(first.model, {"3": 1}, X, calibrate=[X])
    third = net2net.widen(second.model, 1.5, X, seed=1)
    plan = first.plan.then(second.plan).then(third.plan)
    assert same_bits(plan.apply(teacher), third.model)
    other = first.plan.then(second.plan.then(third.plan))
    assert other.to_json() == plan.to_json()
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == plan.to_json()
    assert same_bits(again.apply(teacher), third.model)
    assert again.summary().elements == (
        sum(t.numel() for t in tensors(teacher).values()),
        sum(t.numel() for t in tensors(third.model).values()),
    )
    state = again.apply(teacher.state_dict())
    assert all(torch.equal(state[name], t) for name, t in third.model.state_dict().items())


def test_plans_in_the_wrong_order() -> None:
    _, first = grow("widen")
    with pytest.raises(PlanError, match="in order"):
        first.plan.then(first.plan)


# -- state dicts, and blocks of rows ---------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), WAYS, ids=str)
def test_a_plan_applies_to_a_state_dict(kind: str, options: dict[str, Any]) -> None:
    teacher, growth = grow(kind, **options)
    state = growth.plan.apply(teacher.state_dict())
    wanted = growth.model.state_dict()
    assert set(state) == set(wanted)
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    with pytest.raises(PlanError, match=r"'10\.weight'"):
        growth.plan.apply({n: t for n, t in teacher.state_dict().items() if n != "10.weight"})


def test_a_state_dict_with_ties_keeps_them() -> None:
    teacher = randomise(test_tied.Tied())
    growth = net2net.widen(teacher, 1.5, torch.arange(10).view(2, 5))
    state = growth.plan.apply(teacher.state_dict())
    assert state["head.weight"] is state["embed.weight"]
    assert set(state) == set(growth.model.state_dict())


def test_an_averaged_model_is_grown_inside() -> None:
    teacher, growth = grow("widen")
    ema = torch.optim.swa_utils.AveragedModel(teacher)
    ema.update_parameters(teacher)
    with untouched(teacher):
        student = growth.plan.apply(ema)
    assert isinstance(student, torch.optim.swa_utils.AveragedModel)
    assert same_bits(student.module, growth.model) and int(student.n_averaged) == 1
    student.update_parameters(growth.model)


@given(st.sampled_from(range(len(WAYS))), st.data())
@settings(max_examples=30, deadline=None)
def test_a_block_of_rows_has_the_bits_of_the_whole(way: int, data: st.DataObject) -> None:
    kind, options = WAYS[way]
    teacher, growth = grow(kind, **options)
    make = growth.plan.reader(teacher.state_dict())
    name = data.draw(st.sampled_from([n for n, t in tensors(growth.model).items() if t.ndim]))
    whole = tensors(growth.model)[name]
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5))
    assert torch.equal(make(name, np.array(rows)), whole[rows])
    assert torch.equal(make(name, None), whole)


def test_rows_of_a_large_tensor_that_is_drawn_in_several_blocks() -> None:
    teacher = nn.Sequential(nn.Linear(3, 600), nn.Linear(600, 300), nn.Linear(300, 2))
    growth = net2net.widen(teacher, 1.5, torch.ones(1, 3), method="random_pad", verify=False)
    whole = growth.model[1].weight
    make = growth.plan.reader(teacher.state_dict())
    for rows in ([449], [0, 300, 301], [448, 310]):
        assert torch.equal(make("1.weight", np.array(rows)), whole[rows])
    new = whole[300:]
    assert abs(float(new.detach().std()) / float(teacher[1].weight.detach().std()) - 1) < 0.05
    assert len(new.detach().unique(dim=0)) == len(new)  # no row twice
    assert len(new.detach().flatten().unique()) > 0.8 * QUANTILES


# -- format 1 --------------------------------------------------------------------------------------

FORMAT_1 = json.loads((Path(__file__).parents[2] / "data" / "plans_format_1.json").read_text())


def teacher_of(name: str) -> nn.Module:
    if name == "transfer":
        return stack(2, 4)
    if name == "weight_norm":
        normed = nn.utils.parametrizations.weight_norm
        return randomise(nn.Sequential(normed(nn.Linear(3, 6)), nn.ReLU(), normed(nn.Linear(6, 2))))
    if name == "exported":
        return randomise(Written(coded, stem=nn.Linear(3, 8), head=nn.Linear(8, 2)))
    if name == "head_size":
        return randomise(Attention())
    return image_model()


def coded(model: Any, x: torch.Tensor) -> Any:
    return model.head(torch.relu(model.stem(x)).view(-1, 8))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(torch.relu(self.a(x)))


def stack(blocks: int, width: int) -> nn.Module:
    inside = nn.Sequential(*[Residual(width) for _ in range(blocks)])
    return randomise(nn.Sequential(nn.Linear(3, width), inside, nn.Linear(width, 2)))


def sha(model: nn.Module) -> str:
    found = hashlib.sha256()
    for name, tensor in tensors(model).items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", FORMAT_1)
def test_plans_of_format_1_make_what_they_made(name: str) -> None:
    """Bit for bit; what is drawn at random excepted, which is drawn otherwise now."""
    saved = FORMAT_1[name]
    plan = Plan.from_json(json.dumps(saved["plan"]))
    teacher = teacher_of(name)
    student = plan.apply(teacher, student=stack(3, 8) if name == "transfer" else None)
    if name == "noise":
        new, old = student[0].weight, teacher[0].weight
        noisy = (new[4:, None] - old).abs().flatten(2).amax(-1)  # of each copy from each unit
        assert torch.equal(new[:4], old) and 0 < noisy.min() < 0.5 < noisy.max()
    else:
        assert sha(student) == saved["student"]
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()
    if name in {"deepen", "blocks"}:
        with pytest.raises(PlanError, match="format 1"):
            plan.apply(teacher.state_dict())


def test_a_damaged_plan_of_format_1() -> None:
    saved = dict(FORMAT_1["widen"]["plan"])
    saved["maps"] = [[99]]
    for checked in (True, False):
        with pytest.raises(PlanError):
            Plan.from_json(json.dumps(saved), checked=checked).apply(image_model())
