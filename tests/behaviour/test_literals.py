"""Sizes written into the code of forward: the student is a graph of the model, rewritten."""

from __future__ import annotations

import copy
import linecache
import re
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import batch_norm, conv2d, dropout, group_norm

import net2net
from net2net import Growth, Plan
from net2net.errors import GraphMismatchError, NotGrowableError, PlanError
from tests.helpers import (
    Written,
    assert_exact,
    noise,
    randomise,
    refused,
    same_bits,
    shapes,
    tensors,
    tokens,
    untouched,
)

ROWS = 3


# Their code holds a number that it could not get from a tensor.


def view(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.b(model.a(x).relu().view(-1, n, 4)).mean(2)

    return Written(code, a=nn.Linear(6, 4 * n), b=nn.Conv1d(n, 3, 1))


def reshape(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.b(model.a(x).relu().reshape(x.shape[0], n))

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n, 3))


def front(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.b(model.a(x).relu()[:, : n // 2])

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 2, 3))


def end(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.b(model.a(x).relu()[:, -n // 2 :])

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 2, 3))


def middle(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        x = model.a(x).relu()
        return model.b(x[:, n // 4 : n // 2]) + model.c(x[..., n // 2 :])

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 4, 3), c=nn.Linear(n // 2, 3))


def narrow(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.b(model.a(x).relu().narrow(1, n // 2, n // 4))

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 4, 3))


def zeros(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        hidden = model.a(x) + torch.zeros(x.shape[0], n, dtype=x.dtype)
        return model.b((hidden * x.new_ones(n)).relu())

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n, 3))


def split(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        value, gate = model.a(x).split(n // 2, 1)
        return model.b(value * gate.sigmoid())

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 2, 3))


def split_sizes(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        first, rest = model.a(x).relu().split([n // 4, n - n // 4], 1)
        return model.b(first) + model.c(rest)

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 4, 3), c=nn.Linear(n - n // 4, 3))


def flatten(n: int) -> nn.Module:
    """Convolution, norm and dropout; the images are rows of the input."""

    def code(model: Any, x: Tensor) -> Tensor:
        images = model.norm(model.a(x.view(-1, 1, 2, 3))).relu()
        return model.b(model.drop(images.view(-1, n * 6)))

    return Written(
        code,
        a=nn.Conv2d(1, n, 3, padding=1),
        norm=nn.BatchNorm2d(n),
        drop=nn.Dropout(0.5),
        b=nn.Linear(6 * n, 3),
    )


def modes(n: int) -> nn.Module:
    """Functions that are told by a flag whether to train."""

    def code(model: Any, x: Tensor) -> Tensor:
        x = dropout(model.a(x), 0.5, model.training)[:, : n // 2]
        statistics = model.norm.running_mean, model.norm.running_var
        return model.b(batch_norm(x, *statistics, training=model.training))

    layers = nn.Linear(6, n), nn.BatchNorm1d(n // 2, affine=False), nn.Linear(n // 2, 3)
    return Written(code, **dict(zip(("a", "norm", "b"), layers, strict=True)))


def cut(x: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """A function outside of any class."""
    return x[:, :at], x[:, at:]


def function(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        one, two = cut(model.a(x).relu(), n // 2)
        return model.b(one * two)

    return Written(code, a=nn.Linear(6, n), b=nn.Linear(n // 2, 3))


def heads(n: int) -> nn.Module:
    """Attention of ``n // 2`` heads of two features, over rows of two."""

    def code(model: Any, x: Tensor) -> Tensor:
        x = x.view(-1, 3, 2)
        q, k, v = model.a(x).reshape(-1, 3, 3, n // 2, 2).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return model.b(mixed.transpose(1, 2).reshape(-1, 3, n)).flatten(1)[:, :3]

    return Written(code, a=nn.Linear(2, 3 * n), b=nn.Linear(n, 3))


def groups(n: int) -> nn.Module:
    def code(model: Any, x: Tensor) -> Tensor:
        x = model.a(x.view(-1, 1, 2, 3))
        x = conv2d(x, model.w.weight, None, 2, 1, 1, n // 2)
        return model.b(group_norm(x, n // 2)).flatten(1)[:, :3]

    return Written(
        code,
        a=nn.Conv2d(1, n, 1),
        w=nn.Conv2d(n, n, 3, groups=n // 2, bias=False),
        b=nn.Conv2d(n, 3, 1),
    )


KINDS = (
    view, reshape, front, end, middle, narrow, zeros, split, split_sizes, flatten, modes,
    function, heads, groups,
)  # fmt: skip


def grow(teacher: nn.Module, widths: Any, inputs: Any, **options: Any) -> Growth:
    """``widen`` that has to end in a graph, with what holds for every graph."""
    with untouched(teacher):
        growth = net2net.widen(teacher, widths, inputs, **options)
        assert isinstance(growth.model, fx.GraphModule)
        assert any("GraphModule" in note for note in growth.report.notes)
        assert list(tensors(growth.model)) == list(tensors(teacher))
        assert list(growth.model.state_dict()) == list(teacher.state_dict())
        flags = {path: part.training for path, part in teacher.named_modules()}
        assert flags.items() <= {p: m.training for p, m in growth.model.named_modules()}.items()
        again = Plan.from_json(growth.plan.to_json()).apply(copy.deepcopy(teacher))
        assert same_bits(again, growth.model)
        assert isinstance(again, fx.GraphModule) and again.code == growth.model.code
        assert_exact(teacher, growth.model, inputs)
        assert_exact(teacher, again, inputs)
    return growth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_the_student_is_what_its_author_would_have_written(kind: Any, factor: float) -> None:
    """At its new size, in evaluation and in training: outputs, statistics and gradients; on other
    numbers of rows."""
    teacher, x = randomise(kind(8)), noise(ROWS, 6)
    growth = grow(teacher, {"a": factor}, x)
    (row,) = growth.report.rows
    assert (row.name, row.new) == ("a", int(row.old * factor))
    for rows in (1, 2, 7):
        assert_exact(teacher, growth.model, noise(rows, 6))
    student = growth.model
    built = kind(int(8 * factor)).double()
    assert shapes(built) == shapes(student)
    built.load_state_dict(student.state_dict())
    for training in (False, True):
        results = []
        for model in (built.train(training), student.train(training)):
            torch.manual_seed(3)
            model.zero_grad()
            output = model(noise(5, 6))
            output.square().sum().backward()
            gradients = [p.grad for p in model.parameters()]
            results.append([output, *gradients, *model.buffers()])
        for ours, theirs in zip(*results, strict=True):
            assert ours is not None and torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_one_factor_for_all_keeps_the_class() -> None:
    """And says which spaces stay, and how to have them."""
    teacher, x = randomise(front(8)), noise(ROWS, 6)
    growth = net2net.widen(teacher, 2.0, x)
    assert type(growth.model) is Written
    assert shapes(growth.model) == shapes(teacher)
    (row,) = [row for row in growth.report.stayed if row.name == "a"]
    assert (row.old, row.new) == (8, 8) and "named in widths" in row.note


def test_spaces_that_the_class_can_grow_keep_it() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.c(model.b(model.a(x)).relu()[:, :4])

    teacher = randomise(Written(code, a=nn.Linear(6, 5), b=nn.Linear(5, 8), c=nn.Linear(4, 3)))
    assert type(net2net.widen(teacher, {"a": 2.0}, noise(ROWS, 6)).model) is Written
    growth = grow(teacher, {"*": 2.0}, noise(ROWS, 6))
    assert [(row.name, row.new) for row in growth.report.rows] == [("a", 10), ("b", 16)]
    assert "stops in 'c'" in growth.report.notes[0]


def test_a_width_between_admissible_ones_is_no_size_in_the_code() -> None:
    growth = grow(randomise(view(8)), {"a": 40}, noise(ROWS, 6))
    assert [(row.old, row.new) for row in growth.report.rows] == [(32, 40)]


def test_a_batch_of_one_stands_for_any() -> None:
    teacher = randomise(flatten(4))
    growth = grow(teacher, {"a": 2.0}, noise(1, 6))
    assert_exact(teacher, growth.model, noise(5, 6))


def test_inputs_by_name() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.gate = nn.Embedding(7, 8), nn.Linear(6, 8)
            self.head = nn.Linear(4, 3)

        def forward(
            self, ids: Tensor, scale: float = 1.0, mask: Tensor | None = None
        ) -> dict[str, Tensor]:
            hidden = self.table(ids) * scale
            hidden = hidden if mask is None else hidden * self.gate(mask).sigmoid()
            return {"out": self.head(hidden[:, :4] + hidden[:, 4:])}

    teacher = randomise(Gated())
    inputs = {"ids": tokens(ROWS, below=7), "mask": noise(ROWS, 6), "scale": 0.5}
    growth = grow(teacher, {"table": 2.0}, inputs)
    assert [(row.name, row.new) for row in growth.report.rows] == [("table", 16)]


class Everything(nn.Module):
    """Names that a graph alone would lose or mix: tied weights, buffers that are not saved,
    parameters that nothing reads, in an order of their own; a constant, and a region without
    gradients."""

    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        self.unread = nn.Linear(2, 2)
        self.last = nn.Linear(4, 3)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.Tanh()) for _ in range(2))
        self.tied = nn.Linear(4, 3, bias=False)
        self.tied.weight = self.last.weight
        self.count = nn.BatchNorm1d(8, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.count(self.blocks[0](x) + self.blocks[1](x)) + self.hidden
        with torch.no_grad():
            hidden = hidden + torch.tensor(2.0) * hidden[:, :4].repeat(1, 2)
        hidden = hidden[:, :4] * hidden[:, 4:]
        out: Tensor = self.last(hidden) - self.tied(hidden).tanh()
        return out


def test_names_are_the_teachers() -> None:
    teacher = randomise(Everything())
    growth = grow(teacher, {"blocks.1": 2.0}, noise(ROWS, 6))
    assert [(row.name, row.new) for row in growth.report.rows] == [("blocks.0.0", 16)]
    student: Any = growth.model
    assert student.tied.weight is student.last.weight
    assert "hidden" not in student.state_dict() and "hidden" in dict(student.named_buffers())
    twin = copy.deepcopy(student)
    assert list(twin.state_dict()) == list(teacher.state_dict())
    assert twin.tied.weight is twin.last.weight
    twin.load_state_dict(student.state_dict())
    assert_exact(teacher, twin, noise(ROWS, 6))


def test_modules_are_seen_by_hooks() -> None:
    """What the layers of torch are, they stay; of other modules the outputs pass through."""
    teacher = randomise(Everything())
    student: Any = grow(teacher, {"blocks.1": 2.0}, noise(ROWS, 6)).model
    first = student.blocks[0].get_submodule("0")
    assert isinstance(first, nn.Linear) and first.out_features == 16
    seen: list[Any] = []
    for path in ("blocks.0", "blocks.1.0"):
        student.get_submodule(path).register_forward_hook(lambda *call: seen.append(call[2]))
    student(noise(ROWS, 6))
    assert [tuple(output.shape) for output in seen] == [(ROWS, 16)] * 2


def test_a_layer_in_evaluation_mode_stays_there() -> None:
    teacher = randomise(flatten(8)).train()
    teacher.get_submodule("norm").eval()
    student = grow(teacher, {"a": 2.0}, noise(ROWS, 6)).model
    before = copy.deepcopy(student.state_dict())
    one, two = student(noise(ROWS, 6)), student(noise(ROWS, 6))
    assert not torch.equal(one, two)  # dropout
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])


class Attending(nn.Module):
    """A layer of torch's that takes more than one tensor: its code is in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x.unflatten(1, (3, 2)).repeat(1, 1, 3))
        out: Tensor = self.b((x + self.attention(x, x, x)[0])[..., :4]).mean(1)
        return out


def test_flags_that_change_nothing_are_not_reported() -> None:
    growth = grow(randomise(Attending()), {"a": 2.0}, noise(ROWS, 6))
    assert not any("in training mode" in note for note in growth.report.notes)
    x = noise(ROWS, 6)
    assert torch.equal(growth.model.train()(x), growth.model.eval()(x))


class Skipping(nn.Module):
    """In training its code takes another way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()[:, :4]
        if self.training:
            x = x * 0.5
        out: Tensor = self.b(x)
        return out


def test_code_that_does_something_else_in_training_is_reported() -> None:
    teacher, x = randomise(Skipping()), noise(ROWS, 6)
    growth = grow(teacher, {"a": 2.0}, x)
    assert any("in training mode" in note for note in growth.report.notes)
    assert torch.equal(growth.model.train()(x), growth.model.eval()(x))


def test_the_student_grows_again() -> None:
    """As what it is now: sizes of the code have become attributes."""
    teacher, x = randomise(view(8)), noise(ROWS, 6)
    once = grow(teacher, {"a": 2.0}, x).model
    twice = net2net.widen(once, 1.5, x)
    assert [(row.old, row.new) for row in twice.report.rows] == [(64, 96)]
    assert_exact(teacher, twice.model, noise(5, 6))
    deeper = net2net.deepen(grow(randomise(reshape(8)), {"a": 2.0}, x).model, {"a": 1}, x)
    assert deeper.report.parity is not None and deeper.report.parity.exact


def test_noise_and_random_pad() -> None:
    x = noise(ROWS, 6)
    for options in ({"noise": 0.1}, {"method": "random_pad"}):
        growth = net2net.widen(randomise(split(8)), {"a": 2.0}, x, **options)
        assert isinstance(growth.model, fx.GraphModule)
        assert growth.report.parity is not None and not growth.report.parity.exact


def test_a_branch_on_sizes_is_checked_on_every_call() -> None:
    """The graph took one way, and says so where the code would take the other."""

    def code(model: Any, x: Tensor) -> Tensor:
        x = model.a(x).relu()[:, :4]
        return model.b(x if x.shape[0] < 4 else x * 2)

    teacher = randomise(Written(code, a=nn.Linear(6, 8), b=nn.Linear(4, 3)))
    growth = grow(teacher, {"a": 2.0}, noise(ROWS, 6))
    student = growth.model
    (line,) = re.findall(r"branches on its input at test_literals\.py:(\d+)", str(growth.report))
    assert "if x.shape[0] < 4" in linecache.getline(__file__, int(line))
    assert_exact(teacher, student, noise(2, 6))
    with pytest.raises(AssertionError, match="Guard failed"):
        student(noise(5, 6))


# -- what is refused -------------------------------------------------------------------------------


class Branching(nn.Module):
    """Asks a value of its input: no graph says what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x)[:, :4] if x.sum() > 0 else self.a(x)[:, 4:])
        return out


def test_a_model_without_a_graph() -> None:
    teacher = randomise(Branching())
    words = (
        "written into",
        "torch.export cannot",
        "data-dependent",
        "shape in forward",
        r"at test_literals\.py:\d",
    )
    with refused(GraphMismatchError, *words, teacher=teacher):
        net2net.widen(teacher, {"a": 2.0}, noise(ROWS, 6))


def test_inputs_that_no_plan_can_hold() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 3)

        def forward(self, x: Tensor, how: object) -> Tensor:
            out: Tensor = self.b(self.a(x)[:, :4])
            return out

    teacher = randomise(Odd())
    with refused(GraphMismatchError, "written into", "a plan cannot", teacher=teacher):
        net2net.widen(teacher, {"a": 2.0}, (noise(ROWS, 6), object()))


def test_a_plan_of_another_graph() -> None:
    """The same tensors under other code, or under the same with another number."""

    def other(at: int) -> nn.Module:
        def code(model: Any, x: Tensor) -> Tensor:
            return model.b(model.a(x).relu()[:, at : at + 4])

        return randomise(Written(code, a=nn.Linear(6, 8), b=nn.Linear(4, 3)))

    plan = grow(other(2), {"a": 2.0}, noise(ROWS, 6)).plan
    plan.apply(other(2))
    for teacher in (other(3), randomise(front(8))):
        with refused(PlanError, "another graph", "again", teacher=teacher):
            plan.apply(teacher)


def test_a_student_that_runs_and_returns_other_shapes() -> None:
    """What is too wide became more rows."""

    def code(model: Any, x: Tensor) -> Tensor:
        return model.a(x).relu().view(-1, 8).amax(1, keepdim=True)

    teacher = randomise(Written(code, a=nn.Linear(6, 8)))
    with refused(NotGrowableError, r"returns .*\(6, 1\)", r"\(3, 1\)", teacher=teacher):
        net2net.widen(teacher, 2.0, noise(ROWS, 6))
    grow(teacher, {"a": 2.0}, noise(ROWS, 6))
