"""Carry an optimiser over whose parameters are in parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from net2net.apply.fingerprint import shapes_of
from net2net.distributed.gather import Gather, by_first_name, inside
from net2net.distributed.rank import selected
from net2net.optim import carry as here
from net2net.optim.carried import Carried
from net2net.optim.entries import is_number
from net2net.optim.state import Along, Policy, entry, sizes
from net2net.optim.states import Past
from net2net.plan.plan import OF_ANOTHER, Plan
from net2net.recipe.axis_map import Index
from net2net.shards import is_sharded, positions


def carry(
    plan: Plan,
    teacher: nn.Module,
    student: nn.Module,
    optimizer: Optimizer,
    *,
    state: Policy = "own",
    rewarm: float = 1.0,
    over: int = 250,
    unknown: Literal["raise", "drop"] = "raise",
) -> Carried:
    """Let the optimiser of a teacher in parts go on with its student, in place.

    As ``Growth.carry``; every rank of the default group calls it, after ``apply`` or before it.
    One tensor of the state after another is brought together, and each rank keeps of what that
    becomes what it has of the parameter.

    Args:
        teacher, student: as for ``apply``. A rank that has none of the teacher gives an optimiser
            of its parameters on ``meta``, in the same groups, without a state.
        optimizer, state, rewarm, over, unknown: as for ``Growth.carry``.

    Raises:
        PlanError: the teacher is not of the plan's shapes.
        OptimizerError: as ``Growth.carry``; or the plan is of several growths.
    """
    teacher, student = inside(teacher), inside(student)
    here.check_single(plan)
    found = by_first_name(teacher, plan.teacher.ties)
    plan.teacher.check(shapes_of(found), "teacher", OF_ANOTHER)
    parts = _Parts(Gather(found), dict(student.named_parameters()))
    return here.carry(
        plan, {name: one for name, one in found.items() if isinstance(one, nn.Parameter)}, student,
        optimizer, state=state, rewarm=rewarm, over=over, unknown=unknown, known=parts.known,
        make=parts.make,
    )  # fmt: skip


class _Parts:
    """States of which each rank has a part."""

    def __init__(self, gather: Gather, student: Mapping[str, nn.Parameter]) -> None:
        self._gather, self._student = gather, student

    def known(self, past: Past) -> Past:
        """Of which tensors the states are, on every rank: numbers, and what is on ``meta`` where
        this rank has none of it."""
        mine = {
            name: {key: _spec(one) for key, one in held.items()} for name, (_, held) in past.items()
        }
        spec: dict[str, dict[str, Any]] = self._gather.told(mine)
        return {name: (shape, held or spec.get(name, {})) for name, (shape, held) in past.items()}

    def make(self, name: str, value: Tensor, along: Along) -> Tensor:
        """What this rank has of a tensor of the student's state."""
        whole, parameter = self._gather.whole(value), self._student[name]
        shape = torch.Size(sizes(value, along))
        if parameter.is_meta:  # of a rank outside the student's mesh
            return whole.new_empty(shape, device="meta")
        if not is_sharded(parameter):
            return entry(name, whole, along)
        from torch.distributed.tensor import DTensor, Placement, Replicate

        how: list[Placement] = list(parameter.placements)
        if shape == parameter.shape:
            made = entry(name, *_cut(whole, along, parameter))
        else:  # factored: one number for many
            made, how = entry(name, whole, along), [Replicate() for _ in how]
        return DTensor.from_local(
            made.to(parameter.to_local().device), parameter.device_mesh, how, run_check=False,
            shape=shape, stride=torch.empty(shape, device="meta").stride(),
        )  # fmt: skip


def _spec(value: Any) -> Any:
    if is_number(value) or not isinstance(value, Tensor):
        return value
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def _cut(whole: Tensor, along: Along, parameter: Tensor) -> tuple[Tensor, Along]:
    """A tensor, and what is selected of it, for what this rank has of a parameter."""
    cut: dict[int, tuple[Index, Any]] = {}
    for dim in range(whole.ndim):
        mine = positions(parameter, dim)
        if dim in along:
            index, factor = along[dim]
            cut[dim] = (index[mine], factor[mine])
        else:
            whole = selected(whole, dim, mine)
    return whole, cut
