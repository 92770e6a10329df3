"""Numbers that the code makes of sizes, and computes with: a weight beside them makes up for their
change, or the space stays, or grows in a graph of the code, which keeps the teacher's number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.apply.exported_graph import GraphModel
from net2net.errors import Net2NetError
from tests.helpers import EXACT, Written, assert_exact, noise, randomise, tokens, widen

Code = Callable[[Any, Any], Tensor]
X = noise(2, 5, 3)


class Weight(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))


def net(code: Code) -> nn.Module:
    layers: dict[str, nn.Module] = {
        "emb": nn.Embedding(7, 8), "stem": nn.Linear(3, 8), "query": nn.Linear(8, 1),
        "norm": nn.LayerNorm(8), "w": Weight(6, 8), "last": nn.Linear(6, 2),
        "head": nn.Linear(8, 2),
    }  # fmt: skip
    return randomise(Written(code, **layers))


def pooled(model: Any, x: Tensor) -> Tensor:
    h = model.stem(x)
    return model.head((torch.softmax(model.query(h) / h.shape[-1] ** 0.5, 1) * h).sum(1))


def read_twice(model: Any, x: Tensor) -> Tensor:
    h = model.stem(x)
    return model.head(h) + F.linear(h * len(model.stem.weight), model.last.weight @ model.w.weight)


def of_a_tensor(model: Any, x: Tensor) -> Tensor:
    h = model.stem(x).relu()
    return model.head(torch.tensor(h.shape[-1] ** -0.5, dtype=h.dtype) * h)


MADE_UP: dict[str, Code] = {
    "divided": lambda m, x: m.head((h := m.stem(x)) / h.shape[-1] ** 0.5),
    "behind a norm": lambda m, x: m.head(F.gelu((h := m.norm(m.stem(x))) * h.shape[-1] ** 0.5)),
    "pooled by attention": pooled,
    "of the weight itself": lambda m, x: m.last(
        F.linear(m.stem(x), m.w.weight / m.w.weight.shape[1] ** 0.5)
    ),
    "of the weight's first row": lambda m, x: m.last(
        F.linear(m.stem(x), m.w.weight / m.w.weight[0].numel() ** 0.5)
    ),
    "len": lambda m, x: m.head(m.stem(x) / len(m.stem.weight)),
    "of what is returned": lambda m, x: m.head(m.stem(x)) / m.stem.weight.shape[0],
    "in a sum of joined pieces": lambda m, x: m.head(
        (torch.cat([m.stem(x).relu(), m.norm(m.stem2(x))], 1)).sum(1) * m.head.weight.shape[1] ** -1
    ),
    "where others read it too": read_twice,
    "a tensor of one number": of_a_tensor,
    "of a product of two pieces": lambda m, x: m.head(
        ((p := (pieces := m.stem(x).chunk(2))[0]) * pieces[1] / p.shape[-1] ** 0.5).tanh()
    ),
    "of a sum of products of two pieces": lambda m, x: m.head(
        (p := (pieces := m.stem(x).chunk(2))[0])
        @ pieces[1].mT
        / p.shape[-1] ** 0.5
        @ m.stem2(x[:1])
    ),
    "of a stream": lambda m, x: m.head(
        F.gelu(((h := m.stem(x)) + m.back(m.query(h).tanh())) / h.shape[-1] ** 0.5)
    ),
}
STAYS: dict[str, Code] = {
    "added": lambda m, x: m.head((h := m.stem(x)) + h.shape[-1]),
    "a power": lambda m, x: m.head(m.stem(x).sigmoid() ** (m.head.weight.shape[1] / 8)),
    "behind a function": lambda m, x: m.head((m.stem(x).tanh() / m.head.weight.shape[1]).tanh()),
    "rounded": lambda m, x: m.head((h := 9 * m.stem(x)).div(h.shape[-1], rounding_mode="floor")),
    "another way": lambda m, x: m.head(
        h.relu() if (h := m.stem(x)).shape[-1] < 10 else h.sigmoid()
    ),
    "of one piece of two": lambda m, x: m.head(
        (p := (pieces := m.stem(x).chunk(2))[0]) / p.shape[-1] ** 0.5 + pieces[1].tanh()
    ),
    "of a product with a product": lambda m, x: m.head(
        ((p := m.stem(x).chunk(2))[0] * p[1] * p[1] / p[0].shape[-1] ** 0.5).tanh()
    ),
    "of a product of three pieces": lambda m, x: m.head(
        (
            torch.einsum("btc,btc,btc->btc", *(p := m.stem(x).chunk(2)), p[0])
            / p[0].shape[-1] ** 0.5
        ).tanh()
    ),
    "an operation less": lambda m, x: m.head(h.relu() if (h := m.stem(x)).shape[-1] < 10 else h),
}


ASKED: dict[str, Callable[[Tensor], int]] = {
    "numel of a row": lambda w: w[0].numel(),
    "length of a row": lambda w: len(w[0]),
    "shape of a row": lambda w: w[0].shape[0],
    "size of a row of views": lambda w: w.T.t().detach()[-1].size(0),
    "numel of a flat row": lambda w: w.flatten(1)[0].numel(),
    "one of the rows": lambda w: next(iter(w.unbind(0))).numel(),
    "some rows": lambda w: w[:2].shape[1],
}  # fmt: skip


def with_second_stem(code: Code) -> nn.Module:
    teacher = net(code)
    teacher.add_module("stem2", nn.Linear(3, 8))
    teacher.add_module("back", nn.Linear(1, 8))
    return randomise(teacher)


@pytest.mark.parametrize("factor", [2.0, 1.5])
@pytest.mark.parametrize("name", MADE_UP)
def test_a_weight_makes_up_for_it(name: str, factor: float) -> None:
    growth = widen(with_second_stem(MADE_UP[name]), factor, X)
    assert "stem" in {row.name for row in growth.report.rows}
    assert growth.plan.apply(with_second_stem(MADE_UP[name])).stem.weight.shape[0] > 8


@pytest.mark.parametrize("factor", [2.0, 1.5])
@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_its_shape_alone_fixes_nothing(name: str, factor: float) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        weight = model.w.weight
        return model.last(F.gelu(F.linear(model.stem(x), weight / ASKED[name](weight) ** 0.5)))

    growth = widen(net(code), factor, X)
    assert growth.model.w.weight.shape == (6 * factor, 8 * factor)


def test_what_is_read_of_a_row_fixes_its_place() -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        weight = model.w.weight
        return model.last(F.gelu(F.linear(model.stem(x), weight))) * weight[0].sum()

    spaces = net2net.spaces(net(code), X)
    assert [space.reason for space in spaces if space.lead == "w.weight"] == [
        "select takes one position of it"
    ]


@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_embeddings(factor: float) -> None:
    teacher = net(lambda m, x: m.head(F.gelu((e := m.emb(x)) * e.shape[-1] ** 0.5)))
    assert widen(teacher, factor, tokens(2, 5, below=7)).model.emb.weight.shape[1] == 8 * factor


@pytest.mark.parametrize("name", STAYS)
def test_the_space_stays_and_others_grow(name: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return STAYS[name](model, model.second(model.first(x).relu()))

    teacher = net(code)
    teacher.add_module("first", nn.Linear(3, 5))
    teacher.add_module("second", nn.Linear(5, 3))
    growth = widen(randomise(teacher), 2.0, X)
    assert "first" in {row.name for row in growth.report.rows}
    (why,) = {row.note for row in growth.report.stayed if row.name == "stem"}
    assert ("the code makes of its size" in why) or ("the code does" in why), why


@pytest.mark.parametrize("method", ["replicate", "fresh"])
def test_what_meets_itself_and_a_number_behind_a_softmax_stays(method: str) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        return model.head(torch.softmax(h @ h.mT / h.shape[-1] ** 0.5, -1) @ model.stem2(x))

    report = widen(with_second_stem(code), 1.5, X, method=method).report
    assert [row.name for row in report.rows] == ["stem2"]
    (why,) = {row.note for row in report.stayed if row.name == "stem"}
    assert "softmax gets a number that changes with theirs" in why


@pytest.mark.parametrize("name", ["added", "another way"])
def test_by_name_it_grows_in_a_graph_with_the_teachers_number(name: str) -> None:
    teacher = net(STAYS[name])
    growth = net2net.widen(teacher, {"stem": 2.0}, X)
    assert isinstance(growth.model, GraphModel)
    assert_exact(teacher, growth.model, X)


def test_what_another_input_does_without_the_number_is_not_changed() -> None:
    """The weight would be wrong there: so the space stays."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        return model.head(h / h.shape[-1] if len(x) > 1 else h)

    growth = net2net.widen(net(code), 2.0, X, also=[X[:1]])
    assert [row.name for row in growth.report.stayed if "of its size" in row.note] == ["stem"]


def test_by_name_with_further_inputs_it_is_refused() -> None:
    teacher = net(STAYS["added"])
    with pytest.raises(Net2NetError, match=r"add gets a number .* \(8, then 16\)"):
        net2net.widen(teacher, {"stem": 2.0}, X, also=[X])


def test_the_plan_says_it_again() -> None:
    teacher = net(MADE_UP["len"])
    growth = net2net.widen(teacher, 2.0, X)
    again = net2net.Plan.from_json(growth.plan.to_json()).apply(teacher)
    assert net2net.verify(teacher, again, X).max_rel < EXACT


@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_a_constant_that_is_summed_over_as_many_positions(factor: float) -> None:
    """What lies along the features is no feature: the sum counts them."""

    def code(model: Any, x: Tensor) -> Tensor:
        h = model.stem(x)
        even = (torch.arange(x.shape[1]) % 2 == 0)[:, None].expand(x.shape[1], h.shape[-1])
        return model.head(model.next(h).relu() / (even.to(h).sum(-1, keepdim=True) + 1))

    layers = {"stem": nn.Linear(3, 8), "next": nn.Linear(8, 6), "head": nn.Linear(6, 2)}
    growth = widen(randomise(Written(code, **layers)), factor, noise(2, 5, 3))
    assert [row.name for row in growth.report.rows] == ["next"]
    assert "sum gets a number that the code makes of its size" in growth.report.stayed[0].note
