"""Graphs: channels that are cut, repeated, reordered or left aside."""

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import NotGrowableError, WidthError
from tests.helpers import (
    Cases,
    Width,
    assert_exact,
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
    assert growth.model.stem.out_channels == 10  # 9 has no halves
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


class AddedToItsShuffle(nn.Module):
    """Channel j meets the one that the shuffle puts there: 1 meets 3, 3 meets 4, 4 meets 2, 2 meets
    1. Of 16 they go round in fours as well, but some the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        return self.head((h + shuffled(h, 2)).tanh())


def test_channels_meet_in_the_order_of_the_teacher() -> None:
    teacher = randomise(AddedToItsShuffle())
    with refused(WidthError, r"stem", teacher=teacher):
        net2net.widen(teacher, {"stem": 16}, image(), verify=False)


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


@net("flipped_and_rolled", image, {"stem": 4})
class Flipped(nn.Module):
    def __init__(self, n: Width) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, n(4), 1), nn.Conv2d(n(8), 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(torch.cat([x.flip(1), x.flip(-1).roll(1, 2)], 1))


test_whole, test_alone = CASES.tests()


def test_one_half_of_a_chunk_takes_the_other_along() -> None:
    teacher = CASES["chunk"].model()
    growth = widen(teacher, {"stem": 12}, image())
    assert growth.model.stem.out_channels == 12
    assert growth.model.mix.in_channels == 6


class Thirds(nn.Module):
    """Features in parts of which the last is smaller."""

    def __init__(self, size: int, one: nn.Module) -> None:
        super().__init__()
        self.stem, self.one, self.head = nn.Linear(3, size), one, nn.Linear(size, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.stem(x).chunk(3, -1)
        return self.head(torch.cat([self.one(a), b.tanh(), c], -1))


def test_parts_of_an_uneven_chunk() -> None:
    """Of 8 they are three, three and two, and of 16 twice as many; of 10 four, four and two, and of
    20 seven, seven and six, unlike what reads the first of them."""
    grown = widen(randomise(Thirds(8, nn.Linear(3, 3))), {"stem": 2.0}, noise(4, 3)).model
    assert grown.stem.out_features == 16 and grown.one.in_features == 6
    teacher = randomise(Thirds(10, nn.Linear(4, 4)))
    with refused(NotGrowableError, "cuts it into 4, 4 and 2", teacher=teacher):
        widen(teacher, {"stem": 2.0}, noise(4, 3))
    grown = widen(randomise(Thirds(10, nn.ReLU())), {"stem": 2.0}, noise(4, 3)).model
    assert grown.stem.out_features == 20
