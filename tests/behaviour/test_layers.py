"""Every kind of layer, wider and the same function: by 2 and by 1.5, whole and one layer alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import net2net
from net2net.errors import NotGrowableError, WidthError
from tests.helpers import (
    Case,
    Cases,
    Width,
    assert_exact,
    check_whole,
    noise,
    randomise,
    refused,
    shapes,
    tokens,
    widen,
)

CASES = Cases()


def Seq(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts)


# -- weights of a direction and a length -----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("divided", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_weight_norm_of_linear_layers(divided: Any, dim: int | None) -> None:
    def build(n: Width) -> nn.Module:
        layers = nn.Linear(6, n(8)), nn.Linear(n(8), n(10)), nn.Linear(n(10), 3)
        first, second, third = (divided(layer, dim=dim) for layer in layers)
        return Seq(first, nn.ReLU(), second, nn.Tanh(), third)

    _check_divided(build, noise(4, 6))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("divided", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_weight_norm_of_convolutions(divided: Any, dim: int) -> None:
    def build(n: Width) -> nn.Module:
        grouped = nn.Conv1d(n(8), n(8), 3, groups=n(2))
        layers = nn.Conv1d(6, n(8), 3), grouped, nn.ConvTranspose1d(n(8), n(10), 3)
        first, second, third = (divided(layer, dim=dim) for layer in layers)
        return Seq(first, nn.ReLU(), second, nn.Tanh(), third, nn.Conv1d(n(10), 3, 1))

    _check_divided(build, noise(4, 6, 9))


def _check_divided(build: Any, inputs: Tensor) -> None:
    """Norms change with what they are taken over, and the function does not."""
    for factor in (1.5, 2.0):
        teacher = randomise(build(lambda size: size))
        with torch.no_grad():
            teacher(inputs)  # the old kind keeps the weight, which autograd may not own
        growth = widen(teacher, factor, inputs)
        built = build(lambda size, factor=factor: int(factor * size)).eval()
        assert len(growth.report.rows) == 2
        assert shapes(growth.model) == shapes(built) and repr(growth.model) == repr(built)
    noisy = widen(teacher, 2.0, inputs, exact=False, noise=0.1)
    assert 0 < net2net.verify(teacher, noisy.model, inputs).max_rel < 1


def test_lengths_of_a_weight_norm_are_no_units_of_the_input() -> None:
    """Both are 1 wide where the input has one channel, which is all that they have in common."""
    first, second = (parametrizations.weight_norm(nn.Conv1d(i, 8, 3)) for i in (1, 8))
    teacher = randomise(Seq(first, nn.ReLU(), second))
    table = net2net.spaces(teacher, noise(2, 1, 9))
    assert [space.name for space in table.growable] == ["0.parametrizations.weight"]


def test_a_weight_norm_of_what_is_computed_stays() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(6, 8), nn.Linear(5, 3)
            self.direction, self.scale = (nn.Parameter(torch.randn(5, n)) for n in (8, 1))

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x) @ torch._weight_norm(self.direction * 2.0, self.scale, 0).T
            return self.head(x)

    teacher = randomise(Computed())
    with refused(NotGrowableError, "divides by a norm over it", teacher=teacher):
        net2net.widen(teacher, {"a": 2.0}, noise(4, 6))


# -- whole networks --------------------------------------------------------------------------------


@CASES.add(lambda: noise(4, 6), {"0": 8, "2": 10}, at="2")
def mlp(n: Width) -> nn.Module:
    return Seq(
        nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), n(10)), nn.Tanh(), nn.Linear(n(10), 3)
    )


@CASES.add(lambda: noise(4, 6), {"0": 8, "2": 10})
def mlp_without_bias(n: Width) -> nn.Module:
    return Seq(
        nn.Linear(6, n(8), bias=False), nn.Sigmoid(),
        nn.Linear(n(8), n(10), bias=False), nn.GELU(), nn.Linear(n(10), 3, bias=False),
    )  # fmt: skip


@CASES.add(lambda: noise(2, 5, 7, 6), {"0": 8})
def mlp_over_leading_axes(n: Width) -> nn.Module:
    return Seq(nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), 3))


@CASES.add(lambda: noise(6), {"0": 8})
def mlp_without_a_batch(n: Width) -> nn.Module:
    return Seq(nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), 3))


@CASES.add(lambda: noise(2, 1, 16, 16), {"0": 4, "3": 6, "7": 10}, at="3")
def lenet(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(1, n(4), 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(n(4), n(6), 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(n(6) * 4, n(10)), nn.ReLU(), nn.Linear(n(10), 5),
    )  # fmt: skip


@CASES.add(lambda: noise(2, 3, 8, 8), {"0": 4, "3": 6, "9": 10}, at="9")
def vgg(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(4), 3, padding=1), nn.BatchNorm2d(n(4)), nn.ReLU(inplace=True),
        nn.Conv2d(n(4), n(6), 3, padding=1), nn.BatchNorm2d(n(6)), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(),
        nn.Linear(n(6) * 6, n(10)), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(n(10), 5),
    )  # fmt: skip


class AlexNet(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.features = Seq(
            nn.Conv2d(3, n(4), 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(n(4), n(8), 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = Seq(
            nn.Dropout(), nn.Linear(n(8) * 4, n(12)), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(n(12), n(6)), nn.ReLU(inplace=True), nn.Linear(n(6), 5),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


@CASES.add(
    lambda: noise(2, 3, 16, 16),
    {"features.0": 4, "features.3": 8, "classifier.1": 12, "classifier.4": 6},
    at="features.3",
)
def alexnet(n: Width) -> nn.Module:
    return AlexNet(n)


@CASES.add(lambda: noise(2, 5), {"0": 24, "2": 6}, step=4)
def generator(n: Width) -> nn.Module:
    return Seq(
        nn.Linear(5, n(6) * 4), nn.Unflatten(1, (-1, 2, 2)),
        nn.ConvTranspose2d(n(6), n(6), 4, stride=2, padding=1), nn.BatchNorm2d(n(6)), nn.ReLU(),
        nn.ConvTranspose2d(n(6), 3, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip


@CASES.add(lambda: noise(2, 5), {"0": 24, "5": 4}, step=4)
def upsampling_generator(n: Width) -> nn.Module:
    return Seq(
        nn.Linear(5, n(6) * 4), nn.Unflatten(1, (-1, 2, 2)), nn.BatchNorm2d(n(6)), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(n(6), n(4), 3, padding=1), nn.MaxPool2d(2),
        nn.Conv2d(n(4), 3, 1),
    )  # fmt: skip


# -- convolutions ----------------------------------------------------------------------------------

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SIZES = {1: (9,), 2: (7, 6), 3: (5, 6, 5)}


def image(dims: int, channels: int = 3) -> Tensor:
    return noise(2, channels, *SIZES[dims])


for _d in (1, 2, 3):
    for _name, _options in {
        "plain": {}, "strided": {"stride": 2}, "dilated": {"dilation": 2},
        "padded": {"padding": 2}, "same": {"padding": "same"}, "valid": {"padding": "valid"},
        "circular": {"padding": 1, "padding_mode": "circular"},
        "replicate": {"padding": 1, "padding_mode": "replicate"},
        "without_bias": {"bias": False},
    }.items():  # fmt: skip
        CASES.put(
            f"conv{_d}d_{_name}",
            lambda n, d=_d, o=_options: Seq(
                CONVS[d](3, n(4), 3, **o), nn.ReLU(), CONVS[d](n(4), n(6), 1, **o), nn.Tanh(),
                CONVS[d](n(6), 2, 1),
            ),
            lambda d=_d: image(d), {"0": 4, "2": 6},
        )  # fmt: skip
    CASES.put(
        f"conv{_d}d_grouped",
        lambda n, d=_d: Seq(
            CONVS[d](3, n(8), 3), nn.ReLU(), CONVS[d](n(8), n(12), 1, groups=n(4)), nn.Tanh(),
            CONVS[d](n(12), n(6), 1), nn.ReLU(), CONVS[d](n(6), 2, 1),
        ),
        lambda d=_d: image(d), {"0": 8, "4": 6}, step=2,
    )  # fmt: skip
    CASES.put(
        f"conv{_d}d_depthwise",
        lambda n, d=_d: Seq(
            CONVS[d](3, n(6), 1), nn.ReLU(), CONVS[d](n(6), n(6), 3, groups=n(6)), nn.ReLU(),
            CONVS[d](n(6), n(4), 1), nn.ReLU(), CONVS[d](n(4), 2, 1),
        ),
        lambda d=_d: image(d), {"0": 6, "4": 4},
    )  # fmt: skip
    CASES.put(
        f"conv{_d}d_depthwise_with_multiplier",
        lambda n, d=_d: Seq(
            CONVS[d](3, n(6), 1), nn.ReLU(), CONVS[d](n(6), n(18), 3, groups=n(6)), nn.ReLU(),
            CONVS[d](n(18), 2, 1),
        ),
        lambda d=_d: image(d), {"0": 6},
    )  # fmt: skip
    for _name, _options in {
        "plain": {}, "strided": {"stride": 2, "output_padding": 1}, "dilated": {"dilation": 2},
        "padded": {"padding": 1, "bias": False},
    }.items():  # fmt: skip
        CASES.put(
            f"transposed{_d}d_{_name}",
            lambda n, d=_d, o=_options: Seq(
                TRANSPOSED[d](3, n(4), 3, **o), nn.ReLU(), TRANSPOSED[d](n(4), n(6), 3, **o),
                nn.ReLU(), TRANSPOSED[d](n(6), 2, 1),
            ),
            lambda d=_d: noise(2, 3, *(3,) * d), {"0": 4, "2": 6}, at="2",
        )  # fmt: skip
    CASES.put(
        f"transposed{_d}d_grouped",
        lambda n, d=_d: Seq(
            TRANSPOSED[d](3, n(8), 2), nn.ReLU(), TRANSPOSED[d](n(8), n(12), 3, groups=n(4)),
            nn.ReLU(), TRANSPOSED[d](n(12), 2, 1),
        ),
        lambda d=_d: noise(2, 3, *(3,) * d), {"0": 8}, step=2,
    )  # fmt: skip
    CASES.put(
        f"transposed{_d}d_depthwise",
        lambda n, d=_d: Seq(
            TRANSPOSED[d](3, n(4), 2), nn.ReLU(), TRANSPOSED[d](n(4), n(4), 3, groups=n(4)),
            nn.ReLU(), CONVS[d](n(4), 2, 1),
        ),
        lambda d=_d: noise(2, 3, *(3,) * d), {"0": 4},
    )  # fmt: skip


@CASES.add(lambda: image(2), {"0": 4})
def conv_reflect_padded(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(4), (3, 1), padding=(1, 0), padding_mode="reflect"), nn.ReLU(),
        nn.Conv2d(n(4), 2, (1, 3), padding=(0, 1), padding_mode="reflect"),
    )  # fmt: skip


@CASES.add(lambda: noise(3, 7, 6), {"0": 4, "2": 6})
def conv_without_a_batch(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(4), 3), nn.ReLU(), nn.Conv2d(n(4), n(6), 3), nn.ReLU(), nn.Conv2d(n(6), 2, 1)
    )


# -- normalisations --------------------------------------------------------------------------------

NORMS = {
    1: (nn.BatchNorm1d, nn.InstanceNorm1d), 2: (nn.BatchNorm2d, nn.InstanceNorm2d),
    3: (nn.BatchNorm3d, nn.InstanceNorm3d),
}  # fmt: skip

for _d in (1, 2, 3):
    for _kind, _plain in enumerate(("batch_norm", "instance_norm")):
        for _name, _options in {
            "": {},
            "_affine_tracking": {"affine": True, "track_running_stats": True},
            "_not_affine": {"affine": False},
            "_not_tracking": {"affine": True, "track_running_stats": False},
            "_tracking_not_affine": {"affine": False, "track_running_stats": True},
        }.items():
            CASES.put(
                f"{_plain}{_d}d{_name}",
                lambda n, d=_d, k=_kind, o=_options: Seq(
                    CONVS[d](3, n(4), 3), NORMS[d][k](n(4), **o), nn.ReLU(), CONVS[d](n(4), 2, 1)
                ),
                lambda d=_d: image(d),
                {"0": 4},
            )


@CASES.add(lambda: noise(5, 6), {"0": 8, "3": 4})
def batch_norm_of_features(n: Width) -> nn.Module:
    return Seq(
        nn.Linear(6, n(8)), nn.BatchNorm1d(n(8), momentum=None), nn.ReLU(),
        nn.Linear(n(8), n(4)), nn.ReLU(), nn.BatchNorm1d(n(4)), nn.Linear(n(4), 2),
    )  # fmt: skip


@CASES.add(lambda: image(2), {"0": 4})
def sync_batch_norm(n: Width) -> nn.Module:
    return Seq(nn.Conv2d(3, n(4), 3), nn.SyncBatchNorm(n(4)), nn.ReLU(), nn.Conv2d(n(4), 2, 1))


for _groups, _step in ((2, 4), (4, 2), (8, 1)):
    for _affine in (True, False):
        CASES.put(
            f"group_norm_{_groups}{'' if _affine else '_not_affine'}",
            lambda n, g=_groups, a=_affine: Seq(
                nn.Conv2d(3, n(8), 3),
                nn.GroupNorm(n(g), n(8), affine=a),
                nn.ReLU(),
                nn.Conv2d(n(8), 2, 1),
            ),
            lambda: image(2),
            {"0": 8},
            step=_step,
        )

CASES.put(
    "group_norm_of_features",
    lambda n: Seq(nn.Linear(6, n(8)), nn.GroupNorm(n(4), n(8)), nn.Tanh(), nn.Linear(n(8), 2)),
    lambda: noise(4, 6), {"0": 8}, step=2,
)  # fmt: skip

# Averages over a whole space: every unit needs as many copies, so sizes are whole multiples.
UNIFORM: dict[str, Any] = {"step": 8, "only": (2.0, 3.0)}

CASES.put(
    "group_norm_1",
    lambda n: Seq(nn.Conv2d(3, n(8), 3), nn.GroupNorm(1, n(8)), nn.ReLU(), nn.Conv2d(n(8), 2, 1)),
    lambda: image(2), {"0": 8}, **UNIFORM,
)  # fmt: skip
for _name, _norm in {
    "layer_norm": lambda n: nn.LayerNorm(n(8)),
    "layer_norm_without_bias": lambda n: nn.LayerNorm(n(8), bias=False),
    "layer_norm_not_affine": lambda n: nn.LayerNorm(n(8), elementwise_affine=False),
    "rms_norm": lambda n: nn.RMSNorm(n(8)),
    "rms_norm_not_affine": lambda n: nn.RMSNorm(n(8), elementwise_affine=False, eps=1e-3),
}.items():
    CASES.put(
        _name,
        lambda n, norm=_norm: Seq(nn.Linear(6, n(8)), norm(n), nn.GELU(), nn.Linear(n(8), 2)),
        lambda: noise(4, 6), {"0": 8}, **UNIFORM,
    )  # fmt: skip
CASES.put(
    "layer_norm_over_images",
    lambda n: Seq(
        nn.Conv2d(3, n(8), 3), nn.LayerNorm([n(8), 5, 4]), nn.ReLU(), nn.Conv2d(n(8), 2, 1)
    ),
    lambda: image(2),
    {"0": 8},
    **UNIFORM,
)


# -- activations -----------------------------------------------------------------------------------

ACTIVATIONS = [
    nn.CELU(0.7),
    nn.ELU(0.5),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.Hardshrink(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Hardtanh(-0.5, 0.7),
    nn.Identity(),
    nn.LeakyReLU(0.2),
    nn.LogSigmoid(),
    nn.Mish(),
    nn.RReLU(),
    nn.ReLU(),
    nn.ReLU6(),
    nn.SELU(),
    nn.SiLU(inplace=True),
    nn.Sigmoid(),
    nn.Softplus(2.0),
    nn.Softshrink(),
    nn.Softsign(),
    nn.Tanh(),
    nn.Tanhshrink(),
    nn.Threshold(0.1, -1.0),
    nn.Dropout(),
    nn.Dropout(0.5, inplace=True),
    nn.AlphaDropout(),
    nn.FeatureAlphaDropout(),
]


class Filtered(nn.Module):
    """Smooths every channel by a filter that is no parameter."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.stem, self.head = nn.Conv1d(3, 8, 3), nn.Conv1d(8, 2, 1)
        self.register_buffer("filter", torch.tensor([[[0.25, 0.5, 0.25]]]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        channels = x.shape[1]
        own = torch.arange(3.0 * channels).to(x.dtype).view(channels, 1, 3)
        filters = {"one": self.filter.expand(channels, -1, -1), "ones": own.new_ones(own.shape)}
        return self.head(F.conv1d(x, filters.get(self.how, own), groups=channels))  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["one", "ones"])
def test_one_filter_for_all_channels(how: str) -> None:
    assert widen(randomise(Filtered(how)), 1.5, noise(2, 3, 9)).model.stem.out_channels == 12


def test_filters_that_differ_by_channel() -> None:
    teacher = randomise(Filtered("own"))
    with refused(NotGrowableError, "filters each channel in a way of its own", teacher=teacher):
        net2net.widen(teacher, 2.0, noise(2, 3, 9))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_any_elementwise_activation(activation: nn.Module) -> None:
    def build(n: Width) -> nn.Module:
        return Seq(nn.Linear(6, n(8)), activation, nn.Linear(n(8), 3))

    check_whole(Case(build, lambda: noise(4, 6), {"0": 8}, "0"), 1.5)


CASES.put(
    "prelu_one_slope",
    lambda n: Seq(nn.Linear(6, n(8)), nn.PReLU(), nn.Linear(n(8), 3)),
    lambda: noise(4, 6), {"0": 8},
)  # fmt: skip
CASES.put(
    "prelu_slopes",
    lambda n: Seq(
        nn.Conv2d(3, n(8), 3),
        nn.PReLU(n(8)),
        nn.Conv2d(n(8), n(6), 1),
        nn.PReLU(n(6)),
        nn.Conv2d(n(6), 2, 1),
    ),
    lambda: image(2),
    {"0": 8, "2": 6},
)
CASES.put(
    "prelu_slopes_of_features",
    lambda n: Seq(nn.Linear(6, n(8)), nn.PReLU(n(8)), nn.Linear(n(8), 3)),
    lambda: noise(4, 6), {"0": 8},
)  # fmt: skip
for _d, _dropout in ((1, nn.Dropout1d()), (2, nn.Dropout2d()), (3, nn.Dropout3d())):
    CASES.put(
        f"dropout{_d}d",
        lambda n, d=_d, o=_dropout: Seq(CONVS[d](3, n(4), 3), o, nn.ReLU(), CONVS[d](n(4), 2, 1)),
        lambda d=_d: image(d), {"0": 4},
    )  # fmt: skip


# -- pools, resampling, padding --------------------------------------------------------------------

BETWEEN: dict[str, tuple[int, nn.Module]] = {
    "avg1": (1, nn.AvgPool1d(2)),
    "avg2": (2, nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)),
    "avg3": (3, nn.AvgPool3d(2, divisor_override=3)),
    "avg_of_one": (1, nn.AvgPool2d((1, 2), stride=(1, 2))),
    "max1": (1, nn.MaxPool1d(2, ceil_mode=True)),
    "max2": (2, nn.MaxPool2d(2, stride=1, dilation=2)),
    "max3": (3, nn.MaxPool3d(2)),
    "adaptive_avg1": (1, nn.AdaptiveAvgPool1d(3)),
    "adaptive_avg2": (2, nn.AdaptiveAvgPool2d((None, 3))),
    "adaptive_avg2_to_one": (2, nn.AdaptiveAvgPool2d(1)),
    "adaptive_avg3": (3, nn.AdaptiveAvgPool3d(2)),
    "adaptive_max1": (1, nn.AdaptiveMaxPool1d(3)),
    "adaptive_max2": (2, nn.AdaptiveMaxPool2d((2, 3))),
    "adaptive_max3": (3, nn.AdaptiveMaxPool3d(2)),
    "lp1": (1, nn.LPPool1d(2, 2)),
    "lp2": (2, nn.LPPool2d(3, 2)),
    "lp3": (3, nn.LPPool3d(2, 2)),
    "nearest1": (1, nn.Upsample(scale_factor=2)),
    "nearest2": (2, nn.UpsamplingNearest2d(scale_factor=2)),
    "nearest3": (3, nn.Upsample(size=(4, 5, 6))),
    "nearest_exact1": (1, nn.Upsample(scale_factor=2, mode="nearest-exact")),
    "nearest_exact2": (2, nn.Upsample(scale_factor=1.5, mode="nearest-exact")),
    "nearest_exact3": (3, nn.Upsample(scale_factor=2, mode="nearest-exact")),
    "linear1": (1, nn.Upsample(scale_factor=2, mode="linear")),
    "bilinear2": (2, nn.Upsample(scale_factor=2, mode="bilinear")),
    "bilinear2_corners": (2, nn.UpsamplingBilinear2d(scale_factor=2)),
    "bicubic2": (2, nn.Upsample(size=(9, 9), mode="bicubic", align_corners=True)),
    "trilinear3": (3, nn.Upsample(scale_factor=2, mode="trilinear")),
    "constant1": (1, nn.ConstantPad1d((1, 2), 0.7)),
    "constant2": (2, nn.ConstantPad2d((1, 2, 0, -1), 0.7)),
    "constant3": (3, nn.ConstantPad3d(1, 0.7)),
    "zero1": (1, nn.ZeroPad1d(1)),
    "zero2": (2, nn.ZeroPad2d((1, 0, 2, 0))),
    "zero3": (3, nn.ZeroPad3d(1)),
    "reflection1": (1, nn.ReflectionPad1d(2)),
    "reflection2": (2, nn.ReflectionPad2d((1, 2, 0, 1))),
    "reflection3": (3, nn.ReflectionPad3d(1)),
    "replication1": (1, nn.ReplicationPad1d(2)),
    "replication2": (2, nn.ReplicationPad2d((1, 2, 0, 1))),
    "replication3": (3, nn.ReplicationPad3d(1)),
    "circular1": (1, nn.CircularPad1d(2)),
    "circular2": (2, nn.CircularPad2d((1, 2, 0, 1))),
    "circular3": (3, nn.CircularPad3d(1)),
    "softmax_over_pixels": (1, nn.Softmax(dim=2)),
}

for _name, (_d, _layer) in BETWEEN.items():
    CASES.put(
        f"between_{_name}",
        lambda n, d=_d, layer=_layer: Seq(
            CONVS[d](3, n(4), 3), nn.ReLU(), layer, CONVS[d](n(4), 2, 1)
        ),
        lambda d=_d: image(d),
        {"0": 4},
        only=(1.5,),
    )


class Unpool(nn.Module):
    """SegNet: where the maximum was is where it goes back to."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, n(4), 3, padding=1)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.head = nn.Conv2d(n(4), 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        pooled, indices = self.pool(self.conv(x))
        return self.head(self.unpool(pooled, indices))


@CASES.add(lambda: noise(2, 3, 8, 8), {"conv": 4})
def max_unpool(n: Width) -> nn.Module:
    return Unpool(n)


class Fractional(nn.Module):
    """Regions that a buffer holds for every channel: they follow their channels."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, n(4), 3, padding=1)
        rng = torch.Generator().manual_seed(5)
        whole = torch.rand(1, 8, 2, generator=rng, dtype=torch.float64)
        self.register_buffer("regions", whole[:, : n(4)].clone())
        self.head = nn.Conv2d(n(4), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.fractional_max_pool2d(
            self.conv(x),
            2,
            output_ratio=(0.6, 0.6),
            _random_samples=self.regions.expand(len(x), -1, -1),
        )
        return self.head(x)


@CASES.add(lambda: noise(2, 3, 8, 8), {"conv": 4})
def fractional_max_pool_with_stored_regions(n: Width) -> nn.Module:
    return Fractional(n)


@pytest.mark.parametrize(
    ("dims", "layer"),
    [
        (2, nn.FractionalMaxPool2d(2, output_ratio=0.6)),
        (3, nn.FractionalMaxPool3d(2, output_size=2)),
    ],
    ids=["2d", "3d"],
)
def test_fractional_max_pool_draws_for_every_channel(dims: int, layer: nn.Module) -> None:
    """Copies of a channel would draw other regions, so these channels stay; the rest grows."""
    conv = CONVS[dims]
    teacher = randomise(Seq(conv(3, 4, 1), nn.ReLU(), conv(4, 6, 1), layer, conv(6, 2, 1)))
    growth = widen(teacher, 1.5, image(dims))
    assert [(row.name, row.new) for row in growth.report.rows] == [("0", 6)]
    with refused(NotGrowableError, "random", teacher=teacher):
        net2net.widen(teacher, {"2": 9}, image(dims))


@CASES.add(lambda: image(2), {"0": 16, "2": 6}, step=4)
def pixel_shuffle(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(4) * 4, 3),
        nn.PixelShuffle(2),
        nn.Conv2d(n(4), n(6), 3),
        nn.ReLU(),
        nn.Conv2d(n(6), 2, 1),
    )


@CASES.add(lambda: noise(2, 3, 8, 8), {"0": 4, "3": 6})
def pixel_unshuffle(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(4), 3, padding=1),
        nn.ReLU(),
        nn.PixelUnshuffle(2),
        nn.Conv2d(n(4) * 4, n(6), 3),
        nn.ReLU(),
        nn.Conv2d(n(6), 2, 1),
    )


@CASES.add(lambda: image(2), {"0": 8, "2": 6}, step=2)
def channel_shuffle(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(8), 3),
        nn.ChannelShuffle(2),
        nn.Conv2d(n(8), n(6), 1),
        nn.ReLU(),
        nn.Conv2d(n(6), 2, 1),
    )


class Patches(nn.Module):
    """Unfold to patches, a linear layer on each, fold back."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n(4), 1)
        self.unfold = nn.Unfold(2, stride=2)
        self.mix = nn.Linear(n(4) * 4, n(6) * 4)
        self.fold = nn.Fold((8, 8), 2, stride=2)
        self.head = nn.Conv2d(n(6), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.mix(self.unfold(self.stem(x)).transpose(1, 2))
        return self.head(self.fold(patches.transpose(1, 2)))


@CASES.add(lambda: noise(2, 3, 8, 8), {"stem": 4, "mix": 24})
def unfold_and_fold(n: Width) -> nn.Module:
    return Patches(n)


# -- heads and products ----------------------------------------------------------------------------

for _name, _head in {
    "softmax": nn.Softmax(dim=1),
    "log_softmax": nn.LogSoftmax(dim=-1),
    "softmin": nn.Softmin(dim=1),
}.items():
    CASES.put(
        f"{_name}_head",
        lambda n, head=_head: Seq(nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), 3), head),
        lambda: noise(4, 6),
        {"0": 8},
    )
CASES.put(
    "softmax2d_head",
    lambda n: Seq(nn.Conv2d(3, n(4), 3), nn.ReLU(), nn.Conv2d(n(4), 3, 1), nn.Softmax2d()),
    lambda: image(2), {"0": 4},
)  # fmt: skip


class Maxout(nn.Module):
    """Goodfellow et al. (2013): the largest of k linear pieces."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)


@CASES.add(lambda: noise(4, 6), {"0.linear": 16, "1.linear": 18}, step=2)
def maxout(n: Width) -> nn.Module:
    return Seq(Maxout(6, n(8)), Maxout(n(8), n(6), 3), nn.Linear(n(6), 3))


class MaxoutByMax(nn.Module):
    """The same, with ``max`` and the pieces in front."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.linear = nn.Linear(6, n(8) * 3)
        self.head = nn.Linear(n(8), 2)

    def forward(self, x: Tensor) -> Tensor:
        pieces = self.linear(x).view(len(x), 3, -1)
        return self.head(torch.max(pieces, 1).values)


@CASES.add(lambda: noise(4, 6), {"linear": 24}, step=3)
def maxout_with_pieces_in_front(n: Width) -> nn.Module:
    return MaxoutByMax(n)


@CASES.add(lambda: noise(4, 6), {"0": 16}, step=2)
def glu(n: Width) -> nn.Module:
    return Seq(nn.Linear(6, n(16)), nn.GLU(), nn.Linear(n(8), 2))


@CASES.add(lambda: image(2), {"0": 16, "3": 12}, step=2)
def glu_of_channels(n: Width) -> nn.Module:
    return Seq(
        nn.Conv2d(3, n(16), 3), nn.BatchNorm2d(n(16)), nn.GLU(1),
        nn.Conv2d(n(8), n(12), 1), nn.GLU(1), nn.Conv2d(n(6), 2, 1),
    )  # fmt: skip


class Pair(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, n(4)), nn.Linear(6, n(6))
        self.both = nn.Bilinear(n(4), n(6), n(8))
        self.head = nn.Linear(n(8), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.both(self.left(x).tanh(), self.right(x).tanh()).relu())


@CASES.add(lambda: noise(4, 6), {"left": 4, "right": 6, "both": 8}, at="right")
def bilinear(n: Width) -> nn.Module:
    return Pair(n)


class Words(nn.Module):
    def __init__(self, n: Width, embedding: nn.Module, mean: bool) -> None:
        super().__init__()
        self.embed, self.mean = embedding, mean
        self.mix, self.head = nn.Linear(n(8), n(6)), nn.Linear(n(6), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(self.mix(x.mean(1) if self.mean else x).relu())


@CASES.add(lambda: tokens(4, 5, below=11), {"embed": 8, "mix": 6})
def embedding(n: Width) -> nn.Module:
    return Words(n, nn.Embedding(11, n(8), padding_idx=0), mean=True)


@CASES.add(lambda: tokens(4, 5, below=11), {"embed": 8, "mix": 6})
def embedding_bag(n: Width) -> nn.Module:
    return Words(n, nn.EmbeddingBag(11, n(8), mode="mean"), mean=False)


# -- the tests -------------------------------------------------------------------------------------


test_whole, test_alone = CASES.tests()


def test_widths_that_do_not_divide() -> None:
    """100 → 110, as users ask for: "slightly bigger"."""
    teacher = randomise(Seq(nn.Linear(6, 100), nn.ReLU(), nn.Linear(100, 3)))
    assert widen(teacher, {"0": 110}, noise(4, 6)).model[0].out_features == 110
    assert widen(teacher, 1.1, noise(4, 6)).model[0].out_features == 110
    assert widen(teacher, {"0": 737}, noise(4, 6)).model[0].out_features == 737


def test_a_factor_goes_to_the_nearest_admissible_width_and_the_report_says_so() -> None:
    teacher = randomise(Seq(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)))
    growth = widen(teacher, 1.6, noise(4, 6))
    (row,) = growth.report.rows
    assert (row.old, row.new) == (8, 16)
    assert "12.8" in row.note and "layer_norm" in row.note
    assert "12.8" in str(growth.report)
    grouped = randomise(Seq(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Linear(8, 2)))
    growth = widen(grouped, {"0": 1.4}, noise(4, 6))
    assert (growth.report.rows[0].new, growth.model[1].num_groups) == (12, 3)
    assert "11.2" in growth.report.rows[0].note and "steps of 4" in growth.report.rows[0].note


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (lambda: Seq(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)), 8),
        (lambda: Seq(nn.Linear(6, 8), nn.GELU(), nn.RMSNorm(8), nn.Linear(8, 2)), 8),
        (lambda: Seq(nn.Linear(6, 8), nn.GroupNorm(1, 8), nn.Linear(8, 2)), 8),
        (lambda: Seq(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Linear(8, 2)), 4),
        (lambda: Seq(nn.Linear(6, 16), nn.GLU(), nn.Linear(8, 2)), 2),
    ],
    ids=["layer_norm", "rms_norm", "group_norm_1", "group_norm_2", "glu"],
)
def test_a_width_in_between_names_its_neighbours(build: Any, size: int) -> None:
    teacher = randomise(build())
    now = teacher[0].out_features
    with refused(WidthError, rf"\b{now}\b", rf"\b{now + size}\b", teacher=teacher):
        net2net.widen(teacher, {"0": now + 1}, noise(4, 6))


@pytest.mark.parametrize(
    ("between", "why", "made"),
    [(nn.LogSoftmax(dim=1), "softmax", 6), (nn.LocalResponseNorm(3), "pool", 6)],
    ids=["log_softmax", "local_response_norm"],
)
def test_what_mixes_channels_keeps_them(between: nn.Module, why: str, made: int) -> None:
    """A softmax's logarithm over hidden units is another over copies: the space stays, with the
    reason."""
    teacher = randomise(
        Seq(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 6, 1), between, nn.Conv2d(made, 2, 1))
    )
    growth = widen(teacher, 2.0, image(2))
    assert [(row.name, row.new) for row in growth.report.rows] == [("0", 16)]
    space = net2net.spaces(teacher, image(2))["2"]
    assert not space.growable
    assert space.reason is not None and why in space.reason
    with refused(NotGrowableError, "'2'", why, teacher=teacher):
        net2net.widen(teacher, {"2": 2.0}, image(2))


def test_frozen_layers_stay_frozen_and_training_flags_stay() -> None:
    teacher = randomise(vgg(lambda size: size))
    teacher[0].weight.requires_grad_(False)
    teacher[1].train()
    teacher[11].train()
    growth = widen(teacher, 1.5, noise(2, 3, 8, 8))
    assert not growth.model[0].weight.requires_grad and growth.model[0].bias.requires_grad
    assert [part.training for part in growth.model] == [part.training for part in teacher]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_models_of_other_types(dtype: torch.dtype) -> None:
    """The student has the teacher's type; a third of a weight is rounded to it."""
    teacher = randomise(Seq(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))).to(dtype)
    growth = net2net.widen(teacher, 3.0, noise(4, 6).to(dtype), method="replicate")
    assert {p.dtype for p in growth.model.parameters()} == {dtype}
    assert growth.report.parity is not None and growth.report.parity.max_rel > 0
    doubled = net2net.widen(teacher, 2.0, noise(4, 6).to(dtype), method="replicate")
    assert_exact(teacher, doubled.model, noise(4, 6).to(dtype))
