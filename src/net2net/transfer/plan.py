"""The plan of a transfer: where every tensor of a student that the user built comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from net2net.apply.apply import (
    ABSENT,
    AxisStep,
    follow_norm,
    grow_tensor,
    scale_tensor,
    with_tensors,
)
from net2net.errors import PlanError
from net2net.identity.fills import Fill
from net2net.infer.units import Norm, Role
from net2net.maps.methods import METHODS
from net2net.plan.plan import Plan
from net2net.trace.meta_copy import named_tensors


@dataclass(frozen=True)
class Source:
    """Where one tensor of the student comes from: a tensor of the teacher ("": of none), the maps
    of its axes, what it is overwritten with afterwards, if anything, and what the positions on an
    axis are multiplied by."""

    name: str
    axes: tuple[tuple[int, str, int], ...] = ()
    fill: Fill | None = None
    factors: tuple[tuple[int, list[float]], ...] = ()


@dataclass(eq=False)
class TransferPlan(Plan):
    """Maps, and for every tensor of the student its source. What is not in ``tensors`` (indices,
    masks, added blocks that are like no other) stays as the student has it.

    A plan holds no modules, so ``apply`` takes the student that the user built as well: it is not
    changed, and nothing else of it matters.
    """

    kind: ClassVar[str] = "transfer"
    teacher: dict[str, list[int]]
    student: dict[str, list[int]]
    method: str
    seed: int
    maps: list[list[int]]
    tensors: dict[str, Source]
    norms: list[Norm]
    """Weights of the student whose scales follow the norm of what grows."""

    def apply(self, teacher: nn.Module, student: nn.Module | None = None) -> nn.Module:
        self.check(teacher)
        if student is None:
            raise PlanError(
                "a transfer's plan holds no modules. "
                "Call plan.apply(teacher, student) with a model of the student's shapes."
            )
        self._check_student(student)
        indices = [np.array(index, dtype=np.int64) for index in self.maps]
        old = dict(named_tensors(teacher))
        like = next(teacher.parameters(), torch.empty(0))
        tensors: dict[str, Tensor] = {}
        for name, tensor in named_tensors(student):
            source = self.tensors.get(name)
            if source is None:
                kept = tensor.detach().to(like.device, copy=True)
                tensors[name] = kept.to(like.dtype) if kept.is_floating_point() else kept
                continue
            shape = tuple(tensor.shape)
            if source.name:
                steps = self._steps(source, indices)
                tensors[name] = self._grown(old[source.name].detach(), source, steps)
            else:
                tensors[name] = torch.zeros(shape, dtype=like.dtype, device=like.device)
            if tuple(tensors[name].shape) != shape:
                raise PlanError(
                    f"the plan makes '{name}' of shape {tuple(tensors[name].shape)}, and the "
                    f"student's is {shape}. The plan is damaged: make it again."
                )
        for norm in self.norms:
            scale, direction = self.tensors[norm.scale], self.tensors[norm.direction]
            tensors[norm.scale] = follow_norm(
                tensors[norm.scale], old[direction.name].detach(), tensors[norm.direction],
                self._steps(scale, indices), norm.dim,
            )  # fmt: skip
        for name, source in self.tensors.items():
            if isinstance(source.fill, str):
                write_eye(tensors[name])
            elif source.fill is not None:
                tensors[name].fill_(source.fill)
        return with_tensors(student, tensors).train(teacher.training)

    def _steps(self, source: Source, indices: list[Any]) -> list[AxisStep]:
        return [AxisStep(dim, role, indices[number]) for dim, role, number in source.axes]

    def _grown(self, tensor: Tensor, source: Source, steps: list[AxisStep]) -> Tensor:
        if not steps:
            return tensor.clone()
        grown = grow_tensor(tensor, steps, name=source.name, noise=0.0, seed=self.seed)
        for dim, by in source.factors:
            scale_tensor(grown, dim, by)
        return grown

    def _check_student(self, student: nn.Module) -> None:
        shapes = {name: list(tensor.shape) for name, tensor in named_tensors(student)}
        for name in [*self.student, *shapes]:
            if self.student.get(name) != shapes.get(name):
                raise PlanError(
                    f"the plan was made for a student with '{name}' of shape "
                    f"{self.student.get(name)}, and here it is {shapes.get(name)}. "
                    "Build the student from the same configuration."
                )

    @property
    def parameters(self) -> int:
        """Elements of all tensors in the student, buffers included."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.student.values())

    def data(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "method": self.method,
            "seed": self.seed,
            "maps": self.maps,
            "tensors": {
                name: [
                    one.name,
                    [list(axis) for axis in one.axes],
                    one.fill,
                    [list(factor) for factor in one.factors],
                ]
                for name, one in self.tensors.items()
            },
            "norms": [[norm.scale, norm.direction, norm.dim] for norm in self.norms],
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> TransferPlan:
        tensors = {
            name: Source(
                source,
                tuple((int(d), str(role), int(m)) for d, role, m in axes),
                fill,
                tuple((int(dim), by) for dim, by in factors),
            )
            for name, (source, axes, fill, factors) in data["tensors"].items()
        }
        for name, one in tensors.items():
            numeric = isinstance(one.fill, (int, float)) or one.fill in {None, "eye"}
            sound = numeric and (one.name in data["teacher"] or one.fill is not None)
            for dim, role, number in one.axes:
                limit = data["teacher"][one.name][dim]
                sound = sound and role in {Role.PRODUCES, Role.ALIGNS, Role.CONSUMES} and dim >= 0
                sound = sound and all(ABSENT <= x < limit for x in data["maps"][number])
            sizes = {dim: len(data["maps"][number]) for dim, _, number in one.axes}
            sound = sound and all(sizes.get(dim) == len(by) for dim, by in one.factors)
            sound = sound and all(isinstance(x, float) for _, by in one.factors for x in by)
            if not sound or data["method"] not in METHODS:
                raise PlanError(f"the source of '{name}' is malformed. Make the plan again.")
        norms = [Norm(scale, direction, int(dim)) for scale, direction, dim in data["norms"]]
        for norm in norms:
            if not all(
                one in tensors and tensors[one].name for one in (norm.scale, norm.direction)
            ):
                raise PlanError(f"the norm of '{norm.scale}' is malformed. Make the plan again.")
        return cls(
            teacher=data["teacher"],
            student=data["student"],
            method=data["method"],
            seed=int(data["seed"]),
            maps=data["maps"],
            tensors=tensors,
            norms=norms,
        )

    def __str__(self) -> str:
        filled = sum(one.fill is not None for one in self.tensors.values())
        grown = sum(bool(one.axes) for one in self.tensors.values())
        return (
            f"transfer by {self.method}, seed {self.seed}: {len(self.tensors)} tensors, "
            f"{grown} of them grown by {len(self.maps)} maps, {filled} overwritten"
        )


@torch.no_grad()
def write_eye(weight: Tensor) -> None:
    """The weight of a layer that returns its input: of a kernel, the middle."""
    weight.zero_()
    centre = tuple((size - 1) // 2 for size in weight.shape[2:])
    for row in range(weight.shape[0]):
        weight[(row, row % weight.shape[1], *centre)] = 1
