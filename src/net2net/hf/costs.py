"""What a growth costs and saves, before anybody pays: an estimate of which no weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from net2net.errors import InputError
from net2net.hf.numbers import Numbers
from net2net.hf.passes import cache_bytes, samples_in
from net2net.hf.proportion import Proportion, proportion
from net2net.hf.wish import Wish, grown, resolved
from net2net.report import Report
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs

TRAINING = 3
"""What a step of training costs, in forward passes."""

AFTER = (0.2, 0.5, 0.8)
"""Parts of a run after which it may grow."""

TOKENS_EACH = 20
"""Tokens for each parameter after which a teacher has learned most of what it can."""

LEFT = 0.5
"""Part of the highest rate below which a schedule is taken to decay."""


@dataclass(frozen=True)
class Estimate:
    """A growth that was not carried out.

    Attributes:
        report: as of the growth itself, without a measured difference.
        numbers: of the configuration that change.
        unit: what ``flops`` are for: a token or a sample.
        flops: of a forward pass for one, before and after.
        memory: bytes of all weights and buffers, in the type that was asked for.
        cache: bytes that are kept of each token while a model writes, and of each text whatever its
            length, before and after; None for models that keep nothing.
        neighbours: the nearest smaller and larger numbers of the configuration that would do.
        spent: FLOPs that the teacher's training took, where the source tells.
        warnings: of the report, and of what is known of growing.
    """

    report: Report
    numbers: Mapping[str, Any]
    unit: str
    flops: tuple[float, float]
    memory: tuple[int, int]
    cache: tuple[tuple[int, int], tuple[int, int]] | None
    neighbours: tuple[Numbers, ...]
    spent: float
    warnings: tuple[str, ...]

    @property
    def share(self) -> float:
        """What training the teacher on a token costs of what it costs with the student."""
        return self.flops[0] / self.flops[1] if self.flops[1] else 1.0

    def relative_cost(self, after: float) -> float:
        """Of a run that grows after this part of its tokens, over one of the student from
        scratch."""
        return after * self.share + 1 - after

    @property
    def break_even(self) -> float:
        """How many tokens (or samples) growing has to save until the teacher's training, as far as
        it is told, is paid."""
        return self.spent / (TRAINING * self.flops[1]) if self.flops[1] else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        data = {**asdict(self), "report": self.report.to_dict(), "numbers": dict(self.numbers)}
        after = {f"{part:g}": self.relative_cost(part) for part in AFTER}
        return {**data, "relative_cost": after, "break_even": self.break_even}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        lines = [str(replace(self.report, warnings=self.warnings))]
        if self.numbers:
            lines.append(f"configuration: {_told(self.numbers)}")
        lines += [f"nearest that would do as well: {_told(one)}" for one in self.neighbours]
        before, after = self.flops
        lines.append(f"forward FLOPs for each {self.unit}: {before:,.0f} → {after:,.0f}")
        lines.append(f"bytes of weights in memory: {self.memory[0]:,} → {self.memory[1]:,}")
        if self.cache is not None:
            (each, fixed), (more, larger) = self.cache
            lines.append(
                f"cache while writing: {each:,} → {more:,} bytes for each token"
                + (f", {fixed:,} → {larger:,} for each text" if fixed or larger else "")
            )
        costs = ", ".join(f"{self.relative_cost(one):.2f} after {one:.0%}" for one in AFTER)
        lines.append(
            f"a {self.unit} costs the teacher {self.share:.2f} of what it costs the student; a run "
            f"that grows costs, of one from scratch with as many {self.unit}s: {costs}"
        )
        if self.spent:
            lines.append(
                f"break-even: the teacher's training took {self.spent:.3g} FLOPs, as much as the "
                f"student's on {self.break_even:,.0f} {self.unit}s. Growing pays if it saves more."
            )
        return lines


def estimated(
    bare: nn.Module, inputs: Inputs, wish: Wish, *, dtype: torch.dtype | None = None,
    trained: Mapping[str, Any] | None = None,
) -> Estimate:  # fmt: skip
    """What the growth of a model would be.

    Args:
        bare: the teacher, on ``meta``.
        inputs: what it runs on, with values.
        dtype: of the weights in memory; None: as they are.
        trained: a Trainer's state, if there is one.

    Raises:
        Net2NetError: as the growth itself.
    """
    if any(not tensor.is_meta for tensor in bare.parameters()):
        raise InputError("the model has weights, which an estimate never reads. Give it on meta.")
    plain, together = resolved(bare, wish)
    growth = grown(bare, inputs, plain, verify=False)
    told = trained or {}
    report = replace(growth.report, action=f"not carried out: {growth.report.action}")
    count, unit = samples_in(inputs)
    before, after = cache_bytes(bare, inputs), cache_bytes(growth.model, inputs)
    return Estimate(
        report, plain.numbers, unit,
        (report.flops[0] / count, report.flops[1] / count),
        (_memory(bare, dtype), _memory(growth.model, dtype)),
        None if before is None or after is None else (before, after),
        tuple(_neighbours(bare, plain, together)),
        float(told.get("total_flos") or 0),
        (*report.warnings, *_warnings(report, told)),
    )  # fmt: skip


def _told(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in numbers.items())


def _memory(model: nn.Module, dtype: torch.dtype | None) -> int:
    return sum(
        tensor.numel()
        * (dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype).itemsize
        for _, tensor in named_tensors(model)
    )


def _neighbours(bare: nn.Module, wish: Wish, together: Proportion | None) -> list[Numbers]:
    """One step less and one more, where all widths grow in one proportion."""
    if not wish.numbers:
        return []
    together = together or proportion(bare, wish.multiple_of or 1)
    ratios = [
        (wish.numbers[name] - old) / old
        for name, old in together.old.items()
        if type(wish.numbers.get(name)) is int
    ]
    if not ratios:
        return []
    now = round(min(ratios) * together.steps)
    steps = range(max(now - together.steps, 1), now + together.steps + 1)
    allowed = [k for k in steps if together.allows(k)]
    below = [k for k in allowed if k < now][-1:]
    above = [k for k in allowed if k > now][:1]
    return [together.numbers(k) for k in (*below, *above)]


def _warnings(report: Report, trained: Mapping[str, Any]) -> list[str]:
    """What is known of when growing does not pay."""
    said = []
    if wide := [row for row in report.rows if row.old and row.new > 2 * row.old]:
        said.append(
            f"'{wide[0].name}' grows to more than twice its size ({wide[0].old} → {wide[0].new}) "
            "at once: two steps of growth serve a little better than one"
        )
    rates = [
        line["learning_rate"] for line in trained.get("log_history", []) if "learning_rate" in line
    ]
    if rates and rates[-1] < LEFT * max(rates):
        said.append(
            f"the teacher's rate has decayed to {rates[-1]:.3g} of {max(rates):.3g}: the student "
            "cannot use what that won; grow a checkpoint of the constant phase"
        )
    seen = trained.get("num_input_tokens_seen") or 0
    if report.parameters[0] and seen > TOKENS_EACH * report.parameters[0]:
        said.append(
            f"the teacher has seen {seen / report.parameters[0]:.0f} tokens for each parameter: "
            "one that was trained for long saves less, if its cost counts"
        )
    return said
