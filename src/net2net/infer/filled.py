"""Tensors that code fills piece by piece: ``out = zeros(…); out[:, t] = x``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from net2net.infer.units import NO_UNIT, UnitIds, distinct
from net2net.infer.values import Part, Value
from net2net.ops import traits
from net2net.trace.trace import Ref, Trace


def filled(trace: Trace) -> set[int]:
    """Tensors that code writes to through a view, and writes hidden values. What is made of inputs
    alone (masks) has no units."""
    found = set()
    hidden = set(trace.names)
    for op in trace.ops:
        known = traits(op.kind)
        values = [] if known.factory else op.inputs[: 1 if known.passes else None]
        if not hidden.intersection(ref.id for ref in values):
            continue
        hidden.update(ref.id for ref in op.outputs)
        target = next(iter(op.args.values()), None)
        if op.name.endswith("_") and isinstance(target, Ref):
            bases = trace.looked_into(target.id)
            hidden.update(bases)
            found.update(bases[-1:])
    return found


def told(base: Value, target: Value, source: Value, origins: UnitIds) -> Value:
    """The filled tensor, after a source was written to a view of it: its positions were units of
    their own, and those that got the same unit (a head, in each row of a batch that is folded into
    one axis with the heads) are the same.

    Args:
        origins: ``[units]``, what each was made from first.
    """
    new = origins.copy()
    for part in target.parts:
        axis = part.axes[0] + source.ndim - target.ndim
        beside = source.ids(axis) if axis >= 0 and len(part.axes) == 1 else None
        if beside is None or beside.shape != part.ids.shape:
            continue
        values, which = distinct(beside)
        known = beside != NO_UNIT
        first = np.full(len(values), NO_UNIT)
        was = origins[part.ids]
        first[which[::-1]] = was[::-1]
        new[was[known]] = first[which][known]
    parts = tuple(Part(part.axes, new[part.ids]) for part in base.parts)
    return replace(base, parts=parts)
