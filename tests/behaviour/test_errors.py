"""Bad input: a typed exception with a sentence and the fix; and never a changed teacher."""

import copy
import importlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net import Net2NetError, Parity, errors
from net2net.errors import (
    DepthError,
    GraphMismatchError,
    InputError,
    NotGrowableError,
    UnknownMethodError,
    UnknownModuleError,
    UnknownOperationError,
    UnsupportedModelError,
    VerificationError,
    WidthError,
)
from net2net.widen import student
from tests.behaviour import test_branches, test_calls
from tests.helpers import (
    Written,
    assert_exact,
    image,
    image_model,
    noise,
    randomise,
    refused,
    untouched,
    widen,
)


def mlp() -> nn.Module:
    return randomise(
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    )


X = noise(4, 6)


def test_one_base_class() -> None:
    """``except Net2NetError`` catches all; the standard classes that fit catch them too."""
    kinds = [
        kind for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]  # fmt: skip
    assert len(kinds) > 10
    assert all(issubclass(kind, Net2NetError) for kind in kinds)
    assert issubclass(UnknownModuleError, KeyError) and issubclass(WidthError, ValueError)
    assert issubclass(NotGrowableError, WidthError) and issubclass(DepthError, ValueError)


# -- names -----------------------------------------------------------------------------------------


def test_an_unknown_glob_comes_with_near_matches() -> None:
    teacher = test_branches.CASES["resnet"].model()
    x = noise(2, 3, 8, 8)
    with refused(
        UnknownModuleError, "'layer1.0.con1'", r"Near matches:.*layer1\.0\.conv1", teacher=teacher
    ):
        net2net.widen(teacher, {"layer1.0.con1": 2.0}, x)
    with refused(UnknownModuleError, "'layer9.*'", "named_modules", teacher=teacher):
        net2net.widen(teacher, {"layer1.0.conv1": 2.0, "layer9.*": 2.0}, x)
    with refused(UnknownModuleError, "'nothing'", "stem.0", teacher=teacher):
        net2net.spaces(teacher, x)["nothing"]


def test_the_message_is_a_sentence_not_a_repr() -> None:
    with pytest.raises(UnknownModuleError) as caught:
        net2net.widen(mlp(), {"zero": 2.0}, X)
    assert str(caught.value).startswith("no module matches 'zero'.")


class Idle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.idle = mlp(), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_module_that_makes_no_units() -> None:
    teacher = randomise(Idle())
    with refused(NotGrowableError, "'idle'", "spaces", teacher=teacher):
        net2net.widen(teacher, {"idle": 2.0}, X)


def test_an_unknown_method_comes_with_the_known_ones() -> None:
    teacher = mlp()
    with refused(UnknownMethodError, "'repeat'", "replicate", "random_pad", teacher=teacher):
        net2net.widen(teacher, 2.0, X, method="repeat")


# -- widths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [7, 0, -3])
def test_a_width_smaller_than_now(width: int) -> None:
    teacher = mlp()
    with refused(WidthError, "'0'", r"\b8\b", rf"{width}\b", "only grows", teacher=teacher):
        net2net.widen(teacher, {"0": width}, X)


@pytest.mark.parametrize("factor", [0.5, 0.0, -2.0, math.nan, math.inf])
def test_a_factor_below_one_or_no_number(factor: float) -> None:
    teacher = mlp()
    with refused(WidthError, "factor", teacher=teacher):
        net2net.widen(teacher, factor, X)
    with refused(WidthError, "factor", teacher=teacher):
        net2net.widen(teacher, {"0": factor}, X)


@pytest.mark.parametrize(
    "widths", ["2", None, [2.0], True, (1, 2), {"0": "2"}, {"0": None}, {"0": True}, {0: 2.0}]
)
def test_widths_of_another_kind(widths: Any) -> None:
    teacher = mlp()
    with refused(Net2NetError, "factor", teacher=teacher):
        net2net.widen(teacher, widths, X)


@pytest.mark.parametrize("depths", [2, "0", None, ["0"], {0: 1}])
def test_depths_of_another_kind(depths: Any) -> None:
    teacher = mlp()
    with refused(Net2NetError, "glob", teacher=teacher):
        net2net.deepen(teacher, depths, X)


@pytest.mark.parametrize("amount", [-0.1, math.nan, math.inf])
def test_noise_is_a_fraction(amount: float) -> None:
    teacher = mlp()
    with refused(WidthError, "noise", teacher=teacher):
        net2net.widen(teacher, 2.0, X, noise=amount, verify=False)


def test_tied_modules_asked_for_two_widths() -> None:
    teacher = test_branches.CASES["residual"].model()
    with refused(WidthError, "stem.0", "block.3", "12", "16", "tied", teacher=teacher):
        net2net.widen(teacher, {"stem.0": 16, "block.3": 12}, image())


def test_a_constraint_broken_by_a_width_names_the_neighbours() -> None:
    """Groups: 8 channels in 4 groups of 2 grow by 2."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(), nn.Conv2d(12, 2, 1)
        )
    )
    x = noise(2, 3, 5, 5)
    with refused(WidthError, "'0'", "steps of 2", r"\b10\b", r"\b12\b", teacher=teacher):
        net2net.widen(teacher, {"0": 11}, x)
    with refused(WidthError, "'1'", "steps of 3", r"\b12\b", r"\b15\b", teacher=teacher):
        net2net.widen(teacher, {"1": 13}, x)
    assert widen(teacher, {"1": 15}, x).model[1].groups == 5


# -- what cannot grow ------------------------------------------------------------------------------


def test_the_class_axis() -> None:
    teacher = mlp()
    for width in (2.0, 4):
        with refused(NotGrowableError, "'4'", "output", teacher=teacher):
            net2net.widen(teacher, {"4": width}, X)


def test_an_axis_of_a_named_output() -> None:
    case = test_calls.CASES["dict_in_dict_out"]
    teacher = case.model()
    with refused(NotGrowableError, "'policy'", r"\['heads'\]\[1\]", teacher=teacher):
        net2net.widen(teacher, {"policy": 2.0}, case.inputs())


def test_an_axis_of_the_input() -> None:
    teacher = randomise(test_branches.Skip())
    with refused(NotGrowableError, "'b'", "add", "input", teacher=teacher):
        net2net.widen(teacher, {"b": 2.0}, X)


def test_a_model_in_which_nothing_can_grow() -> None:
    teacher = randomise(nn.Linear(6, 3))
    with refused(NotGrowableError, "no space", "output|input", "spaces", teacher=teacher):
        net2net.widen(teacher, 2.0, X)


class Grouped(nn.Module):
    """A grouped convolution that reads the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_groups_of_the_input() -> None:
    teacher = randomise(Grouped())
    with refused(NotGrowableError, "'first'", "group", teacher=teacher):
        net2net.widen(teacher, {"first": 2.0}, noise(2, 4, 5, 5))


class SizeInCode(nn.Module):
    """A size is written into the code."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (
            nn.Linear(6, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 5),
            nn.Linear(5, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu().view(4, 2, 4).transpose(1, 2).reshape(4, 8)
        return self.d(self.c(self.b(x).relu()).relu())


def test_a_size_that_is_written_into_the_code() -> None:
    teacher = randomise(SizeInCode())
    growth = widen(teacher, 2.0, X)  # what does not meet it grows
    assert {row.name: row.new for row in growth.report.rows} == {"b": 16, "c": 10}
    assert [row.name for row in growth.report.stayed] == ["a", "d"]
    named = net2net.widen(teacher, {"a": 2.0}, X)
    assert isinstance(named.model, torch.fx.GraphModule) and named.model.a.out_features == 16
    assert not any("branches" in note for note in named.report.notes)


class Branching(nn.Module):
    """A size is in its code, and no graph can be made of it, for it branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x).view(-1, 8)
        out: Tensor = self.head(hidden if float(x.sum()) > 0 else -hidden)
        return out


def test_a_student_that_stops_is_told_of_with_its_widths() -> None:
    teacher = randomise(Branching())
    with refused(GraphMismatchError, r"student \('stem' 8 → 12\)", "code", teacher=teacher):
        net2net.widen(teacher, {"stem": 12}, X)


class Fours(nn.Module):
    """Its code takes features by fours, says so itself, and branches on values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x)
        if hidden.shape[1] % 4:
            raise ValueError("features come by fours")
        out: Tensor = self.head(hidden if float(x.sum()) > 0 else -hidden)
        return out


@pytest.mark.parametrize("width", [10, 1.25])
def test_a_student_that_stops_while_it_is_traced_names_the_neighbours(width: float) -> None:
    teacher = randomise(Fours())
    said = ("'stem' 8 → 10", "by fours", r"'stem' cannot be 10 wide; .*neighbours are \[8, 12\]")
    with refused(WidthError, *said, teacher=teacher):
        net2net.widen(teacher, {"stem": width}, X)
    assert widen(teacher, {"stem": 12}, X).model.stem.out_features == 12
    # one factor for all goes to the nearest
    assert widen(nn.Sequential(teacher), 1.25, X).model[0].stem.out_features == 12


class Stage(nn.Module):
    """Perhaps a size is written into its code."""

    def __init__(self, width: int, written: bool) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(6, width), nn.Linear(width, 6)
        self.cut = (lambda x: x.view(4, width)) if written else torch.relu

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.cut(self.inner(x)).reshape(4, -1))
        return x + out


STAGES: dict[str, tuple[list[int], set[int], int]] = {
    "one of many": ([8] * 6, {2}, 2),
    "stages of other sizes": ([4, 6, 8, 10], {1, 3}, 3),
    "all": ([8] * 6, {0, 1, 2, 3, 4, 5}, 3),
}
"""Widths of stages, those into whose code it is written, and students that may be traced."""


@pytest.mark.parametrize("case", STAGES)
def test_a_size_in_the_code_of_one_stage_leaves_the_others(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths, written, most = STAGES[case]
    tried = []
    infer = student.Attempt._infer
    monkeypatch.setattr(student.Attempt, "_infer", lambda *args: tried.append(args) or infer(*args))
    stages = [Stage(width, i in written) for i, width in enumerate(widths)]
    teacher = randomise(nn.Sequential(*stages, nn.Linear(6, 2)))
    growth = net2net.widen(teacher, 2.0, X)  # which verifies
    grown = {row.name for row in growth.report.rows}
    assert {i for i in range(len(stages)) if f"{i}.inner" not in grown} == written
    assert len(tried) == most
    stayed = [row.note for row in growth.report.stayed if row.name.endswith("inner")]
    assert len(stayed) == len(written) and all("written into the code" in why for why in stayed)


# -- operations without a rule ---------------------------------------------------------------------


@torch.library.custom_op("net2net_tests::reverse", mutates_args=())
def reverse(x: Tensor) -> Tensor:
    """Works along the channels, so copies of channels would come out elsewhere."""
    return x.flip(1).cumsum(1)


@torch.library.custom_op("net2net_tests::swish", mutates_args=())
def swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


for _op in (reverse, swish):
    _op.register_fake(torch.empty_like)


class Custom(nn.Module):
    def __init__(self, op: str) -> None:
        super().__init__()
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        return {"reverse": reverse, "swish": swish}[self.op](x)


class WithCustom(nn.Module):
    def __init__(self, op: str) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 2)
        self.act = Custom(op)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.b(self.a(x).relu())))


def test_an_operation_without_a_rule() -> None:
    """Module path, operation, how to register a rule, and the other way out."""
    teacher = randomise(WithCustom("reverse"))
    words = (
        "net2net_tests::reverse",
        "'act'",
        r'@net2net.rule\("net2net_tests::reverse"\)',
        'on_unknown="fix"',
    )
    with refused(UnknownOperationError, *words, teacher=teacher):
        net2net.widen(teacher, {"b": 2.0}, X)
    with refused(UnknownOperationError, *words, teacher=teacher):
        net2net.spaces(teacher, X, on_unknown="raise")
    assert widen(teacher, {"a": 2.0}, X).model.a.out_features == 16


def test_one_factor_leaves_the_spaces_that_an_operation_without_a_rule_touches() -> None:
    teacher = randomise(WithCustom("reverse"))
    report = widen(teacher, 1.5, X).report
    assert [(row.name, row.new) for row in report.rows] == [("a", 12)]
    why = "net2net_tests::reverse in 'act' has no rule"
    assert {row.name: row.note for row in report.stayed}["b"] == why
    assert net2net.spaces(teacher, X)["b"].reason == why
    (note,) = (note for note in report.notes if "reverse" in note)
    assert '@net2net.rule("net2net_tests::reverse")' in note
    assert widen(teacher, 1.5, X, on_unknown="fix").report.notes == ()


def test_one_factor_raises_where_an_operation_without_a_rule_leaves_nothing_to_grow() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), Custom("reverse"), nn.Linear(8, 2)))
    with refused(UnknownOperationError, "net2net_tests::reverse", "'1'", teacher=teacher):
        net2net.widen(teacher, 2.0, X)
    with refused(NotGrowableError, "no rule", teacher=teacher):
        net2net.widen(teacher, 2.0, X, on_unknown="fix")


def test_on_unknown_fix_leaves_the_spaces_it_touches() -> None:
    teacher = randomise(WithCustom("reverse"))
    growth = widen(teacher, 1.5, X, on_unknown="fix")
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 12)]
    reason = net2net.spaces(teacher, X, on_unknown="fix")["b"].reason
    assert "net2net_tests::reverse" in str(reason) and "'act'" in str(reason)
    with refused(NotGrowableError, "net2net_tests::reverse", "no rule", teacher=teacher):
        net2net.widen(teacher, {"b": 2.0}, X, on_unknown="fix")


@pytest.mark.parametrize("how", ["ignore", None, True])
def test_on_unknown_is_one_of_two(how: Any) -> None:
    teacher = randomise(WithCustom("reverse"))
    with refused(Net2NetError, "on_unknown", "raise", "fix", teacher=teacher):
        net2net.widen(teacher, 2.0, X, on_unknown=how)


@pytest.mark.usefixtures("registry")
def test_a_rule_that_the_user_registers() -> None:
    teacher = randomise(WithCustom("swish"))
    with refused(UnknownOperationError, "swish", teacher=teacher):
        net2net.widen(teacher, {"b": 2.0}, X)

    @net2net.rule("net2net_tests::swish")
    def my_rule(site: Any) -> Any:
        return site.pointwise([site["x"]])

    growth = widen(teacher, 1.4, X)
    assert {row.name: row.new for row in growth.report.rows} == {"a": 11, "b": 7}


def test_an_operation_without_a_rule_on_the_input_alone_is_no_matter() -> None:
    teacher = randomise(
        nn.Sequential(Custom("reverse"), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    )
    assert widen(teacher, 2.0, X).model[1].out_features == 16


def test_deepen_needs_no_rules() -> None:
    teacher = randomise(WithCustom("reverse"))
    growth = net2net.deepen(teacher, {"a": 1}, X)
    assert_exact(teacher, growth.model, X)


# -- verification ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("registry")
def test_a_wrong_rule_never_gets_a_student_out() -> None:
    """A rule that claims too much: verification raises, unless it was switched off."""
    teacher = randomise(WithCustom("reverse"))

    @net2net.rule("net2net_tests::reverse")
    def wrong(site: Any) -> Any:
        return site.pointwise([site["x"]])

    with refused(VerificationError, "does not compute", "verify=False", teacher=teacher):
        net2net.widen(teacher, {"b": 2.0}, X)
    with pytest.raises(VerificationError) as caught:
        net2net.widen(teacher, {"b": 2.0}, X)
    assert isinstance(caught.value.parity, Parity)
    assert caught.value.parity.max_rel > 1e-3 and not caught.value.parity.exact
    growth = net2net.widen(teacher, {"b": 2.0}, X, verify=False)
    assert growth.report.parity is None and "verified: no" in str(growth.report)
    assert net2net.verify(teacher, growth.model, X).max_rel == caught.value.parity.max_rel


def test_growth_asks_verify_and_believes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Parity(max_abs=1.0, max_rel=0.1, dtype=torch.float64, tolerance=1e-9, outputs=1, worst="")
    monkeypatch.setattr("net2net.finish.verify", lambda *args, **kwargs: bad)
    teacher = mlp()
    with refused(VerificationError, "0.1 relative", teacher=teacher):
        net2net.widen(teacher, 2.0, X)
    with refused(VerificationError, "0.1 relative", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, X)
    net2net.widen(teacher, 2.0, X, noise=0.1)  # not claimed to be the same function


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [None, "resnet18", nn.Linear, lambda x: x], ids=["none", "name", "class", "function"]
)
def test_not_a_module(model: Any) -> None:
    for call in (
        lambda: net2net.widen(model, 2.0, X),
        lambda: net2net.deepen(model, {"0": 1}, X),
        lambda: net2net.spaces(model, X),
    ):
        with pytest.raises(UnsupportedModelError, match=r"torch\.nn\.Module"):
            call()


def every_verb(teacher: nn.Module, x: Any) -> list[Any]:
    return [
        lambda: net2net.widen(teacher, 2.0, x),
        lambda: net2net.deepen(teacher, {"0": 1}, x),
        lambda: net2net.spaces(teacher, x),
    ]


def test_a_lazy_model() -> None:
    teacher = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2))
    for call in every_verb(teacher, X.float()):
        with pytest.raises(UnsupportedModelError, match=r"'0\.weight'.*lazy.*Run the model once"):
            call()
    assert isinstance(teacher[0], nn.LazyLinear)
    teacher(X.float())
    widen(randomise(teacher), 2.0, X)  # as the message advises


def test_a_model_on_mixed_devices() -> None:
    teacher = mlp()
    teacher[2] = nn.Linear(8, 5, device="meta", dtype=torch.float64)
    for call in every_verb(teacher, X):
        with pytest.raises(
            UnsupportedModelError, match=r"devices.*cpu.*0\.weight.*meta.*2\.weight.*\.to\("
        ):
            call()


def test_a_model_of_mixed_types() -> None:
    teacher = mlp()
    teacher[2].float()
    for call in every_verb(teacher, X):
        with refused(
            UnsupportedModelError, r"types.*float64.*0\.weight.*float32.*2\.weight", teacher=teacher
        ):
            call()


def test_a_model_without_weights_in_memory() -> None:
    with torch.device("meta"):
        teacher = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(Net2NetError, match="meta"):
        net2net.widen(teacher, 2.0, X.float())


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)
def test_a_quantised_model() -> None:
    packed = torch.ao.nn.quantized.Linear(6, 8)
    for part, name in ((packed, "'0'"), (QuantisedBuffer(), r"'0\.table'")):
        teacher = nn.Sequential(part, nn.Linear(8, 2))
        for call in every_verb(teacher, X.float()):
            with pytest.raises(UnsupportedModelError, match=rf"{name}.*quantised.*float model"):
                call()


class QuantisedBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "table", torch.quantize_per_tensor(torch.ones(6, 8), 0.1, 0, torch.qint8)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.table.dequantize()


class Caching(nn.Module):
    """Keeps an activation, which ``deepcopy`` refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head, self.kept = nn.Linear(6, 8), nn.Linear(8, 2), None

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x = self.a(x)
        return self.head(x.relu())


def test_a_model_that_cannot_be_copied() -> None:
    teacher = randomise(Caching())
    teacher(X)
    for call in every_verb(teacher, X)[::2]:
        with refused(UnsupportedModelError, "cop", teacher=teacher):
            call()


class Answer:
    def __init__(self, logits: Tensor, hidden: Tensor) -> None:
        self.logits, self.hidden = logits, hidden


def test_outputs_that_nothing_can_compare() -> None:
    """No tensor is found in the output, so nothing can be verified: that is not "the same"."""

    def code(model: Any, x: Tensor) -> Answer:
        hidden = model.a(x).relu()
        return Answer(model.head(hidden), hidden.sum())

    teacher = randomise(Written(code, a=nn.Linear(6, 8), head=nn.Linear(8, 2)))
    with refused(InputError, "Answer", "output", teacher=teacher):
        net2net.widen(teacher, 2.0, X)
    with refused(InputError, "Answer", "output", teacher=teacher):
        net2net.deepen(teacher, {"a": 1}, X)


# -- inputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (noise(4, 5), ["'0'", "shape|size|dim"]),
        ((), ["argument"]),
        ((noise(4, 6), noise(4, 6)), ["argument"]),
        ({"x": noise(4, 6)}, ["argument"]),
        (None, ["NoneType", "dict of keyword arguments"]),
        ("x", ["str", "tensor"]),
        (3, ["int", "tensor"]),
    ],
    ids=["shape", "missing", "extra", "keyword", "none", "text", "number"],
)
def test_inputs_that_do_not_run(inputs: Any, words: list[str]) -> None:
    teacher = mlp()
    for call in every_verb(teacher, inputs):
        with refused(InputError, *words, teacher=teacher):
            call()
    with refused(InputError, *words[1:], teacher=teacher):
        net2net.verify(teacher, copy.deepcopy(teacher), inputs)


def test_inputs_of_another_type() -> None:
    teacher = mlp()
    for call in every_verb(teacher, X.long())[:2]:  # the spaces do not depend on it
        with refused(InputError, "dtype|type", "Long", teacher=teacher):
            call()


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.guard, self.calls = nn.Linear(6, 8), Guard(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.guard(self.a(x))


class Guard(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("no such key")


def test_a_model_that_raises_says_where() -> None:
    teacher = randomise(Raises())
    with refused(InputError, "KeyError", "no such key", "'guard'", teacher=teacher):
        net2net.widen(teacher, 2.0, X)
    assert teacher.calls == 0


# -- the teacher is never changed ------------------------------------------------------------------


class Counting(nn.Module):
    """A forward with side effects on the model itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.head = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        self.register_buffer("steps", torch.zeros(()))
        self.calls, self.seen = 0, []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x.shape)
        self.steps += 1
        return self.head(self.norm(self.a(x)).relu())


def test_a_forward_with_side_effects() -> None:
    teacher = randomise(Counting()).train()
    with untouched(teacher):
        growth = net2net.widen(teacher, 1.5, X)
        net2net.deepen(teacher, {"a": 1}, X, calibrate=[X])
        net2net.verify(teacher, growth.model, X)
        net2net.spaces(teacher, X)
    assert teacher.calls == 0 and teacher.seen == [] and teacher.training
    assert growth.model.calls == 0 and growth.model.seen == [] and growth.model.training
    assert growth.model.steps == 0


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_failure_half_way_through_applying(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from net2net.recipe.grown import grown as whole

    calls = []

    def fails(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(1)
        if len(calls) > after:
            raise MemoryError("no more")
        return whole(*args, **kwargs)

    monkeypatch.setattr("net2net.recipe.run.grown", fails)
    teacher = image_model()
    with untouched(teacher), pytest.raises(MemoryError):
        net2net.widen(teacher, 2.0, noise(2, 3, 8, 8))
    assert len(calls) == after + 1


@pytest.mark.parametrize(
    "stage",
    [
        "recipe.run.grown",
        "widen.attempt.match",
        "widen.attempt.infer",
        "finish.verify",
        "widen.widen.flops",
    ],
)
def test_a_failure_at_any_stage(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError("no more")

    module, _, name = f"net2net.{stage}".rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), name, fails)
    teacher = image_model()
    with untouched(teacher), pytest.raises(MemoryError):
        net2net.widen(teacher, 2.0, noise(2, 3, 8, 8))


def test_a_failure_while_calibrating() -> None:
    teacher = image_model()

    def batches() -> Iterator[Tensor]:
        yield noise(4, 3, 8, 8)
        raise OSError("the disk is gone")

    with untouched(teacher), pytest.raises(OSError, match="disk"):
        net2net.deepen(teacher, {"0": 1}, noise(2, 3, 8, 8), calibrate=batches())


def test_writing_to_the_student_does_not_reach_the_teacher() -> None:
    teacher = image_model()
    x = noise(2, 3, 8, 8)
    for growth in (net2net.widen(teacher, 2.0, x), net2net.deepen(teacher, {"0": 1}, x)):
        with untouched(teacher), torch.no_grad():
            for tensor in [*growth.model.parameters(), *growth.model.buffers()]:
                tensor.zero_()
