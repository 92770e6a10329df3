"""Stacks of blocks get more of them: where, which, and what code counts them by."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import DepthError
from tests.helpers import Written, assert_exact, deepen, noise, randomise, refused, tensors, widen

X = noise(5, 6)


class Block(nn.Module):
    """x + down(relu(up(norm(x)))). ``number`` counts, ``rate`` rises, every other is ``odd``."""

    def __init__(self, number: int, rate: float = 0.0, odd: bool | None = None) -> None:
        super().__init__()
        self.number, self.rate = number, rate
        if odd is not None:
            self.odd = odd
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        if getattr(self, "odd", False):
            h = h.flip(-1)
        if self.training and getattr(self, "rate", 0) > 1:
            h = h * self.rate
        out: Tensor = x + self.down(self.up(h).relu())
        return out


def run_all(model: Any, x: Tensor) -> Tensor:
    x = model.stem(x)
    for block in model.blocks:
        x = block(x)
    out: Tensor = model.head(x)
    return out


def net(blocks: nn.Module, code: Any = run_all, **more: Any) -> nn.Module:
    model = Written(code, stem=nn.Linear(6, 6), blocks=blocks, head=nn.Linear(6, 2))
    for name, value in more.items():
        setattr(model, name, value)
    return randomise(model)


def listed(count: int, **options: Any) -> nn.Module:
    return net(nn.ModuleList([Block(i, **options) for i in range(count)]))


def added(growth: net2net.Growth, at: str = "blocks") -> dict[str, str]:
    """New blocks → what they copy, as the report says."""
    (row,) = [row for row in growth.report.rows if row.name == at]
    said = row.note.partition("added: ")[2].split(", ")
    return dict(one.split(" like ") for one in said if one)


# -- where they stand ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("spread", {"1": "0", "4": "2"}),
        ("top", {"4": "3", "5": "3"}),
        ("bottom", {"1": "0", "2": "0"}),
        ("middle", {"2": "1", "3": "1"}),
        ([3, 1], {"2": "1", "5": "3"}),
    ],
    ids=str,
)
def test_orders(order: Any, expected: dict[str, str]) -> None:
    growth = deepen(listed(4), {"blocks": 2}, X, order=order)
    assert added(growth) == expected
    blocks = list(growth.model.get_submodule("blocks").children())
    assert [block.number for block in blocks] == list(range(6))
    for new, old in expected.items():
        block, like = blocks[int(new)], listed(4).get_submodule(f"blocks.{old}")
        assert torch.equal(block.up.weight, like.up.weight) and not block.down.weight.any()
        assert not block.down.bias.any()


@pytest.mark.parametrize(("factor", "blocks"), [(1.1, 4), (1.5, 6), (2.6, 10)])
def test_a_factor(factor: float, blocks: int) -> None:
    growth = deepen(listed(4), {"blocks": factor}, X)
    assert len(growth.model.get_submodule("blocks")) == blocks
    assert len(growth.report.rows) == (blocks > 4) and len(growth.report.stayed) == (blocks == 4)
    assert f"blocks × {factor:g}" in str(growth.report)


def test_a_sequential_and_its_names() -> None:
    blocks = OrderedDict((f"block_{i}", Block(i)) for i in range(2))
    odd = OrderedDict((name, Block(i)) for i, name in enumerate(["first", "second"]))
    code = lambda model, x: model.head(model.blocks(model.stem(x)))  # noqa: E731
    growth = deepen(net(nn.Sequential(blocks), code), {"blocks": 2}, X)
    assert list(growth.model.blocks._modules) == [f"block_{i}" for i in range(4)]
    growth = deepen(net(nn.Sequential(odd), code), {"blocks": 2}, X, order="top")
    assert list(growth.model.blocks._modules) == ["first", "second", "second_2", "second_3"]


def test_blocks_that_alternate_come_in_whole_periods() -> None:
    teacher = net(nn.ModuleList([Block(i, odd=bool(i % 2)) for i in range(4)]))
    growth = deepen(teacher, {"blocks": 2}, X)
    assert [block.odd for block in growth.model.blocks] == [False, True] * 3
    assert added(growth) == {"2": "0", "3": "1"}
    with refused(DepthError, "come again after 2", "Add 2 or 4", teacher=teacher):
        net2net.deepen(teacher, {"blocks": 3}, X)
    assert len(deepen(teacher, {"blocks": 3}, X, order=[0, 0, 1]).model.blocks) == 7
    assert len(deepen(teacher, {"blocks": 1.3}, X).model.blocks) == 6  # the nearest to 5.2


def test_a_first_block_of_its_own_is_not_copied() -> None:
    """As in a stage of a ResNet: it changes the width, and the others do not."""
    first = Written(lambda m, x: m.wide(x), wide=nn.Linear(3, 6))
    teacher = randomise(nn.Sequential(nn.Sequential(first, Block(1), Block(2)), nn.Linear(6, 2)))
    growth = deepen(teacher, {"0": 2}, noise(5, 3), order="bottom")
    assert added(growth, "0") == {"2": "1", "3": "1"}


def test_several_stacks_at_once() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return run_all(model, x) + sum(block(x) for block in model.more).mean()

    teacher = net(nn.ModuleList([Block(0), Block(1)]), code)
    teacher.more = nn.ModuleList([Block(0), Block(1)]).double().eval()
    with pytest.raises(DepthError, match="not compute"):  # these are summed, not in a row
        net2net.deepen(teacher, {"more": 1}, X)
    growth = deepen(teacher, {"bl*s": 1}, X)
    assert [(row.name, row.old, row.new) for row in growth.report.rows] == [("blocks", 2, 3)]


# -- what makes a block return its input -----------------------------------------------------------


class Branches(nn.Module):
    """Two branches, as ``code`` joins them to the stream."""

    def __init__(self, code: Any) -> None:
        super().__init__()
        self.code = code
        self.norm, self.after = nn.LayerNorm(6), nn.LayerNorm(6)
        self.a, self.b = (nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)) for _ in "ab")
        self.gate, self.scale = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.code(self, x)
        return out


def rms(x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


BRANCHES = {
    "in parallel": (
        lambda m, x: x + m.a(m.norm(x)) + m.b(m.norm(x)),
        {"a.2.weight", "a.2.bias", "b.2.weight", "b.2.bias"},
    ),
    "in a row": (
        lambda m, x: (lambda y: y + m.b(m.after(y)))(x + m.a(m.norm(x))),
        {"a.2.weight", "a.2.bias", "b.2.weight", "b.2.bias"},
    ),
    "a layer scale": (lambda m, x: x + m.scale * m.a(m.norm(x)), {"scale"}),
    "a gate behind tanh": (lambda m, x: x + m.gate.tanh() * m.a(m.norm(x)), {"gate"}),
    "a product of branches": (
        lambda m, x: x + m.a(m.norm(x)).sigmoid() * m.b(m.norm(x)),
        {"b.2.weight", "b.2.bias"},
    ),
    "a norm at its end": (
        lambda m, x: x + m.after(m.a(x)),
        {"after.weight", "after.bias"},
    ),
    "a scale of the stream": (
        lambda m, x: (x + m.a(m.norm(x))) * m.scale,
        {"a.2.weight", "a.2.bias", "scale"},
    ),
    "a norm by hand, of 1 + γ": (lambda m, x: x + rms(m.a(x)) * (1 + m.scale), {"scale"}),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name: str) -> None:
    code, zeroed = BRANCHES[name]
    teacher = net(nn.ModuleList([Branches(code), Branches(code)]))
    growth = deepen(teacher, {"blocks": 1}, X)
    filled = {name for name, one in growth.plan.recipes.items() if one.fill is not None}
    assert filled == {f"blocks.1.{name}" for name in zeroed}
    new = tensors(growth.model)
    values = {"a norm by hand, of 1 + γ": -1.0, "a scale of the stream": 1.0}
    assert all((new[one] == values.get(name, 0) * ("scale" in one)).all() for one in filled)
    assert_learns(growth.model, "blocks.1.")


def assert_learns(model: nn.Module, block: str) -> None:
    """By the second step everything in a new block gets a gradient that is finite."""
    optimiser = torch.optim.SGD(model.train().parameters(), lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        (model(X) - 1).square().mean().backward()
        optimiser.step()
    used = {n: p for n, p in model.named_parameters() if n.startswith(block) and p.grad is not None}
    assert used
    for name, parameter in used.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_norm_behind_the_sum_is_refused() -> None:
    teacher = net(nn.ModuleList([Branches(lambda m, x: m.norm(x + m.a(x))) for _ in range(2)]))
    with refused(DepthError, "layer_norm in 'blocks.1.norm'", "post-norm", teacher=teacher):
        net2net.deepen(teacher, {"blocks": 1}, X)
    growth = deepen(teacher, {"blocks": 1}, X, exact=False)
    assert growth.report.parity is not None and not growth.report.parity.exact
    assert any("no exact identity" in note for note in growth.report.notes)


class Outside(nn.Module):
    """The code around the blocks adds what they make: of two parts each, as many transformers are
    written, or of one, behind an activation."""

    def __init__(self, count: int, act: Any = None) -> None:
        super().__init__()
        self.act = act
        parts = [nn.ModuleList(map(self._part, range(1 if act else 2))) for _ in range(count)]
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.blocks = nn.ModuleList(part[0] for part in parts) if act else nn.ModuleList(parts)

    def _part(self, _: int) -> nn.Module:
        if self.act:
            return nn.Linear(6, 6)
        return nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            if self.act:
                x = x + self.act(block(x))
            else:
                attend, feed = block
                x = attend(x) + x
                x = feed(x) + x
        return self.head(x)


@pytest.mark.parametrize("act", [None, torch.relu, torch.tanh, nn.functional.gelu])
@pytest.mark.parametrize("order", ["spread", "top"])
def test_code_around_blocks_that_adds_what_they_make(act: Any, order: str) -> None:
    teacher = randomise(Outside(2, act))
    growth = deepen(teacher, {"blocks": 2}, X, order=order)
    added = "blocks.1." if order == "spread" else "blocks.2."
    filled = {name for name, one in growth.plan.recipes.items() if one.fill is not None}
    ends = ("weight", "bias") if act else ("0.3.weight", "0.3.bias", "1.3.weight", "1.3.bias")
    assert {f"{added}{end}" for end in ends} <= filled
    student = net2net.transfer(teacher, randomise(Outside(4, act), seed=5), X)
    assert student.report.parity is not None and student.report.parity.exact


def test_code_around_blocks_that_does_not() -> None:
    class Apart(Outside):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for attend, feed in self.blocks:
                x = feed(attend(x)).sigmoid()
            return self.head(x)

    teacher = randomise(Apart(2))
    with refused(DepthError, "cannot return what it is given", teacher=teacher):
        net2net.deepen(teacher, {"blocks": 1}, X)


# -- what they hold --------------------------------------------------------------------------------


def test_weights_of_their_own() -> None:
    growth = deepen(listed(2), {"blocks": 1}, X, copy="own", seed=3)
    new, like = growth.model.blocks[1], growth.model.blocks[0]
    assert not torch.equal(new.up.weight, like.up.weight) and not new.down.weight.any()
    ratio = new.up.weight.detach().std() / like.up.weight.detach().std()
    assert 0.5 < float(ratio) < 2
    assert torch.equal(new.norm.weight, like.norm.weight)


@pytest.mark.parametrize(
    ("copy", "count", "expected"),
    [
        ("stack", 6, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]),
        ("overlap", 2, [0, 1, 2, 1, 2, 3]),
        ("overlap", 3, [0, 1, 2, 3, 1, 2, 3]),
    ],
)
def test_whole_copies_do_not_keep_the_function(copy: str, count: int, expected: list[int]) -> None:
    teacher = listed(4)
    growth = deepen(teacher, {"blocks": count}, X, copy=copy, exact=False)
    assert growth.report.parity is not None and not growth.report.parity.exact
    assert any("function is not kept" in note for note in growth.report.notes)
    for block, old in zip(growth.model.blocks, expected, strict=True):
        assert torch.equal(block.down.weight, teacher.blocks[old].down.weight)


# -- what code counts them by ----------------------------------------------------------------------


def test_a_number_that_code_counts_by() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        x = model.stem(x)
        for i in range(model.depth):
            x = model.blocks[i](x)
        return model.head(x)

    teacher = net(nn.ModuleList([Block(0), Block(1)]), code, width=2, depth=2)
    growth = deepen(teacher, {"blocks": 2}, X)
    assert (growth.model.depth, growth.model.width) == (4, 2)


def test_rates_rise_as_before() -> None:
    teacher = net(nn.ModuleList([Block(i, rate=0.1 * i) for i in range(3)]))
    growth = deepen(teacher, {"blocks": 2}, X)
    assert [block.rate for block in growth.model.blocks] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    del teacher.blocks[0].rate  # nothing is dropped there
    growth = net2net.deepen(teacher, {"blocks": 2}, X, order="top")
    assert [block.rate for block in list(growth.model.blocks)[1:]] == pytest.approx(
        [0.05, 0.1, 0.15, 0.2]
    )


class Scaled(Block):
    """Computes with a number that looks like its place."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.scale = number + 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.down(self.up(self.norm(x)).relu())


def test_numbers_that_blocks_compute_with_stay() -> None:
    growth = deepen(net(nn.ModuleList([Scaled(0), Scaled(1)])), {"blocks": 1}, X)
    assert [block.number for block in growth.model.blocks] == [0, 1, 2]
    assert [block.scale for block in growth.model.blocks] == [1, 1, 2]


def test_what_blocks_share_with_others_they_go_on_sharing() -> None:
    shared = nn.Linear(6, 8)

    class Sharing(Block):
        def __init__(self, number: int) -> None:
            super().__init__(number)
            self.shared, self.settings = shared, SETTINGS

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x) + self.down(self.shared(x))
            return out

    teacher = net(nn.ModuleList([Sharing(0), Sharing(1)]))
    growth = deepen(teacher, {"blocks": 1}, X)
    blocks = list(growth.model.blocks)
    assert len({id(block.shared) for block in blocks}) == 1
    assert len({id(block.settings) for block in blocks}) == 1


class Settings:
    width = 3


SETTINGS = Settings()


class Level(nn.Module):
    """A residual block of a U-Net, which is also told the time."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.time = nn.GroupNorm(2, 4), nn.Linear(3, 4)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.a(nn.functional.silu(self.norm(x))) + self.time(time)[:, :, None, None]
        out: Tensor = x + self.b(nn.functional.silu(h))
        return out


def test_levels_of_a_u_net() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        time, x, kept = x.mean((2, 3)), model.stem(x), []
        for level in model.down:
            for block in level:
                x = block(x, time)
            kept.append(x)
            x = nn.functional.avg_pool2d(x, 2)
        for mix, level in zip(model.mix, model.up, strict=True):
            x = mix(torch.cat([nn.functional.interpolate(x, scale_factor=2), kept.pop()], 1))
            for block in level:
                x = block(x, time)
        out: Tensor = model.head(x)
        return out

    levels = [nn.ModuleList(nn.ModuleList([Level(), Level()]) for _ in "12") for _ in range(2)]
    mix = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in "12")
    stem, head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
    teacher = randomise(Written(code, stem=stem, down=levels[0], up=levels[1], mix=mix, head=head))
    growth = deepen(teacher, {"down.?": 1, "up.1": 1.5}, noise(2, 3, 8, 8))
    assert [(row.name, row.old, row.new) for row in growth.report.rows] == [
        ("down.0", 2, 3), ("down.1", 2, 3), ("up.1", 2, 3),
    ]  # fmt: skip


def test_outputs_of_every_block() -> None:
    def code(model: Any, x: Tensor) -> Any:
        states = []
        for block in model.blocks:
            x = block(x)
            states.append(x)
        return model.head(x), states, torch.stack(states, -1)

    teacher = net(nn.ModuleList([Block(i) for i in range(3)]), code)
    growth = net2net.deepen(teacher, {"blocks": 2}, X)
    assert growth.report.parity is not None
    assert growth.report.parity.exact and growth.report.parity.outputs == 5


# -- plans, and what is refused --------------------------------------------------------------------


def test_with_a_width_as_one_plan(tmp_path: Path) -> None:
    teacher = listed(2)
    deeper = deepen(teacher, {"blocks": 2}, X)
    wider = widen(deeper.model, {"blocks.*.up": 12}, X)
    plan = deeper.plan.then(wider.plan)
    plan.save(tmp_path / "plan.json")
    again = net2net.Plan.load(tmp_path / "plan.json").apply(teacher)
    assert_exact(teacher, again, X)
    state = plan.apply(teacher.state_dict())
    assert all(torch.equal(state[name], t) for name, t in again.state_dict().items())
    first = widen(teacher, {"blocks.*.up": 12}, X)
    then = deepen(first.model, {"blocks": 2}, X)
    assert_exact(teacher, first.plan.then(then.plan).apply(teacher), X)
    assert "new blocks in blocks: 1 like 0, 3 like 1" in str(deeper.plan)


@pytest.mark.parametrize(
    ("depths", "options", "words"),
    [
        ({"blocks": -1}, {}, "number of blocks"),
        ({"blocks": 0.5}, {}, "from 1.0 on"),
        ({"blocks": True}, {}, "number of blocks"),
        ({"blocks": 1}, {"order": "up"}, "'spread', 'top'"),
        ({"blocks": 1}, {"order": [1, 2]}, "gets 1 blocks"),
        ({"blocks": 1}, {"order": [7]}, "from 0 to 1"),
        ({"blocks": 1}, {"copy": "zeros"}, "neither gets a gradient"),
        ({"blocks": 1}, {"copy": "ones"}, "'neighbour'"),
        ({"blocks": 1}, {"kind": "residual"}, "all that depths name are stacks"),
        ({"blocks": 1}, {"copy": "stack"}, "exact=False"),
        ({"blocks": 3}, {"copy": "overlap", "exact": False}, "at most 2"),
        ({"stem": 1.5}, {}, "number of layers"),
    ],
    ids=str,
)
def test_refused(depths: Any, options: dict[str, Any], words: str) -> None:
    teacher = listed(2)
    with refused(DepthError, words, teacher=teacher):
        net2net.deepen(teacher, depths, X, **options)


def test_blocks_that_change_the_shape_and_code_that_counts_otherwise() -> None:
    def one(model: Any, x: Tensor) -> Tensor:
        return model.b[0](x)

    def every(model: Any, x: Tensor) -> Tensor:
        for block in model.b:
            x = block(x)
        return x

    for code, words in ((one, "not all blocks"), (every, "does not run")):
        narrowing = nn.ModuleList([Written(lambda m, x: m.a(x), a=nn.Linear(6, 3))])
        teacher = randomise(Written(code, b=narrowing))
        with refused(DepthError, words, "transfer", teacher=teacher):
            net2net.deepen(teacher, {"b": 1}, X)
    empty = net(nn.ModuleList([]))
    with refused(DepthError, "holds no blocks", teacher=empty):
        net2net.deepen(empty, {"blocks": 1}, X)
