"""What an error or a note says: which model, at which width, why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import WidthError

from .helpers import Written, refused


class Grouped(nn.Module):
    """Products of torch's own that take rows of whole 16 bytes, which only values show."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(2, width, hidden))
        self.down = nn.Parameter(torch.randn(2, hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        ends = torch.tensor([3, 8], dtype=torch.int32)
        hidden = torch._grouped_mm(x, self.up, offs=ends).relu()
        return torch._grouped_mm(hidden, self.down, offs=ends)


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ({"experts": 20}, ["'experts' 16 → 20", "'experts' cannot be 20 wide", r"\[16, 24\]"]),
        (1.25, ["'stem' 8 → 10, 'experts' 16 → 20", "'stem' cannot be 10", r"\[8, 16\]"]),
    ],
)
def test_a_student_that_stops_at_its_widths(widths: Any, said: list[str]) -> None:
    def code(model: Any, x: Tensor) -> Tensor:
        return model.head(model.experts(model.stem(x)))

    layers = {"stem": nn.Linear(3, 8), "experts": Grouped(8, 16), "head": nn.Linear(8, 2)}
    teacher = Written(code, **layers).bfloat16()
    with refused(WidthError, "the student does not run", *said, teacher=teacher):
        net2net.widen(teacher, widths, torch.randn(8, 3).bfloat16())
