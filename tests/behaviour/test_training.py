"""After growth: training mode, gradients, symmetry, noise, and the random baseline."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net import Growth
from net2net.infer.units import Role
from tests.behaviour import test_branches, test_calls, test_cuts, test_layers, test_views
from tests.helpers import EXACT, Case, noise, randomise, tensors, untouched, widen


def leaves(output: Any) -> list[Tensor]:
    found, _ = torch.utils._pytree.tree_flatten(output)
    return [leaf for leaf in found if isinstance(leaf, Tensor)]


def run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """All output tensors, with the same random numbers every time."""
    torch.manual_seed(0)
    if isinstance(inputs, dict):
        return leaves(model(**inputs))
    return leaves(model(*inputs) if isinstance(inputs, tuple) else model(inputs))


def close(new: Tensor, old: Tensor, what: str = "") -> None:
    scale = float(old.detach().abs().max())
    worst = float((new.detach() - old.detach()).abs().max())
    assert new.shape == old.shape, what
    assert worst <= EXACT * max(scale, 1e-3), f"{what}: {worst} of {scale}"


GRAPHS = test_branches.CASES | test_calls.CASES | test_cuts.CASES | test_views.CASES
IN_GRAPHS = [
    "residual",
    "resnet",
    "sums_and_differences",
    "densenet",
    "inception",
    "unet",
    "squeeze_and_excitation",
    "film",
    "chunk",
    "halves_apart",
    "shuffle",
    "used_twice",
    "siamese",
    "recurrent",
    "functional",
    "bare_parameters",
    "einsum",
    "matrix_products",
    "two_inputs",
    "dict_in_dict_out",
    "several_depths",
    "spatial_attention_by_mean",
    "mixture_of_experts",
    "moved_axes",
    "repeated_channels",
]
IN_LAYERS = [
    "mlp",
    "lenet",
    "conv1d_plain",
    "conv3d_strided",
    "conv2d_grouped",
    "conv2d_depthwise",
    "conv2d_depthwise_with_multiplier",
    "transposed2d_strided",
    "transposed2d_grouped",
    "batch_norm1d_affine_tracking",
    "batch_norm2d",
    "batch_norm3d",
    "batch_norm2d_not_tracking",
    "instance_norm2d_affine_tracking",
    "group_norm_4",
    "layer_norm",
    "rms_norm",
    "prelu_slopes",
    "maxout",
    "glu",
    "bilinear",
    "embedding",
    "pixel_shuffle",
    "between_max2",
    "between_bilinear2",
]
CASES = [
    pytest.param(cases[name], id=name)
    for cases, names in ((GRAPHS, IN_GRAPHS), (test_layers.CASES, IN_LAYERS))
    for name in names
]


def grown(case: Case) -> tuple[nn.Module, Growth]:
    """By 1.5 where that is a width, so that some units have two copies and some have one."""
    teacher = case.model()
    factor = 1.5 if 1.5 in case.only else 2.0
    return teacher, widen(teacher, factor, case.inputs(), seed=3)


# -- training mode ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_training_mode_is_exact(case: Case) -> None:
    """Copies have their unit's batch statistics: the student in training computes what the teacher
    in training computes, and its running statistics follow as copies."""
    teacher, growth = grown(case)
    student = growth.model
    teacher.train()
    student.train()
    for step in range(2):  # the second step runs on updated statistics
        for new, old in zip(run(student, case.inputs()), run(teacher, case.inputs()), strict=True):
            close(new, old, f"step {step}")
    old_buffers = dict(teacher.named_buffers())
    for name, new in student.named_buffers():
        close(new, expected(growth, name, old_buffers[name]), name)
    teacher.eval()
    student.eval()
    for new, old in zip(run(student, case.inputs()), run(teacher, case.inputs()), strict=True):
        close(new, old, "evaluation after training")


def expected(growth: Growth, name: str, old: Tensor) -> Tensor:
    """Copies of the teacher's values, as the plan's maps say."""
    for axis in growth.plan.recipes[name].axes:
        old = old.index_select(axis.dim, torch.from_numpy(axis.index))
    return old


# -- gradients -------------------------------------------------------------------------------------


def loss_of(model: nn.Module, inputs: Any) -> Tensor:
    return sum((out.double() - 1).square().mean() for out in run(model, inputs))  # type: ignore[return-value]


def gradient(growth: Growth, name: str, old: Tensor) -> Tensor:
    """The teacher's gradient times the share of the unit that each row makes: of a unit with k
    copies, every copy's consumers take a k-th part, so a k-th part of the gradient flows back."""
    for axis in growth.plan.recipes[name].axes:
        index = torch.from_numpy(axis.index)
        old = old.index_select(axis.dim, index)
        if axis.role != Role.CONSUMES:
            shape = [-1 if dim == axis.dim else 1 for dim in range(old.ndim)]
            old = old / torch.bincount(index)[index].view(shape)
    return old


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_copies_are_the_teachers_times_their_shares(
    case: Case, training: bool
) -> None:
    teacher, growth = grown(case)
    student = growth.model
    for model in (teacher, student):
        loss_of(model.train(training), case.inputs()).backward()
    old = {name: parameter.grad for name, parameter in teacher.named_parameters()}
    shared = 0
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None and old[name] is not None, name
        wanted = gradient(growth, name, old[name])
        largest = float(old[name].abs().max())
        worst = float((parameter.grad - wanted).abs().max())
        assert worst <= EXACT * max(largest, 1e-2), f"{name}: {worst} of {largest}"
        shared += bool(growth.plan.recipes[name].axes)
    assert shared >= 3


def test_the_shares_of_one_unit_add_up_to_the_teachers_gradient() -> None:
    """By hand, once: 2 units, 3 in the student, so unit g(2) has two copies."""
    teacher = randomise(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)))
    growth = widen(teacher, {"0": 3}, noise(4, 3))
    twice = growth.plan.recipes["0.weight"].axes[0].index[2]
    for model in (teacher, growth.model):
        model(noise(4, 3)).sum().backward()
    old, new = teacher[0].weight.grad, growth.model[0].weight.grad
    assert old.abs().min() > 0
    close(new[twice], old[twice] / 2)
    close(new[2], old[twice] / 2)
    close(new[1 - twice], old[1 - twice])


# -- the student trains ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"noise": 0.05}, {"method": "random_pad"}], ids=str)
def test_the_loss_falls(options: dict[str, Any]) -> None:
    teacher = randomise(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    )
    x = noise(64, 4)
    y = x.prod(1, keepdim=True)
    student = widen(teacher, 2.0, x, exact=not options, **options).model
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (student(x) - y).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("name", ["residual", "densenet", "squeeze_and_excitation", "used_twice"])
def test_grown_networks_train(name: str) -> None:
    case = GRAPHS[name]
    _, growth = grown(case)
    student = growth.model.train()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = loss_of(student, case.inputs())
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


# -- symmetry --------------------------------------------------------------------------------------


def copies(growth: Growth, tensor: str) -> list[tuple[int, int]]:
    """Pairs (first, later) of rows that copy one unit."""
    index = growth.plan.recipes[tensor].axes[0].index.tolist()
    return [(source, later) for later, source in enumerate(index) if later != source]


def separation(model: nn.Module, pairs: list[tuple[int, int]]) -> float:
    weight = model[0].weight.detach()
    return max(float((weight[first] - weight[later]).abs().max()) for first, later in pairs)


def train(model: nn.Module, steps: int = 50) -> None:
    x = noise(64, 4)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        (model(x) - x.prod(1, keepdim=True)).square().mean().backward()
        optimiser.step()


def tanh_mlp() -> nn.Module:
    return randomise(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    )


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_even_copies_never_separate(factor: float) -> None:
    """They get equal gradients for ever: no new capacity. The reason for noise."""
    growth = widen(tanh_mlp(), factor, noise(4, 4))
    before = growth.model[0].weight.detach().clone()
    train(growth.model)
    assert separation(growth.model, copies(growth, "0.weight")) <= EXACT
    assert (growth.model[0].weight - before).abs().max() > 1e-3  # it did train


def test_noise_separates_them() -> None:
    growth = widen(tanh_mlp(), 2.0, noise(4, 4), noise=1e-3, exact=False)
    pairs = copies(growth, "0.weight")
    before = separation(growth.model, pairs)
    train(growth.model, 400)
    assert before > 0
    assert separation(growth.model, pairs) > 2 * before


def test_noise_leaves_first_copies_alone_and_changes_every_other_differently() -> None:
    """Never through a view that two copies share."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Conv2d(6, 2, 1)
        )
    )
    x = noise(2, 3, 5, 5)
    plain = widen(teacher, {"0": 40, "2": 9}, x)
    noisy = widen(teacher, {"0": 40, "2": 9}, x, noise=0.1, exact=False)
    for name, one in plain.plan.recipes.items():
        for axis, other in zip(one.axes, noisy.plan.recipes[name].axes, strict=True):
            assert axis.index.tolist() == other.index.tolist()
    for name, n in (("0.weight", 8), ("2.weight", 6)):
        old, new = tensors(plain.model)[name], tensors(noisy.model)[name]
        assert torch.equal(new[:n], old[:n])
        changes = (new - old)[n:].flatten(1)
        assert (changes != 0).all()
        assert len({tuple(row.tolist()) for row in changes}) == len(changes)
    assert torch.equal(noisy.model[4].weight, plain.model[4].weight)


def test_noise_is_relative_to_the_weights_deviation() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 3)))
    for scale, factor in ((0.1, 1.0), (0.1, 30.0), (0.5, 1.0)):
        with torch.no_grad():
            teacher[0].weight.mul_(factor)
        plain = widen(teacher, 3.0, noise(4, 50))
        noisy = widen(teacher, 3.0, noise(4, 50), noise=scale, exact=False)
        change = (noisy.model[0].weight - plain.model[0].weight).detach()[40:]
        wanted = scale * teacher[0].weight.detach().std()
        assert 0.9 < float(change.std() / wanted) < 1.1
        assert abs(float(change.mean() / wanted)) < 0.1


def test_noise_stays_off_norms_and_running_statistics() -> None:
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )
    x = noise(2, 3, 5, 5)
    plain, noisy = widen(teacher, 2.0, x), widen(teacher, 2.0, x, noise=0.5, exact=False)
    for old, new in zip(
        tensors(plain.model[1]).values(), tensors(noisy.model[1]).values(), strict=True
    ):
        assert torch.equal(old, new)


def test_noise_is_reported_and_measured() -> None:
    growth = widen(tanh_mlp(), 2.0, noise(4, 4), noise=0.05, exact=False)
    assert growth.report.parity is not None and growth.report.parity.max_rel > 1e-6
    assert any("noise" in note and "0.05" in note for note in growth.report.notes)


# -- random pad ------------------------------------------------------------------------------------


def test_random_pad_is_the_baseline_that_it_says_it_is() -> None:
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 2, 1),
        )
    )
    x = noise(2, 3, 9, 9)
    growth = widen(teacher, 2.0, x, method="random_pad", exact=False)
    student = growth.model
    # the old network is inside, unchanged: nothing is divided
    assert torch.equal(student[0].weight[:8], teacher[0].weight)
    assert torch.equal(student[3].weight[:6, :8], teacher[3].weight)
    assert torch.equal(student[5].weight[:, :6], teacher[5].weight)
    for name, old in tensors(teacher[1]).items():
        if old.ndim:
            assert torch.equal(tensors(student[1])[name][:8], old)
    # new rows and columns are random: not zero, not copies, of the weights' own scale
    for name, row, columns in (("0.weight", 8, 3), ("3.weight", 6, 8), ("5.weight", 2, 6)):
        old, new = tensors(teacher)[name].detach(), tensors(student)[name].detach()
        fresh = torch.cat([new[row:].flatten(), new[:, columns:].flatten()])
        assert not set(fresh.tolist()) & {*old.flatten().tolist(), 0.0}
        assert len(set(fresh.tolist())) > 0.5 * len(fresh)
        assert 0.5 < float(fresh.std() / old.std()) < 2
    assert (student[1].running_var > 0).all()
    # and it is honest about it
    parity = growth.report.parity
    assert parity is not None and parity.max_rel > 1e-2 and not parity.exact
    assert any("does not preserve" in note for note in growth.report.notes)
    assert "does not preserve" in str(growth.report) and "random_pad" in str(growth.report)


def test_random_pad_of_grouped_layers_and_norms() -> None:
    """Where units have companions, all of them are new together."""
    case = test_layers.CASES["conv2d_grouped"]
    teacher = case.model()
    student = widen(teacher, 2.0, case.inputs(), method="random_pad", exact=False).model
    assert student[2].groups == 8
    assert torch.equal(student[2].weight[:12], teacher[2].weight)
    assert not torch.isin(student[2].weight[12:], teacher[2].weight).any()


@pytest.mark.parametrize("options", [{"method": "random_pad"}, {"noise": 0.1}], ids=str)
def test_weights_of_one_element_have_no_deviation(options: dict[str, Any]) -> None:
    """A standard deviation of one number is not a number, and must not get into the student."""
    teacher = randomise(nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1), nn.Linear(1, 1)))
    growth = widen(teacher, 3.0, noise(4, 1), exact=False, **options)
    assert all(tensor.isfinite().all() for tensor in tensors(growth.model).values())
    assert growth.report.parity is not None


def test_replicate_says_nothing_about_not_preserving() -> None:
    with untouched(teacher := tanh_mlp()):
        growth = net2net.widen(teacher, 2.0, noise(4, 4))
    assert growth.report.notes == ()
