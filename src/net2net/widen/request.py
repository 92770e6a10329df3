"""What is asked of ``widen``, checked before anything is done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from net2net.analysis import check_also, check_choice
from net2net.errors import WidthError
from net2net.maps.methods import Method, method_of
from net2net.plan.steepest import Loss
from net2net.plan.widths import MultipleOf, Widths
from net2net.trace.trace import Inputs


@dataclass(frozen=True)
class Request:
    """The options of ``widen``, as its docstring has them; ``grow_outputs``: ``outputs="grow"``;
    ``nearly``: a student may be one from which only an ε differs that is written into the code."""

    widths: Widths
    method: str | Method = "auto"
    balanced: bool = True
    noise: float = 0.0
    seed: int = 0
    verify: bool = True
    on_unknown: str = "raise"
    grow_outputs: bool = False
    also: Sequence[Inputs] = ()
    multiple_of: MultipleOf = 1
    calibrate: Sequence[Inputs] | None = None
    exact: bool = True
    loadable: bool = False
    loss: Loss | None = None
    nearly: bool = True

    @property
    def keeps(self) -> bool:
        """Whether what was chosen keeps what is computed, where that can be."""
        return self.keeps_before_noise and not self.all_noise

    @property
    def keeps_before_noise(self) -> bool:
        """Whether it would, were there no noise."""
        return self.way.exact_before_noise and not self.way.perturbs

    @property
    def measures_eps(self) -> bool:
        """Whether an ε that would have to change may stay, since that is measured."""
        return self.nearly and self.exact and self.keeps and self.verify

    @property
    def all_noise(self) -> float:
        """What was asked for here or in the method."""
        return self.noise or self.way.noise

    @property
    def way(self) -> Method:
        """How new units are made."""
        return method_of(self.method)

    def __str__(self) -> str:
        if not isinstance(self.widths, Mapping):
            return f"every space × {self.widths:g}"
        return ", ".join(
            f"{glob} × {width:g}"
            if isinstance(width, float | np.floating)
            else f"{glob} {width} wide"
            for glob, width in self.widths.items()
        )


def check_request(request: Request, outputs: str) -> None:
    """Raises:
    UnknownMethodError, UnknownOperationError, WidthError, InputError: an option that is none.
    """
    method_of(request.method)
    check_choice(request.on_unknown)
    check_also(request.also)
    noise, seed = request.noise, request.seed
    if type(noise) not in (int, float) or not 0 <= noise < math.inf:
        raise WidthError(f"noise is {noise!r}. Give 0 or a positive fraction.")
    if type(seed) is not int:
        raise WidthError(f"seed is {seed!r}. Give an integer.")
    if outputs not in {"keep", "grow"}:
        raise WidthError(f'outputs is {outputs!r}. Give "keep" or "grow".')
