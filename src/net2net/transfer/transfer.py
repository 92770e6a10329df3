"""transfer: from a teacher into a larger student that the user built from its own configuration.

The student's added blocks are left out, and what remains is traced and matched with the teacher, as
``widen`` matches a model with its wider self. Added blocks then copy their neighbours, and are made
to return what they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from net2net.analysis import analyse
from net2net.errors import (
    GraphMismatchError,
    InputError,
    TransferError,
    VerificationError,
)
from net2net.finish import count_parameters
from net2net.growth import Growth
from net2net.identity.fills import Fills, TracedBlock
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.units import Axis, Norm, Role
from net2net.maps.methods import PRESERVING, method_named
from net2net.plan.match import AxisMap, match
from net2net.plan.plan import Maps
from net2net.plan.rescale import factors
from net2net.report import Report, Row
from net2net.trace.flops import flops
from net2net.trace.meta_copy import meta_copy, named_tensors
from net2net.trace.trace import Inputs, Trace, check_model, trace
from net2net.transfer.checks import (
    check_bundles,
    check_equal_copies,
    check_operations,
    larger_heads,
    other_numbers,
)
from net2net.transfer.plan import Source, TransferPlan
from net2net.transfer.stacks import Depth, Operations, Stack, align, cut, join
from net2net.verify import Parity
from net2net.verify import verify as measure


def transfer(
    teacher: nn.Module,
    student: nn.Module,
    inputs: Inputs,
    *,
    method: str = "replicate",
    depth: Depth = "spread",
    exact: bool = True,
    seed: int = 0,
    balanced: bool = True,
    verify: bool = True,
) -> Growth:
    """Give a larger model, built by its own code, the weights with which it computes what the
    teacher does.

    Args:
        teacher: the trained model; never changed.
        student: a model of more or wider blocks, in any state. Its structure is used, not its
            weights (except in added blocks that are like no other, which the report names); it is
            not changed either, and may be on the ``meta`` device.
        inputs: what both run on: a tensor, a tuple (positional) or a dict (keywords).
        method: ``"replicate"`` or ``"random_pad"``, as for ``widen``.
        depth: which blocks of a stack (a ``ModuleList`` or ``Sequential`` at the same place in
            both) are the teacher's: ``"spread"``, each added block behind the one it copies;
            ``"top"``, the teacher's first; or a dict from blocks of the student to blocks of the
            teacher, or to None for added ones.
        exact: refuse what cannot be exact. ``False`` does the closest thing, and reports how far
            off that is.
        seed: of the random map.
        balanced: deal copies out evenly.
        verify: measure the difference.

    Returns:
        A new model of the student's class. ``plan.apply(teacher, student)`` makes it again.

    Raises:
        UnsupportedModelError, InputError: a model cannot be traced.
        TransferError: the student cannot be exact; where, and what to do.
    """
    check_model(teacher)
    check_model(student)
    method_named(method)
    whole = _traced(_like(teacher, student), inputs, "student")
    ops_of = _operations(whole), _operations(_traced(meta_copy(teacher), inputs, "teacher"))
    stacks = align(student, teacher, depth, ops_of, exact=exact)
    apart, of_tied = _untied(teacher, student)
    old, of_teacher = _without(apart, [(s.teacher, [b for _, b in s.pairs], s) for s in stacks])
    new, of_student = _without(
        _like(teacher, student), [(s.student, [a for a, _ in s.pairs], s) for s in stacks]
    )
    known = analyse(old, inputs, on_unknown="fix")
    traces = _student_traces(new, inputs, len(known.traces))
    names = _same_names(known.traces, traces)
    for one in traces:
        order = {name: place for place, name in enumerate(known.traces[0].names.values())}
        renamed = {tensor: names[name] for tensor, name in one.names.items()}
        one.names = dict(sorted(renamed.items(), key=lambda item: order[item[1]]))
    if exact:
        check_operations(known.traces, traces)
    found = infer(traces, on_unknown="fix")
    known, found = larger_heads(known, found)
    if exact:
        check_bundles(known, found)
        check_equal_copies(known, found)
    maps, rescaled = _matched(known, found, method, balanced, seed, strict=exact)
    sources = {other: of_tied.get(name, name) for other, name in of_teacher.items()}
    back = {of_student[name]: (other, sources[other]) for name, other in names.items()}
    notes: list[str] = []
    plan = _plan(
        teacher, student, whole, stacks, maps, rescaled, back, known.units.norms, exact, notes
    )  # fmt: skip
    plan = replace(plan, method=method, seed=seed)
    result = plan.apply(teacher, student)
    must_match = exact and method in PRESERVING
    parity = (
        _measured(teacher, result, inputs, known.traces[0], traces[0], must_match, notes)
        if verify
        else None
    )
    report = Report(
        action=f"transferred {type(teacher).__name__} into {type(student).__name__} by {method}",
        rows=(*_depth_rows(stacks), *_width_rows(known, found)),
        parameters=(count_parameters(teacher), count_parameters(result)),
        flops=(flops(known.traces[0]), flops(whole)),
        parity=parity,
        notes=tuple(notes),
    )
    return Growth(result, plan, report)


# -- the part of the student that the teacher has --------------------------------------------------


def _without(
    model: nn.Module, kept: list[tuple[str, list[str], Stack]]
) -> tuple[nn.Module, dict[str, str]]:
    """A skeleton with the corresponding blocks alone, and its names → the model's."""
    meta = meta_copy(model)
    return meta, cut(meta, [(path, blocks, _names(stack)) for path, blocks, stack in kept])


def _untied(teacher: nn.Module, student: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """A skeleton of the teacher with parameters of their own where it has tied ones that the
    student has not; and the names of these → the teacher's parameter."""
    meta = meta_copy(teacher)
    first = {id(parameter): name for name, parameter in meta.named_parameters()}
    theirs = {name for name, _ in student.named_parameters()}
    found = {}
    for name, parameter in list(meta.named_parameters(remove_duplicate=False)):
        tied = first[id(parameter)]
        if name != tied and name in theirs and tied in theirs:
            path, _, own = name.rpartition(".")
            alone = nn.Parameter(torch.empty_like(parameter), parameter.requires_grad)
            setattr(meta.get_submodule(path), own, alone)
            found[name] = tied
    return meta, found


def _like(teacher: nn.Module, student: nn.Module) -> nn.Module:
    """A skeleton of the student in the teacher's type: code converts, or not, accordingly."""
    types = (p.dtype for p in teacher.parameters() if p.is_floating_point())
    return meta_copy(student).to(next(types, None))


def _traced(meta: nn.Module, inputs: Inputs, which: str) -> Trace:
    try:
        return trace(meta, inputs)
    except InputError as error:
        raise InputError(
            f"the {which}: {error} It runs without values here, so no code may branch on them.",
            error.module,
        ) from error


def _operations(whole: Trace) -> Operations:
    """What the module at a path does, as the names of its operations."""
    return lambda path: [
        op.name for op in whole.ops if op.path == path or op.path.startswith(f"{path}.")
    ]


def _names(stack: Stack) -> list[str]:
    """Names for corresponding blocks: what the teacher calls as many blocks."""
    blocks = [block for _, block in stack.pairs]
    digits = all(block.isdigit() for block in blocks)
    return [str(place) for place in range(len(blocks))] if digits else blocks


def _student_traces(meta: nn.Module, inputs: Inputs, count: int) -> list[Trace]:
    try:
        return [trace(meta, inputs, training=training) for training in (False, True)[:count]]
    except InputError as error:
        raise TransferError(
            f"the student does not run without its added blocks: {error.__cause__}. Check that it "
            "runs on these inputs, and that its forward takes as many blocks as the stack has."
        ) from error


def _same_names(teacher: list[Trace], student: list[Trace]) -> dict[str, str]:
    """The student's tensor names → the teacher's. Where names differ, the order of use says."""
    old, new = (set(one[0].names.values()) for one in (teacher, student))
    if old == new:
        return {name: name for name in new}
    first, second = _in_use(teacher[0]), _in_use(student[0])
    for a, b in zip(first, second, strict=False):
        if a[1:] != b[1:]:
            raise TransferError(
                f"the teacher's '{a[0]}' is read by {a[1]} and has {a[2]} axes, where the "
                f"student's '{b[0]}' is read by {b[1]} and has {b[2]}. "
                "Build the student from layers of the same kinds in the same order."
            )
    if len(first) != len(second) or len(new) != len(second) or len(old) != len(first):
        odd = sorted(old ^ new)[:4]
        raise TransferError(
            "teacher and student do not have the same parameters, added blocks apart: "
            f"{', '.join(odd)}, … are in one of them only. Build the student from layers of the "
            "same kinds, and pass inputs that reach all of them."
        )
    return {b[0]: a[0] for a, b in zip(first, second, strict=True)}


def _in_use(one: Trace) -> list[tuple[str, str, int]]:
    """Every parameter in order of first use: name, operation, number of axes."""
    found: dict[str, tuple[str, str, int]] = {}
    for op in one.ops:
        for ref in op.inputs:
            name = one.names.get(ref.id)
            if name is not None and name not in found:
                found[name] = (name, op.kind, len(one.shapes[ref.id]))
    unread = [n for t, n in one.names.items() if n not in found and not one.shapes[t]]
    counts = [(name, "nothing", 0) for name in unread]  # such as num_batches_tracked
    return [*found.values(), *counts]


def _matched(
    teacher: Inference, student: Inference, method: str, balanced: bool, seed: int, *, strict: bool
) -> tuple[dict[Axis, AxisMap], dict[Axis, list[float]]]:
    """The maps of axes, and what the rows that take shares are multiplied by."""
    try:
        maps = match(teacher, student, method=method, balanced=balanced, seed=seed, strict=strict)
        indices = {axis: one.index for axis, one in maps.items()}
        return maps, factors(teacher, student, indices, strict=strict)
    except GraphMismatchError as error:
        raise TransferError(f"{error} Or pass exact=False.") from error


def _measured(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, old: Trace, new: Trace,
    must_match: bool, notes: list[str],
) -> Parity | None:  # fmt: skip
    try:
        parity = measure(teacher, student, inputs)
    except VerificationError as error:
        if must_match:
            raise TransferError(
                f"the student's outputs cannot be the teacher's: {error} "
                "(Caches of attention count as outputs: turn them off.)"
            ) from error
        notes.append(f"not measured: {error}")
        return None
    if must_match and not parity.exact:
        raise TransferError(
            f"the student does not compute the teacher's function: {parity}. "
            f"{other_numbers(old, new)}Remove the difference, or pass exact=False."
        )
    return parity


# -- added blocks, and the plan --------------------------------------------------------------------


def _plan(
    teacher: nn.Module, student: nn.Module, whole: Trace, stacks: list[Stack],
    maps: Mapping[Axis, AxisMap], rescaled: Mapping[Axis, list[float]],
    back: Mapping[str, tuple[str, str]], norms: Iterable[Norm], exact: bool, notes: list[str],
) -> TransferPlan:  # fmt: skip
    """``back``: the student's tensors → the name that maps and norms use, and the teacher's name.
    ``whole``: what the student does."""
    table = Maps()
    by_name: dict[str, dict[int, AxisMap]] = {}
    for axis, one in maps.items():
        by_name.setdefault(axis.name, {})[axis.dim] = one
    old = {name: tuple(tensor.shape) for name, tensor in named_tensors(teacher)}
    new = dict(named_tensors(student))
    sources: dict[str, Source] = {}
    for name, (key, source) in back.items():
        index = not new[name].is_floating_point() and not isinstance(new[name], nn.Parameter)
        if index and new[name].ndim:
            continue  # positions and masks that the student's own code made
        here = by_name.get(key, {})
        shape = tuple(len(here[d].index) if d in here else n for d, n in enumerate(old[source]))
        if shape != tuple(new[name].shape):
            raise TransferError(
                f"'{name}' is {tuple(new[name].shape)} in the student, and the teacher's weights "
                f"make {shape}. Give it the teacher's shape."
            )
        by = tuple((axis.dim, by) for axis, by in rescaled.items() if axis.name == key)
        sources[name] = Source(source, table.step(here).axes, factors=by)
    ours = {key: name for name, (key, _) in back.items()}
    followed = {
        ours[norm.scale]: replace(norm, scale=ours[norm.scale], direction=ours[norm.direction])
        for norm in norms
    }
    for stack in stacks:
        for name, like in stack.added.items():
            path = join(stack.student, name)
            copy_of = None if like is None else join(stack.student, like)
            _add(path, copy_of, whole, new, sources, exact, notes)
            followed |= _followed_alike(path, copy_of, followed)
    shapes = {name: list(tensor.shape) for name, tensor in new.items()}
    teachers = {name: list(shape) for name, shape in old.items()}
    grown = [norm for norm in followed.values() if sources[norm.direction].axes]
    return TransferPlan(teachers, shapes, "replicate", 0, table.table, sources, grown)


def _followed_alike(path: str, like: str | None, followed: Mapping[str, Norm]) -> dict[str, Norm]:
    """The norms of an added block, as of the block that it copies."""
    return {
        f"{path}{scale.removeprefix(like)}": replace(
            norm,
            scale=f"{path}{scale.removeprefix(like)}",
            direction=f"{path}{norm.direction.removeprefix(like)}",
        )
        for scale, norm in followed.items()
        if like is not None and scale.startswith(f"{like}.")
    }


def _add(
    path: str, like: str | None, whole: Trace, new: Mapping[str, Any], sources: dict[str, Source],
    exact: bool, notes: list[str],
) -> None:  # fmt: skip
    """Sources for an added block: its neighbour's, and what makes it an identity."""
    fills = _identity(path, whole, exact, notes)
    own: list[str] = []
    for name in [name for name in new if name.startswith(f"{path}.")]:
        copied = sources.get(f"{like}{name.removeprefix(path)}") if like else None
        if copied is not None:
            sources[name] = replace(copied, fill=fills.get(name, copied.fill))
        elif name in fills:
            sources[name] = Source("", fill=fills[name])
        elif new[name].is_floating_point() and new[name].is_meta:
            raise TransferError(
                f"the added block '{path}' is like no block that the teacher has, and '{name}' is "
                "on meta, without values to start from. Build the student on a real device."
            )
        elif new[name].is_floating_point():
            own.append(name)
    if own:
        notes.append(
            f"added block '{path}' is like no other: it starts from the student's own values "
            f"({len(own)} tensors), so the plan's bits depend on them"
        )


def _identity(path: str, whole: Trace, exact: bool, notes: list[str]) -> Fills:
    block = TracedBlock(whole, path)
    fills = block.fills()
    if fills is not None:
        return fills
    why = "one of its branches does not end in weights of its own"
    if block.blocker:
        why = f"{block.blocker} stands between its input and its output"
    if exact:
        raise TransferError(
            f"the added block '{path}' cannot be an identity: {why} "
            "(a post-norm block, or an activation that is not idempotent). "
            "Keep the teacher's depth there, or pass exact=False."
        )
    notes.append(f"added block '{path}' is no exact identity: {why}")
    return TracedBlock(whole, path, lenient=True).fills() or {}


# -- for people ------------------------------------------------------------------------------------


def _depth_rows(stacks: list[Stack]) -> list[Row]:
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
