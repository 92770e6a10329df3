"""Net2DeeperNet: identity layers where the activation allows, refused with a reason elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import net2net
from net2net.errors import DepthError, InputError, UnknownModuleError
from tests.helpers import (
    EXACT,
    Written,
    assert_exact,
    deepen,
    gap,
    memory,
    noise,
    randomise,
    refused,
    tensors,
    untouched,
    widen,
)

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SIZES = {1: (11,), 2: (9, 8), 3: (7, 6, 7)}

even_kernels = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


def image(dims: int = 2, batch: int = 2, seed: int = 1) -> Tensor:
    return noise(batch, 3, *SIZES[dims], seed=seed)


def mlp(activation: nn.Module, bias: bool = True) -> nn.Module:
    return randomise(
        nn.Sequential(
            nn.Linear(6, 8, bias=bias), activation, nn.Linear(8, 5, bias=bias), activation,
            nn.Linear(5, 3),
        )
    )  # fmt: skip


# -- linear chains ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.ReLU6(),
        nn.Hardtanh(),
        nn.Hardtanh(-0.3, 0.4),
        nn.Threshold(0.1, 0.0),
        nn.Identity(),
    ],
    ids=repr,
)
def test_linear_chains(activation: nn.Module, bias: bool) -> None:
    teacher = mlp(activation, bias)
    growth = deepen(teacher, {"0": 1, "2": 2}, noise(4, 6))
    layers = [part for part in growth.model.modules() if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in layers] == [
        (6, 8), (8, 8), (8, 5), (5, 5), (5, 5), (5, 3),
    ]  # fmt: skip
    assert all((part.bias is not None) == bias for part in layers[:-1])
    for part in (layers[1], layers[3], layers[4]):
        assert torch.equal(part.weight, torch.eye(part.in_features, dtype=torch.float64))
        assert part.bias is None or not part.bias.any()


def test_only_the_wrapped_layer_is_renamed() -> None:
    teacher = mlp(nn.ReLU())
    student = deepen(teacher, {"2": 1}, noise(4, 6)).model
    old, new = tensors(teacher), tensors(student)
    assert {name for name in new if name not in old} == {
        "2.0.weight", "2.0.bias", "2.2.weight", "2.2.bias",
    }  # fmt: skip
    for name, tensor in old.items():
        assert torch.equal(new[name.replace("2.", "2.0.")], tensor)


def test_parameter_count() -> None:
    teacher = mlp(nn.ReLU())
    growth = deepen(teacher, {"0": 2, "2": 1}, noise(4, 6))
    before, after = growth.report.parameters
    assert after - before == 2 * (8 * 8 + 8) + (5 * 5 + 5)


def test_the_report() -> None:
    teacher = mlp(nn.ReLU())
    growth = deepen(teacher, {"0": 2}, noise(4, 6))
    report = growth.report
    assert "deepened" in report.action
    (row,) = report.rows
    assert (row.name, row.new - row.old) == ("0", 2)
    assert report.flops[1] - report.flops[0] == 2 * (2 * 4 * 8 * 8)
    assert report.parity is not None and report.parity.dtype == torch.float64
    assert report.parity.max_rel <= EXACT
    assert all(word in str(report) for word in ("0", "parameters", "FLOPs", "float64"))


def test_the_last_layer_has_no_activation_and_gets_none() -> None:
    teacher = mlp(nn.ReLU())
    growth = deepen(teacher, {"4": 2}, noise(4, 6))
    assert not [part for part in growth.model[4] if isinstance(part, nn.ReLU)]
    assert [type(part) for part in growth.model[4]] == [nn.Linear] * 3


def test_no_layers_at_all() -> None:
    teacher = mlp(nn.ReLU())
    assert repr(deepen(teacher, {"0": 0}, noise(4, 6)).model) == repr(teacher)


def test_without_verification() -> None:
    growth = net2net.deepen(mlp(nn.ReLU()), {"0": 1}, noise(4, 6), verify=False)
    assert growth.report.parity is None


# -- convolutions ----------------------------------------------------------------------------------


@even_kernels
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_conv_chains(dims: int, kernel: int) -> None:
    """The same kernel size, odd or even, with its norm and its activation."""
    layer, norm = CONVS[dims], NORMS[dims]
    teacher = randomise(
        nn.Sequential(
            layer(3, 4, kernel, bias=False), norm(4), nn.ReLU(),
            layer(4, 5, kernel, padding=kernel // 2), nn.ReLU(), layer(5, 2, 1),
        )
    )  # fmt: skip
    growth = deepen(teacher, {"0": 1, "3": 2}, image(dims))
    convs = [part for part in growth.model.modules() if isinstance(part, layer)]
    assert len(convs) == 6
    assert all(part.kernel_size == (kernel,) * dims for part in convs[:-1])
    assert [part.bias is not None for part in convs] == [False, False, True, True, True, True]
    assert sum(isinstance(part, norm) for part in growth.model.modules()) == 2
    assert sum(isinstance(part, nn.ReLU) for part in growth.model.modules()) == 5


@even_kernels
@pytest.mark.parametrize("kernel", [(3, 1), (1, 5), (2, 3), (4, 1)])
def test_rectangular_kernels(kernel: tuple[int, int]) -> None:
    """The paper's own (figure 5): vertical–horizontal pairs."""
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 4, kernel), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )
    growth = deepen(teacher, {"0": 2}, image())
    convs = [part for part in growth.model.modules() if isinstance(part, nn.Conv2d)]
    assert [part.kernel_size for part in convs] == [kernel] * 3 + [(1, 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2}, {"dilation": 2}, {"padding": 2}, {"padding": "same"},
        {"padding": 1, "padding_mode": "circular"}, {"padding": 1, "padding_mode": "reflect"},
        {"stride": 2, "dilation": 2, "padding": 3, "bias": False},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dims", [1, 2])
def test_strided_dilated_padded(dims: int, options: dict[str, Any]) -> None:
    teacher = randomise(
        nn.Sequential(
            CONVS[dims](3, 4, 3, **options), NORMS[dims](4), nn.ReLU(), CONVS[dims](4, 2, 1)
        )
    )
    growth = deepen(teacher, {"0": 1}, image(dims))
    first = next(part for part in growth.model.modules() if isinstance(part, CONVS[dims]))
    assert repr(first) == repr(teacher[0])  # stride, dilation, padding and bias are as they were


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_grouped_and_depthwise(groups: int) -> None:
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=groups),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 2, 1),
        )
    )
    growth = deepen(teacher, {"2": 2}, image())
    new = [
        part for part in growth.model.modules() if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    assert [part.groups for part in new] == [groups] * 3


def test_a_grouped_layer_that_changes_its_width_has_no_identity_of_its_kind() -> None:
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 2, 1)
        )
    )
    with refused(DepthError, "'1'", "groups", teacher=teacher):
        net2net.deepen(teacher, {"1": 1}, image())


def test_batch_norm_is_undone_from_any_statistics() -> None:
    """γ = √(σ² + ε), β = μ: the paper's section 2.4."""
    teacher = randomise(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    )
    x = [image(batch=8, seed=5)]
    for batches in (None, x):
        growth = deepen(teacher, {"0": 1}, image(), calibrate=batches)
        old, new = (part for part in growth.model.modules() if isinstance(part, nn.BatchNorm2d))
        assert new.eps == old.eps == 0.1
        assert torch.equal(new.weight, (new.running_var + 0.1).sqrt())
        assert torch.equal(new.bias, new.running_mean)
        assert torch.equal(old.running_mean, teacher[1].running_mean)


@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.BatchNorm2d(4, momentum=None), lambda: nn.BatchNorm2d(4, affine=False),
        lambda: nn.BatchNorm2d(4, track_running_stats=False), lambda: nn.SyncBatchNorm(4),
    ],
    ids=["cumulative", "not_affine", "not_tracking", "sync"],
)  # fmt: skip
def test_other_batch_norms(norm: Any) -> None:
    teacher = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), norm(), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    deepen(teacher, {"0": 2}, image())


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        (lambda: nn.GroupNorm(2, 4), "GroupNorm"), (lambda: nn.GroupNorm(1, 4), "GroupNorm"),
        (lambda: nn.LayerNorm([4, 7, 6]), "LayerNorm"), (lambda: nn.RMSNorm([4, 7, 6]), "RMSNorm"),
        (lambda: nn.InstanceNorm2d(4, affine=True), "InstanceNorm2d"),
        (lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), "InstanceNorm2d"),
    ],
    ids=["group", "group_1", "layer", "rms", "instance", "instance_tracking"],
)  # fmt: skip
def test_norms_that_nothing_can_undo_are_left_out_with_a_note(norm: Any, name: str) -> None:
    teacher = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), norm(), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    growth = deepen(teacher, {"0": 1}, image())
    assert sum(type(part).__name__ == name for part in growth.model.modules()) == 1
    (note,) = growth.report.notes
    assert "'0'" in note and name in note
    assert note in str(growth.report)


# -- however the model calls its activation --------------------------------------------------------


class Block(nn.Module):
    """ResNet's block: one relu module for both places, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            Block(),
            Block(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
    )


def test_a_shared_relu_module() -> None:
    growth = deepen(resnet(), {"*.conv1": 2}, image())
    for block in (growth.model[1], growth.model[2]):
        assert [type(part) for part in block.bn1] == [
            nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d,
        ]  # fmt: skip


def test_before_a_residual_addition() -> None:
    """What follows is the sum, not an activation: the new layer is linear."""
    growth = deepen(resnet(), {"1.conv2": 1}, image())
    assert not [part for part in growth.model[1].bn2 if isinstance(part, nn.ReLU)]


PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    ".relu()": lambda x: x.relu(),
    "clamp": lambda x: x.clamp(min=0),
    "F.relu6": F.relu6,
    "F.hardtanh": lambda x: F.hardtanh(x, -0.2, 0.3),
    "F.threshold": lambda x: F.threshold(x, 0.1, 0.0),
    "abs": torch.abs,
    "maximum": lambda x: torch.maximum(x, x.new_zeros(())),
    "none": lambda x: x,
}


def functional(phi: Callable[[Tensor], Tensor]) -> nn.Module:
    layers = {"a": nn.Linear(6, 8), "b": nn.Linear(8, 5), "c": nn.Linear(5, 2)}
    return randomise(Written(lambda model, x: model.c(phi(model.b(phi(model.a(x))))), **layers))


@pytest.mark.parametrize("how", PHI)
def test_functional_activations(how: str) -> None:
    deepen(functional(PHI[how]), {"a": 2, "b": 1}, noise(4, 6))


def test_functional_relu_is_copied_as_a_module() -> None:
    growth = deepen(functional(F.relu), {"a": 1}, noise(4, 6))
    assert [type(part) for part in growth.model.a] == [nn.Linear, nn.ReLU, nn.Linear]


class Causal(nn.Conv1d):
    """Pads before its input alone."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (2, 0)))


def test_after_a_layer_of_the_users_own_class_stands_one_of_torchs() -> None:
    teacher = randomise(nn.Sequential(Causal(3, 8), nn.ReLU(), nn.Conv1d(8, 2, 1)))
    growth = deepen(teacher, {"0": 1}, noise(2, 3, 9))
    assert [type(part) for part in growth.model[0]] == [Causal, nn.ReLU, nn.Conv1d]


class SquaredReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


def test_of_a_module_that_does_more_only_the_activation_is_copied() -> None:
    """The square of a ReLU is not idempotent; the ReLU in it is, and the square comes once."""
    growth = deepen(mlp(SquaredReLU()), {"0": 1}, noise(4, 6))
    assert [type(part) for part in growth.model[0]] == [nn.Linear, nn.ReLU, nn.Linear]


class Reused(nn.Module):
    """A layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(self.shared(self.shared(x).relu()).relu())


def test_a_layer_that_is_called_twice() -> None:
    deepen(randomise(Reused()), {"shared": 2}, noise(4, 6))


class TwoWays(Reused):
    """A layer called twice, with another activation behind it each time."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.hardtanh(self.shared(self.shared(self.stem(x)).relu())))


def test_a_layer_that_is_called_in_two_ways() -> None:
    teacher = randomise(TwoWays())
    with refused(DepthError, "'shared'", "different", teacher=teacher):
        net2net.deepen(teacher, {"shared": 1}, noise(4, 6))


class UsedTwice(nn.Module):
    """The layer's output goes two ways, before and after its activation."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.a, self.head, self.inplace = nn.Linear(6, 8), nn.Linear(16, 2), inplace

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.head(torch.cat([F.relu(x, inplace=self.inplace), x], 1))


@pytest.mark.parametrize("inplace", [True, False])
def test_an_output_that_goes_two_ways(inplace: bool) -> None:
    deepen(randomise(UsedTwice(inplace)), {"a": 2}, noise(4, 6))


WAYS: dict[str, Callable[[Any, Tensor], Any]] = {
    "returned": lambda m, x: (h := m.a(x), m.b(F.relu(h))),
    "of the type that it has": lambda m, x: m.b(F.relu(m.a(x).to(x.dtype))),
    "written to and read": lambda m, x: m.b((h := m.a(x)).relu_() + h),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_follows_a_layer_is_what_alone_reads_its_output(way: str) -> None:
    teacher = randomise(Written(WAYS[way], a=nn.Linear(6, 4), b=nn.Linear(4, 2)))
    student = deepen(teacher, {"a": 1}, noise(4, 6)).model
    kinds = [type(part).__name__ for part in student.a]
    assert kinds == (["Linear"] * 2 if way == "returned" else ["Linear", "ReLU", "Linear"])


class FunctionalNorm(nn.Module):
    """A norm that is no module stands between the layer and its activation."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.head, self.kind = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), kind
        self.weight, self.bias = nn.Parameter(torch.empty(4)), nn.Parameter(torch.empty(4))
        self.register_buffer("running_mean", torch.empty(4))
        self.register_buffer("running_var", torch.empty(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.kind == "batch_norm":
            x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)
        else:
            x = F.group_norm(x, 2, self.weight, self.bias)
        return self.head(F.relu(x))


@pytest.mark.parametrize("kind", ["batch_norm", "group_norm"])
def test_a_functional_norm(kind: str) -> None:
    deepen(randomise(FunctionalNorm(kind)), {"conv": 1}, image())


class Cell(nn.Module):
    """A block with a functional norm and activation in the middle: not its end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.next(F.relu(F.instance_norm(self.conv(x))))


def test_a_functional_norm_inside_a_block() -> None:
    teacher = randomise(nn.Sequential(Cell(), nn.Conv2d(4, 2, 1)))
    deepen(teacher, {"0.conv": 1}, image())


# -- blocks ----------------------------------------------------------------------------------------


class Maxout(nn.Module):
    def __init__(self, inputs: int, outputs: int, pieces: int, layout: str) -> None:
        super().__init__()
        self.pieces, self.layout = pieces, layout
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if self.layout == "inside":
            return x.view(*x.shape[:-1], -1, self.pieces).amax(-1)
        return x.view(*x.shape[:-1], self.pieces, -1).amax(-2)


@pytest.mark.parametrize("layout", ["inside", "in front"])
@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout(pieces: int, layout: str) -> None:
    """Every piece is the identity (paper, section 2.4)."""
    teacher = randomise(
        nn.Sequential(Maxout(6, 8, pieces, layout), Maxout(8, 5, pieces, layout), nn.Linear(5, 2))
    )
    growth = deepen(teacher, {"0": 1, "1": 2}, noise(4, 6))
    assert sum(isinstance(part, Maxout) for part in growth.model.modules()) == 5
    new = growth.model[0][1].linear.weight
    assert torch.equal(new.sum(1), torch.ones(8 * pieces, dtype=torch.float64))
    assert new.count_nonzero() == 8 * pieces


class TwoPieces(nn.Module):
    """Maxout with a module for each piece."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.one(x), self.two(x))


def test_maxout_of_modules() -> None:
    teacher = randomise(nn.Sequential(TwoPieces(6, 8), TwoPieces(8, 5), nn.Linear(5, 2)))
    growth = deepen(teacher, {"0": 2}, noise(4, 6))
    assert sum(isinstance(part, TwoPieces) for part in growth.model.modules()) == 4


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "tied"])
def test_a_block_whose_weights_are_computed_or_tied(kind: str, side_by_side: bool) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return torch.maximum(model.a(x), model.b(x)) if side_by_side else model.b(model.a(x))

    layers = {"a": nn.Linear(6, 6), "b": nn.Linear(6, 6)}
    if kind != "tied":
        layers = {name: getattr(parametrizations, kind)(one) for name, one in layers.items()}
    else:
        layers["b"].weight = layers["a"].weight
    block = Written(code, **layers)
    teacher = randomise(nn.Sequential(nn.Linear(3, 6), block, nn.Linear(6, 2))).eval()
    assert len(deepen(teacher, {"1": 2}, noise(4, 3)).model[1]) == 3


def conv_norm(activation: nn.Module, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, bias=False), norm, activation)


def test_a_convolution_norm_activation_block() -> None:
    teacher = randomise(nn.Sequential(conv_norm(nn.ReLU6(), nn.BatchNorm2d(4)), nn.Conv2d(4, 2, 1)))
    growth = deepen(teacher, {"0": 2}, image())
    assert sum(isinstance(part, nn.BatchNorm2d) for part in growth.model.modules()) == 3


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.SiLU()], ids=repr)
def test_a_block_whose_activation_is_not_idempotent(activation: nn.Module) -> None:
    teacher = randomise(nn.Sequential(conv_norm(activation, nn.BatchNorm2d(4)), nn.Conv2d(4, 2, 1)))
    with refused(DepthError, "'0'", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, image())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x).relu()


@pytest.mark.parametrize(
    "block",
    [
        lambda: Residual(),
        lambda: Block(),
        lambda: conv_norm(nn.ReLU(), nn.GroupNorm(2, 4)),
        lambda: conv_norm(nn.ReLU(), nn.BatchNorm2d(4, track_running_stats=False)),
    ],
    ids=["residual", "two_layers", "group_norm", "untracked_norm"],
)
def test_a_block_that_no_copy_makes_an_identity_of(block: Any) -> None:
    """x + φ(I x) is not x: refused, before a student is built that computes something else."""
    made = block()
    parts = [made] if isinstance(made, nn.Sequential) else [nn.Conv2d(3, 4, 1), made]
    teacher = randomise(nn.Sequential(*parts, nn.Conv2d(4, 2, 1)))
    path = str(len(parts) - 1)
    with refused(DepthError, f"'{path}", teacher=teacher):
        net2net.deepen(teacher, {path: 1}, image())


def _in_float(model: Any, x: Tensor) -> Tensor:
    return model.head(model.block(model.stem(x).float()))


def _in_float_only(model: Any, x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError("this kernel takes float32")
    return model.head(model.block(model.stem(x)))


@pytest.mark.parametrize("code", [_in_float, _in_float_only])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_a_block_in_code_that_asks_for_a_type(
    code: Callable[..., Tensor], activation: Callable[[], nn.Module]
) -> None:
    block = nn.Sequential(nn.Linear(8, 8), activation())
    teacher = randomise(Written(code, stem=nn.Linear(3, 8), block=block, head=nn.Linear(8, 2)))
    teacher, x = teacher.float(), noise(4, 3).float()
    if activation is nn.Tanh:
        with refused(DepthError, "idempotent", teacher=teacher):
            net2net.deepen(teacher, {"block": 1}, x)
    else:
        growth = net2net.deepen(teacher, {"block": 1}, x)
        assert growth.report.parity is not None and growth.report.parity.exact


# -- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.Sigmoid(), "sigmoid"),
        (nn.Tanh(), "tanh"),
        (nn.GELU(), "gelu"),
        (nn.SiLU(), "silu"),
        (nn.ELU(), "elu"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.SELU(), "elu"),
        (nn.Softplus(), "softplus"),
        (nn.Mish(), "mish"),
        (nn.Hardswish(), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"),
        (nn.PReLU(), "prelu"),
        (nn.LogSigmoid(), "log_sigmoid"),
        (nn.CELU(), "celu"),
        (nn.RReLU(), "relu"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_refused_where_the_activation_does_not_allow_it(activation: nn.Module, name: str) -> None:
    """φ(φ(v)) ≠ φ(v): refused with the reason, and with what to do instead."""
    teacher = mlp(activation)
    with refused(DepthError, "'0'", name, "no identity", "widen", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, noise(4, 6))
    with_norm = randomise(
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), activation, nn.Linear(8, 2))
    )
    with refused(DepthError, "'0'", name, teacher=with_norm):
        net2net.deepen(with_norm, {"0": 1}, noise(4, 6))


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None])
def test_a_depth_is_a_number_of_layers(count: Any) -> None:
    teacher = mlp(nn.ReLU())
    with refused(DepthError, "'0'", teacher=teacher):
        net2net.deepen(teacher, {"0": count}, noise(4, 6))


def test_unknown_modules_come_with_near_matches() -> None:
    teacher = resnet()
    with refused(UnknownModuleError, "'1.konv1'", "Near matches.*1.conv1", teacher=teacher):
        net2net.deepen(teacher, {"1.konv1": 1}, image())


def test_a_module_without_weights() -> None:
    teacher = mlp(nn.ReLU())
    with refused(DepthError, "'1'", "ReLU", "linear", teacher=teacher):
        net2net.deepen(teacher, {"1": 1}, noise(4, 6))


def test_a_transposed_convolution() -> None:
    teacher = randomise(nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    with refused(DepthError, "'0'", "ConvTranspose2d", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, image())


def test_one_place_asked_for_twice() -> None:
    teacher = mlp(nn.ReLU())
    with refused(DepthError, r"'\[01\]'", "'0'", teacher=teacher):
        net2net.deepen(teacher, {"0": 1, "[01]": 2}, noise(4, 6))


def test_a_layer_that_does_not_run() -> None:
    layers = {"used": nn.Linear(6, 2), "unused": nn.Linear(6, 2)}
    teacher = randomise(Written(lambda model, x: model.used(x), **layers))
    with refused(DepthError, "'unused'", "run", teacher=teacher):
        net2net.deepen(teacher, {"unused": 1}, noise(4, 6))


def test_code_that_reaches_into_the_wrapped_layer() -> None:
    """It reads the layer's own attributes, which its wrapper has not."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.a(x).view(-1, model.a.out_features))

    teacher = randomise(Written(code, a=nn.Linear(6, 8), head=nn.Linear(8, 2)))
    for verify in (True, False):
        with refused(DepthError, "reaches into", r"\('a'\)", teacher=teacher):
            net2net.deepen(teacher, {"a": 1}, noise(4, 6), verify=verify)


# -- training mode and calibration -----------------------------------------------------------------


def chain() -> nn.Module:
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 5, 3),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.Linear(6, 2),
        )
    )


@pytest.mark.parametrize("depth", [1, 3])
def test_calibrated_on_a_batch_it_is_an_identity_in_training_mode_there(depth: int) -> None:
    x = image(batch=16, seed=4)
    growth = deepen(chain(), {"0": depth, "3": 1, "8": depth}, image(), calibrate=[x])
    assert gap(chain(), growth.model, x) <= 1e-10
    plain = deepen(chain(), {"0": depth, "3": 1, "8": depth}, image())
    assert gap(chain(), plain.model, x) > 1e-3  # statistics of 0 and 1 are not the batch's


def test_calibrated_on_the_data_it_is_nearly_one_on_other_batches() -> None:
    """Within what the statistics of a batch vary by; the more the batches, the less."""
    batches = [image(batch=64, seed=seed) for seed in range(8)]
    growth = deepen(chain(), {"0": 1}, image(), calibrate=batches)
    other = image(batch=256, seed=99)
    calibrated = gap(chain(), growth.model, other)
    plain = gap(chain(), deepen(chain(), {"0": 1}, image()).model, other)
    assert 0 < calibrated < 0.05 < plain


def test_calibration_takes_any_iterable_of_inputs() -> None:
    x = image(batch=8, seed=4)
    by_list = deepen(chain(), {"0": 1}, image(), calibrate=[x])
    by_generator = deepen(chain(), {"0": 1}, image(), calibrate=(item for item in [(x,)]))
    by_dict = deepen(chain(), {"0": 1}, image(), calibrate=[{"input": x}])
    assert by_list.plan.to_json() == by_generator.plan.to_json() == by_dict.plan.to_json()


def test_calibration_measures_the_mean_over_all_batches() -> None:
    one, two = image(batch=4, seed=4), image(batch=12, seed=5)
    apart = deepen(chain(), {"0": 1}, image(), calibrate=[one])
    both = deepen(chain(), {"0": 1}, image(), calibrate=[one, two])
    norms = [
        [part for part in growth.model.modules() if isinstance(part, nn.BatchNorm2d)][1]
        for growth in (apart, both)
    ]
    model = chain().train()
    with torch.no_grad():
        seen = torch.cat([model[:3](x) for x in (one, two)])
    torch.testing.assert_close(norms[1].running_mean, seen.mean((0, 2, 3)), rtol=1e-10, atol=1e-12)
    variance = seen.var((0, 2, 3), correction=0)
    torch.testing.assert_close(norms[1].running_var, variance, rtol=1e-10, atol=1e-12)
    assert not torch.equal(norms[0].running_mean, norms[1].running_mean)


def test_calibration_changes_no_statistics_of_the_teacher_nor_of_its_layers_in_the_student() -> (
    None
):
    teacher = chain()
    growth = deepen(teacher, {"0": 1}, image(), calibrate=[image(batch=8)])
    old = next(part for part in growth.model.modules() if isinstance(part, nn.BatchNorm2d))
    assert torch.equal(old.running_mean, teacher[1].running_mean)
    assert torch.equal(old.num_batches_tracked, teacher[1].num_batches_tracked)


def test_calibration_needs_batches_that_run() -> None:
    teacher = chain()
    with refused(InputError, "no batches", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, image(), calibrate=[])
    with refused(InputError, "run", teacher=teacher):
        net2net.deepen(teacher, {"0": 1}, image(), calibrate=[noise(2, 5, 9, 8)])


def test_a_layer_without_batch_norm_is_an_identity_in_training_mode_anyway() -> None:
    teacher = mlp(nn.ReLU())
    growth = deepen(teacher, {"0": 1, "2": 1}, noise(4, 6))
    assert gap(teacher, growth.model, noise(4, 6, seed=9)) <= EXACT


def test_random_layers_calibrate_by_their_seed() -> None:
    """Dropout before the new norm: the same seed measures the same."""
    teacher = randomise(
        nn.Sequential(
            nn.Linear(6, 8),
            nn.Dropout(),
            nn.Linear(8, 5),
            nn.BatchNorm1d(5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )
    )
    batches = [noise(16, 6)]
    one, same, other = (
        deepen(teacher, {"2": 1}, noise(4, 6), calibrate=batches, seed=seed) for seed in (3, 3, 4)
    )
    assert one.plan.to_json() == same.plan.to_json() != other.plan.to_json()


def test_the_student_trains_and_every_new_parameter_takes_part() -> None:
    teacher = chain()
    student = deepen(teacher, {"0": 1, "8": 1}, image(), calibrate=[image(batch=16)]).model.train()
    student(image(batch=16)).square().mean().backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("bias") or ".1." in name:
            assert parameter.grad.abs().max() > 0, name


def test_frozen_layers_get_frozen_identities() -> None:
    teacher = mlp(nn.ReLU())
    teacher[0].requires_grad_(False)
    growth = deepen(teacher, {"0": 1}, noise(4, 6))
    assert not any(parameter.requires_grad for parameter in growth.model[0].parameters())
    assert all(parameter.requires_grad for parameter in growth.model[2].parameters())


def test_training_mode_of_the_teacher_is_that_of_the_new_layers() -> None:
    teacher = chain().train()
    growth = deepen(teacher, {"0": 1}, image())
    assert all(part.training for part in growth.model.modules())


def test_float32_models_stay_float32() -> None:
    teacher = chain().float()
    growth = net2net.deepen(teacher, {"0": 1, "8": 1}, image().float())
    assert {parameter.dtype for parameter in growth.model.parameters()} == {torch.float32}
    assert growth.report.parity is not None and growth.report.parity.exact


def test_nothing_is_shared_between_the_copies() -> None:
    with untouched(teacher := chain()):
        growth = net2net.deepen(teacher, {"0": 3}, image())
        count = len(list(tensors(growth.model)))
        assert len(memory(growth.model)) == count
        for tensor in tensors(growth.model).values():
            tensor.data.zero_()


def test_deeper_then_wider() -> None:
    """Any new layer may be at least as wide as the one below it."""
    deeper = deepen(chain(), {"0": 1}, image())
    wider = widen(deeper.model, {"1.2": 7}, image())
    assert_exact(chain(), wider.model, image())
    assert wider.model[1][2].out_channels == 7


class Pair(nn.Sequential):
    """A vertical and a horizontal convolution, each with a norm and a ReLU."""

    def __init__(self, before: int, between: int, after: int) -> None:
        super().__init__(
            nn.Conv2d(before, between, (3, 1), padding=(1, 0)), nn.BatchNorm2d(between), nn.ReLU(),
            nn.Conv2d(between, after, (1, 3), padding=(0, 1)), nn.BatchNorm2d(after), nn.ReLU(),
        )  # fmt: skip


def test_a_pair_of_layers_is_followed_by_pairs() -> None:
    """Both new norms undo what is measured of what the first pair puts out."""
    teacher = randomise(nn.Sequential(nn.Conv2d(3, 5, 1), Pair(5, 4, 4), nn.Conv2d(4, 2, 1)))
    growth = deepen(teacher, {"1": 2}, image(), calibrate=[image(seed=2)])
    assert sum(isinstance(part, Pair) for part in growth.model.modules()) == 3
    norms = [part for part in growth.model.get_submodule("1.1") if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 2 and all(norm.running_mean.abs().min() > 0 for norm in norms)


def test_a_pair_that_is_narrower_inside_is_refused() -> None:
    teacher = randomise(nn.Sequential(nn.Conv2d(3, 5, 1), Pair(5, 2, 4), nn.Conv2d(4, 2, 1)))
    with refused(DepthError, "'1' is 4 wide", "'1.0' in it 2", teacher=teacher):
        net2net.deepen(teacher, {"1": 1}, image())
