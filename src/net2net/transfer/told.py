"""What the report of ``transfer`` tells: what is wider, deeper, or there more often, and what to
know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from net2net.finish import has_even_copies, never_separate, noise_note, returned_numbers
from net2net.infer.branches import branch_notes
from net2net.infer.inference import Inference
from net2net.infer.units import Role
from net2net.report import Row
from net2net.transfer.longer import said
from net2net.transfer.made import Made
from net2net.transfer.pair import Pair
from net2net.transfer.request import Request
from net2net.transfer.stacks import Stack

COPIES = "experts: copies of all"
ALIKE = (
    "copies of an expert are alike, and stay so where nothing sets them apart: pass noise=0.01 or "
    "so, or train with noise in the router"
)


def rows(made: Made, request: Request) -> tuple[Row, ...]:
    """What is larger."""
    pair = made.pair
    longer, _ = said(pair.longer, pair.ends, request.new_rows)
    return (
        *_depth_rows(pair.stacks), *_width_rows(pair.teacher, pair.student),
        *_expert_rows(made.student, pair), *longer,
    )  # fmt: skip


def warnings(made: Made, request: Request) -> tuple[str, ...]:
    """What keeps the student from learning more than the teacher."""
    even = request.must_match and has_even_copies(made.maps.values())
    alike = () if request.all_noise or not made.pair.has_more_experts else (ALIKE,)
    return (*(never_separate(made.pair.teacher) if even else ()), *alike)


def notes(made: Made, request: Request) -> tuple[str, ...]:
    """What to know of it."""
    pair = made.pair
    _, of_new_rows = said(pair.longer, pair.ends, request.new_rows)
    noise = request.all_noise
    of_noise = [noise_note(noise, made.plan, made.parity)] if noise else []
    return (
        *of_noise, *made.notes, *of_new_rows, *branch_notes(pair.teacher),
        *returned_numbers(pair.teacher, pair.student),
    )  # fmt: skip


def _expert_rows(student: nn.Module, pair: Pair) -> list[Row]:
    """One for every module that holds more experts."""
    rows: dict[str, Row] = {}
    for path, many in Counter(path.rpartition(".")[0] for path in pair.copies).items():
        size = len(student.get_submodule(path)._modules)
        rows[path] = Row(path, size - many, size, COPIES)
    for name, axes in pair.repeated.items():
        path = name.rpartition(".")[0] or name
        for old, new in axes.values():
            rows.setdefault(path, Row(path, old, new, COPIES))
    return list(rows.values())


def _depth_rows(stacks: Sequence[Stack]) -> list[Row]:
    rows = []
    for stack in stacks:
        added = ", ".join(f"{name} like {like}" for name, like in stack.added.items())
        rows.append(Row(stack.student, *stack.sizes, f"blocks; added: {added}" if added else ""))
    return rows


def _width_rows(teacher: Inference, student: Inference) -> list[Row]:
    rows: dict[str, Row] = {}
    for key, group in student.groups.items():
        origin = teacher.groups.get(key)
        made = [axis for axis in group.places if student.role(axis) == Role.PRODUCES]
        if origin is None or origin.size == group.size or not made:
            continue
        axis = made[0]
        name = axis.name.rpartition(".")[0]
        old, new = (one.size * one.places[axis] for one in (origin, group))
        rows.setdefault(name, Row(name, old, new))
    return list(rows.values())
