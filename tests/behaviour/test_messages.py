"""What an error or a note says: which model, at which width, why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import DepthError, GraphMismatchError, NotGrowableError, WidthError
from tests.helpers import (
    Written,
    assert_exact,
    conv,
    deepen,
    noise,
    randomise,
    refused,
    same_bits,
)


class Whole(nn.Module):
    """Layers that take whole runs of 8 features, as kernels do, which only values show."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.up, self.down):
            if x.shape[1] % 8 and not x.is_meta:
                raise ValueError("rows have to be of whole 16 bytes")
            x = layer(x).relu()
        return x


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ({"body.up": 20}, ["'body.up' 16 → 20", "'body.up' cannot be 20 wide", r"\[16, 24\]"]),
        (1.25, ["'stem' 8 → 10, 'body.up' 16 → 20", "'stem' cannot be 10", r"\[8, 16\]"]),
    ],
)
def test_a_student_that_stops_at_its_widths(widths: Any, said: list[str]) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.body(model.stem(x)))

    layers = {"stem": nn.Linear(3, 8), "body": Whole(8, 16), "head": nn.Linear(8, 2)}
    teacher = Written(code, **layers)
    with refused(WidthError, "the student does not run", *said, teacher=teacher):
        net2net.widen(teacher, widths, torch.randn(8, 3))


class Prefixed(nn.Module):
    """A row of its own comes first, so a parameter lies along the batch and the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.cat([self.first.expand(len(x), -1, -1), x], 1)).relu()


def test_a_block_is_as_wide_as_its_features() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.block(model.stem(x)))

    layers = {"stem": nn.Linear(3, 8), "block": Prefixed(), "head": nn.Linear(8, 2)}
    teacher = randomise(Written(code, **layers))
    with refused(DepthError, "a copy of 'block' .* does not return its input", teacher=teacher):
        net2net.deepen(teacher, {"block": 1}, noise(2, 5, 3))


def test_a_list_of_blocks_deepens_by_blocks_of_its_own() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        for block in model.blocks:
            x = block(x)
        return model.head(x)

    blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
    teacher = randomise(Written(code, blocks=blocks, head=nn.Linear(4, 2)))
    assert len(deepen(teacher, {"blocks": 1}, noise(2, 4)).model.blocks) == 3
    block = (1, lambda width: nn.Linear(width, width))
    with refused(DepthError, "'blocks' is a list of modules", "a number alone", teacher=teacher):
        net2net.deepen(teacher, {"blocks": block}, noise(2, 4))


@pytest.mark.parametrize("widths", [2.0, {"weight": 2.0}])
def test_an_autoencoder_is_told_that_its_weight_is_tied(widths: Any) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(6, 4))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.weight.t()).relu() @ self.weight

    teacher = randomise(Tied())
    with refused(NotGrowableError, "tied weights", teacher=teacher):
        net2net.widen(teacher, widths, noise(3, 4))


def test_no_statistics_suit_two_calls_of_one_norm() -> None:
    layers = {"block": conv(3, 3), "head": nn.Conv2d(3, 2, 1)}
    twice = randomise(Written(lambda model, x: model.head(model.block(model.block(x))), **layers))
    once = randomise(Written(lambda model, x: model.head(model.block(x)), **layers))
    x = noise(4, 3, 6, 6)
    (note,) = deepen(twice, {"block.0": 1}, x, calibrate=[x]).report.notes
    assert "'block.1' is called 2 times" in note and "evaluation mode only" in note
    assert not deepen(once, {"block.0": 1}, x, calibrate=[x]).report.notes


class WithTable(nn.Module):
    """Holds a table that nothing reads."""

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, width), nn.Linear(width, 2)
        self.places = nn.Embedding(places, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).relu())


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("size", [(4, 9), (8, 5), (8, 9)])
def test_what_nothing_reads_may_have_another_size(size: tuple[int, int], device: str) -> None:
    teacher, student = randomise(WithTable(4, 5)), WithTable(*size).to(device)
    growth = net2net.transfer(teacher, student, noise(4, 3))
    assert any("places.weight" in note for note in growth.report.notes)
    table = growth.model.places.weight
    assert tuple(table.shape) == size[::-1]
    kept = torch.zeros_like(table) if device == "meta" else student.places.weight.double()
    assert torch.equal(table, kept)
    assert_exact(teacher, growth.model, noise(4, 3))
    again = growth.plan.apply(teacher, student=student)
    assert same_bits(again, growth.model)


def test_what_nothing_reads_is_copied_if_it_fits() -> None:
    teacher = randomise(WithTable(4, 5))
    growth = net2net.transfer(teacher, WithTable(4, 5), noise(4, 3))
    assert torch.equal(growth.model.places.weight, teacher.places.weight)
    assert not any("places" in note for note in growth.report.notes)


class Hungry(nn.Module):
    """Takes more memory than there is."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.empty(2**50)


def test_memory_that_runs_out_is_no_fault_of_the_sizes() -> None:
    with pytest.raises(MemoryError, match=r"as a copy of the model ran.*pass verify=False"):
        net2net.verify(nn.Identity(), Hungry(), noise(4, 3))


class Slopes(nn.Module):
    """Attention whose scores fall with distance, in each head by a slope of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 1
        self.q, self.k, self.v = (nn.Linear(5, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (part(x).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=x.dtype)[:, None, None]
        scores = q @ k.mT - slopes * torch.arange(x.shape[1], dtype=x.dtype)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class TwoHeads(Slopes):
    """How many there are stands in the code."""

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        parts = (self.q, self.k, self.v)
        made = (one(x).view(batch, time, 2, one.out_features // 2).transpose(1, 2) for one in parts)
        q, k, v = made
        mixed = (q @ k.mT).softmax(-1) @ v
        return mixed.transpose(1, 2).reshape(batch, time, -1)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Slopes(), "at a width of 16, sub in 'heads' combines it with the model's input or"),
        (TwoHeads(), "how many pieces view in 'heads' cuts it into is written into the code"),
    ],
)
def test_why_heads_stay_that_could_be_more(part: nn.Module, said: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.heads(model.stem(x)))

    layers = {"stem": nn.Linear(3, 5), "heads": part, "head": nn.Linear(8, 2)}
    growth = net2net.widen(randomise(Written(code, **layers)), 2.0, noise(2, 4, 3))
    assert [row.name for row in growth.report.rows] == ["stem"]
    (why,) = [row.note for row in growth.report.stayed if row.name == "heads.q"]
    assert why.startswith(said)


def test_why_a_head_stays_single_by_name() -> None:
    teacher = randomise(nn.Sequential(nn.Linear(3, 5), Slopes(), nn.Linear(8, 2)))
    with pytest.raises(GraphMismatchError, match=r"no more, since at .* sub in '1' combines it"):
        net2net.widen(teacher, {"1.heads": 2}, noise(2, 4, 3))


def cut(model: Any, x: Tensor) -> Tensor:
    """At 16, its output gets narrower."""
    hidden = model.stem(x).relu()
    made: Tensor = model.head(hidden)
    return made[:, : 3 - (hidden.shape[-1] == 16)]


def repeated(model: Any, x: Tensor) -> Tensor:
    """As often as the width says."""
    hidden = model.stem(x).relu()
    made: Tensor = model.head(hidden)
    for _ in range(hidden.shape[-1] // 8):
        made = made.sin()
    return made


def viewed(model: Any, x: Tensor) -> Tensor:
    made: Tensor = model.head(model.stem(x).relu().view(-1, 8))
    return made


@pytest.mark.parametrize(
    ("code", "factor", "said"),
    [
        (cut, 2.0, "the code does slice where it did alias"),
        (repeated, 2.0, "the code does sin as well"),
        (viewed, 1.37, "a size is written into the model's code"),
    ],
)
@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_what_the_only_space_stays_for(code: Any, factor: float, said: str, method: str) -> None:
    """As where others grow and it alone stays."""
    teacher = randomise(Written(code, stem=nn.Linear(5, 8), head=nn.Linear(8, 3)))
    with refused(NotGrowableError, "no space of this model can grow", said, teacher=teacher):
        net2net.widen(teacher, factor, noise(4, 5), method=method)

    def beside(model: Any, x: Tensor) -> Tensor:
        made: Tensor = code(model, x) + model.last(model.first(x).tanh())
        return made

    layers = {"stem": nn.Linear(5, 8), "head": nn.Linear(8, 3)}
    layers |= {"first": nn.Linear(5, 8), "last": nn.Linear(8, 3)}
    growth = net2net.widen(randomise(Written(beside, **layers)), factor, noise(4, 5), method=method)
    assert [row.name for row in growth.report.rows] == ["first"]


def test_heads_whose_number_is_written_out_grow_in_a_graph() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.heads(model.stem(x)))

    layers = {"stem": nn.Linear(3, 5), "heads": TwoHeads(), "head": nn.Linear(8, 2)}
    teacher = randomise(Written(code, **layers))
    growth = net2net.widen(teacher, {"heads.q": 2.0}, noise(2, 4, 3))
    assert isinstance(growth.model, torch.fx.GraphModule)
    assert_exact(teacher, growth.model, noise(2, 4, 3))
