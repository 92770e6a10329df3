"""Growth: what every verb returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from net2net.plan.outputs import OutputMaps
from net2net.plan.plan import Plan
from net2net.report import Report


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown network.

    Attributes:
        model: the student, of the teacher's class, or a ``torch.fx.GraphModule`` where ``widen``
            says so; it shares no memory with the teacher.
        plan: what was done, as plain data; ``plan.apply(copy_of_teacher)`` does it again
            (after ``transfer``: ``plan.apply(copy_of_teacher, student=model)``).
        report: what grew and what was measured; print it.
        outputs: where in the model's output → axis that grew → for each of the student's positions
            the teacher's position whose value it has. Empty unless ``outputs="grow"``.
    """

    model: nn.Module
    plan: Plan
    report: Report
    outputs: OutputMaps = field(default_factory=dict)
