"""Identity layers, and the plan that inserts them (paper, section 2.4)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from net2net.errors import PlanError
from net2net.identity.blocks import ACTIVATIONS, LAYERS, NORMS, block_from_spec
from net2net.plan.plan import Plan
from net2net.trace.meta_copy import copied


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
        new: a block of its own, as data, in place of one that imitates.
        norms: the batch norms to imitate, or those in the new block.
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
    new: dict[str, Any] = field(default_factory=dict)


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
                insert(student, teacher, insertion)
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
        for one in self.insertions:
            what = "new blocks " if one.new else ""
            lines.append(f"  {one.count} {what}after {one.at}")
        return "\n".join(lines)


@torch.no_grad()
def insert(student: nn.Module, teacher: nn.Module, insertion: Insertion) -> None:
    """Replace ``insertion.at`` by a ``Sequential`` of itself and identity layers, which imitate
    the teacher's."""
    imitates = bool(insertion.layers) != bool(insertion.new)
    if not isinstance(insertion.count, int) or insertion.count < 1 or not imitates:
        raise ValueError(f"{insertion.count!r} layers like {list(insertion.layers)}")
    original = student.get_submodule(insertion.at)
    parts = [original]
    for _ in range(insertion.count):
        if insertion.new:
            floats = (p for p in teacher.parameters() if p.is_floating_point())
            new = new_block(insertion, next(floats, torch.empty(0)))
            parts.append(new.train(original.training))
            continue
        if insertion.block:
            parts.append(identity_block(teacher.get_submodule(insertion.at), insertion))
            continue
        (path,) = insertion.layers
        layer: Any = teacher.get_submodule(path)
        width = layer.weight.shape[0]
        if insertion.activation:
            parts.append(activation_module(teacher, insertion.activation))
        parts.append(_identity_layer(layer, list(range(width)), width))
        for norm in insertion.norms:
            parts.append(_identity_norm(teacher.get_submodule(norm), insertion))
    wrapped = nn.Sequential(*parts)
    wrapped.training = original.training
    parent, _, name = insertion.at.rpartition(".")
    student.get_submodule(parent).register_module(name, wrapped)


def activation_module(teacher: nn.Module, kind: str | tuple[str, dict[str, float]]) -> nn.Module:
    """A copy of the activation module, or a module for the functional one."""
    if isinstance(kind, str):
        return copy.deepcopy(teacher.get_submodule(kind))
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
    else:
        kernel = layer.kernel_size
        # padding="same" pads (k-1)//2 before and the rest behind, so even kernels work too
        kind = next(kind for kind in LAYERS if isinstance(layer, kind))  # not a class of a user's
        new = build(kind, width, len(rows), kernel, padding="same", groups=layer.groups, **options)
    _repeat(new, rows)
    new.train(layer.training)
    for own, old in ((new.weight, weight), (new.bias, layer.bias)):
        if own is not None and old is not None:
            own.requires_grad_(old.requires_grad)
    block_from_spec: nn.Module = new
    return block_from_spec


def _repeat(layer: Any, rows: Sequence[int]) -> None:
    """Set a layer's weights so that its row j repeats feature ``rows[j]``."""
    centre = _centre(layer)
    layer.weight.zero_()
    per_group = layer.weight.shape[1]
    for row, feature in enumerate(rows):
        layer.weight[(row, feature % per_group, *centre)] = 1
    if layer.bias is not None:
        layer.bias.zero_()


def _centre(layer: Any) -> tuple[int, ...]:
    """The tap of a kernel that reads where the layer writes.

    Raises:
        ValueError: the layer changes the map's size, or no tap does.
    """
    if isinstance(layer, nn.Linear):
        return ()
    centre = []
    for axis, (size, step) in enumerate(zip(layer.kernel_size, layer.dilation, strict=True)):
        around = step * (size - 1)
        named = {"same": around // 2, "valid": 0}
        before = named[layer.padding] if isinstance(layer.padding, str) else layer.padding[axis]
        keeps_size = layer.stride[axis] == 1 and (layer.padding == "same" or 2 * before == around)
        if not keeps_size or before % step:
            raise ValueError(f"no tap of {layer} reads the position that it writes")
        centre.append(before // step)
    return tuple(centre)


def _identity_norm(norm: nn.Module, insertion: Insertion) -> nn.Module:
    new = copy.deepcopy(norm)
    _undo(new, insertion)
    return new


def _undo(norm: Any, insertion: Insertion) -> None:
    """Make a batch norm undo itself: γ = √(σ² + ε), β = μ (paper, section 2.4)."""
    norm.num_batches_tracked.zero_()
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    if not norm.affine:
        norm.running_var.fill_(1 - norm.eps)  # nothing to undo it with, so nothing is done
    measured = (len(insertion.mean), len(insertion.variance))
    if measured not in {(0, 0), (norm.num_features, norm.num_features)}:
        raise ValueError(f"statistics of {measured} features for {norm.num_features}")
    if norm.bias is not None and insertion.mean:  # without a bias, nothing undoes a mean
        norm.running_mean.copy_(torch.tensor(insertion.mean, dtype=torch.float64))
        norm.running_var.copy_(torch.tensor(insertion.variance, dtype=torch.float64))
    if norm.affine:
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    if norm.bias is not None:
        norm.bias.copy_(norm.running_mean)


@torch.no_grad()
def new_block(insertion: Insertion, like: Tensor) -> nn.Module:
    """The insertion's own block, every layer an identity, where ``like`` is and of its type.

    Raises:
        ValueError: one of its layers cannot be an identity.
    """
    with torch.device("meta"):  # draws no random numbers
        block = block_from_spec(insertion.new).to(like.dtype)
    block.to_empty(device=like.device)
    for part in block.modules():
        if isinstance(part, LAYERS):
            width = part.weight.shape[0]
            if width != part.weight.shape[1] * getattr(part, "groups", 1):
                raise ValueError(f"{part} puts out another number of features than it takes")
            _repeat(part, range(width))
        elif isinstance(part, NORMS):
            _undo(part, insertion)
    return block


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
