"""Identity layers after a module (paper, section 2.4): what stands there, and what fills it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from net2net.identity.blocks import ACTIVATIONS, LAYERS, NORMS, block_from_spec
from net2net.identity.layers import NORM_TENSORS, layer_fills, norm_fills, tap_of
from net2net.identity.residual import Residual
from net2net.recipe.fill import Constant, Fill
from net2net.recipe.layout import laid_out_like
from net2net.trace.meta_copy import meta_copy, named_tensors

Function = tuple[str, dict[str, float | str]]
"""A functional activation: its operation, and the arguments that it is called with."""

KINDS = {
    "identity": "identity layers", "linear": "linear layers", "residual": "residual branches",
    "pair": "pairs of layers",
}  # fmt: skip
"""What new layers like a layer of the teacher's can be, and what reports call them."""


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
        norms: the batch norms to imitate, or those in the new block.
        new: a block of its own, as data, in place of one that imitates.
        mean, variance: what each norm undoes, per feature; empty: 0 and 1. Recipes are made of it.
        kind: of ``KINDS``, what new layers like one of the teacher's are: φ and an identity; an
            identity without φ; φ and a layer of zeros in a branch beside; or two of φ and an
            identity, of a vertical and a horizontal kernel.
    """

    at: str
    layers: dict[str, list[int]]
    count: int
    block: bool = False
    activation: str | Function = ""
    norms: list[str] = field(default_factory=list)
    new: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()
    kind: str = "identity"

    @property
    def what(self) -> str:
        """What is new, for people."""
        return "new blocks" if self.new else KINDS[self.kind]

    def renamed(self, name: str) -> str:
        """The name in the student of what was named so before."""
        return f"{self.at}.0{name[len(self.at) :]}" if name.startswith(f"{self.at}.") else name


@dataclass(frozen=True)
class Part:
    """A module of an insertion: the teacher's module that it is a copy of (None: new), and what its
    tensors are filled with."""

    module: nn.Module
    copy_of: str | None
    fills: dict[str, Fill]


def insert(student: nn.Module, teacher: nn.Module, insertion: Insertion) -> None:
    """Replace ``insertion.at`` by a ``Sequential`` of itself and new layers like the teacher's,
    whose tensors are on ``meta``.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: the insertion does not fit the teacher.
    """
    original = student.get_submodule(insertion.at)
    new = [part.module for part in parts(teacher, insertion)]
    wrapped = nn.Sequential(original, *new)
    wrapped.training = original.training
    parent, _, name = insertion.at.rpartition(".")
    student.get_submodule(parent).register_module(name, wrapped)


def fills(
    teacher: nn.Module, insertion: Insertion
) -> Iterator[tuple[str, str | None, Fill | None]]:
    """For every new tensor its name in the student, the teacher's tensor that it copies, or what it
    is filled with."""
    for number, part in enumerate(parts(teacher, insertion), start=1):
        for name, _ in named_tensors(part.module):
            like = None if part.copy_of is None else f"{part.copy_of}.{name}"
            yield f"{insertion.at}.{number}.{name}", like, part.fills.get(name)


def parts(teacher: nn.Module, insertion: Insertion) -> list[Part]:
    """The new modules, in order, on ``meta``."""
    imitates = bool(insertion.layers) != bool(insertion.new)
    if not isinstance(insertion.count, int) or insertion.count < 1 or not imitates:
        raise ValueError(f"{insertion.count!r} layers like {list(insertion.layers)}")
    one = _new_part if insertion.new else _copied_part if insertion.block else _layer_parts
    found: list[Part] = []
    for _ in range(insertion.count):
        made = one(teacher, insertion)
        found += made if isinstance(made, list) else [made]
    return found


def _layer_parts(teacher: nn.Module, insertion: Insertion) -> list[Part]:
    """What stands behind one of the teacher's layers, of the insertion's kind."""
    (path,) = insertion.layers
    layer: Any = teacher.get_submodule(path)
    match insertion.kind:
        case "identity":
            return [*_activation(teacher, insertion), *_identity(teacher, insertion, layer)]
        case "linear":
            return _identity(teacher, insertion, layer)
        case "residual":
            return [_branch(teacher, insertion, layer)]
        case "pair":
            across = [1] * (len(layer.kernel_size) - 1)
            return [
                part
                for kernel in ((layer.kernel_size[0], *across), (*across, layer.kernel_size[-1]))
                for part in (
                    *_activation(teacher, insertion),
                    *_identity(teacher, insertion, layer, kernel),
                )
            ]
    raise ValueError(f"{insertion.kind!r:.40} is no kind of layers")


def _activation(teacher: nn.Module, insertion: Insertion) -> list[Part]:
    """A copy of the layer's activation, if it has one."""
    if isinstance(kind := insertion.activation, str):
        return [Part(meta_copy(teacher.get_submodule(kind)), kind, {})] if kind else []
    return [Part(activation_module(teacher, kind), None, {})]


def _identity(
    teacher: nn.Module, insertion: Insertion, layer: Any, kernel: tuple[int, ...] | None = None
) -> list[Part]:
    """A layer like one of the teacher's that returns its input, with its norm."""
    width = layer.weight.shape[0]
    new = identity_layer(layer, width, width, kernel)
    result = [Part(new, None, _layer_fills(new, None))]
    for norm in insertion.norms:
        part = meta_copy(teacher.get_submodule(norm))
        result.append(Part(part, norm, _norm_fills(part, insertion)))
    return result


def _branch(teacher: nn.Module, insertion: Insertion, layer: Any) -> Part:
    """The activation and a layer of zeros, added to what they are given."""
    width = layer.weight.shape[0]
    branch = Residual(
        *(part.module for part in _activation(teacher, insertion)),
        identity_layer(layer, width, width),
    )
    for one in branch:
        if "inplace" in vars(one):
            vars(one)["inplace"] = False  # what it is given is still to be added to
    zeros: dict[str, Fill] = {name: Constant(0.0) for name, _ in named_tensors(branch)}
    return Part(branch.train(layer.training), None, zeros)


def _copied_part(teacher: nn.Module, insertion: Insertion) -> Part:
    """A copy of a module around weight layers, in which every layer is an identity."""
    original = teacher.get_submodule(insertion.at)
    part, found = meta_copy(original), dict[str, Fill]()
    for path, rows in insertion.layers.items():
        inner = path.removeprefix(insertion.at).removeprefix(".")
        layer = identity_layer(original.get_submodule(inner), max(rows) + 1, len(rows))
        part = _replaced(part, inner, layer)
        found |= _inside(inner, _layer_fills(layer, rows))
    for path in insertion.norms:
        inner = path.removeprefix(insertion.at).removeprefix(".")
        found |= _inside(inner, _norm_fills(part.get_submodule(inner), insertion))
    return Part(part, insertion.at, found)


def _new_part(teacher: nn.Module, insertion: Insertion) -> Part:
    """The insertion's own block, of the teacher's type."""
    floats = (p for p in teacher.parameters() if p.is_floating_point())
    block = new_block(insertion, next(floats, torch.empty(0)).dtype)
    block.train(teacher.get_submodule(insertion.at).training)
    return Part(block, None, block_fills(block, insertion))


def new_block(insertion: Insertion, dtype: torch.dtype) -> nn.Module:
    """The insertion's own block on ``meta``.

    Raises:
        ValueError: one of its layers cannot be an identity.
    """
    with torch.device("meta"):  # draws no random numbers
        block = block_from_spec(insertion.new).to(dtype)
    for part in block.modules():
        if isinstance(part, LAYERS):
            width = part.weight.shape[0]
            if width != part.weight.shape[1] * getattr(part, "groups", 1):
                raise ValueError(f"{part} puts out another number of features than it takes")
            _layer_fills(part, None)
    return block


def block_fills(block: nn.Module, insertion: Insertion) -> dict[str, Fill]:
    """What makes a block of identity layers and norms return its input."""
    found: dict[str, Fill] = {}
    for name, part in block.named_modules():
        if isinstance(part, LAYERS):
            found |= _inside(name, _layer_fills(part, None))
        elif isinstance(part, NORMS):
            found |= _inside(name, _norm_fills(part, insertion))
    return found


def activation_module(teacher: nn.Module, kind: str | Function) -> nn.Module:
    """A copy of the activation module, or a module for the functional one."""
    if isinstance(kind, str):
        return copy.deepcopy(teacher.get_submodule(kind))
    name, settings = kind
    return ACTIVATIONS[name](**settings)


@torch.no_grad()
def identity_block(teacher: nn.Module, insertion: Insertion) -> nn.Module:
    """A copy of the module at ``insertion.at``, with values: every layer is an identity."""
    part = _copied_part(teacher, insertion)
    old = dict(named_tensors(teacher.get_submodule(insertion.at)))
    block = part.module.to_empty(device=next(iter(old.values())).device)
    for name, tensor in named_tensors(block):
        if name in part.fills:
            part.fills[name].write(tensor, range(tensor.shape[0] if tensor.ndim else 0))
        else:
            tensor.copy_(old[name])
    return block


def _inside(path: str, found: dict[str, Fill]) -> dict[str, Fill]:
    return {f"{path}.{name}" if path else name: fill for name, fill in found.items()}


# -- layers and norms ------------------------------------------------------------------------------


def identity_layer(
    layer: Any, inputs: int, outputs: int, kernel: tuple[int, ...] | None = None
) -> nn.Module:
    """A layer of the same kind that keeps the size of the map, on ``meta``. ``kernel``: not the
    layer's own."""
    weight = layer.weight
    options: dict[str, Any] = {
        "bias": layer.bias is not None, "device": "meta", "dtype": weight.dtype,
    }  # fmt: skip
    if isinstance(layer, nn.Linear):
        new: Any = nn.Linear(inputs, outputs, **options)
    else:
        # padding="same" pads (k-1)//2 before and the rest behind, so even kernels work too
        kind: Any = next(kind for kind in LAYERS if isinstance(layer, kind))  # not a user's class
        kernel, groups = kernel or layer.kernel_size, layer.groups
        new = kind(inputs, outputs, kernel, padding="same", groups=groups, **options)
    new.weight.data = laid_out_like(new.weight.data, weight)
    new.train(layer.training)
    for own, old in ((new.weight, weight), (new.bias, layer.bias)):
        if own is not None and old is not None:
            own.requires_grad_(old.requires_grad)
    built: nn.Module = new
    return built


def _layer_fills(layer: Any, rows: Sequence[int] | None) -> dict[str, Fill]:
    """What lets row j of a layer repeat feature ``rows[j]`` (None: feature j).

    Raises:
        ValueError: the layer changes the map's size, or no tap reads where it writes.
    """
    tap: tuple[int, ...] | None = ()
    if not isinstance(layer, nn.Linear):
        tap = tap_of(layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    if tap is None:
        raise ValueError(f"no tap of {layer} reads the position that it writes")
    return layer_fills("weight", None if layer.bias is None else "bias", tap, rows)


def _norm_fills(norm: Any, insertion: Insertion) -> dict[str, Fill]:
    """What makes a batch norm undo itself.

    Raises:
        ValueError: the statistics are of another number of features.
    """
    measured = (len(insertion.mean), len(insertion.variance))
    if measured not in {(0, 0), (norm.num_features, norm.num_features)}:
        raise ValueError(f"statistics of {measured} features for {norm.num_features}")
    names = {name: name for name, _ in named_tensors(norm) if name in NORM_TENSORS}
    return norm_fills(names, norm.eps, insertion.mean, insertion.variance)


def _replaced(module: nn.Module, path: str, part: nn.Module) -> nn.Module:
    parent, _, name = path.rpartition(".")
    if not path:
        return part
    module.get_submodule(parent).register_module(name, part)
    return module
