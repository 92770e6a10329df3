"""recorded: what one run of a model did, as plain data: operations, calls of modules, shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from net2net.ops import traits
from net2net.trace.decisions import Decision
from net2net.trace.traced_ints import TracedInt

Inputs = Tensor | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Ref:
    """A tensor of the trace, by number."""

    id: int


@dataclass(frozen=True)
class Op:
    """One operation: its name (``aten::conv2d``), its arguments by schema name, and what it
    returned (``Ref``s, maybe in lists)."""

    name: str
    args: dict[str, Any]
    result: Any
    path: str
    traced_ints: dict[tuple[str, int], TracedInt] = field(default_factory=dict)
    """Arguments made of attributes: argument and index in its list (−1: not in a list)."""
    traced_sizes: dict[tuple[str, int], TracedInt] = field(default_factory=dict)
    """Arguments made of nothing but sizes of tensors."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Arguments that are numbers to compute with, rather than sizes or axes: a scale, a power, a
    tensor of one number that no parameter has touched. Of operations that make nothing but such a
    tensor there are none: what reads it has it."""
    kept: dict[str, str] = field(default_factory=dict)
    """Those of these numbers that the module keeps, as no other: the attribute (an ε)."""
    fused: Op | None = None
    """What the code called, if it is written as several operations (``unfused.py``): of the last
    of these."""

    @cached_property
    def kind(self) -> str:
        """torch's name for what it computes, be it in place or not: ``relu``."""
        return self.name.removeprefix("aten::").rstrip("_")

    @cached_property
    def inputs(self) -> list[Ref]:
        """All tensors among the arguments, in order."""
        return refs(list(self.args.values()))

    @cached_property
    def outputs(self) -> list[Ref]:
        """All tensors among the outputs."""
        return refs(self.result)


@dataclass
class Call:
    """One call of a module: the tensors that went in and came out, and how many operations of the
    trace had run when it began and when it returned."""

    path: str
    begin: int = 0
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    end: int = 0


@dataclass(eq=False)
class Trace:
    """What one run on ``inputs`` did, in training mode or not. Tensors are numbers; ``shapes[i]``
    is the shape of tensor ``i``."""

    inputs: Inputs = ()
    training: bool = False

    ops: list[Op] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    """Parameters and buffers: number → name in the state dict."""
    constants: dict[int, list[int]] = field(default_factory=dict)
    """Short vectors of integers that no parameter has touched: number → values."""
    bases: dict[int, int] = field(default_factory=dict)
    """Views: number → number of the tensor that it looks into."""
    full_slices: list[tuple[int, int, TracedInt]] = field(default_factory=list)
    """Slices that take all of an axis: tensor, axis, and the traced integer that is its size."""
    outputs: dict[str, int] = field(default_factory=dict)
    """Tensors that the model returns: where in its output → number."""
    returned: dict[str, float] = field(default_factory=dict)
    """Numbers that it returns beside them: where in its output → value."""
    decisions: dict[Decision, None] = field(default_factory=dict)
    """Where the code branches on values or sizes of what it was given."""
    left_out: list[str] = field(default_factory=list)
    """Arguments of the model's ``forward`` that were left None."""
    multiples: dict[str, float] = field(default_factory=dict)
    """Of a student: buffers of one number → its number over the teacher's, if that is another."""

    @property
    def read_names(self) -> set[str]:
        """Parameters and buffers that some operation reads."""
        read = {ref.id for op in self.ops for ref in op.inputs}
        return {name for tensor, name in self.names.items() if tensor in read}

    @cached_property
    def ratios(self) -> dict[int, dict[str, float]]:
        """For operations (by position) that get such a buffer: the argument → that ratio."""
        holds = {
            t: self.multiples[name] for t, name in self.names.items() if name in self.multiples
        }
        found: dict[int, dict[str, float]] = {}
        for position, op in enumerate(self.ops) if holds else ():
            given = {
                name: holds[item.id]
                for name, item in op.args.items()
                if isinstance(item, Ref) and item.id in holds
            }
            if given and traits(op.kind).passes:
                holds |= {ref.id: ratio for ref in op.outputs for ratio in given.values()}
            elif given:
                found[position] = given
        return found

    def looked_into(self, tensor: int) -> list[int]:
        """What a view looks into, and what that looks into, and so on."""
        found = []
        while tensor in self.bases:
            tensor = self.bases[tensor]
            found.append(tensor)
        return found


def refs(item: Any) -> list[Ref]:
    """All tensors in nested lists."""
    if isinstance(item, Ref):
        return [item]
    if isinstance(item, list):
        return [ref for x in item for ref in refs(x)]
    return []
