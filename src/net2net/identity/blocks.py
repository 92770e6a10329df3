"""blocks: a row of layers, norms and activations as plain data, so that a plan can hold it."""

from __future__ import annotations

from inspect import signature
from typing import Any

from torch import nn

from net2net.errors import DepthError
from net2net.ops import kinds, traits

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind: module for kind in kinds(lambda traits: traits.module) if (module := traits(kind).module)
}
"""Elementwise activations by operation, and the module that computes them by default."""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (*LAYERS, *NORMS, *ACTIVATIONS.values())
    if kind is not nn.PReLU  # its slopes would be values, and a block's data has none
}
"""What a block may be made of, besides ``Sequential``."""


def block_spec(part: nn.Module, where: str) -> dict[str, Any]:
    """A block as data: kinds and options, no values.

    Raises:
        DepthError: it holds something that is none of ``KINDS``, or is not in a row.
    """
    kind = type(part)
    if isinstance(part, nn.Sequential) and kind.forward is nn.Sequential.forward:
        # not named_children, which leaves out a module that stands there twice
        rows = {name: block_spec(one, where) for name, one in zip(part._modules, part, strict=True)}
        return {"kind": "Sequential", "parts": rows}
    if KINDS.get(kind.__name__) is not kind:
        raise DepthError(
            f"{where} holds a {kind.__name__}, and a new block is a Sequential (of Sequentials) of "
            f"{', '.join(kind.__name__ for kind in (*LAYERS, *NORMS))} and elementwise "
            "activations. Build it of these."
        )
    options = {name: getattr(part, name) for name in signature(kind).parameters
               if hasattr(part, name)}  # fmt: skip
    if "bias" in options:
        options["bias"] = options["bias"] is not None
    return {"kind": kind.__name__, "options": options}


def block_from_spec(data: dict[str, Any]) -> nn.Module:
    """The block that ``block_spec`` describes, with values of its own."""
    if data["kind"] != "Sequential":
        return KINDS[data["kind"]](**data["options"])
    block = nn.Sequential()
    for name, inner in data["parts"].items():
        block.add_module(name, block_from_spec(inner))
    return block
