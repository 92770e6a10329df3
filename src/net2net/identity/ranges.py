"""ranges: which values a tensor of a trace can have, as far as an activation says.

Walking back from the tensor, over operations that only move, select or join values, leads to those
that computed them. What an activation puts out is sampled; of anything else, all values are
expected.
"""

from __future__ import annotations

import torch
from torch import Tensor

from net2net.identity.blocks import ACTIVATIONS
from net2net.trace.trace import Op, Trace, refs

MOVES = frozenset(
    """
    alias cat chunk clone concat concatenate contiguous detach dropout expand feature_dropout
    flatten flip index_select narrow permute pixel_shuffle repeat reshape roll select slice
    split split_with_sizes squeeze stack t transpose unbind unflatten unsqueeze view view_as
    _unsafe_view channel_shuffle max_pool1d max_pool2d max_pool3d max_pool1d_with_indices
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d amax amin upsample_nearest1d upsample_nearest2d upsample_nearest3d
    """.split()
)
"""Every element of their output is one of their first argument (in evaluation mode)."""

CLAMPS = ("clamp", "clamp_min", "clamp_max")

ANY = torch.linspace(-20, 20, 4001, dtype=torch.float64)
"""Samples of all numbers."""


def scalars(op: Op) -> dict[str, float]:
    """The numbers among an operation's arguments."""
    return {
        name: float(value)
        for name, value in op.args.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def values_of(trace: Trace, tensor: int, end: int) -> list[tuple[str, Tensor]]:
    """What a tensor held once ``end`` operations had run: which operations computed it, each with
    samples of the values that it puts out."""
    found: list[tuple[str, Tensor]] = []
    ahead, seen = [(tensor, end)], set()
    while ahead:
        tensor, end = ahead.pop()
        at = next((i for i in reversed(range(end)) if tensor in _made(trace.ops[i])), None)
        if at is None or _aliased(trace, tensor, trace.ops[at + 1 : end]):
            found.append(("something else", ANY))
        elif trace.ops[at].kind not in MOVES:
            found.append(_image(trace.ops[at]))
        elif (tensor, at) not in seen:
            seen.add((tensor, at))
            ahead += [(ref.id, at) for ref in refs(next(iter(trace.ops[at].args.values())))]
    return found


def _image(op: Op) -> tuple[str, Tensor]:
    name = op.kind
    if name not in (*ACTIVATIONS, *CLAMPS) or len(op.inputs) > 1:
        return name, ANY
    return name, getattr(torch.ops.aten, name)(ANY, **scalars(op))


def _made(op: Op) -> set[int]:
    return {ref.id for ref in op.outputs}


def _aliased(trace: Trace, tensor: int, ops: list[Op]) -> bool:
    """Whether one of these wrote to the tensor's memory under another name."""

    def root(number: int) -> int:
        while number in trace.bases:
            number = trace.bases[number]
        return number

    return any(
        op.name.endswith("_") and any(root(number) == root(tensor) for number in _made(op))
        for op in ops
    )
