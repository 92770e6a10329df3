"""A branch beside what it is given: layers whose output is added to their input."""

from __future__ import annotations

from typing import Any

from torch import nn


class Residual(nn.Sequential):
    """Adds to its input what its layers make of it."""

    def forward(self, input: Any) -> Any:
        return input + super().forward(input)  # type: ignore[no-untyped-call]
