"""Biases that the student's layers have, and the teacher's have not: zero, they change nothing."""

from __future__ import annotations

from torch import nn

from net2net.plan.feasible import pattern
from net2net.recipe.fill import Constant
from net2net.transfer.difference import Difference


def without_gained(student: nn.Module, teacher: nn.Module) -> Difference:
    """Take biases, in place, from layers of the student that the teacher has without one, in every
    block alike."""
    theirs = dict(teacher.named_modules())
    alike = {(pattern(path), type(part)): part for path, part in theirs.items()}
    found = [
        (part, name, f"{path}.{name}" if path else name)
        for path, part in student.named_modules()
        for name, one in part._parameters.items()
        if name.endswith("bias")
        and one is not None
        and (like := theirs.get(path) or alike.get((pattern(path), type(part)))) is not None
        and like._parameters.get(name, one) is None
    ]
    for part, name, _ in found:
        part._parameters[name] = None
    fills = {name: Constant(0.0) for _, _, name in found}
    return Difference("biases that are new, and zero", fills=fills)
