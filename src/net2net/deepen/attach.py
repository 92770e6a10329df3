"""attach: a new block on top of any module, whatever its output is made of.

There may be no layer to imitate there (a concatenation, a sum), so the caller gives the block, and
what it has to be follows from what the module puts out: its width, and the values that the block's
activations have to leave as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from net2net.deepen.made import BlockBuilder
from net2net.errors import DepthError
from net2net.identity.blocks import ACTIVATIONS, LAYERS, NORMS, block_from_spec, block_spec
from net2net.identity.insertion import Insertion, new_block
from net2net.identity.ranges import values_of
from net2net.infer.inference import Inference
from net2net.trace.trace import Call, Trace

WORKING = (*LAYERS, *NORMS)
ELEMENTWISE = tuple(ACTIVATIONS.values())


def attached(
    found: Inference, calls: Sequence[tuple[Trace, Call]], count: int, block: BlockBuilder
) -> Insertion:
    """``count`` such blocks after the module that these calls are of.

    Raises:
        DepthError: the block does not fit there, or no weights make it an identity.
    """
    trace, call = calls[0]
    value = found.values[found.traces.index(trace)].get(call.outputs[0])
    axes = [p.axes[0] for p in (value.parts if value else ()) if len(p.axes) == 1]
    if not axes:
        raise DepthError(
            f"the output of '{call.path}' has no axis of hidden units, so no block fits it. "
            "Choose another module."
        )
    refused = []
    for axis in axes:
        try:
            insertion = _fitted(calls, axis, count, block)
        except DepthError as error:
            refused.append(error)
            continue
        _check_activations(found, calls, insertion)
        return insertion
    raise refused[0]


def _fitted(
    calls: Sequence[tuple[Trace, Call]], axis: int, count: int, block: BlockBuilder
) -> Insertion:
    """The insertion, if the block takes its features from this axis and keeps all shapes."""
    path = calls[0][1].path
    shapes = [trace.shapes[call.outputs[0]] for trace, call in calls]
    where, channels = f"the block for '{path}'", shapes[0][axis]
    try:
        with torch.device("meta"):
            made = block(channels)
    except Exception as error:
        raise DepthError(
            f"{where} cannot be built for {channels} channels: {type(error).__name__}: {error}. "
            "Give a function from a number of channels to a module."
        ) from error
    data = block_spec(made, where)
    norms = [name for name, part in made.named_modules() if isinstance(part, NORMS)]
    insertion = Insertion(path, {}, count, norms=norms, new=data)
    _check_axes(made, where, len(shapes[0]), axis)
    try:
        new = new_block(insertion, torch.float32).eval()
        for shape in shapes:
            new(torch.empty(shape, device="meta"))
    except (RuntimeError, ValueError) as error:
        raise DepthError(
            f"{where} cannot be an identity on its {channels} channels: {error}. Keep the number "
            "of channels and the size of the map in every layer; widen can grow them afterwards."
        ) from error
    return insertion


def _check_axes(made: nn.Module, where: str, ndim: int, axis: int) -> None:
    """Every layer and norm has to work along the axis of the channels."""
    parts = [(name, part) for name, part in made.named_modules() if isinstance(part, WORKING)]
    if not any(isinstance(part, LAYERS) for _, part in parts):
        raise DepthError(f"{where} has no linear or convolution layer. Give it one to train.")
    for name, part in parts:
        if isinstance(part, NORMS) and not part.track_running_stats:
            raise DepthError(
                f"{where} has at '{name}' a norm without running statistics, which nothing can "
                "undo. Let it track them, or leave it out."
            )
        # a convolution over n axes has its channels before them
        own = 1 if isinstance(part, NORMS) else ndim - 1 - LAYERS.index(type(part))
        if own != axis:
            raise DepthError(
                f"{where} has a {type(part).__name__} at '{name}', and the channels that it is "
                f"to keep are on axis {axis} of {ndim}. Build it of layers that work along that."
            )


def _check_activations(
    found: Inference, calls: Sequence[tuple[Trace, Call]], insertion: Insertion
) -> None:
    """As all before it are identities, an activation gets what the module puts out, and has to
    leave that as it is: for an idempotent one, what itself has put out (paper, section 2.4)."""
    for name, part in block_from_spec(insertion.new).eval().named_modules():
        if not isinstance(part, ELEMENTWISE):
            continue
        for trace, call in calls:
            node = found.graph_of(trace).node(call.outputs[0], call.end)
            for source, values in values_of(node):
                if not torch.equal(part(values.clone()), values):
                    raise DepthError(
                        f"the block for '{insertion.at}' has a {type(part).__name__} at '{name}', "
                        f"and what '{insertion.at}' puts out comes from {source}, which that may "
                        "change, so the block is no identity (paper, section 2.4). Leave it out, "
                        "or follow a module whose values it keeps, as ReLU does those of a ReLU."
                    )
