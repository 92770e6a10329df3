"""What other implementations of growth got wrong, by the name of each: one test for each defect."""

import copy
import inspect
import itertools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from tests.behaviour import test_branches, test_tied
from tests.helpers import (
    EXACT,
    assert_exact,
    deepen,
    image_model,
    noise,
    randomise,
    shapes,
    tensors,
    tokens,
    untouched,
    widen,
)

X = noise(2, 3, 8, 8)


def mlp(width: int = 8) -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 3)))


def convs(model: nn.Module) -> list[nn.Conv2d]:
    return [part for part in model.modules() if isinstance(part, nn.Conv2d)]


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]


# -- erogol ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7])
def test_erogol_the_identity_kernel_is_no_shift(kernel: int) -> None:
    """A centre at k//2+1 is off by one: a single bright pixel would move."""
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 4, kernel, padding="same"), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )
    new = convs(net2net.deepen(teacher, {"0": 1}, X).model)[1]
    pixel = torch.zeros(1, 4, 9, 9, dtype=torch.float64)
    pixel[0, 2, 3, 5] = 1
    assert new.kernel_size == (kernel, kernel)
    assert torch.equal(new(pixel), pixel)


def test_erogol_every_batch_norm_is_copied() -> None:
    """Its copy stands outside the loop: only the last norm was widened."""
    parts: list[nn.Module] = []
    for inputs in (3, 4, 4, 4):
        parts += [nn.Conv2d(inputs, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    teacher = randomise(nn.Sequential(*parts, nn.Conv2d(4, 2, 1)))
    student = widen(teacher, 2.0, X).model
    for old, new in zip(norms(teacher), norms(student), strict=True):
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert Counter(getattr(new, name).tolist()) == Counter(getattr(old, name).tolist() * 2)


# -- DanielSlater ----------------------------------------------------------------------------------


def test_danielslater_noise_reaches_one_copy_only() -> None:
    """Written through a view, it reached both."""
    plain, noisy = (
        widen(mlp(), {"0": 16}, noise(4, 6), noise=scale, exact=not scale).model
        for scale in (0.0, 0.1)
    )
    assert torch.equal(noisy[0].weight[:8], plain[0].weight[:8])
    assert (noisy[0].weight[8:] != plain[0].weight[8:]).all()


def test_danielslater_no_unit_is_split_nine_ways_by_chance() -> None:
    for seed in range(20):
        growth = widen(mlp(4), {"0": 12}, noise(4, 6), seed=seed)
        (g,) = (axis.index.tolist() for axis in growth.plan.recipes["0.weight"].axes)
        assert Counter(g) == {0: 3, 1: 3, 2: 3, 3: 3}


# -- paengs ----------------------------------------------------------------------------------------


def test_paengs_signed_errors_do_not_cancel() -> None:
    teacher = mlp()
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student[2].bias += torch.tensor([1.0, -1.0, 0.0])
    x = noise(4, 6)
    assert abs(float((teacher(x) - student(x)).detach().sum())) < 1e-12  # what its check sums
    parity = net2net.verify(teacher, student, x)
    assert parity.max_abs == pytest.approx(1) and not parity.exact


# -- ChamiLamelas ----------------------------------------------------------------------------------


def test_chamilamelas_new_batch_norm_channels_have_their_units_statistics() -> None:
    """Not mean 0 and variance 1."""
    teacher = image_model()
    new = norms(widen(teacher, 1.5, X).model)[0]
    assert new.num_features == 6
    for channel in (4, 5):
        assert new.running_mean[channel] in teacher[1].running_mean
        assert new.running_var[channel] in teacher[1].running_var
        assert new.running_mean[channel] != 0 and new.running_var[channel] != 1


def test_chamilamelas_the_random_baseline_is_random() -> None:
    """Its "random" baseline is Net2Net itself."""
    teacher = mlp()
    padded = widen(teacher, 2.0, noise(4, 6), method="random_pad", exact=False)
    assert not torch.isin(padded.model[0].weight[8:], teacher[0].weight).any()
    assert padded.report.parity is not None and padded.report.parity.max_rel > 1e-2


def test_chamilamelas_errors_are_of_rounding_not_of_hundredths() -> None:
    """1e-2 on Windows, where numpy's default integer had 32 bits: maps here are 64 bits wide."""
    growth = widen(image_model(), 3.0, X)
    assert growth.report.parity is not None and growth.report.parity.max_rel <= EXACT
    single = net2net.widen(image_model().float(), 3.0, X.float())
    with torch.no_grad():
        old, new = image_model().float()(X.float()), single.model(X.float())
    assert float((old - new).abs().max()) < 1e-5 * float(old.abs().max())


def test_chamilamelas_inception_concatenates() -> None:
    case = test_branches.CASES["inception"]
    widen(case.model(), 1.5, case.inputs())


def test_chamilamelas_residual_networks() -> None:
    case = test_branches.CASES["resnet"]
    widen(case.model(), 1.5, case.inputs())


# -- TomRavaud -------------------------------------------------------------------------------------


def test_tomravaud_the_identity_is_diagonal() -> None:
    """Not a 1 for every pair of channels."""
    new = convs(deepen(image_model(), {"0": 1}, X).model)[1]
    assert torch.equal(new.weight, nn.init.dirac_(torch.empty(4, 4, 3, 3, dtype=torch.float64)))


def test_tomravaud_gamma_is_the_deviation_not_the_variance() -> None:
    new = norms(deepen(image_model(), {"0": 1}, X, calibrate=[noise(16, 3, 8, 8)]).model)[1]
    assert torch.equal(new.weight, torch.sqrt(new.running_var + new.eps))
    assert torch.equal(new.bias, new.running_mean)
    assert (new.running_var != 1).all() and (new.running_mean != 0).all()


def test_tomravaud_replaced_convolutions_keep_their_options() -> None:
    """Groups, dilation, stride, padding mode, and the absence of a bias."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 1, bias=False),
            nn.Conv2d(
                4,
                8,
                3,
                stride=2,
                padding=2,
                dilation=2,
                groups=2,
                padding_mode="circular",
                bias=False,
            ),
            nn.ReLU(),
            nn.Conv2d(8, 2, 1),
        )
    )
    wide = widen(teacher, 1.5, X).model[1]
    assert (wide.groups, wide.stride, wide.padding, wide.dilation) == (3, (2, 2), (2, 2), (2, 2))
    assert wide.padding_mode == "circular" and wide.bias is None
    deep = deepen(teacher, {"0": 1}, X).model
    assert repr(convs(deep)[2]) == repr(teacher[1])
    assert all(part.bias is None for part in convs(deep)[:3])


def test_tomravaud_deepening_trains_nothing() -> None:
    """No epoch as a side effect: every tensor of the teacher is in the student, bit for bit."""
    teacher = image_model().train()
    student = deepen(teacher, {"0": 1, "8": 1}, X, calibrate=[noise(8, 3, 8, 8)]).model
    old, new = tensors(teacher), list(tensors(student).values())
    assert all(any(t.shape == o.shape and torch.equal(t, o) for t in new) for o in old.values())


# -- soumith ---------------------------------------------------------------------------------------


def test_soumith_a_deeper_batch_norm_fits_all_batches_not_one() -> None:
    """In evaluation mode exact on any input, whatever it was calibrated on."""
    teacher = image_model()
    one = deepen(teacher, {"0": 1}, X, calibrate=[noise(8, 3, 8, 8, seed=5)])
    assert_exact(teacher, one.model, 100 * noise(4, 3, 8, 8, seed=6))
    two = deepen(teacher, {"0": 1}, X, calibrate=[noise(8, 3, 8, 8, seed=5), 3 * noise(8, 3, 8, 8)])
    assert not torch.equal(norms(one.model)[1].running_var, norms(two.model)[1].running_var)


def test_soumith_convolution_to_fully_connected() -> None:
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    )
    student = widen(teacher, {"0": 7}, X).model
    assert student[3].in_features == 7 * 36


# -- MSG -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["widen", "deepen"])
def test_msg_the_first_update_is_no_larger_than_the_learning_rate(verb: str) -> None:
    """A zero-padded second moment with a carried step makes it 3.16 times that. A student's
    parameters are new to any optimiser, so Adam starts its own correction for all of them."""
    teacher = image_model()
    old = torch.optim.Adam(teacher.parameters(), lr=0.01)
    for _ in range(3):
        teacher(X).square().mean().backward()
        old.step()
        old.zero_grad()
    growth = (
        net2net.widen(teacher, 1.5, X) if verb == "widen" else net2net.deepen(teacher, {"0": 1}, X)
    )
    known = {id(parameter) for group in old.param_groups for parameter in group["params"]}
    assert not known & {id(parameter) for parameter in growth.model.parameters()}
    before = {name: p.detach().clone() for name, p in growth.model.named_parameters()}
    optimiser = torch.optim.Adam(growth.model.parameters(), lr=0.01)
    growth.model(X).square().mean().backward()
    optimiser.step()
    moved = [
        float((p.detach() - before[n]).abs().max()) for n, p in growth.model.named_parameters()
    ]
    assert 0 < max(moved) <= 0.01 * (1 + 1e-6)


# -- HyperCloning ----------------------------------------------------------------------------------


def test_hypercloning_tied_embeddings_stay_tied() -> None:
    teacher = randomise(test_tied.Tied())
    x = tokens(2, 5, below=11)
    for growth in (widen(teacher, 2.0, x), deepen(teacher, {"mix": 1}, x)):
        assert growth.model.head.weight is growth.model.embed.weight


def test_hypercloning_the_class_and_the_names_are_the_teachers() -> None:
    """Nothing is wrapped: the plain class, built wider, loads the student's state dict."""
    case = test_branches.CASES["resnet"]
    growth = widen(case.model(), 2.0, case.inputs())
    assert type(growth.model) is test_branches.ResNet
    assert list(growth.model.state_dict()) == list(case.model().state_dict())
    plain = test_branches.ResNet(lambda size: 2 * size).double().eval()
    plain.load_state_dict(growth.model.state_dict(), strict=True)
    assert_exact(case.model(), plain, case.inputs())


@pytest.mark.parametrize("width", [101, 110, 150, 199, 200, 250])
def test_hypercloning_factors_need_not_be_integers(width: int) -> None:
    assert widen(mlp(100), {"0": width}, noise(4, 6)).model[0].out_features == width


class NoNames(nn.Module):
    """None of the usual attributes: what is needed comes from the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.empty(8, 6))
        self.q = nn.Parameter(torch.empty(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.p).relu(), self.q)


def test_hypercloning_no_attribute_of_the_model_is_relied_on() -> None:
    """It reads one that transformers has since removed."""
    assert shapes(widen(randomise(NoNames()), 1.5, noise(4, 6)).model) == {
        "p": (12, 6),
        "q": (3, 12),
    }


# -- LLaMA-Pro -------------------------------------------------------------------------------------


def test_llamapro_new_layers_get_gradients() -> None:
    """Zeroed norms kill them."""
    student = deepen(
        image_model(), {"0": 1, "3": 1, "8": 1}, X, calibrate=[noise(8, 3, 8, 8)]
    ).model
    assert all((norm.weight != 0).all() for norm in norms(student))
    student.train()(noise(8, 3, 8, 8)).square().mean().backward()
    for name, parameter in student.named_parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None and parameter.grad.abs().max() > 1e-8, name


def test_llamapro_biases_are_not_copied_into_identities() -> None:
    teacher = image_model()
    assert (teacher[0].bias != 0).all() and (teacher[8].bias != 0).all()
    student = deepen(teacher, {"0": 1, "8": 1}, X).model
    linear = [part for part in student.modules() if isinstance(part, nn.Linear)]
    assert not convs(student)[1].bias.any() and not linear[1].bias.any()


# -- staged-training, OLMoE ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("spaces", ["model", "inputs"]),
        ("widen", ["model", "widths", "inputs", "*method", "*noise", "*seed", "*verify"]),
        ("deepen", ["model", "depths", "inputs", "*seed", "*calibrate", "*verify"]),
        ("verify", ["teacher", "student", "inputs"]),
    ],
)
def test_staged_training_functions_take_the_arguments_that_are_promised(
    function: str, arguments: list[str]
) -> None:
    """Its own test calls functions with arguments that do not exist."""
    found = inspect.signature(getattr(net2net, function)).parameters
    promised = {name.lstrip("*"): name.startswith("*") for name in arguments}
    order = [name for name in found if name in promised]
    assert order[: sum(not key for key in promised.values())] == [
        n for n, key in promised.items() if not key
    ]
    assert set(order) == set(promised)
    for name, parameter in found.items():
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert keyword == promised.get(name, True)
        assert not keyword or parameter.default is not inspect.Parameter.empty
    defaults = {"method": "auto", "noise": 0.0, "seed": 0, "verify": True, "calibrate": None}
    assert all(found[name].default == defaults[name] for name in defaults if name in found)


@pytest.mark.parametrize("verb", ["widen", "deepen"])
def test_olmoe_the_loss_does_not_rise_after_growth(verb: str) -> None:
    """It rises for 5000 steps at a high rate; at a tenth of the teacher's (as in the paper), from
    the teacher's loss on, every step is an improvement."""
    x = noise(64, 6)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].abs(), x.sum(1)], 1)
    teacher = mlp(16)

    def train(model: nn.Module, rate: float, steps: int) -> list[float]:
        optimiser = torch.optim.SGD(model.parameters(), lr=rate)
        losses = []
        for _ in range(steps):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        return losses

    end = train(teacher, 0.05, 50)[-1]
    with untouched(teacher):
        growth = (
            net2net.widen(teacher, 2.0, x)
            if verb == "widen"
            else net2net.deepen(teacher, {"0": 1}, x)
        )
    losses = train(growth.model, 0.005, 50)
    assert losses[0] < end  # the first loss is the teacher's after its own last step
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
