"""Plans: plain data that does it again, bit for bit; what is no plan, or not of this teacher."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import net2net
from net2net import Growth, Plan
from net2net.errors import PlanError
from tests.behaviour import test_tied
from tests.helpers import assert_exact, image_model, noise, randomise, same_bits, tensors, untouched

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
    assert {"format", "kind", "teacher"} <= set(data) and data["kind"] == kind
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
        word in text for word in ("widen", "replicate", "seed 3", "0.weight", "4 → 7", "share")
    )
    _, deepened = grow("deepen")
    assert "3 identity layers" in str(deepened.plan) and "8" in str(deepened.plan)


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
    "text", ["", "{", "[]", "null", "3", '"plan"', "{}", '{"format": "net2net-plan-1"}']
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
    with pytest.raises(PlanError, match=r"net2net-plan-99.*net2net-plan-1"):
        Plan.from_json(changed("widen", {"format": "net2net-plan-99"}))
    with pytest.raises(PlanError):
        Plan.from_json(changed("widen", {"kind": "shrink"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"maps__0__0": 4000},
        {"maps__0__0": -3},
        {"maps__0__0": "a"},
        {"maps__0__0": 0.5},
        {"maps": 3},
        {"tensors__0_weight__0": [9, "make", 0]},
        {"tensors__0_weight__0": [-1, "make", 0]},
        {"tensors__0_weight__0": [0, "make", 99]},
        {"tensors__0_weight__0": [0, "steal", 0]},
        {"tensors__0_weight__0": [0, "make"]},
        {"tensors__nothing": [[0, "make", 0]]},
        {"attributes__0": ["nowhere", "out_channels", 3]},
        {"attributes__0": ["0", "no_such_number", 3]},
        {"attributes__0": ["0", "forward", 3]},
        {"attributes__0": ["0", "__class__", 3]},
        {"attributes__0": 7},
        {"method": "steal"},
        {"noise": "loud"},
        {"noise": -1.0},
        {"seed": None},
        {"teacher": []},
    ],
    ids=str,
)
def test_a_damaged_plan_of_widening(changes: dict[str, Any]) -> None:
    """Refused when it is read, or when it is applied; never a broken student, never a raw error."""
    text = changed("widen", changes)
    with untouched(teacher := image_model()), pytest.raises(PlanError):
        Plan.from_json(text).apply(teacher)


@pytest.mark.parametrize(
    "changes",
    [
        {"insertions__0__at": "nowhere"},
        {"insertions__0__at": 3},
        {"insertions__0__count": -1},
        {"insertions__0__count": "many"},
        {"insertions__0__layers": {"nowhere": []}},
        {"insertions__0__layers": {}},
        {"insertions__0__activation": "nowhere"},
        {"insertions__0__activation": ["steal", {}]},
        {"insertions__0__norm": "nowhere"},
        {"insertions__0__mean": [1.0]},
        {"insertions__0__variance": ["a"]},
        {"insertions__0__extra": 1},
        {"insertions": 3},
    ],
    ids=str,
)
def test_a_damaged_plan_of_deepening(changes: dict[str, Any]) -> None:
    text = changed("deepen", changes)
    with untouched(teacher := image_model()), pytest.raises(PlanError):
        Plan.from_json(text).apply(teacher)


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
