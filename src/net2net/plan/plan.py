"""plan: everything a growth does, as plain data.

A plan prints, saves to and loads from JSON, and applies to any copy of the teacher, with the same
bits every time: random choices are stored as maps, noise as a seed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from net2net.apply.apply import (
    ABSENT,
    AxisStep,
    follow_norm,
    grow_tensor,
    scale_tensor,
    with_tensors,
)
from net2net.apply.attributes import Edit, set_attributes
from net2net.apply.exported_graph import Exported
from net2net.errors import PlanError
from net2net.files import write_whole
from net2net.infer.units import Axis, Norm, Role
from net2net.maps.methods import METHODS
from net2net.plan.match import AxisMap
from net2net.trace.meta_copy import named_tensors

FORMAT = "net2net-plan-1"


_KINDS: dict[str, type[Plan]] = {}


class Plan(ABC):
    """What ``Growth.plan`` is: see ``WidenPlan`` and ``DeepenPlan``."""

    kind: ClassVar[str]
    teacher: dict[str, list[int]]
    """State-dict name → shape of every tensor of the teacher that the plan was made for."""

    @abstractmethod
    def apply(self, teacher: nn.Module) -> nn.Module:
        """A new student from a copy of the teacher, bit for bit as the first time.

        Raises:
            PlanError: the model is not of the shapes that the plan was made for.
        """

    def __init_subclass__(cls) -> None:
        _KINDS[cls.kind] = cls

    @abstractmethod
    def data(self) -> dict[str, Any]:
        """The plan as JSON types."""

    @classmethod
    @abstractmethod
    def from_data(cls, data: dict[str, Any]) -> Plan:
        """The plan from JSON types."""

    def check(self, teacher: nn.Module) -> None:
        shapes = {name: list(tensor.shape) for name, tensor in named_tensors(teacher)}
        if shapes == self.teacher:
            return
        for name in [*self.teacher, *shapes]:
            if self.teacher.get(name) != shapes.get(name):
                raise PlanError(
                    f"the plan was made for a teacher with '{name}' of shape "
                    f"{self.teacher.get(name)}, and here it is {shapes.get(name)}. "
                    "Apply it to a copy of its own teacher, or grow this model anew."
                )

    def to_json(self) -> str:
        """The plan as a JSON document; ``Plan.from_json`` reads it."""
        head = {"format": FORMAT, "kind": self.kind, "teacher": self.teacher}
        document = {**head, **self.data()}
        return json.dumps({**document, "sha256": _digest(document)})

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read a plan.

        Raises:
            PlanError: not JSON, not a plan, of another version, or malformed.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise PlanError(
                    f"the plan's format is {data['format']!r}, and this version reads {FORMAT!r}. "
                    "Make the plan again with this version."
                )
            if data.pop("sha256") != _digest(data):
                raise PlanError("the plan is damaged: its checksum is another. Make it again.")
            return _KINDS[data["kind"]].from_data(data)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            if isinstance(error, PlanError):
                raise
            raise PlanError(
                f"this is not a plan: {type(error).__name__}: {error}. "
                "Give a document that Plan.to_json wrote."
            ) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, to a temporary name first."""
        write_whole(Path(path), self.to_json())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Plan:
        """Read a plan from a JSON file.

        Raises:
            PlanError: the file is not a plan.
        """
        return Plan.from_json(Path(path).read_text(encoding="utf-8"))


def _digest(document: dict[str, Any]) -> str:
    """A piece that is lost may leave a plan that reads well and makes half a student."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _norm(data: dict[str, Any], scale: str, direction: str, dim: int) -> Norm:
    """A norm of a plan's data.

    Raises:
        PlanError: it is not of the teacher's tensors, or not of one that grows.
    """
    if scale not in data["teacher"] or direction not in data["tensors"] or type(dim) is not int:
        raise PlanError(
            f"the plan scales '{scale}' by the norm of '{direction}', which it does not grow. "
            "The plan is damaged: make it again."
        )
    return Norm(scale, direction, dim)


Factor = tuple[str, int, list[float]]
"""A tensor, an axis of it, and what each position on it is multiplied by."""


def _factor(data: dict[str, Any], name: str, dim: int, by: list[float]) -> Factor:
    """A factor of a plan's data.

    Raises:
        PlanError: it does not fit a tensor that grows.
    """
    sizes = [len(data["maps"][m]) for d, _, m in data["tensors"].get(name, ()) if d == dim]
    if sizes != [len(by)] or not all(isinstance(x, float) and math.isfinite(x) for x in by):
        raise PlanError(
            f"the plan multiplies axis {dim} of '{name}' by {len(by)} numbers, which do not fit. "
            "The plan is damaged: make it again."
        )
    return name, dim, by


@dataclass(frozen=True)
class TensorStep:
    """One tensor: for each axis that grows, the role and the number of its map."""

    axes: tuple[tuple[int, str, int], ...]


class Maps:
    """The table of maps that the axes of a plan share."""

    def __init__(self) -> None:
        self.table: list[list[int]] = []
        self._numbers: dict[bytes, int] = {}

    def step(self, maps: Mapping[int, AxisMap]) -> TensorStep:
        axes = []
        for dim, one in maps.items():
            key = one.index.tobytes()
            if key not in self._numbers:
                self._numbers[key] = len(self.table)
                self.table.append(one.index.tolist())
            axes.append((dim, one.role, self._numbers[key]))
        return TensorStep(tuple(axes))


@dataclass(eq=False)
class WidenPlan(Plan):
    """Maps for every axis that grows, noise, and the integers to set on modules.

    ``maps`` are shared: all axes of a space of one layout use the same one.
    """

    kind: ClassVar[str] = "widen"
    teacher: dict[str, list[int]]
    method: str
    noise: float
    seed: int
    maps: list[list[int]]
    tensors: dict[str, TensorStep]
    attributes: list[Edit]
    norms: list[Norm]
    factors: list[Factor]
    exported: Exported | None = None
    """The student is a graph of the teacher, made so."""

    @classmethod
    def make(
        cls, teacher: nn.Module, maps: dict[Axis, AxisMap], attributes: Sequence[Edit],
        norms: Sequence[Norm], factors: Mapping[Axis, Sequence[float]], *,
        method: str, noise: float, seed: int, exported: Exported | None,
    ) -> WidenPlan:  # fmt: skip
        table = Maps()
        by_name: dict[str, dict[int, AxisMap]] = {}
        for axis, one in maps.items():
            by_name.setdefault(axis.name, {})[axis.dim] = one
        tensors = {name: table.step(axes) for name, axes in by_name.items()}
        return cls(
            teacher={name: list(tensor.shape) for name, tensor in named_tensors(teacher)},
            method=method,
            noise=noise,
            seed=seed,
            maps=table.table,
            tensors=tensors,
            attributes=list(attributes),
            norms=[norm for norm in norms if norm.direction in tensors],
            factors=[(axis.name, axis.dim, list(by)) for axis, by in factors.items()],
            exported=exported,
        )

    def apply(self, teacher: nn.Module) -> nn.Module:
        self.check(teacher)
        if self.exported:
            teacher = self.exported.of(teacher)
        indices = [np.array(index, dtype=np.int64) for index in self.maps]
        old, tensors = {name: t.detach() for name, t in named_tensors(teacher)}, {}
        steps = {
            name: [AxisStep(d, role, indices[m]) for d, role, m in step.axes]
            for name, step in self.tensors.items()
        }
        for name, own in steps.items():
            tensors[name] = grow_tensor(old[name], own, name=name, noise=self.noise, seed=self.seed)
        for name, dim, by in self.factors:
            scale_tensor(tensors[name], dim, by)
        for norm in self.norms:
            tensors[norm.scale] = follow_norm(
                tensors.get(norm.scale, old[norm.scale]), old[norm.direction],
                tensors[norm.direction], steps.get(norm.scale, []), norm.dim,
            )  # fmt: skip
        student = with_tensors(teacher, tensors)
        set_attributes(student, self.attributes)
        return student

    @property
    def parameters(self) -> int:
        """Elements of all tensors in the student, buffers included."""
        total = 0
        for name, old in self.teacher.items():
            shape = list(old)
            for dim, _, number in self.tensors.get(name, TensorStep(())).axes:
                shape[dim] = len(self.maps[number])
            total += int(np.prod(shape, dtype=np.int64))
        return total

    def data(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "noise": self.noise,
            "seed": self.seed,
            "maps": self.maps,
            "tensors": {name: [list(axis) for axis in t.axes] for name, t in self.tensors.items()},
            "attributes": [list(edit) for edit in self.attributes],
            "norms": [[norm.scale, norm.direction, norm.dim] for norm in self.norms],
            "factors": [list(factor) for factor in self.factors],
            "exported": self.exported and [self.exported.inputs, self.exported.code],
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> WidenPlan:
        tensors = {
            name: TensorStep(tuple((int(d), str(role), int(m)) for d, role, m in axes))
            for name, axes in data["tensors"].items()
        }
        if data["method"] not in METHODS or not 0 <= data["noise"] < math.inf:
            raise PlanError(
                f"the plan's method is {data['method']!r} with noise {data['noise']!r}. "
                "The plan is damaged: make it again."
            )
        for name, step in tensors.items():
            for dim, role, number in step.axes:
                if role not in {Role.PRODUCES, Role.ALIGNS, Role.CONSUMES} or dim < 0:
                    raise PlanError(
                        f"axis {dim} of '{name}' has the role {role!r}. "
                        "The plan is damaged: make it again."
                    )
                limit = data["teacher"][name][dim]
                index = data["maps"][number]
                if any(type(x) is not int or not ABSENT <= x < limit for x in index):
                    raise PlanError(
                        f"the map of '{name}' names positions outside its {limit} on axis {dim}. "
                        "The plan is damaged: make it again."
                    )
        return cls(
            teacher=data["teacher"],
            method=data["method"],
            noise=float(data["noise"]),
            seed=int(data["seed"]),
            maps=data["maps"],
            tensors=tensors,
            attributes=[(path, name, value) for path, name, value in data["attributes"]],
            norms=[_norm(data, *norm) for norm in data["norms"]],
            factors=[_factor(data, *factor) for factor in data["factors"]],
            exported=Exported(*data["exported"]) if data.get("exported") else None,
        )

    def __str__(self) -> str:
        lines = [
            f"widen {'a graph of the model ' if self.exported else ''}by {self.method}, "
            f"noise {self.noise:g}, seed {self.seed}: "
            f"{len(self.tensors)} of {len(self.teacher)} tensors, {len(self.maps)} maps"
        ]
        for name, step in self.tensors.items():
            axes = ", ".join(
                f"axis {dim} {self.teacher[name][dim]} → {len(self.maps[number])} ({role})"
                for dim, role, number in step.axes
            )
            lines.append(f"  {name}: {axes}")
        return "\n".join(lines)
