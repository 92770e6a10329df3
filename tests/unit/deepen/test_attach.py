"""New blocks on top of modules that end in no layer: exact, or refused with the reason."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import DepthError, PlanError, UnknownModuleError
from net2net_lab.models import inception_bn
from tests.helpers import assert_exact, deepen, gap, noise, randomise, refused, tensors, widen

X = noise(2, 1, 8, 8)


def step(channels: int, kernel: tuple[int, int]) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, kernel, padding="same", bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]


def pair(channels: int) -> nn.Module:
    """The paper's (figure 6): a vertical and a horizontal convolution."""
    return nn.Sequential(*step(channels, (3, 1)), *step(channels, (1, 3)))


def inception(seed: int = 0) -> nn.Module:
    return randomise(inception_bn(size=8, modules=2, stem=4, widths=[6, 8]), seed)


# -- figure 6 --------------------------------------------------------------------------------------


def test_four_pairs_on_top_of_every_module() -> None:
    teacher = inception()
    growth = deepen(teacher, {"stages.?.?": (4, pair)}, X)
    for module, width in ((growth.model.stages[0][0], 9), (growth.model.stages[1][0], 12)):
        assert [type(part).__name__ for part in module] == ["InceptionModule"] + ["Sequential"] * 4
        convolutions = [p for p in module[1:].modules() if isinstance(p, nn.Conv2d)]
        assert [conv.kernel_size for conv in convolutions] == [(3, 1), (1, 3)] * 4
        assert all(conv.in_channels == conv.out_channels == width for conv in convolutions)
    assert [(row.name, row.new - row.old, row.note) for row in growth.report.rows] == [
        ("stages.0.0", 4, "new blocks"), ("stages.1.0", 4, "new blocks"),
    ]  # fmt: skip
    assert "4 new blocks after stages.1.0" in str(growth.plan)


def test_names_of_the_module_that_is_followed_lie_under_it() -> None:
    teacher = inception()
    old, new = tensors(teacher), tensors(deepen(teacher, {"stages.0.0": (1, pair)}, X).model)
    for name, tensor in old.items():
        assert torch.equal(new[name.replace("stages.0.0.", "stages.0.0.0.")], tensor)
    assert {name for name in new if name.startswith("stages.0.0.1.")} == {
        f"stages.0.0.1.{name}" for name, _ in tensors(pair(9)).items()
    }
    assert len(new) == len(old) + len(tensors(pair(9)))


def test_calibrated_it_is_an_identity_in_training_mode_too() -> None:
    batch = noise(16, 1, 8, 8, seed=4)
    depths = {"stages.?.?": (4, pair)}
    growth = deepen(inception(), depths, X, calibrate=[batch])
    assert gap(inception(), growth.model, batch) <= 1e-9
    assert gap(inception(), deepen(inception(), depths, X).model, batch) > 1e-3


def test_every_new_parameter_is_trained() -> None:
    batch = noise(16, 1, 8, 8, seed=4)
    growth = deepen(inception(), {"stages.?.?": (4, pair)}, X, calibrate=[batch])
    growth.model.train()(batch).square().mean().backward()
    new = [
        parameter
        for module in (growth.model.stages[0][0], growth.model.stages[1][0])
        for parameter in module[1:].parameters()
    ]
    assert len(new) == 2 * 4 * 6
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in new)


def test_wider_afterwards_inside_the_new_blocks() -> None:
    deeper = deepen(inception(), {"stages.?.?": (2, pair)}, X)
    wider = widen(deeper.model, {"stages.0.0.1.0": 14}, X)
    assert wider.model.stages[0][0][1][0].out_channels == 14
    assert_exact(inception(), wider.model, X)


def test_on_top_of_a_module_and_inside_it() -> None:
    """In whichever order: what lies inside is done first, as wrapping changes its path."""
    for depths in (
        {"stages.?.?": (1, pair), "stages.*.middle.0": 1},
        {"stages.*.middle.0": 1, "stages.?.?": (1, pair)},
    ):
        growth = deepen(inception(), depths, X)
        assert len(growth.model.stages[0][0]) == len(growth.model.stages[0][0][0].middle[0]) == 2


def test_what_is_imitated_is_the_teachers_own_whatever_was_put_on_top_of_it() -> None:
    teacher = randomise(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    growth = deepen(teacher, {"1": (1, pair), "0": 1}, X)
    assert [type(part) for part in growth.model[0]] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert [type(part) for part in growth.model[1]] == [nn.ReLU, nn.Sequential]


def test_the_outermost_of_nested_matches_is_followed() -> None:
    growth = deepen(inception(), {"stages.?.*": (1, pair)}, X)
    assert [row.name for row in growth.report.rows] == ["stages.0.0", "stages.1.0"]


# -- plans -----------------------------------------------------------------------------------------


def test_a_plan_is_data_and_applies_to_another_teacher(tmp_path: Path) -> None:
    growth = deepen(inception(), {"stages.?.?": (4, pair)}, X)
    growth.plan.save(tmp_path / "plan.json")
    other = inception(seed=5)
    state = torch.random.get_rng_state()
    student = net2net.Plan.load(tmp_path / "plan.json").apply(other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert_exact(other, student, X)
    assert repr(student) == repr(growth.model)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["new"].update(kind="Steal"),
        lambda one: one["new"].update(kind="Conv2d"),
        lambda one: one["new"]["parts"]["0"]["options"].update(out_channels=18),
        lambda one: one["new"]["parts"]["0"]["options"].update(stride=2),
        lambda one: one["new"]["parts"]["0"].pop("options"),
        lambda one: one["new"].update(parts=3),
        lambda one: one.update(new=[1]),
        lambda one: one.update(layers={"stages.0.0.entry.conv": []}),
        lambda one: one.update(mean=[1.0], variance=[1.0]),
    ],
)
def test_a_damaged_plan(change: Callable[[dict[str, Any]], None]) -> None:
    """Damaged before it was written: what does not fit is found when it is applied."""
    plan = deepen(inception(), {"stages.?.?": (1, pair)}, X).plan
    data = json.loads(plan.to_json())
    change(data["edits"][0])
    with pytest.raises(PlanError, match=r"damaged|not a plan"):
        net2net.Plan.from_json(json.dumps(data), checked=False).apply(inception())


# -- other modules, other blocks -------------------------------------------------------------------


class Ends(nn.Module):
    """A module whose output is made in one of several ways, then a head that reads it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.inner, self.head = Ending(how), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x))


class Ending(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Conv2d(1, 8, 3), nn.Conv2d(1, 8, 3), how

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return ENDINGS[self.how](a, b)


def written(x: Tensor) -> Tensor:
    """The memory of what ReLU put out is written to under another name."""
    x = x.relu()
    x[:, :3].sub_(5.0)
    return x


def halves(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([a.chunk(2, 1)[0].relu(), b.chunk(2, 1)[1].clamp(min=0)], 1)


ENDINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # ReLU keeps these
    "relu": lambda a, b: (a + b).relu(),
    "relu in place": lambda a, b: F.relu_(a + b),
    "cat": halves,
    "pooled": lambda a, b: F.max_pool2d(halves(a, b), 3, 1, 1),
    "dropped out": lambda a, b: F.dropout(halves(a, b), 0.5, training=False),
    "sigmoid": lambda a, b: torch.sigmoid(a + b),
    "relu6": lambda a, b: F.relu6(a + b),
    # and not these, as far as the trace says
    "linear": lambda a, b: a + b,
    "averaged": lambda a, b: F.avg_pool2d(halves(a, b), 2),  # kept in fact, but not known
    "one half": lambda a, b: torch.cat([a.chunk(2, 1)[0].relu(), b.chunk(2, 1)[1]], 1),
    "tanh": lambda a, b: torch.tanh(a + b),
    "written": lambda a, b: written(a + b),
    "written in place": lambda a, b: F.relu_(a + b).sub_(5.0),
    "leaky": lambda a, b: F.leaky_relu(a + b),
}
KEPT = list(ENDINGS)[:7]


def convolution(activation: nn.Module | None = None) -> Callable[[int], nn.Module]:
    def block(channels: int) -> nn.Module:
        layers = [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)]
        return nn.Sequential(*layers, *([activation] if activation else []))

    return block


@pytest.mark.parametrize("how", ENDINGS)
def test_relu_where_what_the_module_puts_out_stays_as_it_is(how: str) -> None:
    teacher = randomise(Ends(how))
    deepen(teacher, {"inner": (2, convolution())}, X)
    if how in KEPT:
        deepen(teacher, {"inner": (2, convolution(nn.ReLU()))}, X)
        return
    with refused(DepthError, "'inner'", "ReLU at '2'", "section 2.4", teacher=teacher):
        net2net.deepen(teacher, {"inner": (2, convolution(nn.ReLU()))}, X)


@pytest.mark.parametrize(
    "activation",
    [nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.SiLU(), nn.SELU(), nn.ReLU6(), nn.Hardtanh(),
     nn.Softplus(), nn.Threshold(0.1, 0.0)],
    ids=repr,
)  # fmt: skip
def test_activations_that_change_what_a_relu_puts_out(activation: nn.Module) -> None:
    teacher = inception()
    name = type(activation).__name__
    with refused(DepthError, "'stages.0.0'", name, "from relu", teacher=teacher):
        net2net.deepen(teacher, {"stages.?.?": (4, convolution(activation))}, X)


@pytest.mark.parametrize(
    "activation", [nn.LeakyReLU(), nn.ELU(), nn.RReLU(), nn.Hardtanh(0, 1e9)], ids=repr
)
def test_other_activations_that_keep_what_a_relu_puts_out(activation: nn.Module) -> None:
    deepen(inception(), {"stages.?.?": (2, convolution(activation))}, X)


def test_linear_blocks_on_features_in_the_last_axis() -> None:
    def block(features: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, features), nn.ReLU())

    body = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
    teacher = randomise(nn.Sequential(body, nn.Linear(6, 2)))
    for x in (noise(4, 5), noise(4, 3, 5), noise(4, 6, 6, 5)):
        growth = deepen(teacher, {"0": (3, block)}, x)
        assert growth.model[0][3][0].weight.shape == (6, 6)


def test_a_block_without_a_sequential_around_it() -> None:
    growth = deepen(inception(), {"stages.0": (1, lambda n: nn.Conv2d(n, n, 1))}, X)
    assert isinstance(growth.model.stages[0][1], nn.Conv2d)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1}, {"kernel_size": (5, 1), "padding": (2, 0)},
        {"kernel_size": 3, "padding": 2, "dilation": 2}, {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 1, "padding": "valid"}, {"kernel_size": 3, "padding": 1, "groups": 3},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)  # fmt: skip
def test_convolutions_as_they_were_given(options: dict[str, Any]) -> None:
    growth = deepen(
        inception(), {"stages.0.0": (2, lambda n: nn.Sequential(nn.Conv2d(n, n, **options)))}, X
    )
    assert repr(growth.model.stages[0][0][2][0]) == repr(nn.Conv2d(9, 9, **options))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_and_norms_of_every_dimension(dims: int) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dims - 1]
    teacher = randomise(nn.Sequential(nn.Sequential(conv(3, 4, 3), nn.ReLU()), conv(4, 2, 1)))

    def block(channels: int) -> nn.Module:
        return nn.Sequential(conv(channels, channels, 3, padding=1), norm(channels), nn.ReLU())

    deepen(teacher, {"0": (2, block)}, noise(2, 3, *[7] * dims))


@pytest.mark.parametrize(
    "norm",
    [
        lambda n: nn.BatchNorm2d(n, eps=0.1), lambda n: nn.BatchNorm2d(n, momentum=None),
        lambda n: nn.BatchNorm2d(n, affine=False),
        pytest.param(
            lambda n: nn.BatchNorm2d(n, bias=False),
            marks=pytest.mark.skipif(
                "bias" not in inspect.signature(nn.BatchNorm2d).parameters,
                reason="this torch's batch norms have no such option",
            ),
        ),
    ],
    ids=["eps", "cumulative", "not_affine", "no_bias"],
)  # fmt: skip
def test_norms_as_they_were_given(norm: Callable[[int], nn.Module]) -> None:
    def block(channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, channels, 1), norm(channels))

    for batches in (None, [noise(8, 1, 8, 8)]):
        growth = deepen(inception(), {"stages.0.0": (1, block)}, X, calibrate=batches)
        assert repr(growth.model.stages[0][0][1][1]) == repr(norm(9))


def test_a_class_may_build_the_block_and_one_module_stand_in_it_twice() -> None:
    class Twice(nn.Sequential):
        def __init__(self, n: int) -> None:
            relu = nn.ReLU()
            super().__init__(nn.Conv2d(n, n, 1), relu, nn.Conv2d(n, n, 1), relu)

    growth = deepen(inception(), {"stages.0.0": (1, Twice)}, X)
    assert [type(part) for part in growth.model.stages[0][0][1]] == [
        nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU,
    ]  # fmt: skip


def test_a_model_in_training_mode_with_frozen_weights_gets_trainable_blocks() -> None:
    teacher = inception().float().train().requires_grad_(False)
    growth = net2net.deepen(teacher, {"stages.?.?": (1, pair)}, X.float())
    new = growth.model.stages[0][0][1]
    assert all(part.training for part in new.modules())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in new.parameters())


# -- refused ---------------------------------------------------------------------------------------


class Squares(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) ** 2


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (lambda n: nn.Conv2d(n, 2 * n, 1), ["another number of features", "widen"]),
        (lambda n: nn.Conv2d(7, 7, 1), ["9 channels"]),
        (lambda n: nn.Conv2d(n, n, 3), ["no tap", "size of the map"]),
        (lambda n: nn.Conv2d(n, n, 3, 2, 1), ["no tap"]),
        (lambda n: nn.Conv2d(n, n, 2, padding=1, dilation=2), ["no tap"]),
        (lambda n: nn.Linear(n, n), ["Linear", "axis 1 of 4"]),
        (lambda n: nn.Conv1d(n, n, 1), ["Conv1d", "axis 1 of 4"]),
        (lambda n: nn.ReLU(), ["no linear or convolution layer"]),
        (lambda n: nn.Sequential(), ["no linear or convolution layer"]),
        (lambda n: nn.Sequential(nn.Conv2d(n, n, 1), nn.GroupNorm(1, n)), ["a GroupNorm"]),
        (lambda n: nn.Sequential(nn.Conv2d(n, n, 1), nn.BatchNorm2d(n + 1)), ["9 channels"]),
        (lambda n: nn.Sequential(nn.Conv2d(n, n, 1), nn.BatchNorm2d(n, track_running_stats=False)),
         ["running statistics", "'1'"]),
        (lambda n: nn.Sequential(nn.Conv2d(n, n, 1), nn.PReLU()), ["a PReLU"]),
        (lambda n: Squares(nn.Conv2d(n, n, 1)), ["a Squares"]),
        (lambda n: nn.Conv2d(n, n, 3, groups=4), ["cannot be built", "groups"]),
        (lambda n: n, ["an? int"]),
        (nn.Conv2d(9, 9, 1), ["cannot be built", "function"]),
        (3, ["cannot be built", "function"]),
    ],
)  # fmt: skip
def test_blocks_that_cannot_be_identities_here(block: Any, words: list[str]) -> None:
    teacher = inception()
    with refused(DepthError, "'stages.0.0'", *words, teacher=teacher):
        net2net.deepen(teacher, {"stages.?.?": (4, block)}, X)


@pytest.mark.parametrize("asked", [(-1, pair), (True, pair), (pair, 4), (4, pair, 1), (4,), ()])
def test_a_depth_is_a_number_and_a_block(asked: Any) -> None:
    teacher = inception()
    with refused(DepthError, "'stages.0.0'", "number", teacher=teacher):
        net2net.deepen(teacher, {"stages.0.0": asked}, X)


def test_no_blocks_at_all() -> None:
    teacher = inception()
    assert repr(deepen(teacher, {"stages.?.?": (0, pair)}, X).model) == repr(teacher)


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.head = nn.Parameter(torch.ones(1)), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(x) * self.scale, x


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Shared(nn.Module):
    """A module that is called on two tensors, of which it hands on the second as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.shared(x.relu()) + self.shared(x))


def test_every_call_of_the_module_counts() -> None:
    teacher = randomise(Shared())
    deepen(teacher, {"shared": (1, convolution())}, X)
    with refused(DepthError, "'shared'", "from conv2d", teacher=teacher):
        net2net.deepen(teacher, {"shared": (1, convolution(nn.ReLU()))}, X)


def test_places_where_no_block_can_stand() -> None:
    teacher = randomise(nn.Sequential(Bare()))
    x = noise(2, 6)
    with refused(DepthError, "'0' does not take one tensor and return one", teacher=teacher):
        net2net.deepen(teacher, {"0": (1, lambda n: nn.Linear(n, n))}, x)
    means = randomise(nn.Sequential(nn.Linear(6, 8), Mean()))
    with refused(DepthError, "'1' has no axis of hidden units", teacher=means):
        net2net.deepen(means, {"1": (1, lambda n: nn.Linear(n, n))}, x)
    with refused(DepthError, "'0.scale' matches no module", teacher=teacher):
        net2net.deepen(teacher, {"0.scale": (1, lambda n: nn.Linear(n, n))}, x)
    with refused(UnknownModuleError, "'nowhere'", teacher=teacher):
        net2net.deepen(teacher, {"nowhere": (1, lambda n: nn.Linear(n, n))}, x)
