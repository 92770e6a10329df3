"""What a model's code decides by its inputs, and what to say of it."""

from __future__ import annotations

from collections.abc import Sequence

from net2net.infer.inference import Inference
from net2net.infer.made_axes import is_made
from net2net.infer.values import Value
from net2net.trace.decisions import Decision


def input_decisions(found: Inference) -> list[Decision]:
    """The lines that branch on values of the inputs, or on sizes that those have: no width, no size
    of a parameter, no 1 that the code makes. The first of each line."""
    first: dict[tuple[str, int], Decision] = {}
    for trace, values in zip(found.traces, found.values, strict=True):
        graph = found.graph_of(trace)
        for one in () if trace.training else trace.decisions:
            sizes = [
                _is_given(values.get(tensor), axis) and not is_made(graph.node(tensor), axis)
                for tensor, axis in one.sizes
            ]
            if not sizes or any(sizes):
                first.setdefault((one.file, one.line), one)
    return list(first.values())


def _is_given(value: Value | None, axis: int) -> bool:
    """Whether this is the size of an axis along which the inputs lie (a tensor that no operation
    reads is one of them), rather than units or a parameter."""
    return value is None or (value.depends_on_input and value.part(axis) is None)


def places(decisions: Sequence[Decision], shown: int = 3) -> str:
    """The lines of code, with the modules that run there: ``net.py:12 ('mlp'), net.py:30``."""
    named = [f"{one.place} ('{one.path}')" if one.path else one.place for one in decisions]
    more = f" and {len(named) - shown} more" if len(named) > shown else ""
    return ", ".join(named[:shown]) + more


def branch_notes(found: Inference) -> tuple[str, ...]:
    """What a report says of them."""
    if not (decisions := input_decisions(found)):
        return ()
    return (
        f"holds for the branches that these inputs take: the code branches on values or sizes of "
        f"its input at {places(decisions)}; also=[…] takes in further inputs",
    )


def unread_note(found: Inference) -> tuple[str, ...]:
    """What a report says of parameters that stay, and of the arguments that may be why."""
    first = found.traces[0]
    tensors = {name: tensor for trace in found.traces for tensor, name in trace.names.items()}
    unread = [name for name in found.unused if first.shapes[tensors[name]]]
    if not unread:
        return ()
    out = [name for name in first.left_out if all(name in one.left_out for one in found.traces)]
    without = f" (forward ran without {', '.join(out[:4])})" if out else ""
    return (f"left as they are, for no operation read them: {', '.join(unread)}{without}",)
