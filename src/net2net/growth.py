"""Growth: what every verb returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from weakref import ref

from torch import nn
from torch.optim import Optimizer

from net2net.optim.carried import Carried
from net2net.optim.carry import carry
from net2net.optim.state import Policy
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
    _parameters: Mapping[str, ref[nn.Parameter]] = field(default_factory=dict, repr=False)
    """The teacher's, by name, while anybody holds them."""

    def carry(
        self,
        optimizer: Optimizer,
        *,
        state: Policy = "own",
        rewarm: float = 1.0,
        over: int = 250,
        unknown: Literal["raise", "drop"] = "raise",
    ) -> Carried:
        """Let the teacher's optimiser go on with the student, in place: groups, schedulers, scalers
        and hooks stay. Nothing is changed if anything fails.

        The teacher's parameters are exchanged for the student's, in the same groups and order.
        Parameters that the student has more join the group of what they were made from, or of what
        is most like them by name and axes; if another optimiser has that, they are left to it.

        Args:
            optimizer: the one that trains the teacher; any whose state lies along its parameters.
                One that wraps another (accelerate's) is taken as what it wraps.
            state: of momenta, means of squares and so on. ``"own"``: what is the teacher's own
                keeps its state, and copies and new units start from zero, which also sets copies
                apart. ``"scale"``: copies get state in proportion to their gradients (a mean of
                squares to its square), so that evenly shared copies go on as the teacher would
                have. ``"drop"``: none is kept.
            rewarm: what updates of all that is new are multiplied by in the end (arXiv 2602.02472
                takes 1.25 to 1.3).
            over: steps over which ``rewarm`` rises from 1.
            unknown: entries of the state of a kind that is not known are an error, or ``"drop"``
                starts such parameters' state anew.

        Returns:
            A handle, which scales the updates of what is new while it is younger than the
            optimiser's count of steps, and ends by itself. Save its ``state_dict`` with the
            optimiser's to go on after an interruption.

        Raises:
            OptimizerError: the optimiser is not the teacher's, or its state cannot be grown.
        """
        alive = {
            name: one for name, held in self._parameters.items() if (one := held()) is not None
        }
        return carry(
            self.plan, alive, self.model, optimizer,
            state=state, rewarm=rewarm, over=over, unknown=unknown,
        )  # fmt: skip


def references(model: nn.Module) -> dict[str, ref[nn.Parameter]]:
    """A model's parameters by name, none of which is kept alive."""
    return {name: ref(parameter) for name, parameter in model.named_parameters()}
