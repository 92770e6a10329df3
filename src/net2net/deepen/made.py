"""What either way to deepen makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from net2net.plan.outputs import OutputMaps
from net2net.plan.plan import Plan
from net2net.report import Row
from net2net.trace.trace import Trace

BlockBuilder = Callable[[int], nn.Module]
"""From a number of channels (or features) to a block that keeps it."""

Depths = Mapping[str, int | float | tuple[int, BlockBuilder]]


@dataclass(frozen=True, eq=False)
class Made:
    """A deeper student.

    Attributes:
        plan: what made it.
        rows, stayed, notes: what its report says.
        trace: what it does on the first inputs.
        places: where the teacher returns something → where the student does, or None: at the same
            places, and nothing else.
        outputs: axes of what it returns that have a position for every block.
    """

    student: nn.Module
    plan: Plan
    rows: tuple[Row, ...]
    trace: Trace
    stayed: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    places: Mapping[str, str] | None = None
    outputs: OutputMaps = field(default_factory=dict)
