"""A graph of the model to grow, where the student of its class failed: a size is in its code."""

from __future__ import annotations

from torch import nn

from net2net.apply.exported_graph import Export, GraphModel, checksum, graph_of
from net2net.errors import GraphMismatchError, InputError, UnsupportedModelError
from net2net.infer.branches import input_decisions, places
from net2net.infer.inference import Inference
from net2net.trace.input_spec import spec_of
from net2net.trace.trace import Inputs
from net2net.widen.attempt import BY_NAME


def graph_instead(
    model: nn.Module, inputs: Inputs, error: GraphMismatchError, found: Inference
) -> tuple[GraphModel, Export, tuple[str, ...]]:
    """The graph, how to make it again, and what to say of it. ``found``: of the model, for a graph
    knows none of its lines.

    Raises:
        GraphMismatchError: ``error``, and why there is no graph.
    """
    decisions = input_decisions(found)
    where = f", which branches at {places(decisions)}" if decisions else ""
    try:
        shapes = spec_of(inputs)
        graph = graph_of(model, shapes)
    except (UnsupportedModelError, InputError) as reason:
        raise GraphMismatchError(
            f"{str(error).removesuffix(BY_NAME)} "
            f"A graph of the model{where} cannot be grown instead: {reason}",
            error.axes, error.module,
        ) from error  # fmt: skip
    kind = type(model).__name__
    stops = f" (a {kind} of these widths stops in '{error.module}')" if error.module else ""
    notes = [
        f"the student is a torch.fx.GraphModule, not a {kind}, for a size is written into the code "
        f"of {kind}{stops}"
    ]
    if decisions:
        notes.append(
            "the graph takes the branches that these inputs take, and stops on inputs that take "
            f"others: the code of {kind} branches on its input at {places(decisions)}"
        )
    if not graph.trains:
        notes.append(
            f"in training mode the code of {kind} does something else; the student does what it "
            "does in evaluation, apart from torch's own layers of one input"
        )
    return graph, Export(shapes, checksum(graph)), tuple(notes)
