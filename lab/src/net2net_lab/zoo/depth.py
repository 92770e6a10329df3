"""One layer or one block more: where in a model `deepen` is tried, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor, nn

from net2net.deepen.deepen import deepen
from net2net.errors import DepthError, UnknownModuleError
from net2net.identity.blocks import LAYERS
from net2net.ops import traits
from net2net.trace.trace import Inputs, Trace

NEAR, TRIES = 3, 2
"""How many operations behind a layer its activation may be, and how many layers are tried of those
that such an activation follows, of the others, and how many stacks."""


def deepened(teacher: nn.Module, inputs: Inputs, trace: Trace) -> tuple[str, str]:
    """The first place where an identity layer stood, or a stack had a block more, or a layer a
    residual branch, the function kept; empty if none of those tried admits it. And why the last
    stack, or else the last layer, did not.

    Raises:
        VerificationError: a layer was inserted, and the function is another.
    """
    layers, why = list(_layers(teacher, trace)), ""
    tried = [(path, "identity", "") for path in layers]
    tried += [(path, "residual", ", a branch") for path in layers[:TRIES]]
    tried += [(path, "identity", ", a block") for path in _stacks(teacher)]
    for path, kind, what in tried:
        try:
            deepen(teacher, {path: 1}, inputs, kind=kind)
        except (DepthError, UnknownModuleError) as error:
            why = str(error)
            continue
        return path + what, ""
    return "", why or "it has no linear or convolution layer that is small enough, and no stack."


def _stacks(model: nn.Module) -> list[str]:
    """The longest lists and rows of blocks of one class."""
    found = {
        path: len(part)
        for path, part in model.named_modules()
        if isinstance(part, (nn.ModuleList, nn.Sequential))
        and len(part) > 1
        and len({type(block) for block in part}) == 1
    }
    return sorted(found, key=lambda path: -found[path])[:TRIES]


def _layers(model: nn.Module, trace: Trace) -> Iterator[str]:
    """None after which an identity layer is larger than the whole model, as behind a convolution
    that reads patches of 32 × 32 pixels."""
    modules = dict(model.named_modules())
    most = sum(parameter.numel() for parameter in model.parameters())
    before: dict[str, None] = {}
    others: dict[str, None] = {}
    for position, op in enumerate(trace.ops):
        layer = modules.get(op.path)
        if isinstance(layer, LAYERS) and _identity_size(layer) <= most:
            following = (traits(x.kind) for x in trace.ops[position + 1 : position + 1 + NEAR])
            # those that an identity layer can stand before (paper, section 2.4)
            idempotent = any(known.module and known.idempotent for known in following)
            (before if idempotent else others)[op.path] = None
    yield from [*list(before)[:TRIES], *list(others)[:TRIES]]


def _identity_size(layer: nn.Module) -> int:
    """Elements of the weight of an identity layer after this one."""
    weight = layer.weight  # which a parametrization may make
    assert isinstance(weight, Tensor)
    return len(weight) ** 2 * prod(weight.shape[2:]) // getattr(layer, "groups", 1)
