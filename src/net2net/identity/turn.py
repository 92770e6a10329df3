"""What code around a stack does with one of its blocks.

Some blocks add nothing to what they are given, and the code that calls them does:

    for attend, feed in self.layers:
        x = attend(x) + x
        x = feed(x) + x

``layers.0`` is not called at all, and ``attend`` does not return its input. What has to be an
identity is the *turn* of the loop: from what goes into the first module of a block to what goes
into the first of the next one. The last block's turn is as many operations long as the one before.
"""

from __future__ import annotations

from net2net.trace.graph import Graph
from net2net.trace.trace import Call


def turn_of(graph: Graph, path: str) -> Call | None:
    """One turn, as a call of the block; None if there is none."""
    firsts = _firsts(graph, path.rpartition(".")[0])
    names = list(firsts)
    if path not in firsts or len(names) < 2:
        return None
    first, place = firsts[path], names.index(path)
    if place + 1 < len(names):
        after = firsts[names[place + 1]]
        return Call(path, first.begin, first.inputs, after.inputs, after.begin)
    before = firsts[names[place - 1]]
    return _like(graph, first, before, path)


def _firsts(graph: Graph, stack: str) -> dict[str, Call]:
    """Blocks → the first call in each, in the order in which they are run."""
    found: dict[str, Call] = {}
    for call in sorted(graph.trace.calls, key=lambda call: (call.begin, len(call.path))):
        inside = call.path.removeprefix(f"{stack}." if stack else "")
        if call.inputs and inside and (not stack or inside != call.path):
            block = inside.partition(".")[0]
            found.setdefault(f"{stack}.{block}" if stack else block, call)
    return found


def _like(graph: Graph, last: Call, before: Call, path: str) -> Call | None:
    """The last turn, whose end nothing marks: what was made in the same places in the one before
    went into this block."""
    outputs, end, ops = list[int](), last.begin, graph.trace.ops
    for given in last.inputs:
        made = graph.node(given, last.begin)
        place = last.begin + made.position - before.begin
        if made.producer is None or made.position < before.begin:
            outputs.append(given)  # it goes into all blocks
        elif place < len(ops) and ops[place].kind == made.kind:
            numbers = [ref.id for ref in made.producer.outputs]
            outputs.append(ops[place].outputs[numbers.index(made.tensor)].id)
            end = max(end, place + 1)
        else:
            return None
    return Call(path, last.begin, last.inputs, outputs, end)
