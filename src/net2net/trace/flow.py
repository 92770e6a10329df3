"""Which operation made each tensor of a trace, and which read it."""

from __future__ import annotations

from collections import defaultdict

from net2net.trace.trace import Op, Trace

PASS = frozenset(
    "view reshape flatten unflatten slice select index index_select transpose permute squeeze "
    "unsqueeze expand alias clone detach to _to_copy type_as dropout".split()
)
"""What scales its first operand as that is scaled."""


class Flow:
    """The way of the tensors of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.producer: dict[int, Op] = {}
        self.users: dict[int, list[Op]] = defaultdict(list)
        for op in trace.ops:
            inputs = {ref.id for ref in op.inputs}
            outputs = {ref.id for ref in op.outputs}
            if outputs <= inputs and outputs and not op.name.endswith("_"):
                continue  # it returns what it was given: `x.to(x.dtype)`
            for tensor in inputs:
                self.users[tensor].append(op)
            self.producer.update(dict.fromkeys(outputs, op))
