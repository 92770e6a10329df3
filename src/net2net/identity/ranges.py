"""ranges: which values a tensor of a trace can have, as far as an activation says.

Walking back from the tensor, over operations that only move, select or join values, leads to those
that computed them. What an activation puts out is sampled; of anything else, all values are
expected.
"""

from __future__ import annotations

import torch
from torch import Tensor

from net2net.ops import traits
from net2net.trace.graph import Node, nodes
from net2net.trace.trace import Op

ANY = torch.linspace(-20, 20, 4001, dtype=torch.float64)
"""Samples of all numbers."""


def scalars(op: Op) -> dict[str, float]:
    """The numbers among an operation's arguments."""
    return {
        name: float(value)
        for name, value in op.args.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def values_of(node: Node) -> list[tuple[str, Tensor]]:
    """What a tensor holds: which operations computed it, each with samples of the values that it
    puts out."""
    found: list[tuple[str, Tensor]] = []
    ahead, seen = [node], set()
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.producer is None:
            found.append(("something else", ANY))
        elif node.traits.moves:
            ahead += nodes(next(iter(node.args.values())))
        else:
            found.append(_image(node.producer))
    return found


def _image(op: Op) -> tuple[str, Tensor]:
    known = traits(op.kind)
    if not (known.module or known.idempotent) or len(op.inputs) > 1:
        return op.kind, ANY
    return op.kind, getattr(torch.ops.aten, op.kind)(ANY, **scalars(op))
