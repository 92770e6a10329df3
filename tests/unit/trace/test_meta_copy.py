"""Results on hollow tensors, of which only the first of each kind is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from net2net.trace.meta_copy import MetaInterpreter

aten = torch.ops.aten

CALLS: dict[str, list[tuple[Any, tuple[Any, ...]]]] = {
    "shapes": [(aten.relu.default, (torch.ones(2, size),)) for size in (3, 4)],
    "strides": [
        (aten.relu.default, (torch.ones(*shape).permute(order),))
        for shape, order in (((2, 3, 4), (0, 1, 2)), ((4, 3, 2), (2, 1, 0)))
    ],
    "types": [
        (aten.relu.default, (torch.ones(2, dtype=dtype),)) for dtype in (torch.float, torch.half)
    ],
    "numbers": [(aten.add.Scalar, (torch.ones(2, dtype=torch.long), x)) for x in (1, 1.0, True)],
    "sizes": [(aten.sum.dim_IntList, (torch.ones(2, 3), [dim])) for dim in (0, 1)],
    "lists": [(aten.cat.default, ([torch.ones(2)] * count,)) for count in (1, 2)],
    "several": [(aten.topk.default, (torch.ones(4), k)) for k in (2, 3)],
}


def hollow(item: Any) -> Any:
    if isinstance(item, list):
        return [hollow(x) for x in item]
    return item.to("meta") if isinstance(item, Tensor) else item


def form(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.shape, result.stride(), result.dtype
    return type(result), [form(x) for x in result]


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_remembered_results_are_those_of_torch(calls: list[tuple[Any, tuple[Any, ...]]]) -> None:
    runner = MetaInterpreter()
    for _ in range(2):
        for function, args in calls:
            result = runner.run(function, tuple(map(hollow, args)), {})
            assert form(result) == form(function(*args))


def test_a_remembered_result_is_a_new_tensor() -> None:
    runner = MetaInterpreter()
    x = torch.empty(3, device="meta")
    first, second = (runner.run(aten.relu.default, (x,), {}) for _ in range(2))
    assert first is not second


@pytest.mark.parametrize(
    ("function", "args", "itself"),
    [
        (aten.dropout.default, (0.5, False), True),
        (aten.relu_.default, (), True),
        (aten.view.default, ([3],), False),
    ],
)
def test_what_gives_its_argument_back_gives_each_its_own(
    function: Callable[..., Tensor], args: tuple[Any, ...], itself: bool
) -> None:
    runner = MetaInterpreter()
    for _ in range(2):
        x = torch.empty(3, device="meta")
        result = runner.run(function, (x, *args), {})
        assert (result is x) == itself
        assert result._is_view() != itself


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
    assert MetaInterpreter().run(operation, (left.to("meta"), right, ends), {}).shape == real.shape
    assert (
        MetaInterpreter().run(operation, (left.to("meta"), right), {"offs": ends}).shape
        == real.shape
    )


def test_what_is_written_to_beside_a_hollow_operand_stays_the_object_that_it_was() -> None:
    runner = MetaInterpreter()
    hollow_one, real = torch.empty(3, device="meta"), torch.zeros(3)
    assert runner.run(aten.add_.Tensor, (real, hollow_one), {}) is real
    assert runner.run(aten.add.out, (hollow_one, real), {"out": real}) is real
    values, places = torch.zeros(2), torch.zeros(2, dtype=torch.long)
    given = {"values": values, "indices": places}
    found = runner.run(aten.topk.values, (hollow_one, 2), given)
    assert found[0] is values and found[1] is places
