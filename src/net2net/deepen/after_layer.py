"""A layer like one of the model's: where it stands, behind which activation, with which norm."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from net2net.deepen.fits import Settings, check_fit, settings
from net2net.deepen.places import calls_of
from net2net.errors import DepthError
from net2net.identity.blocks import ACTIVATIONS
from net2net.identity.insertion import Function, Insertion
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
    model: nn.Module, found: Inference, path: str, count: int, kind: str
) -> tuple[Insertion, list[str]]:
    """The insertion of layers of a kind (of ``KINDS``), and what to say of it.

    Raises:
        DepthError: no such layer can return what it is given there.
    """
    calls = calls_of(model, found, path)
    places = {_follow(model, found.graph_of(trace), path, call) for trace, call in calls}
    if len(places) > 1:
        raise DepthError(
            f"'{path}' is called several times with different norms or activations behind it. "
            "Choose a layer that is called in one way."
        )
    at, norm, activation, skipped = places.pop()
    name, own, given = activation
    check_fit(path, model.get_submodule(path), kind, name, given)
    note: list[str] = []
    if kind in {"linear", "residual"}:
        norm = ""
    elif skipped:
        note = [f"after '{path}': without a {skipped}, whose statistics nothing can undo"]
    function: str | Function = own or ((name, dict(given)) if name else "")
    return (
        Insertion(
            at, {path: []}, count, kind=kind, norms=[norm] if norm else [],
            activation="" if kind == "linear" else function,
        ),
        note,
    )  # fmt: skip


Activation = tuple[str, str, Settings]
"""Operation, module path if a module of its own computes it, arguments."""


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
    return at, norm, (name, op.path if alone else "", settings(op)), skipped
