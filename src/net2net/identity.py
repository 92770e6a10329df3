"""Identity layers, and the plan that inserts them (paper, section 2.4)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils import skip_init

from net2net.errors import PlanError
from net2net.hollow import copied
from net2net.plan import Plan

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "hardtanh": nn.Hardtanh, "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU, "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU, "celu": nn.CELU, "softplus": nn.Softplus, "mish": nn.Mish,
    "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid, "log_sigmoid": nn.LogSigmoid,
    "softsign": nn.Softsign, "threshold": nn.Threshold, "rrelu": nn.RReLU, "prelu": nn.PReLU,
}  # fmt: skip
"""Elementwise activations by operation, and the module that computes them by default."""


@dataclass(frozen=True)
class Insertion:
    """Identity layers after one module.

    Attributes:
        at: the module that is replaced by a ``Sequential`` of itself and the new layers.
        layers: weight layer to imitate → for each of its rows, the input feature it repeats
            (empty: row j repeats feature j).
        count: how many identity layers.
        block: the new layers are a copy of all of ``at``, activations included (a maxout module, a
            pair of convolutions).
        activation: module path, or the name and arguments of a functional one, or nothing.
        norms: the batch norms to imitate.
        mean, variance: what each norm undoes, per feature; empty: 0 and 1.
    """

    at: str
    layers: dict[str, list[int]]
    count: int
    block: bool = False
    activation: str | tuple[str, dict[str, float]] = ""
    norms: list[str] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    variance: list[float] = field(default_factory=list)


@dataclass(eq=False)
class DeepenPlan(Plan):
    """Where identity layers go, and what their norms undo."""

    kind: ClassVar[str] = "deepen"
    teacher: dict[str, list[int]]
    insertions: list[Insertion]

    def apply(self, teacher: nn.Module) -> nn.Module:
        self.check(teacher)
        student = copied(teacher)
        for insertion in self.insertions:
            try:
                insert(student, insertion)
            except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
                raise PlanError(
                    f"the plan's layers do not fit after '{insertion.at}': {error}. "
                    "The plan is damaged: make it again."
                ) from error
        return student

    def data(self) -> dict[str, Any]:
        return {"insertions": [asdict(one) for one in self.insertions]}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> DeepenPlan:
        insertions = []
        for one in data["insertions"]:
            activation = one["activation"]
            if not isinstance(activation, str):
                activation = (activation[0], activation[1])
            insertions.append(Insertion(**{**one, "activation": activation}))
        return cls(data["teacher"], insertions)

    def __str__(self) -> str:
        lines = [f"deepen by {sum(one.count for one in self.insertions)} identity layers"]
        lines += [f"  {one.count} after {one.at}" for one in self.insertions]
        return "\n".join(lines)


@torch.no_grad()
def insert(student: nn.Module, insertion: Insertion) -> None:
    """Replace ``insertion.at`` by a ``Sequential`` of itself and identity layers."""
    if not isinstance(insertion.count, int) or insertion.count < 1 or not insertion.layers:
        raise ValueError(f"{insertion.count!r} layers like {list(insertion.layers)}")
    original = student.get_submodule(insertion.at)
    parts = [original]
    for _ in range(insertion.count):
        if insertion.block:
            parts.append(identity_block(original, insertion))
            continue
        (path,) = insertion.layers
        layer: Any = student.get_submodule(path)
        width = layer.weight.shape[0]
        if insertion.activation:
            parts.append(activation_module(student, insertion.activation))
        parts.append(_identity_layer(layer, list(range(width)), width))
        for norm in insertion.norms:
            parts.append(_identity_norm(student.get_submodule(norm), insertion))
    wrapped = nn.Sequential(*parts)
    wrapped.training = original.training
    parent, _, name = insertion.at.rpartition(".")
    student.get_submodule(parent).register_module(name, wrapped)


def activation_module(student: nn.Module, kind: str | tuple[str, dict[str, float]]) -> nn.Module:
    """A copy of the activation module, or a module for the functional one."""
    if isinstance(kind, str):
        return copy.deepcopy(student.get_submodule(kind))
    name, scalars = kind
    return ACTIVATIONS[name](**scalars)


def _identity_layer(layer: Any, rows: Sequence[int], width: int) -> nn.Module:
    """A layer of the same kind whose row j repeats feature ``rows[j]`` of ``width``."""
    weight = layer.weight
    options: dict[str, Any] = {
        "bias": layer.bias is not None, "device": weight.device, "dtype": weight.dtype,
    }  # fmt: skip
    build: Any = skip_init  # draws no random numbers
    if isinstance(layer, nn.Linear):
        new: Any = build(nn.Linear, width, len(rows), **options)
        centre: tuple[int, ...] = ()
    else:
        kernel = layer.kernel_size
        # padding="same" pads (k-1)//2 before and the rest behind, so even kernels work too
        new = build(
            type(layer), width, len(rows), kernel, padding="same", groups=layer.groups, **options
        )
        centre = tuple((size - 1) // 2 for size in kernel)
    new.weight.zero_()
    per_group = new.weight.shape[1]
    for row, feature in enumerate(rows):
        new.weight[(row, feature % per_group, *centre)] = 1
    if new.bias is not None:
        new.bias.zero_()
    new.train(layer.training)
    for own, old in ((new.weight, weight), (new.bias, layer.bias)):
        if own is not None and old is not None:
            own.requires_grad_(old.requires_grad)
    built: nn.Module = new
    return built


def _identity_norm(norm: Any, insertion: Insertion) -> nn.Module:
    """A batch norm that undoes itself: γ = √(σ² + ε), β = μ (paper, section 2.4)."""
    new: Any = copy.deepcopy(norm)
    new.num_batches_tracked.zero_()
    new.running_mean.zero_()
    new.running_var.fill_(1)
    if not new.affine:
        new.running_var.fill_(1 - new.eps)  # nothing to undo it with, so nothing is done
    measured = (len(insertion.mean), len(insertion.variance))
    if measured not in {(0, 0), (new.num_features, new.num_features)}:
        raise ValueError(f"statistics of {measured} features for {new.num_features}")
    if new.affine and insertion.mean:
        new.running_mean.copy_(torch.tensor(insertion.mean, dtype=torch.float64))
        new.running_var.copy_(torch.tensor(insertion.variance, dtype=torch.float64))
    if new.affine:
        new.weight.copy_((new.running_var + new.eps).sqrt())
        new.bias.copy_(new.running_mean)
    norm_of_same_kind: nn.Module = new
    return norm_of_same_kind


def identity_block(original: nn.Module, insertion: Insertion) -> nn.Module:
    """A copy of a module around weight layers, in which every layer is an identity."""
    new = copy.deepcopy(original)
    for path, rows in insertion.layers.items():
        inner = path.removeprefix(insertion.at).removeprefix(".")
        layer = _identity_layer(original.get_submodule(inner), rows, max(rows) + 1)
        new = _replaced(new, inner, layer)
    for norm in insertion.norms:
        inner = norm.removeprefix(insertion.at).removeprefix(".")
        new = _replaced(new, inner, _identity_norm(original.get_submodule(inner), insertion))
    return new


def _replaced(module: nn.Module, path: str, part: nn.Module) -> nn.Module:
    parent, _, name = path.rpartition(".")
    module.get_submodule(parent).register_module(name, part)
    return module
