"""Apply a plan to models in parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from net2net.apply.fingerprint import shapes_of
from net2net.distributed.gather import Gather, by_first_name, inside
from net2net.distributed.rank import fill
from net2net.plan.plan import BUILD_ANEW, OF_ANOTHER, Plan
from net2net.recipe.run import reader


@torch.inference_mode(False)
def apply(plan: Plan, teacher: nn.Module, student: nn.Module) -> nn.Module:
    """Fill a student with what the plan makes of a teacher, each on any mesh or on none.

    Every rank of the default group calls this with the same plan. One tensor after another, what it
    is made from is brought together on every rank, and each makes what it has of the student's: no
    rank ever has more than that besides. The student is bit for bit that of ``Plan.apply``.

    Args:
        teacher: with values on some ranks at least; others, such as those outside its mesh, hold it
            on ``meta``. Models in DDP, ``AveragedModel`` or ``torch.compile`` are taken out.
        student: a model of the student's shapes, such as ``growth.model`` of a teacher on ``meta``,
            after ``fully_shard(…)`` and ``to_empty(device=…)``. Its tensors are overwritten.
            Ranks outside its mesh hold it on ``meta``.

    Returns:
        The student that was given.

    Raises:
        PlanError: teacher or student are not of the plan's shapes, or have values nowhere; or
            the plan, or one before it, keeps tensors of a student that is not here.
    """
    theirs = by_first_name(inside(teacher), plan.first.teacher.ties)
    ours = by_first_name(inside(student), plan.student.ties)
    plan.first.teacher.check(shapes_of(theirs), "teacher", OF_ANOTHER)
    plan.student.check(shapes_of(ours), "student", BUILD_ANEW)
    gather, like = Gather(theirs), _like(theirs)
    Gather(ours)  # is somewhere
    for name, tensor in ours.items():
        if plan.recipes[name].kept:
            continue
        whole = {source: gather.whole(theirs[source]) for source in sorted(plan.sources(name))}
        at = next(iter(whole.values()), tensor).device
        read = plan.reader_from(reader(whole), like.to(at))
        if not tensor.is_meta:
            fill(tensor, lambda rows, name=name, read=read: read(name, rows))  # type: ignore[misc]
    return student


def _like(tensors: dict[str, Tensor]) -> Tensor:
    kinds = (one.dtype for one in tensors.values() if one.is_floating_point())
    return torch.empty(0, dtype=next(kinds, None))
