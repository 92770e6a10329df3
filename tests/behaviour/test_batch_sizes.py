"""The batch may be as large as a layer is wide: sizes are told apart by where code got them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import net2net

from ..helpers import Written, noise, randomise, widen

NETS: dict[str, Any] = {}


class Sized(Written):
    """Layers by name, and the integers that its code reads as sizes."""

    def __init__(self, code: Any, **parts: Any) -> None:
        super().__init__(code, **{k: v for k, v in parts.items() if isinstance(v, nn.Module)})
        for name, part in parts.items():
            if not isinstance(part, nn.Module):
                setattr(self, name, part)


def net(**parts: Any) -> Any:
    """Register a network, 4 wide, for inputs of [batch, 3]; its code is the function below."""

    def register(code: Any) -> Any:
        NETS[code.__name__] = lambda: randomise(
            Sized(code, **{name: part() for name, part in parts.items()})
        )
        return code

    return register


def stem() -> nn.Module:
    return nn.Linear(3, 4)


def head() -> nn.Module:
    return nn.Linear(4, 2)


def four() -> int:
    return 4


def vector() -> nn.Parameter:
    return nn.Parameter(torch.ones(4))


@net(a=stem, head=head, h=four)
def zeros(m: Any, x: Tensor) -> Tensor:
    return m.head(m.a(x) + torch.zeros(x.shape[0], m.h, dtype=x.dtype))


@net(a=stem, head=head, h=four)
def zeros_by_keyword(m: Any, x: Tensor) -> Tensor:
    return m.head(m.a(x) + torch.zeros(size=(x.shape[0], m.h), dtype=x.dtype))


@net(a=stem, head=head, h=four)
def ones_of_an_unpacked_shape(m: Any, x: Tensor) -> Tensor:
    return m.head(m.a(x) * x.new_ones(*x.shape[:1], m.h))


@net(cell=lambda: nn.GRUCell(3, 4), head=head, h=four)
def gru_cell_with_a_state(m: Any, x: Tensor) -> Tensor:
    state = torch.zeros(x.shape[0], m.h, dtype=x.dtype)
    for _ in range(2):
        state = m.cell(x, state)
    return m.head(state)


@net(cell=lambda: nn.GRUCell(3, 4), head=head)
def gru_cell_of_its_own_state(m: Any, x: Tensor) -> Tensor:
    return m.head(m.cell(x))


@net(cell=lambda: nn.LSTMCell(3, 4), head=head, h=four)
def lstm_cell(m: Any, x: Tensor) -> Tensor:
    state = x.new_zeros(x.size(0), m.h), x.new_zeros((x.size(0), m.h))
    for _ in range(2):
        state = m.cell(x, state)
    return m.head(state[0])


@net(a=stem, head=head, h=four, scale=vector)
def expanded(m: Any, x: Tensor) -> Tensor:
    return m.head(m.a(x) * m.scale.expand(x.shape[0], m.h))


@net(a=lambda: nn.Linear(3, 8), head=lambda: nn.Linear(8, 2), heads=four, inside=lambda: 2)
def viewed(m: Any, x: Tensor) -> Tensor:
    cut = m.a(x).view(x.shape[0], m.heads, m.inside).relu()
    return m.head(cut.reshape(x.shape[0], m.heads * m.inside))


@net(a=stem, head=head, h=four)
def joined_along_the_batch(m: Any, x: Tensor) -> Tensor:
    both = torch.stack([m.a(x), m.a(-x)]).view(2 * x.shape[0], m.h)
    return m.head(both).view(2, x.shape[0], -1).sum(0)


@net(a=stem, head=head, h=four)
def compared(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.head(h if x.shape[0] == m.h else h * 1)


@net(a=stem, head=head, h=four, shift=vector)
def pictures(m: Any, x: Tensor) -> Tensor:
    maps = m.a(x)[:, :, None, None].expand(x.shape[0], m.h, 4, 4)
    return m.head(maps.reshape(x.shape[0], m.h, 4 * 4).mean(2) + m.shift)


def outcome(name: str, batch: int) -> Any:
    growth = widen(NETS[name](), 2.0, noise(batch, 3))
    return [(row.name, row.old, row.new) for row in growth.report.rows]


@pytest.mark.parametrize("name", NETS)
def test_sizes_in_code_at_any_batch(name: str) -> None:
    """Also where the batch is what the teacher (4) or the student (8) is wide."""
    found = [outcome(name, batch) for batch in (4, 8, 13, 64)]
    assert len(found[0]) == 1 and found[0][0][2] == 2 * found[0][0][1]
    assert all(one == found[0] for one in found)


@settings(max_examples=40)
@given(st.sampled_from(sorted(NETS)), st.integers(2, 24), st.integers(3, 6))
def test_any_batch_and_width(name: str, batch: int, quarters: int) -> None:
    teacher = NETS[name]()
    space = next(iter(net2net.spaces(teacher, noise(13, 3))))
    growth = net2net.widen(teacher, {space.name: 4 * quarters}, noise(batch, 3))
    assert [row.new for row in growth.report.rows] == [4 * quarters]
    assert growth.report.parity is not None and growth.report.parity.exact
