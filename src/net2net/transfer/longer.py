"""Rows that the student has more: of tables that are looked up by number, and of outputs.

The units there are no copies of others: words, positions, classes. The student is brought together
with the teacher as if it had none of them, and then they are added behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from torch import Tensor, nn

from net2net.apply.attributes import edits, set_attributes
from net2net.apply.module import put_tensors
from net2net.errors import TransferError
from net2net.infer.inference import Inference
from net2net.infer.units import Axis, Role
from net2net.plan.outputs import OutputMaps
from net2net.recipe.axis_map import ABSENT, MIXED, NEW, AxisMap, Mixture
from net2net.report import Row
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Trace

NewOutputs = Literal["zero", "mean", "random"]
"""What new rows hold."""

Longer = dict[str, dict[int, tuple[int, int]]]
"""Tensors of the student → axes on which rows are new: the teacher's size, and the student's."""


def check_choice(new_outputs: object, outputs: str) -> None:
    """Raises:
    TransferError: there are no such rows.
    """
    if new_outputs is not None and new_outputs not in get_args(NewOutputs):
        raise TransferError(
            f"new_outputs is {new_outputs!r:.40}. Give one of "
            f"{', '.join(map(repr, get_args(NewOutputs)))}, or None for no new outputs."
        )
    if new_outputs is not None and outputs == "grow":
        raise TransferError(
            'outputs="grow" repeats outputs of the teacher, and new_outputs repeats none. '
            "Pass one of them."
        )


def longer_axes(
    teacher: Inference, student: Trace, names: Mapping[str, str], indices: Sequence[str], *,
    outputs: bool,
) -> Longer:  # fmt: skip
    """The axes of the student's tensors on which there are more rows than in the teacher's tables,
    and (``outputs``) among the rows that make what it returns.

    Args:
        names: the student's tensors → the teacher's.
        indices: buffers of the student that count positions.
    """
    first = teacher.traces[0]
    fixed = {axis for one in teacher.groups.values() if one.fixed for axis in one.places}
    tables = _tables(first) & fixed
    axes = tables | (set(_returned(teacher, tables)) if outputs else set())
    theirs = {name: first.shapes[tensor] for tensor, name in first.names.items()}
    found: Longer = {}
    for tensor, name in student.names.items():
        old, new = theirs.get(names.get(name, "")), student.shapes[tensor]
        for dim, (n, m) in enumerate(zip(old or (), new, strict=False)):
            if n < m and (name in indices or Axis(names[name], dim) in axes):
                found.setdefault(name, {})[dim] = (n, m)
    return found


def _tables(one: Trace) -> set[Axis]:
    """Axes along which rows are looked up, or of which code takes the first alone, as many as an
    input has."""
    names, found, others = dict(one.names), set[Axis](), set[Axis]()
    for op in one.ops:
        name = names.get(op.inputs[0].id) if op.inputs else None
        if name is not None and op.kind in {"embedding", "embedding_bag"}:
            found.add(Axis(name, 0))
        elif name is not None and op.kind == "slice":
            axis = Axis(name, op.args["dim"] % len(one.shapes[op.inputs[0].id]))
            (others if op.args["start"] else found).add(axis)
            names |= {made.id: name for made in op.outputs}
    return found - others


def _returned(teacher: Inference, tables: set[Axis]) -> Iterator[Axis]:
    """Axes of what the model returns, unless weights (not tables) read it too."""
    values, outputs = teacher.values[0], teacher.traces[0].outputs.values()
    parts = [part for tensor in outputs if tensor in values for part in values[tensor].parts]
    units = [part.ids.reshape(-1) for part in parts]
    ends = teacher.component[np.concatenate(units)] if units else np.zeros(0, dtype=np.int64)
    for group in teacher.groups.values():
        read = {axis for axis in group.places if teacher.role(axis) is Role.CONSUMES}
        if read <= tables and np.isin(group.components, ends).any():
            yield from group.places


def shorten(meta: nn.Module, longer: Longer) -> None:
    """Leave the first rows alone, in place, of a model without values."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in named_tensors(meta):
        if name in longer:
            for dim, (n, _) in longer[name].items():
                tensor = tensor.detach().narrow(dim, 0, n)
            tensors[name] = tensor.contiguous()
    put_smaller(meta, tensors)


def put_smaller(meta: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors of other sizes into a model, with the attributes that tell of these, in place."""
    changes = edits(meta, {name: tuple(one.shape) for name, one in tensors.items()}, ())
    put_tensors(meta, tensors)
    set_attributes(meta, changes)


def new_rows(axes: Mapping[int, tuple[int, int]], how: NewOutputs) -> list[AxisMap]:
    """The maps of axes with new rows behind the teacher's."""
    kind = {"zero": ABSENT, "mean": MIXED, "random": NEW}[how]
    found = []
    for dim, (n, m) in axes.items():
        every = np.arange(n)
        index = np.concatenate([every, np.full(m - n, kind)])
        mixtures = (Mixture(every),) if how == "mean" else ()
        found.append(AxisMap(dim, index, Role.PRODUCES, mixtures=mixtures))
    return found


def new_ends(
    teacher: Trace, student: Trace, longer: Longer, new_outputs: NewOutputs | None
) -> OutputMaps:
    """Where in the output positions are new.

    Raises:
        TransferError: some are, and it was not said what they hold.
    """
    sizes = {pair for axes in longer.values() for pair in axes.values()}
    found: dict[str, dict[int, Sequence[int]]] = {}
    for place, tensor in teacher.outputs.items():
        shape = student.shapes[student.outputs[place]] if place in student.outputs else ()
        for axis, (n, m) in enumerate(zip(teacher.shapes[tensor], shape, strict=False)):
            if (n, m) in sizes:
                found.setdefault(place, {})[axis] = [*range(n), *[NEW] * (m - n)]
                if new_outputs is None:
                    raise TransferError(
                        f"output{place} has {n} positions on axis {axis} in the teacher and {m} in "
                        'the student, which are new. Say what makes them: new_outputs="zero", '
                        '"mean" (of the others) or "random".'
                    )
    return found


def said(longer: Longer, ends: OutputMaps, how: NewOutputs) -> tuple[list[Row], list[str]]:
    """What a report says of new rows."""
    rows, notes = [], []
    for name, axes in longer.items():
        for dim, (n, m) in axes.items():
            rows.append(Row(f"{name}[{dim}]", n, m, f"new rows: {how}"))
    for place, maps in ends.items():
        for axis, index in maps.items():
            n = sum(one >= 0 for one in index)
            notes.append(
                f"output{place}: positions {n} to {len(index) - 1} of axis {axis} are new, and "
                "those before are the teacher's"
            )
    if longer and not ends:
        notes.append("new rows of tables are reached by numbers that the teacher does not know")
    return rows, notes
