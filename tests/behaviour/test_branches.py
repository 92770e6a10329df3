"""Graphs: sums, concatenations, products, and what a table and a report say of them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, WidthError
from tests.helpers import (
    Cases,
    Width,
    between,
    conv,
    image,
    noise,
    randomise,
    refused,
    shapes,
    widen,
)

CASES = Cases()
net = CASES.net


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

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.up = nn.Parameter(torch.randn(3, hidden, 8))
        self.down = nn.Parameter(torch.randn(3, 8, hidden))

    def forward(self, x: Tensor) -> Tensor:
        ends = torch.tensor([2, 3, 5], dtype=torch.int32)
        x = self.stem(x)
        hidden = F.grouped_mm(x, self.up.transpose(1, 2), offs=ends).relu()
        return self.head(x + F.grouped_mm(hidden, self.down.transpose(1, 2), offs=ends))


def test_stacked_experts() -> None:
    """In float32, for the product exists in no wider type."""
    teacher, x = randomise(StackedExperts(12)).float(), noise(5, 6).float()
    growth = widen(teacher, 2.0, x, exact=False)
    assert growth.report.parity is not None and growth.report.parity.exact
    assert {row.name: (row.old, row.new) for row in growth.report.rows} == {
        "down": (8, 16), "up": (12, 24),
    }  # fmt: skip
    assert growth.model.up.shape == (3, 24, 16)  # as many experts


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_stacked_experts_grow_by_whole_16_bytes(method: str) -> None:
    """Of any type: the product takes no others."""
    teacher, x = randomise(StackedExperts(16)).float(), noise(5, 6).float()
    report = net2net.widen(teacher, 1.37, x, method=method).report
    assert [(row.name, row.old, row.new) for row in report.rows] == [("up", 16, 24)]
    assert ["16 bytes" in row.note for row in report.stayed if row.name == "down"] == [True]
    with refused(WidthError, "16 bytes", r"16 and 24", teacher=teacher):
        net2net.widen(teacher, {"up": 20}, x)


# -- distances, losses, search ---------------------------------------------------------------------


@net(
    "distances",
    lambda: noise(2, 5, 3),
    {"stem": 4, "codes": 5, "mix": 6},
    at="mix",
    step=6,
    only=(2.0, 3.0),
)
class Distances(nn.Module):
    """How far from each code, and losses on the way, of which means need even copies."""

    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.codes = nn.Linear(3, n(4)), nn.Parameter(torch.randn(n(5), n(4)))
        self.mix, self.head = nn.Linear(n(5), n(6)), nn.Linear(n(6), 2)

    def forward(self, x: Tensor) -> Tensor:
        far = self.mix(torch.cdist(self.stem(x), self.codes))
        loss = F.mse_loss(far, 2 * far) + F.smooth_l1_loss(far, -far, reduction="none").mean()
        return self.head(far) * loss


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda x: F.mse_loss(x, -x, reduction="sum"), "reduces it"),
        (lambda x: torch.isin(torch.arange(2), x.round()), "looks for others"),
    ],
    ids=["mse_loss", "isin"],
)
def test_what_cannot_be_said_of_each_unit_stays(read: Callable[[Tensor], Tensor], why: str) -> None:
    teacher = between(lambda x: x * read(x).sum())
    with refused(NotGrowableError, why, teacher=teacher):
        net2net.widen(teacher, {"stem": 2.0}, noise(4, 3))


def test_units_that_are_looked_for_among_numbers() -> None:
    def found(x: Tensor) -> Tensor:
        x = x.round()
        return torch.where(torch.isin(x, torch.arange(2)), x, -x)

    assert widen(between(found), 2.0, noise(4, 3)).model.stem.out_features == 16


# -- the tests -------------------------------------------------------------------------------------


test_whole, test_alone = CASES.tests()


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
