"""Stacks and layers in one call: the stacks first, whose code may count their blocks, then the
layers, in blocks that are new as well as in those that they copy."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from net2net.apply.extend_list import ExtendList
from net2net.deepen.layers import paths_of
from net2net.deepen.made import BlockBuilder, Depths, Made
from net2net.plan.lengthening import source_of


def in_longer(
    model: nn.Module, longer: Made, depths: Depths, kind: str
) -> dict[str, int | float | tuple[int, BlockBuilder]]:
    """What was asked for layers of the teacher, as paths of the student with longer stacks.

    Raises:
        UnknownModuleError, DepthError: a glob names nothing that can be followed.
    """
    edits = [edit for edit in longer.plan.edits if isinstance(edit, ExtendList)]
    origins = {path: source_of(path, edits) for path, _ in longer.student.named_modules()}
    found: dict[str, int | float | tuple[int, BlockBuilder]] = {}
    for glob, asked in depths.items():
        wanted = set(paths_of(model, glob, asked, kind))
        found |= {path: asked for path, origin in origins.items() if origin in wanted}
    return found


def together(longer: Made, deeper: Made) -> Made:
    """Both as one: what the second made of the student of the first."""
    return replace(
        deeper,
        plan=longer.plan.then(deeper.plan),
        rows=(*longer.rows, *deeper.rows),
        stayed=(*longer.stayed, *deeper.stayed),
        notes=(*longer.notes, *deeper.notes),
        places=longer.places,
        outputs=longer.outputs,
    )
