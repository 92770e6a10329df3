"""Choices of the best k units, as routers make among experts: how often units may be copied.

A choice among c copies of every unit takes all copies of those that it took before if it takes c
times as many: each gets 1/c of what a softmax over all gave the unit, and together what it gave.
Of as many as before, it would take copies of the best in place of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from net2net.errors import TransferError
from net2net.infer.inference import Group
from net2net.trace.trace import Op, Trace


@dataclass(frozen=True)
class Choice:
    """Units are chosen among in a module (``path``, ending in a dot, or empty): ``old`` of them in
    the teacher, ``new`` in the student."""

    path: str
    old: int
    new: int

    def is_among(self, origin: Group, group: Group) -> bool:
        """Whether a group of the student's, whose units are there by number, has the sizes and the
        place of these."""
        sizes = (origin.size, group.size) == (self.old, self.new)
        return sizes and all(axis.name.startswith(self.path) for axis in group.places)


def choices(teacher: Sequence[Trace], student: Sequence[Trace]) -> frozenset[Choice]:
    """Those of which the student has more units, each with copies of all.

    Raises:
        TransferError: copies of some would take the place of others.
    """
    return frozenset(
        choice
        for old, new in zip(teacher, student, strict=True)
        for choice in _choices(old, new)
    )  # fmt: skip


def _choices(old: Trace, new: Trace) -> Iterable[Choice]:
    used = {ref.id for op in new.ops for ref in op.inputs} | set(new.outputs.values())
    for a, b in zip(old.ops, new.ops, strict=False):
        if a.kind != "topk" or b.kind != "topk" or b.outputs[1].id not in used:
            continue  # of which only the values are used, chooses nothing
        (n, few), (q, many) = _sizes(old, a), _sizes(new, b)
        if q == n:
            continue
        if q % n or not (many * n == few * q or few == many == 1):
            whole = -(-q // n)
            raise TransferError(
                f"topk in '{b.path}' takes {few} of {n} in the teacher and {many} of {q} in the "
                "student. Copies of a unit (an expert) are taken together, so those of the best "
                f"would stand in the place of others. Let it take {few * whole} of {n * whole}, or "
                "pass exact=False."
            )
        path = b.path.rpartition(".")[0]
        yield Choice(f"{path}." if path else "", n, q)


def _sizes(trace: Trace, op: Op) -> tuple[int, int]:
    """Of how many, and how many are taken."""
    shape = trace.shapes[op.inputs[0].id]
    return shape[int(op.args.get("dim", -1))], int(op.args["k"])
