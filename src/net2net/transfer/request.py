"""What is asked of ``transfer``, checked before anything is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from net2net.analysis import check_also
from net2net.errors import TransferError
from net2net.maps.methods import Method, method_of
from net2net.plan.steepest import Loss, check_loss
from net2net.trace.trace import Inputs
from net2net.transfer.longer import NewOutputs, check_choice
from net2net.transfer.stacks import Depth


@dataclass(frozen=True)
class Request:
    """The options of ``transfer``, as its docstring has them."""

    method: str | Method
    depth: Depth
    exact: bool
    noise: float
    loss: Loss | None
    seed: int
    balanced: bool
    verify: bool
    outputs: str
    new_outputs: NewOutputs | None
    also: Sequence[Inputs]
    calibrate: Sequence[Inputs] | None = None

    @property
    def way(self) -> Method:
        """How new units are made."""
        return method_of(self.method)

    @property
    def all_noise(self) -> float:
        """What was asked for here or in the method."""
        return self.noise or self.way.noise

    @property
    def must_match(self) -> bool:
        """Whether the student has to compute what the teacher does."""
        return self.keeps_before_noise and not self.all_noise

    @property
    def keeps_before_noise(self) -> bool:
        """Whether it would have to, were there no noise."""
        return self.exact and self.way.exact_before_noise and not self.way.perturbs

    @property
    def leaves_eps(self) -> bool:
        """Whether an ε that would have to change may stay where it is written into the code."""
        return (self.must_match and self.verify) or not self.exact

    @property
    def grow_outputs(self) -> bool:
        return self.outputs == "grow"

    @property
    def new_rows(self) -> NewOutputs:
        """What rows hold that the teacher's tables and outputs have not."""
        return self.new_outputs or "random"


def check_request(request: Request) -> None:
    """Raises:
    TransferError, UnknownMethodError, InputError: an option that is none.
    """
    noise, seed, outputs = request.noise, request.seed, request.outputs
    if type(seed) is not int:
        raise TransferError(f"seed is {seed!r}. Give an integer.")
    check_also(request.also)
    if type(noise) not in (int, float) or not 0 <= noise < math.inf:
        raise TransferError(f"noise is {noise!r}. Give 0 or a positive fraction.")
    check_loss(request.loss, request.way)
    if outputs not in {"keep", "grow"}:
        raise TransferError(f'outputs is {outputs!r}. Give "keep" or "grow".')
    check_choice(request.new_outputs, outputs)
