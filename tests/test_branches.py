"""Graphs: sums, concatenations, products, cuts, reuse, bare parameters, inputs and outputs."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, WidthError
from net2net.hollow import Runner

from .helpers import (
    Case,
    Cases,
    Width,
    assert_exact,
    check_alone,
    check_whole,
    noise,
    randomise,
    refused,
    shapes,
    tokens,
    widen,
)

CASES = Cases()


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    """Convolution, norm, activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def image(channels: int = 3) -> Tensor:
    return noise(2, channels, 6, 6)


def net(name: str, inputs: Any, spaces: dict[str, int], at: str = "", **options: Any) -> Any:
    """Register a module class, built as ``cls(n)``."""

    def register(cls: Any) -> Any:
        CASES.put(name, cls, inputs, spaces, at, **options)
        return cls

    return register


# -- sums ------------------------------------------------------------------------------------------


@net("residual", image, {"stem.0": 8, "block.0": 6}, at="block.0")
class Residual(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = conv(3, n(8)), nn.Linear(n(8), 3)
        self.block = nn.Sequential(
            *conv(n(8), n(6)), nn.Conv2d(n(6), n(8), 3, padding=1), nn.BatchNorm2d(n(8))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.block(x))
        return self.head(x.mean((2, 3)))


class Basic(nn.Module):
    """ResNet's block, with one ReLU module used twice and in place."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


@net(
    "resnet",
    lambda: noise(2, 3, 8, 8),
    {
        "stem.0": 4,
        "layer1.0.conv1": 4,
        "layer1.1.conv1": 6,
        "layer2.0.conv1": 8,
        "layer2.0.conv2": 6,
    },
    at="layer2.0.conv2",
)
class ResNet(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = conv(3, n(4))
        self.layer1 = nn.Sequential(Basic(n(4), n(4), n(4), 1), Basic(n(4), n(6), n(4), 1))
        self.layer2 = nn.Sequential(Basic(n(4), n(8), n(6), 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(n(6), 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


@net("sums_and_differences", lambda: noise(4, 6), {"a": 8, "mix": 6}, at="a")
class Sums(nn.Module):
    """Every way to add: ties the three branches into one space."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, n(8)), nn.Linear(6, n(8)), nn.Linear(6, n(8))
        self.mix, self.head = nn.Linear(n(8), n(6)), nn.Linear(n(6), 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.a(x), self.b(x).sigmoid(), self.c(x)
        y = torch.maximum(a - 2 * b, torch.lerp(c, a, b)) + torch.addcmul(a, b, c, value=0.5)
        y = torch.where(y > 0, y, 0.1 * y) / (1 + b)
        return self.head(torch.tanh(self.mix(y)))


@net("stacked_branches", lambda: noise(4, 6), {"branches.0": 8, "mix": 6})
class Stacked(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Linear(6, n(8)) for _ in range(3)])
        self.mix, self.head = nn.Linear(n(8), n(6)), nn.Linear(n(6), 2)

    def forward(self, x: Tensor) -> Tensor:
        stacked = torch.stack([branch(x) for branch in self.branches], dim=1)
        y = stacked.mean(1) + stacked.amax(1) + stacked.sum(1) + stacked.std(1)
        return self.head(self.mix(y).relu())


# -- concatenations --------------------------------------------------------------------------------


@net(
    "densenet",
    image,
    {"stem": 4, "layers.0.2": 2, "layers.1.2": 6, "layers.2.2": 2},
    at="layers.1.2",
)
class DenseNet(nn.Module):
    """Concatenations of concatenations."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n(4), 3, padding=1)
        widths = [4, 6, 12, 14]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(n(have)), nn.ReLU(), nn.Conv2d(n(have), n(more), 3, padding=1)
            )
            for have, more in zip(widths, (2, 6, 2), strict=False)
        )
        self.norm, self.head = nn.BatchNorm2d(n(14)), nn.Linear(n(14), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


@net("densenet_of_lists", image, {"stem": 4, "first": 2, "second": 6})
class DenseList(nn.Module):
    """As torchvision writes it: features are kept in a list and joined anew; the newest first."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n(4), 1)
        self.first, self.second = nn.Conv2d(n(4), n(2), 1), nn.Conv2d(n(6), n(6), 1)
        self.head = nn.Conv2d(n(12), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for layer in (self.first, self.second, self.head):
            found.insert(0, layer(torch.cat(found, dim=-3)))
        return found[0]


@net(
    "inception",
    image,
    {
        "stem.0": 4,
        "one.0": 4,
        "three.0.0": 6,
        "three.1.0": 4,
        "five.0.0": 2,
        "five.1.0": 6,
        "pool.1.0": 2,
        "next.0": 6,
    },
    at="five.1.0",
)
class Inception(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.one = conv(3, n(4)), conv(n(4), n(4), 1)
        self.three = nn.Sequential(conv(n(4), n(6), 1), conv(n(6), n(4), 3))
        self.five = nn.Sequential(conv(n(4), n(2), 1), conv(n(2), n(6), 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(n(4), n(2), 1))
        self.next, self.head = conv(n(16), n(6)), nn.Linear(n(6), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)
        return self.head(self.next(x).mean((-2, -1)))


@net("concatenation_then_flatten", image, {"a": 4, "b": 2}, at="b")
class CatFlatten(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, n(4), 3, 2), nn.Conv2d(3, n(2), 3, 2)
        self.head = nn.Linear(n(6) * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.a(x).relu(), self.b(x).relu()], 1).flatten(1))


@net("concatenation_with_the_input", lambda: noise(4, 6), {"hidden": 8})
class CatInput(nn.Module):
    """DeepSDF's skip: the hidden units grow, the input's columns are left alone."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, n(8)), nn.Linear(n(8) + 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([x, self.hidden(x).relu()], -1))


@net("coordinates", image, {"a": 4, "b": 6})
class CoordConv(nn.Module):
    """Constant channels (coordinates) are joined to the hidden ones."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3 + 1, n(4), 1), nn.Conv2d(n(4) + 1, n(6), 3)
        self.head = nn.Conv2d(n(6), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = (
            torch.linspace(-1, 1, x.shape[-2], dtype=x.dtype).view(1, 1, -1, 1).expand_as(x[:, :1])
        )
        x = F.relu(self.a(torch.cat([x, rows], 1)))
        return self.head(F.relu(self.b(torch.cat([x, rows], 1))))


@net(
    "unet",
    lambda: noise(2, 3, 8, 8),
    {"down1.0": 4, "down2.0": 8, "bottom.0": 12, "up2": 8, "mix2.0": 6, "up1": 2, "mix1.0": 4},
    at="down1.0",
)
class UNet(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = conv(3, n(4)), conv(n(4), n(8)), conv(n(8), n(12))
        self.up2, self.mix2 = nn.ConvTranspose2d(n(12), n(8), 2, 2), conv(n(16), n(6))
        self.up1, self.mix1 = nn.ConvTranspose2d(n(6), n(2), 2, 2), conv(n(6), n(4))
        self.head = nn.Conv2d(n(4), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = self.mix2(torch.cat([two, self.up2(x)], 1))
        x = self.mix1(torch.cat([self.up1(x), one], 1))
        return self.head(x)


# -- products --------------------------------------------------------------------------------------


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        return torch.sigmoid(self.fc2(F.relu(self.fc1(scale)))) * x


@net("squeeze_and_excitation", image, {"stem.0": 8, "se.fc1": 2, "project": 4}, at="se.fc1")
class SENet(nn.Module):
    """MobileNet's block: depthwise, squeeze-and-excitation, projection, residual."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.depthwise = conv(3, n(8)), conv(n(8), n(8), groups=n(8))
        self.se, self.project = SqueezeExcitation(n(8), n(2)), nn.Conv2d(n(8), n(4), 1)
        self.head = nn.Linear(n(4), 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.se(self.depthwise(x))
        return self.head(self.project(x).mean((2, 3)))


@net("film", lambda: {"x": image(), "condition": noise(2, 5)}, {"body": 8}, at="body")
class FiLM(nn.Module):
    """Scale and shift come from another input; the two are halves of one layer."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.body, self.scale, self.shift = (
            nn.Conv2d(3, n(8), 3),
            nn.Linear(5, n(8)),
            nn.Linear(5, n(8)),
        )
        self.head = nn.Conv2d(n(8), 2, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale(condition), self.shift(condition)
        x = self.body(x) * (1 + scale[:, :, None, None]) + shift.unsqueeze(-1).unsqueeze(-1)
        return self.head(F.gelu(x))


@net("spatial_attention_by_maximum", image, {"body": 8})
class SpatialAttention(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.body, self.attend = nn.Conv2d(3, n(8), 3), nn.Conv2d(1, 1, 3, padding=1)
        self.head = nn.Conv2d(n(8), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(x * self.attend(x.max(1, keepdim=True).values).sigmoid())


@net("spatial_attention_by_mean", image, {"body": 8}, step=8, only=(2.0, 3.0))
class SpatialMean(SpatialAttention):
    """A mean over channels: every channel needs as many copies."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(x * self.attend(x.mean(1, keepdim=True)).sigmoid())


@net(
    "mixture_of_experts",
    lambda: noise(4, 6),
    {"experts.0.0": 8, "experts.1.0": 8, "experts.2.0": 8},
    at="experts.1.0",
)
class Mixture(nn.Module):
    """A softmax gate over experts; each has hidden units of its own."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, n(8)), nn.GELU(), nn.Linear(n(8), 2)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        found = torch.stack([expert(x) for expert in self.experts], 1)
        return torch.einsum("be,beo->bo", self.gate(x).softmax(-1), found)


class Skipping(nn.Module):
    """In training it skips layers by chance, and reads a parameter that evaluation does not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))
        self.mask = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.training:
            x = x + self.mask
        for layer in self.layers:
            if not self.training or torch.rand([]) < 0.5:
                x = x + layer(x).relu()
        return self.head(x)


@pytest.mark.parametrize("seed", range(4))
def test_layers_that_training_skips_by_chance(seed: int) -> None:
    torch.manual_seed(seed)
    widen(randomise(Skipping()), 2.0, noise(4, 6))


class StackedExperts(nn.Module):
    """Experts whose weights are stacked, each applied to a run of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.up = nn.Parameter(torch.randn(3, 12, 8))
        self.down = nn.Parameter(torch.randn(3, 8, 12))

    def forward(self, x: Tensor) -> Tensor:
        ends = torch.tensor([2, 3, 5], dtype=torch.int32)
        x = self.stem(x)
        hidden = F.grouped_mm(x, self.up.transpose(1, 2), offs=ends).relu()
        return self.head(x + F.grouped_mm(hidden, self.down.transpose(1, 2), offs=ends))


def test_stacked_experts() -> None:
    """In float32, for the product exists in no wider type."""
    teacher, x = randomise(StackedExperts()).float(), noise(5, 6).float()
    growth = widen(teacher, 2.0, x, exact=False)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert {row.name: (row.old, row.new) for row in growth.report.rows} == {
        "down": (8, 16), "up": (12, 24),
    }  # fmt: skip
    assert growth.model.up.shape == (3, 24, 16)  # as many experts


# -- cuts ------------------------------------------------------------------------------------------


@net("chunk", image, {"stem": 8, "mix": 6}, step=2)
class Chunk(nn.Module):
    """Two halves are used differently; they grow by one factor."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Conv2d(3, n(8), 3),
            nn.Conv2d(n(4), n(6), 1),
            nn.Conv2d(n(6), 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, dim=1)
        return self.head(self.mix(a * b.sigmoid()).relu())


@net("halves_apart", image, {"stem": 8, "left": 4, "right": 6}, at="left")
class Halves(nn.Module):
    """The halves go to different layers, and are joined in the other order."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, n(8), 3)
        self.left, self.right = nn.Conv2d(n(4), n(4), 1), nn.Conv2d(n(4), n(6), 1)
        self.head = nn.Conv2d(n(18), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = x.shape[1] // 2
        a, b = x[:, :half], x[:, half:]
        c, d = torch.split(x, half, dim=1)
        return self.head(torch.cat([self.right(b), d, self.left(a), c.tanh()], 1))


@net("halves_joined_again", image, {"stem": 8}, step=2)
class Joined(nn.Module):
    """One layer reads both halves, one of them through an activation: they are not alike, though
    every parameter axis that one half lies on, the other lies on too."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, n(8), 3), nn.Conv2d(n(8), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, 1)
        return self.head(torch.cat([a.tanh(), b], 1))


@net("halves_swapped", image, {"stem": 8}, step=2)
class Swapped(Joined):
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = x.shape[1] // 2
        return self.head(x) + self.head(torch.cat([x[:, half:], x[:, :half].relu()], 1))


@net("alternate_channels", image, {"stem": 8}, step=2)
class Alternate(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, n(8), 3), nn.Conv2d(n(4), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x[:, ::2].relu() - x[:, 1::2].tanh())


@net("stacked_gates", lambda: noise(4, 6), {"gates": 24}, step=3)
class Gates(nn.Module):
    """Three gates in one projection, as recurrent cells and fused attention have them."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.gates, self.head = nn.Linear(6, 3 * n(8)), nn.Linear(n(8), 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.gates(x).tensor_split(3, dim=-1)
        return self.head(a.sigmoid() * b.tanh() + c.relu())


def shuffled(x: Tensor, groups: int) -> Tensor:
    """ShuffleNet's own code for it."""
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).contiguous().view(batch, channels, height, width)


@net("shuffle", image, {"stem.0": 8, "mix": 6}, step=2)
class Shuffle(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            conv(3, n(8)),
            nn.Conv2d(n(8), n(6), 1),
            nn.Conv2d(n(6), 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(shuffled(self.stem(x), 2)).relu())


class Aside(nn.Module):
    """Something is computed that does not reach the output: an auxiliary loss, a statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = x.chunk(2, 1)
        _ = a * b.sigmoid()
        return self.head(x.relu())


def test_what_does_not_reach_the_output_has_to_run_too() -> None:
    teacher = randomise(Aside())
    growth = widen(teacher, 1.5, image())
    assert growth.model.stem.out_channels in (8, 10)  # 9 has no halves
    assert widen(teacher, {"stem": 8}, image()).model.stem.out_channels == 8


class AsideOfInput(nn.Module):
    """The same, where what is left aside meets the input: those units stay."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(9, 9, 1), nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.stem(x), x], 1)
        _ = x * self.gate(x).sigmoid()
        return self.head(x)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_what_is_left_aside_may_meet_the_input(factor: float) -> None:
    growth = widen(randomise(AsideOfInput()), factor, image())
    assert growth.model.stem.out_channels == 6 * factor
    assert growth.model.gate.out_channels == 6 * factor + 3


class ShuffledTwice(nn.Module):
    """One unit lies on the head's axis three times, twice as it is and once through a function; a
    shuffle puts the three in another order for each unit, and in another one at each width."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(shuffled(torch.cat([x, x, x.tanh()], 1), 2))


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_places_of_one_unit_that_a_shuffle_reorders(factor: float) -> None:
    growth = widen(randomise(ShuffledTwice()), factor, image())
    assert growth.model.stem.out_channels == 2 * factor


class ShuffledGroups(nn.Module):
    """A norm bundles channels into groups, and a shuffle hands them on in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(shuffled(self.norm(self.stem(x)), 2))


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_groups_that_a_shuffle_takes_apart(factor: float) -> None:
    growth = widen(randomise(ShuffledGroups()), factor, image())
    assert growth.model.stem.out_channels == 4 * factor


class ExcitedTwice(nn.Module):
    """One unit lies on an axis twice, and weights tell the two apart before a shuffle does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.head = nn.Conv2d(3, 2, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        twice = torch.cat([x, x], 1)
        gated = twice * self.gate(twice.mean((2, 3), keepdim=True)).sigmoid()
        return self.head(shuffled(torch.cat([x, gated], 1), 2))


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_one_unit_in_two_roles_and_a_shuffle(factor: float) -> None:
    growth = widen(randomise(ExcitedTwice()), factor, image())
    assert growth.model.stem.out_channels == 2 * factor


@pytest.mark.parametrize(
    ("a", "b"), [((6, 4), (2, 4, 8)), ((2, 6, 4), (2, 4, 8)), ((2, 6, 4), (4, 8)), ((8, 4), (4, 8))]
)
def test_hollow_grouped_products_have_the_shapes_of_real_ones(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    ends = None if len(a) == len(b) == 3 else torch.tensor([2, 4], dtype=torch.int32)
    left, right = torch.randn(a), torch.randn(b)
    real = F.grouped_mm(left, right, offs=ends)
    operation = torch.ops.aten._grouped_mm.default
    assert Runner().run(operation, (left.to("meta"), right, ends), {}).shape == real.shape
    assert Runner().run(operation, (left.to("meta"), right), {"offs": ends}).shape == real.shape


class NormAndHalves(nn.Module):
    """A norm's groups, and halves of a cut: with 2 groups there is one in each half, and with 3
    one lies across the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.norm(self.stem(x)).chunk(2, 1)
        return self.head(torch.cat([b, a.tanh()], 1))


def test_groups_may_lie_across_a_cut() -> None:
    """Such a group copies nothing and nobody reads it: the function is kept all the same."""
    teacher = randomise(NormAndHalves())
    growth = widen(teacher, 1.5, image())
    assert growth.model.stem.out_channels == 6
    assert widen(teacher, {"stem": 8}, image()).model.norm.num_groups == 4


class ShuffleByFour(nn.Module):
    """A shuffle that is written out: its number of groups is in the code, and stays."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(shuffled(self.stem(x), 4))


def test_a_written_shuffle_admits_multiples_of_its_groups() -> None:
    teacher = randomise(ShuffleByFour())
    growth = widen(teacher, 1.4, image())
    assert growth.model.stem.out_channels == 12
    assert "11.2" in str(growth.report)
    assert widen(teacher, {"stem": 16}, image()).model.stem.out_channels == 16
    with refused(WidthError, r"\b10\b", r"\b8\b", r"\b12\b", teacher=teacher):
        net2net.widen(teacher, {"stem": 10}, image())


class ShuffleUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, groups=half), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        keep, change = x.chunk(2, dim=1)
        return shuffled(torch.cat((keep, self.branch(change)), dim=1), 2)


class ShuffleNet(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem = conv(3, n(8))
        self.units = nn.Sequential(*(ShuffleUnit(n(8)) for _ in range(3)))
        self.head = nn.Linear(n(8), 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.units(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("factor", [2.0, 1.5, 3.0])
def test_shufflenet(factor: float) -> None:
    """Chunk, concatenate, shuffle, three times over: everything grows, in proportion."""
    torch.manual_seed(0)
    teacher = randomise(ShuffleNet(lambda size: size))
    growth = widen(teacher, factor, image())
    built = randomise(ShuffleNet(lambda size: int(size * factor)))
    assert shapes(growth.model) == shapes(built)
    built.load_state_dict(growth.model.state_dict())
    assert_exact(teacher, built, image())


@net("repeated_channels", image, {"stem": 4})
class Repeated(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, n(4), 1), nn.Conv2d(n(16), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(torch.cat([x.repeat(1, 2, 1, 1), x.repeat_interleave(2, 1).tanh()], 1))


@net("flipped_and_rolled", image, {"stem": 4}, only=(2.0, 1.5))
class Flipped(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, n(4), 1), nn.Conv2d(n(8), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(torch.cat([x.flip(1), x.flip(-1).roll(1, 2)], 1))


def overlapping(x: Tensor, size: int) -> Tensor:
    """Windows over the time axis, each of which begins in the middle of the one before."""
    batch, time, units = x.stride()
    shape = x.shape[0], 2 * x.shape[1] // size - 1, size, x.shape[2]
    return x.as_strided(shape, (batch, size // 2 * time, time, units))


@net("overlapping_windows", lambda: noise(2, 8, 3), {"stem": 4, "mix": 6})
class Windows(nn.Module):
    """Of heads side by side, of a part of them that lies apart in memory, and of both axes."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Linear(3, n(4)), nn.Linear(n(8), n(6)), nn.Linear(n(6), 2)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        both = torch.cat([x, -x], -1)
        first = overlapping(both[..., : x.shape[-1]], 4)
        last = overlapping(both[..., x.shape[-1] :].permute(0, 2, 1).contiguous().mT, 4)
        return self.head(self.mix(torch.cat([first, last.tanh()], -1)).sum(2))


def test_windows_over_units() -> None:
    class Overlapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            twice = self.stem(x).repeat(1, 2)
            return self.head(twice.as_strided((len(x), 8), (16, 1), 4))

    teacher = randomise(Overlapping())
    with refused(NotGrowableError, "takes windows of it", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


class Masked(nn.Module):
    """A mask over time, spread over the heads, and one that is written piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        batch, time, _ = x.shape
        heads = x.view(batch, time, self.heads, -1)
        heads = heads * heads.amax(-1, keepdim=True)
        late = torch.arange(time)[:, None, None] > 2
        heads = torch.where(late.expand(batch, time, self.heads, 1), heads, -heads)
        scale = x.new_ones(batch, time, 1).type_as(x)
        scale[:, 1:] = 2
        return self.head(heads.flatten(2) * scale)


def test_masks_that_are_the_same_for_all_units() -> None:
    growth = widen(randomise(Masked()), 2.0, noise(2, 5, 3))
    assert (growth.model.heads, growth.model.stem.out_features) == (4, 16)


@pytest.mark.parametrize(
    "made",
    [
        lambda ones: ones.cumsum(0),
        lambda ones: ones.expand(len(ones), -1).tril()[2],
        lambda ones: torch.cat([ones[:2], 2 * ones[2:]]),
        lambda ones: F.pad(ones[2:], (2, 0)),
    ],
)
def test_constants_that_are_made_of_ones(made: Any) -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x * made(torch.ones(x.shape[1], dtype=x.dtype)))

    teacher = randomise(Weighted())
    with refused(NotGrowableError, "a constant", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


@pytest.mark.parametrize("how", ["ones", "expanded"])
def test_a_constant_that_is_written_to_differs_by_unit(how: str) -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            scale = torch.ones(x.shape[1], dtype=x.dtype)
            if how == "expanded":
                scale = torch.arange(2)[:1].expand(x.shape[1]).clone()
            scale[:3] = 2
            return self.head(x * scale)

    teacher = randomise(Written())
    with refused(NotGrowableError, "a constant", teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


class Narrowed(nn.Module):
    """Cuts time at a place that data tell."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        start = (x > -9).all().long()
        return self.head(self.stem(x).narrow(1, start, 2))


class Gathered(nn.Module):
    """Writes through a view what it computes, into zeros made like something hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.stem, self.head = 4, nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out = x.new_zeros(self.rows, x.shape[1])
        out[2:] = x[2:]
        out[:2] += x[:2].tanh()
        return self.head(out)


def test_zeros_that_are_filled_with_what_is_hidden() -> None:
    assert widen(randomise(Gathered()), 2.0, noise(4, 3)).model.stem.out_features == 16


class Conjugated(nn.Module):
    """The imaginary part of a conjugate is a view that is negated when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.head(torch.complex(x, x.tanh()).conj().imag.resolve_neg())
        return out


def test_views_that_are_conjugated_or_negated() -> None:
    assert widen(randomise(Conjugated()), 2.0, noise(4, 3)).model.stem.out_features == 16


def test_a_cut_where_data_tell() -> None:
    assert widen(randomise(Narrowed()), 2.0, noise(2, 5, 3)).model.stem.out_features == 16


@net(
    "distances",
    lambda: noise(2, 5, 3),
    {"codes": 5, "mix": 6},
    at="mix",
    step=6,
    only=(2.0, 3.0),
)
class Distances(nn.Module):
    """How far from each code, and losses on the way, of which means need even copies."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.codes = nn.Linear(3, 4), nn.Parameter(torch.randn(n(5), 4))
        self.mix, self.head = nn.Linear(n(5), n(6)), nn.Linear(n(6), 2)

    def forward(self, x: Tensor) -> Tensor:
        far = self.mix(torch.cdist(self.stem(x), self.codes))
        loss = F.mse_loss(far, 2 * far) + F.smooth_l1_loss(far, -far, reduction="none").mean()
        return self.head(far) * loss


@pytest.mark.parametrize("kind", ["cdist", "mse_loss", "isin"])
def test_what_cannot_be_said_of_each_unit_stays(kind: str) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            if kind == "cdist":
                one = torch.cdist(y, -y).sum()
            elif kind == "mse_loss":
                one = F.mse_loss(y, -y, reduction="sum")
            else:
                one = torch.isin(x, y.round()).sum()
            return self.head(y) * one

    why = {"cdist": "distances over it", "mse_loss": "reduces it", "isin": "looks for others"}[kind]
    teacher = randomise(Reads())
    with refused(NotGrowableError, why, teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


class Seldom(nn.Module):
    """Units among given numbers are others than the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).round()
        return self.head(torch.where(torch.isin(x, torch.arange(2)), x, -x))


def test_units_that_are_looked_for_among_numbers() -> None:
    assert widen(randomise(Seldom()), 2.0, noise(4, 3)).model.stem.out_features == 16


@net("broadcast_together", image, {"stem": 4, "other": 6})
class Broadcast(nn.Module):
    """They get one shape, and do not meet."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, n(4), 1), nn.Conv2d(3, n(6), 1)
        self.head = nn.Conv2d(n(10), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x), self.other(x).mean((2, 3))
        a, _ = torch.broadcast_tensors(a, x[:, :1])
        b, _ = torch.broadcast_tensors(b[:, :, None, None], x[:, :1])
        return self.head(torch.cat([a, b], 1))


@net("moved_axes", image, {"stem": 4, "mix": 6})
class Moved(nn.Module):
    """Channels last for a while, through every way to move axes."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.mix, self.head = (
            nn.Conv2d(3, n(4), 1),
            nn.Linear(n(4), n(6)),
            nn.Conv2d(n(6), 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.mix.in_features)
        x = self.mix(x).relu().transpose(1, 2).unflatten(2, (6, 6)).movedim(1, 3)
        return self.head(torch.einsum("bhwc->bchw", x.swapaxes(1, 2)))


# -- reuse and functional calls --------------------------------------------------------------------


@net("used_twice", lambda: noise(4, 6), {"stem": 8, "head.0": 6})
class Twice(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.shared = nn.Linear(6, n(8)), nn.Linear(n(8), n(8))
        self.head = nn.Sequential(nn.Linear(n(8), n(6)), nn.ReLU(), nn.Linear(n(6), 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        x = torch.tanh(self.shared(x))
        return self.head(torch.tanh(self.shared(x)))


@net(
    "siamese",
    lambda: (noise(4, 6), noise(4, 6, seed=2)),
    {"encoder.0": 8, "encoder.2": 6, "mix": 4},
    at="encoder.2",
)
class Siamese(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, n(8)), nn.ReLU(), nn.Linear(n(8), n(6)))
        self.mix, self.head = nn.Linear(n(18), n(4)), nn.Linear(n(4), 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.encoder(a), self.encoder(b)
        return self.head(self.mix(torch.cat([(a - b).abs(), a * b, b], 1)).relu())


@net("recurrent", lambda: noise(3, 5, 4), {"inner": 8})
class Recurrent(nn.Module):
    """A recurrence written by hand: the state starts at zero, and every step is the same layers."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.inner, self.outer, self.head = (
            nn.Linear(n(8), n(8)),
            nn.Linear(4, n(8)),
            nn.Linear(n(8), 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.inner.in_features)
        for step in x.unbind(1):
            state = torch.tanh(self.inner(state) + self.outer(step))
        return self.head(state)


@net("functional", image, {"first": 4, "middle": 6, "last": 8}, at="middle")
class Functional(nn.Module):
    """No layer modules at all."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.first, self.first_bias = (
            nn.Parameter(torch.empty(s)) for s in ((n(4), 3, 3, 3), (n(4),))
        )
        self.norm_weight, self.norm_bias = (nn.Parameter(torch.empty(n(4))) for _ in range(2))
        self.register_buffer("running_mean", torch.empty(n(4)))
        self.register_buffer("running_var", torch.empty(n(4)))
        self.middle = nn.Parameter(torch.empty(n(4), n(6), 2, 2))
        self.last, self.last_bias = (nn.Parameter(torch.empty(s)) for s in ((n(8), n(6)), (n(8),)))
        self.slope = nn.Parameter(torch.empty(n(8)))
        self.head = nn.Parameter(torch.empty(3, n(8)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.first, self.first_bias)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.norm_weight, self.norm_bias)
        x = F.relu(F.conv_transpose2d(x, self.middle, stride=2)).mean((2, 3))
        return F.linear(F.prelu(F.linear(x, self.last, self.last_bias), self.slope), self.head)


@net("bare_parameters", image, {"w": 8}, at="w")
class Bare(nn.Module):
    """``x * scale + shift``, ``w @ x``, and a class token."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.empty(n(8), 3)), nn.Parameter(torch.empty(n(8), 2))
        self.scale, self.shift = (nn.Parameter(torch.empty(n(8), 1)) for _ in range(2))
        self.token = nn.Parameter(torch.empty(1, n(8), 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.w @ x.flatten(2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 2)
        x = torch.relu(x * self.scale + self.shift)
        return x.transpose(1, 2) @ self.v


@net("einsum", image, {"up": 8, "mid": 6})
class Einsum(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.up, self.mid = (
            nn.Parameter(torch.empty(3, n(8))),
            nn.Parameter(torch.empty(n(6), n(8))),
        )
        self.gain, self.down = nn.Parameter(torch.empty(n(6))), nn.Parameter(torch.empty(n(6), 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bihw,io->bhwo", x, self.up).relu()
        x = torch.einsum("...i,oi,o->...o", x, self.mid, self.gain).tanh()
        return torch.einsum("bhwi,io", x, self.down)


@net("matrix_products", lambda: noise(4, 6), {"a": 8, "b": 6})
class Products(nn.Module):
    """mm, addmm, t, and a weight that is made of weights."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.empty(n(8), 6)), nn.Parameter(torch.empty(n(6), n(8)))
        self.bias, self.gain = nn.Parameter(torch.empty(n(6))), nn.Parameter(torch.empty(n(6), 1))
        self.c = nn.Parameter(torch.empty(2, n(6)))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.mm(x, self.a.t()).relu()
        x = torch.addmm(self.bias, x, (self.gain * self.b).t()).relu()
        return torch.matmul(x, self.c.mT)


@net("containers_of_parameters", lambda: noise(4, 6), {"weights.0": 8, "weights.1": 6})
class Containers(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            [torch.empty(n(8), 6), torch.empty(n(6), n(8)), torch.empty(2, n(6))]
        )
        self.biases = nn.ParameterDict({"0": torch.empty(n(8)), "1": torch.empty(n(6))})

    def forward(self, x: Tensor) -> Tensor:
        for index in (0, 1):
            x = F.linear(x, self.weights[index], self.biases[str(index)]).relu()
        return F.linear(x, self.weights[2])


@net("buffers_by_channel", image, {"body": 8})
class Buffers(nn.Module):
    """A constant for every channel: registered, it follows its channel."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, n(8), 3), nn.Conv2d(n(8), 2, 1)
        self.register_buffer("gain", torch.arange(1.0, 25.0)[: n(8)].view(-1, 1, 1) / 7)
        self.register_buffer("pixel_mean", torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x - self.pixel_mean) * self.gain)


# -- several inputs and outputs --------------------------------------------------------------------


@net(
    "two_inputs",
    lambda: (image(), tokens(2, below=5)),
    {"image": 8, "word": 6, "mix": 4},
    at="word",
)
class TwoInputs(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.image, self.word = nn.Conv2d(3, n(8), 3), nn.Embedding(5, n(6))
        self.mix, self.head = nn.Linear(n(14), n(4)), nn.Linear(n(4), 2)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        both = torch.cat([self.image(x).relu().mean((2, 3)), self.word(label)], dim=1)
        return self.head(self.mix(both).relu())


@net(
    "dict_in_dict_out",
    lambda: {
        "batch": {"left": noise(4, 6), "right": [noise(4, 5), noise(4, 5, seed=3)]},
        "scale": 0.5,
    },
    {"left": 8, "right": 6, "mix": 4},
    at="mix",
)
class Nested(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.left, self.right, self.mix = (
            nn.Linear(6, n(8)),
            nn.Linear(5, n(6)),
            nn.Linear(n(14), n(4)),
        )
        self.value, self.policy = nn.Linear(n(4), 1), nn.Linear(n(4), 3)

    def forward(self, batch: dict[str, Any], scale: float) -> dict[str, Any]:
        right = sum(self.right(item).relu() for item in batch["right"])
        hidden = self.mix(torch.cat([self.left(batch["left"]), right * scale], 1)).tanh()
        return {
            "heads": [self.value(hidden), self.policy(hidden)],
            "names": "value, policy",
            "none": None,
        }


@net("several_depths", image, {"a": 4, "b": 6})
class Depths(nn.Module):
    """Deep supervision: a tuple of outputs, from several depths."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, n(4), 3), nn.Conv2d(n(4), n(6), 3)
        self.heads = nn.ModuleDict({"a": nn.Conv2d(n(4), 2, 1), "b": nn.Conv2d(n(6), 2, 1)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.a(x).relu()
        return self.heads["a"](a), self.heads["b"](self.b(a).relu())


# -- the tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "factor"), CASES.by_factor())
def test_whole(case: Case, factor: float) -> None:
    check_whole(case, factor)


@pytest.mark.parametrize(("case", "how"), CASES.alone())
def test_alone(case: Case, how: str) -> None:
    check_alone(case, how)


def test_tied_units_come_along_and_the_report_says_why() -> None:
    teacher = CASES["resnet"].model()
    growth = widen(teacher, {"stem.0": 6}, noise(2, 3, 8, 8))
    (row,) = growth.report.rows
    assert (row.name, row.old, row.new) == ("stem.0", 4, 6)
    assert "layer1.0.conv2" in row.note and "layer1.1.conv2" in row.note and "add" in row.note
    assert growth.model.layer1[1].conv2.out_channels == 6
    assert growth.model.layer1[1].conv1.out_channels == 6  # its own width, as before
    assert growth.model.layer1[0].conv1.out_channels == 4
    depthwise = CASES["squeeze_and_excitation"].model()
    growth = widen(depthwise, {"stem.0": 2.0}, image())
    assert "depthwise.0" in growth.report.rows[0].note and "se.fc2" in growth.report.rows[0].note
    assert growth.model.depthwise[0].groups == growth.model.depthwise[0].in_channels == 16


def test_asking_any_member_of_a_tied_space_is_asking_all() -> None:
    case = CASES["resnet"]
    teacher = case.model()
    by_stem = widen(teacher, {"stem.0": 6}, case.inputs())
    by_block = widen(teacher, {"layer1.1.conv2": 6}, case.inputs())
    by_norm = widen(teacher, {"layer1.1.bn2": 6}, case.inputs())
    assert shapes(by_stem.model) == shapes(by_block.model) == shapes(by_norm.model)


def test_globs_grow_every_match() -> None:
    case = CASES["resnet"]
    growth = widen(case.model(), {"layer*.*.conv1": 2.0}, case.inputs())
    assert {row.name: row.new for row in growth.report.rows} == {
        "layer1.0.conv1": 8, "layer1.1.conv1": 12, "layer2.0.conv1": 16,
    }  # fmt: skip
    both = widen(case.model(), {"layer1.*.conv1": 12, "layer2.0.conv2": 1.5}, case.inputs())
    assert {row.name: row.new for row in both.report.rows} == {
        "layer1.0.conv1": 12, "layer1.1.conv1": 12, "layer2.0.conv2": 9,
    }  # fmt: skip


def test_one_half_of_a_chunk_takes_the_other_along() -> None:
    teacher = CASES["chunk"].model()
    growth = widen(teacher, {"stem": 12}, image())
    assert growth.model.stem.out_channels == 12
    assert growth.model.mix.in_channels == 6


class Tied(nn.Module):
    """Input and output embeddings are one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.inner = nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(x + self.inner(F.relu(self.mix(x))))


def test_tied_embeddings_stay_tied() -> None:
    teacher = randomise(Tied())
    x = tokens(2, 5, below=11)
    growth = widen(teacher, 1.5, x)
    assert growth.model.head.weight is growth.model.embed.weight
    assert [(row.name, row.new) for row in growth.report.rows] == [("mix", 9)]
    features = net2net.spaces(teacher, x)["inner"]  # added to what the embedding makes
    assert not features.growable and "'embed.weight'" in str(features.reason)


class TiedNorm(nn.Module):
    """Between the last features and the tied weight stands a norm: torch's, or one written out."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.embed, self.mix, self.inner = nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 8)
        self.norm, self.kind = nn.LayerNorm(8), norm
        self.head = nn.Linear(8, 11)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.inner(F.relu(self.mix(x)))
        if self.kind == "written":
            x = self.norm.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))
            x = (x * 0.5 + self.norm.bias).to(x.dtype)
        elif self.kind == "twice":
            x = self.norm(x) + self.norm(x.flip(1))
        else:
            x = self.norm(x)
        if self.kind == "read again":
            x = self.head(x) @ self.head.weight
        return self.head(x[:, :-1])


@pytest.mark.parametrize("norm", ["torch", "written"])
def test_tied_embeddings_grow_where_a_norm_takes_the_shares(norm: str) -> None:
    teacher, x = randomise(TiedNorm(norm)), tokens(2, 5, below=11)
    growth = widen(teacher, {"embed": 2.0}, x)
    model = growth.model
    assert model.head.weight is model.embed.weight and model.embed.weight.shape == (11, 16)
    torch.testing.assert_close(model.norm.weight[:8], teacher.norm.weight / 2)


@pytest.mark.parametrize("norm", ["twice", "read again"])
def test_tied_embeddings_stay_where_no_norm_is_theirs_alone(norm: str) -> None:
    teacher = randomise(TiedNorm(norm))
    with refused(NotGrowableError, "'embed'", "tied", "norm", teacher=teacher):
        net2net.widen(teacher, {"embed": 2.0}, tokens(2, 5, below=11))


def test_one_module_under_two_names() -> None:
    layer = nn.Linear(8, 8)
    teacher = randomise(nn.Sequential(nn.Linear(6, 8), layer, nn.ReLU(), layer, nn.Linear(8, 2)))
    growth = widen(teacher, 1.5, noise(4, 6))
    assert growth.model[1] is growth.model[3] and growth.model[1].weight.shape == (12, 12)


class Auxiliary(nn.Module):
    """GoogLeNet: a head that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 8), nn.Conv2d(8, 2, 1)
        self.aux = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        return (self.head(x), self.aux(x)) if self.training else self.head(x)


def test_a_head_that_runs_in_training_only_grows_too() -> None:
    teacher = randomise(Auxiliary())
    growth = widen(teacher, 1.5, image())
    assert {row.name: row.new for row in growth.report.rows} == {"stem.0": 12, "aux.0": 6}
    old, new = (model.train()(image()) for model in (teacher, growth.model))
    for before, after in zip(old, new, strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.head, self.unused = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(8, 8)
        self.register_buffer("mask", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.used(x).relu())


def test_what_no_operation_reads_stays_and_the_report_says_so() -> None:
    teacher = randomise(Unused())
    growth = widen(teacher, 2.0, noise(4, 6))
    assert growth.model.used.out_features == 16 and growth.model.unused.weight.shape == (8, 8)
    (note,) = [note for note in growth.report.notes if "unused.weight" in note]
    assert "unused.bias" in note and "mask" in note


class Hidden(nn.Module):
    """A buffer by channel that the state dict leaves out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, width), nn.Linear(width, 2)
        self.register_buffer("gain", torch.arange(1.0, width + 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.body(x) * self.gain).tanh())


def test_buffers_outside_the_state_dict_follow() -> None:
    teacher = randomise(Hidden(8))
    growth = widen(teacher, 1.5, noise(4, 6))
    assert growth.model.gain.shape == (12,)
    assert "gain" not in growth.model.state_dict()


class PlainTensor(nn.Module):
    """A constant that is not registered: what it meets cannot grow, all else does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 2)
        self.gain = torch.arange(1.0, 6.0, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()) * self.gain)


def test_a_constant_that_is_a_plain_attribute() -> None:
    teacher = randomise(PlainTensor())
    growth = widen(teacher, 1.5, noise(4, 6))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 12)]
    assert "constant" in str(net2net.spaces(teacher, noise(4, 6))["b"].reason)


class Skip(nn.Module):
    """The hidden layer is added to the input, so it cannot grow; the layer inside can."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.b(self.a(x).relu()))


def test_a_space_that_meets_the_input_stays() -> None:
    teacher = randomise(Skip())
    growth = widen(teacher, 1.5, noise(4, 6))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 12)]
    assert "input" in str(net2net.spaces(teacher, noise(4, 6))["b"].reason)


def test_the_table_of_spaces() -> None:
    """Printable, indexable; name, size, axes, makers, ties, growable or why not."""
    case = CASES["residual"]
    table = net2net.spaces(case.model(), case.inputs())
    stem = table["stem.0"]
    assert table["block.3"] is stem
    assert (stem.name, stem.size, stem.growable, stem.reason) == ("stem.0", 8, True, None)
    assert stem.modules == ("stem.0", "block.3")
    assert {str(axis) for axis in stem.axes} == {
        "stem.0.weight[0]", "stem.1.weight[0]", "stem.1.bias[0]", "stem.1.running_mean[0]",
        "stem.1.running_var[0]", "block.0.weight[1]", "block.3.weight[0]", "block.3.bias[0]",
        "block.4.weight[0]", "block.4.bias[0]", "block.4.running_mean[0]", "block.4.running_var[0]",
        "head.weight[1]",
    }  # fmt: skip
    assert any("add" in tie for tie in stem.ties)
    head = table["head"]
    assert not head.growable and "output" in str(head.reason)
    assert [space.name for space in table.growable] == ["stem.0", "block.0"]
    text = str(table)
    assert all(word in text for word in ("stem.0", "block.3", "size", "output"))
    assert table[0] in list(table) and len(table) == len(list(table))


def test_an_activation_in_place_on_a_view() -> None:
    """Dropout after flatten writes into the pooled tensor, which has units already."""
    teacher = randomise(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(inplace=True),
            nn.Linear(4, 2),
        )
    )  # fmt: skip
    assert widen(teacher, 1.5, image()).model[4].in_features == 6
