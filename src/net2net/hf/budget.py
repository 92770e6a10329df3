"""The smallest growth that reaches a budget, or the largest that fits one.

The rule. All widths of the configuration grow in one proportion w, so that heads keep their size
and whatever else has to stay together does; each is a whole number, and each size of a weight that
is a multiple of ``multiple_of`` stays one. For every such w the least depth is taken that reaches
the budget (or the most that fits it), and of these pairs that whose depth has grown most nearly in
the same proportion. Models that cannot grow one of the two grow the other alone. What is measured
is affine in the depth, so each w takes two models on ``meta``, and no weight is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

import torch
from torch import nn

from net2net.errors import NotGrowableError, WidthError
from net2net.finish import count_parameters
from net2net.hf.grow import made_inputs
from net2net.hf.numbers import (
    Numbers,
    depth_numbers,
    depth_step,
    grows_deeper,
    with_numbers,
)
from net2net.hf.passes import flops_per_pass
from net2net.hf.proportion import Proportion
from net2net.trace.meta_copy import named_tensors

WIDEST = 64
"""How many times as wide a student may be: what asks for more is a slip."""

Kind = Literal["parameters", "memory", "flops"]


@dataclass(frozen=True)
class Budget:
    """What is asked of the student.

    Attributes:
        kind: parameters, bytes of all weights in memory, or FLOPs of a token (or sample).
        size: at least so many parameters or FLOPs; at most so many bytes.
        dtype: of the weights in memory; None: as they are.
    """

    kind: Kind
    size: float
    dtype: torch.dtype | None = None

    @property
    def at_most(self) -> bool:
        """Whether the largest that fits is meant, and not the smallest that reaches it."""
        return self.kind == "memory"

    def measure(self, bare: nn.Module) -> float:
        """Of a model on ``meta``."""
        if self.kind == "parameters":
            return count_parameters(bare)
        if self.kind == "memory":
            return sum(_bytes(tensor, self.dtype) for _, tensor in named_tensors(bare))
        return flops_per_pass(bare, made_inputs(bare))[0]


def budget_numbers(bare: nn.Module, budget: Budget, widths: Proportion) -> Numbers:
    """The numbers of the configuration to change, with their new values.

    Args:
        bare: the teacher, on ``meta``.
        widths: how they grow together.

    Raises:
        WidthError: the teacher has as much already, or nothing in reach has.
        NotGrowableError: no number of its configuration makes it larger.
    """
    depths = depth_numbers(bare)
    if depths and not grows_deeper(bare, depths):
        depths = {}
    if not widths.old and not depths:
        raise NotGrowableError(
            f"no number of the configuration of {type(bare).__name__} makes it wider or deeper "
            "and keeps what it computes. Grow it by --width GLOB=… or --set NAME=…."
        )
    blocks, step = max(depths.values(), default=0), depth_step(bare, depths)

    def numbers(k: int, periods: int) -> Numbers:
        return widths.numbers(k) | {name: old + periods * step for name, old in depths.items()}

    @cache
    def measured(k: int, periods: int) -> float:
        return budget.measure(with_numbers(bare, numbers(k, periods)))

    allowed = [k for k in range(WIDEST * widths.steps) if widths.allows(k)]
    k, periods = balanced(
        measured, allowed if widths.old else [0], widths.steps,
        Fraction(step, blocks) if depths else None, budget.size, at_most=budget.at_most,
    )  # fmt: skip
    if (k, periods) == (0, 0):
        raise WidthError(_no_growth(budget, measured(0, 0)))
    now = widths.old | depths
    return {name: value for name, value in numbers(k, periods).items() if value != now[name]}


def balanced(
    measured: Callable[[int, int], float], allowed: list[int], steps: int,
    period: Fraction | None, size: float, *, at_most: bool,
) -> tuple[int, int]:  # fmt: skip
    """By how many steps to widen, and by how many periods to deepen; (0, 0) if by none.

    Args:
        measured: what a model has, of both numbers; affine in the second.
        allowed: numbers of steps of width, rising from 0.
        steps: how many steps make it twice as wide.
        period: what a period adds to the depth, as a part of the depth now; None: nothing can.
        size, at_most: the budget: at least that, or at most.

    Raises:
        WidthError: nothing that is allowed reaches it.
    """

    def periods(k: int) -> int | None:
        """None: too wide already, or (without depth) not wide enough."""
        now = measured(k, 0)
        if at_most and now > size:
            return None
        if period is None:
            return 0 if at_most or now >= size else None
        if now >= size:
            return 0
        each = measured(k, 1) - now
        return (math.floor if at_most else math.ceil)((size - now) / each)

    def reached(k: int) -> bool:
        return measured(k, 0) >= size

    if period is None or at_most:
        place = _first(allowed, lambda k: measured(k, 0) > size if at_most else reached(k))
        if period is None:
            if place == len(allowed) and not at_most:
                raise WidthError(
                    f"no student of up to {WIDEST} times the width has {size:.3g}. Ask for less."
                )
            return (allowed[max(place - 1, 0)], 0) if at_most else (allowed[place], 0)
        allowed = allowed[: max(place, 1)]

    def ahead(k: int) -> float:
        """How much more the width has grown than the depth, in logarithms."""
        return math.log(1 + k / steps) - math.log(1 + float(period or 0) * (periods(k) or 0))

    turn = _first(allowed, lambda k: ahead(k) >= 0)
    near = allowed[max(turn - 1, 0) : turn + 1]
    best = min(near, key=lambda k: abs(ahead(k)))
    return best, periods(best) or 0


def _first(allowed: list[int], holds: Callable[[int], bool]) -> int:
    """The place of the first for which it holds, as it does for all after it."""
    low, high = 0, len(allowed)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(allowed[middle]) else (middle + 1, high)
    return low


def _bytes(tensor: torch.Tensor, dtype: torch.dtype | None) -> int:
    converted = dtype is not None and tensor.is_floating_point()
    return tensor.numel() * (dtype if converted and dtype else tensor.dtype).itemsize


def _no_growth(budget: Budget, now: float) -> str:
    if budget.at_most:
        return (
            f"the teacher takes {now:,.0f} bytes, and the next larger student more than the "
            f"{budget.size:,.0f} that there are. Give more memory, or another --dtype."
        )
    what = "parameters" if budget.kind == "parameters" else "FLOPs for each token or sample"
    return f"the teacher has {now:,.0f} {what} already. Ask for more than that."
