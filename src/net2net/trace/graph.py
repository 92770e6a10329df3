"""graph: who produced what each tensor of a trace holds, and who uses it.

A tensor is memory, to which later operations may write, under its own name or through a view. So
its number alone does not say what is read. A ``Node`` is a tensor from one write to the next, as in
single assignment: of

    0  h = linear(x)
    1  v = view(h, [2, 3])
    2  relu_(h)
    3  y = mul(v, 2)

``graph.node(h, 1)`` is what ``linear`` produced and ``view`` and ``relu_`` use. ``relu_`` makes of
it ``graph.node(h, 3)``, and since ``v`` is the same memory, ``mul`` uses another node than ``view``
made: the view again, of the ``h`` of its time. What was written to through another name in part
(``v[0].zero_()`` leaves the rest of ``h``) is a node that no operation produced.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from net2net.ops import OpTraits, traits
from net2net.trace.needed import needed
from net2net.trace.trace import Op, Ref, Trace

GIVEN = -1
"""The position of what no operation made: parameters and inputs."""


@dataclass(eq=False)
class Node:
    """What a tensor holds from one operation on.

    Attributes:
        tensor: its number.
        position: the operation, by place in the trace, since which it holds this, or ``GIVEN``.
        producer: what computed it; None if it was given, or written to in part.
        users: the operations that read it, in order.
        returned: it is one of the model's outputs.
    """

    graph: Graph = field(repr=False)
    tensor: int
    position: int
    producer: Op | None
    users: list[Op] = field(default_factory=list)
    returned: bool = False
    read_at: int = field(default=0, repr=False)
    """How many operations had run when its operands were read."""

    @property
    def kind(self) -> str:
        """torch's name for what produced it, or ``""``."""
        return self.producer.kind if self.producer else ""

    @property
    def traits(self) -> OpTraits:
        """What holds for the operation that produced it."""
        return traits(self.kind)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.graph.trace.shapes[self.tensor]

    @property
    def name(self) -> str:
        """The parameter or buffer that it is, as long as nothing was written to it, or ``""``."""
        return self.graph.trace.names.get(self.tensor, "") if self.position == GIVEN else ""

    @cached_property
    def args(self) -> dict[str, Any]:
        """The arguments of its producer, with nodes in place of tensors."""
        given = self.producer.args if self.producer else {}
        return {name: self.graph.bound(item, self.read_at) for name, item in given.items()}

    @property
    def inputs(self) -> list[Node]:
        """All nodes among the arguments, in order."""
        return nodes(list(self.args.values()))


def nodes(item: Any) -> list[Node]:
    """All nodes in nested lists."""
    if isinstance(item, Node):
        return [item]
    return [node for x in item for node in nodes(x)] if isinstance(item, list) else []


class Graph:
    """The nodes of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._nodes: dict[tuple[int, int], Node] = {}
        self._inputs: dict[int, list[Node]] = {}
        self._born: dict[int, int] = {}
        """Tensor → position of the operation that made it."""
        self._writes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """Memory (by the tensor that is no view) → position and tensor of every write, in order."""
        self._positions = {id(op): position for position, op in enumerate(trace.ops)}
        for position, op in enumerate(trace.ops):
            given = {ref.id for ref in op.inputs}
            made = {ref.id for ref in op.outputs}
            written = made & given if _writes(op) else set()
            if made and made <= given and not written:
                continue  # it returns what it was given: `x.to(x.dtype)`
            for ref in op.inputs:
                self._use(self.node(ref.id, position), op)
            for tensor in made - given:
                self._born[tensor] = position
            for tensor in written:
                self._writes[self._root(tensor)].append((position, tensor))
        for tensor in trace.outputs.values():
            node = self.node(tensor)
            self._use(node, None)
            node.returned = True

    @cached_property
    def needed(self) -> set[int]:
        """The operations (by position) that matter."""
        return needed(self.trace)

    def node(self, tensor: int, end: int | None = None) -> Node:
        """What a tensor held once ``end`` operations had run (all, if it is not said)."""
        end = len(self.trace.ops) if end is None else end
        position, writer = self._last(tensor, end)
        key = (tensor, position)
        if key not in self._nodes:
            self._nodes[key] = self._made(tensor, position, writer)
        return self._nodes[key]

    def position(self, op: Op) -> int:
        """How many operations had run before it."""
        return self._positions[id(op)]

    def inputs(self, op: Op) -> list[Node]:
        """What an operation reads, in the order of its arguments."""
        position = self.position(op)
        if position not in self._inputs:
            self._inputs[position] = nodes(self.bound(list(op.args.values()), position))
        return self._inputs[position]

    def outputs(self, op: Op) -> list[Node]:
        """What an operation produces."""
        return [self.node(ref.id, self.position(op) + 1) for ref in op.outputs]

    def bound(self, item: Any, end: int) -> Any:
        """An argument with nodes in place of tensors, as they were once ``end`` operations had
        run."""
        if isinstance(item, Ref):
            return self.node(item.id, end)
        return [self.bound(x, end) for x in item] if isinstance(item, list) else item

    def _last(self, tensor: int, end: int) -> tuple[int, int]:
        """The last operation that changed what a tensor holds, and the tensor that it wrote to."""
        born = self._born.get(tensor, GIVEN)
        for position, written in reversed(self._writes.get(self._root(tensor), ())):
            if position <= born:
                break
            if position < end and not self._apart(tensor, written):
                return position, written
        return born, tensor

    def _made(self, tensor: int, position: int, written: int) -> Node:
        if position == GIVEN:
            return Node(self, tensor, position, None)
        if tensor == written:
            return Node(self, tensor, position, self.trace.ops[position], read_at=position)
        if written in self.trace.looked_into(tensor):  # it is the same view of what is new
            view = self.trace.ops[self._born[tensor]]
            return Node(self, tensor, position, view, read_at=position + 1)
        return Node(self, tensor, position, None)

    def _use(self, node: Node, user: Op | None) -> None:
        """Note who reads a node; and if it is a view again, that this reads what is new."""
        again = node.read_at > node.position and not node.users and not node.returned
        if user is not None and not any(op is user for op in node.users[-1:]):
            node.users.append(user)
        if again:
            for one in node.inputs:
                self._use(one, node.producer)

    def _root(self, tensor: int) -> int:
        while tensor in self.trace.bases:
            tensor = self.trace.bases[tensor]
        return tensor

    def _apart(self, a: int, b: int) -> bool:
        """Whether two views of one memory cannot overlap: one operation cut it into both, or into
        what they look into (``chunk``)."""
        ways = [[one, *self.trace.looked_into(one)][::-1] for one in (a, b)]
        first = next(((x, y) for x, y in zip(*ways, strict=False) if x != y), None)
        if first is None or not all(one in self._born for one in first):
            return False
        return self._born[first[0]] == self._born[first[1]]


def _writes(op: Op) -> bool:
    return op.name.endswith("_") or isinstance(op.args.get("out"), Ref)
