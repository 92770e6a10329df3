"""A layer like one of the model's: where it stands, behind which activation, with which norm."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from net2net.deepen.places import calls_of
from net2net.errors import DepthError
from net2net.identity.blocks import ACTIVATIONS
from net2net.identity.insertion import Insertion
from net2net.identity.ranges import scalars
from net2net.infer.inference import Inference
from net2net.trace.graph import Graph, Node
from net2net.trace.trace import Call


def _next(node: Node) -> Node | None:
    """What the operation makes that alone consumes a tensor, or None. In place, it consumes all
    there was."""
    if len(node.users) != 1 or node.returned:
        return None
    return next(iter(node.graph.outputs(node.users[0])), None)


def after_layer(
    model: nn.Module, found: Inference, path: str, count: int
) -> tuple[Insertion, list[str]]:
    """The insertion, and what to say of it.

    Raises:
        DepthError: no layer of the same kind can be an identity there.
    """
    calls = calls_of(model, found, path)
    places = {_follow(model, found.graph_of(trace), path, call) for trace, call in calls}
    if len(places) > 1:
        raise DepthError(
            f"'{path}' is called several times with different norms or activations behind it. "
            "Choose a layer that is called in one way."
        )
    at, norm, activation, skipped = places.pop()
    layer = model.get_submodule(path)
    if getattr(layer, "groups", 1) > 1 and layer.in_channels != layer.out_channels:
        raise DepthError(
            f"'{path}' has {layer.groups} groups and changes its width, so a layer of the same "
            "kind cannot be an identity. Choose another layer."
        )
    _check_activation(path, activation)
    name = activation[0]
    kind: str | tuple[str, dict[str, float]] = ""
    if activation[1]:
        kind = activation[1]
    elif name:
        kind = (name, dict(activation[2]))
    note = (
        [f"after '{path}': without a {skipped}, whose statistics nothing can undo"]
        if skipped
        else []
    )
    return Insertion(at, {path: []}, count, activation=kind, norms=[norm] if norm else []), note


Activation = tuple[str, str, tuple[tuple[str, float], ...]]
"""Operation, module path if a module of its own computes it, scalar arguments."""


def _follow(
    model: nn.Module, graph: Graph, path: str, call: Call
) -> tuple[str, str, Activation, str]:
    """After a layer: where to insert, its batch norm, its activation, a norm left out."""
    at, norm, skipped = path, "", ""
    trace = graph.trace
    made = _next(graph.node(call.outputs[0], call.end))
    op = made.producer if made else None
    if made is not None and op is not None and made.traits.normalises:
        part = model.get_submodule(op.path)
        if list(part.children()):  # a functional norm: the new layer stands before it
            return at, norm, ("", "", ()), skipped
        if isinstance(part, _BatchNorm) and part.track_running_stats:
            norm = op.path
        else:
            skipped = type(part).__name__
        at = op.path
        made = _next(made)
        op = made.producer if made else None
    none: Activation = ("", "", ())
    if op is None or op.kind not in ACTIVATIONS:
        return at, norm, none, skipped
    name = op.kind
    part = model.get_submodule(op.path)
    alone = (  # a module that computes this and nothing more: it is copied as it is
        op.path != ""
        and not list(part.children())
        and not list(part.parameters())
        and sum(one.path == op.path for one in trace.ops)
        == sum(call.path == op.path for call in trace.calls)
    )
    return at, norm, (name, op.path if alone else "", tuple(scalars(op).items())), skipped


def _check_activation(path: str, activation: Activation) -> None:
    """Net2DeeperNet needs φ(φ(v)) = φ(v): tried on numbers, not looked up in a list."""
    name, _, numbers = activation
    if not name:
        return
    idempotent = False
    if name != "prelu":
        grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
        function = getattr(torch.ops.aten, name)
        once = function(grid, **dict(numbers))
        idempotent = bool(torch.equal(function(once, **dict(numbers)), once))
    if not idempotent:
        raise DepthError(
            f"'{path}' is followed by {name}, and {name}({name}(v)) is not {name}(v), so no "
            "identity layer with this activation exists (paper, section 2.4). Deepen after a layer "
            "that ReLU or no activation follows, or widen this one instead."
        )
