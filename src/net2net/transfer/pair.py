"""Teacher and student side by side: the part of the student that the teacher has, traced and
inferred, and which of its tensors is which of the teacher's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from net2net.analysis import analyse
from net2net.apply.config_numbers import numbers_in_buffers
from net2net.errors import InputError, TransferError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.shown_once import shown_alike
from net2net.plan.choices import check_choices, choices
from net2net.plan.outputs import OutputMaps
from net2net.plan.value_proxy import built_proxy, with_values
from net2net.trace.meta_copy import meta_copy, named_tensors
from net2net.trace.needed import reached
from net2net.trace.trace import Inputs, Trace, trace
from net2net.transfer.beside import NOTHING, Beside, beside, leave_out
from net2net.transfer.checks import (
    check_bundles,
    check_operations,
    grown_inside,
)
from net2net.transfer.difference import Difference
from net2net.transfer.experts import more_experts, with_fewer, without_copies
from net2net.transfer.gained import without_gained
from net2net.transfer.groups import larger_groups
from net2net.transfer.kernels import larger_kernels
from net2net.transfer.longer import Longer, NewOutputs, longer_axes, new_ends, shorten
from net2net.transfer.stacks import Depth, Operations, Stack, align, cut, join

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models whose parameters correspond, added blocks apart.

    Attributes:
        teacher, student: what is known of each, without the blocks that only one has.
        whole: what all of the student does.
        stacks: those that differ, with the blocks that the student has more.
        sources: the student's tensor → the name that both inferences use, and the teacher's tensor.
        unread: tensors of the student that nothing reads, and that are of another size than the
            teacher's of that name.
        repeated: tensors of the student → axes on which it has copies of all of the teacher's
            experts.
        copies: modules of the student that are experts → the expert that each copies.
        own: buffers of the student with another number than the teacher's, which its class makes
            of its sizes.
        longer: tensors of the student with rows that the teacher's have not, and that are not in
            the inferences.
        differences: what else the student has otherwise.
        ends: where in the student's output positions are new.
        beside: what added blocks put beside the rest.
    """

    teacher: Inference
    student: Inference
    whole: Trace
    stacks: list[Stack]
    sources: dict[str, tuple[str, str]]
    unread: list[str]
    repeated: Longer
    copies: dict[str, str]
    own: set[str]
    longer: Longer
    differences: tuple[Difference, ...]
    ends: OutputMaps
    beside: Beside

    @property
    def has_more_experts(self) -> bool:
        """Whether the student's experts are copies of the teacher's."""
        return bool(self.repeated or self.copies)


def paired(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, depth: Depth, *, exact: bool,
    grow_outputs: bool = False, also: Sequence[Inputs] = (),
    new_outputs: NewOutputs | None = None,
) -> Pair:  # fmt: skip
    """Bring the models together.

    Raises:
        InputError: one of them cannot be traced.
        TransferError: they do not correspond, or (``exact``) cannot compute the same.
    """
    make, whole, other = both_traced(teacher, student, inputs)
    ops_of = _operations(whole), _operations(other)
    chosen = choices(other, whole)
    if exact:
        check_choices(chosen)
    bare = _like(teacher, student, make)
    gained = without_gained(bare, teacher)
    experts = more_experts(bare, teacher, chosen)
    copies = without_copies(bare, experts)
    stacks = align(bare, teacher, depth, ops_of, exact=exact)
    apart, of_tied = _untied(make(teacher), student)
    old, of_teacher = _without(apart, [(s.teacher, [b for _, b in s.pairs], s) for s in stacks])
    new, of_student = _without(bare, [(s.student, [a for a, _ in s.pairs], s) for s in stacks])
    known = analyse(old, inputs, on_unknown="fix", grow_outputs=grow_outputs, also=also)
    repeated = with_fewer(new, old, known, whole, experts) if experts else {}
    if known.traced_with_values:
        new = built_proxy(new, old, known)
    added = [join(stack.student, block) for stack in stacks for block in stack.added]
    traces, aside = _without_added(new, known.traces, whole, added, of_student)
    names = _same_names(known.traces, traces)
    indices = [name for name, one in new.named_buffers() if not one.is_floating_point()]
    longer = longer_axes(known, traces[0], names, indices, outputs=new_outputs is not None)
    ends = new_ends(known.traces[0], traces[0], longer, new_outputs)
    if longer:
        shorten(new, longer)
        tables = ", ".join(f"'{of_student[name]}'" for name in longer)
        traces = _student_traces(new, known.traces, f"with as many rows as the teacher in {tables}")
    kernels = larger_kernels(known.traces[0], traces, names)
    groups = larger_groups(known.traces[0], traces, names)
    unread = _unread(known, traces, names)
    all_names, names = names, {name: o for name, o in names.items() if name not in unread}
    _rename(traces, names, known.traces[0])
    named = {of_student[name]: (other, of_teacher[other]) for name, other in names.items()}
    ratios, own = _made_anew(teacher, student, named)
    for one in traces:
        one.multiples = ratios
    known = _without_names(known, {all_names[name] for name in unread}, grow_outputs=grow_outputs)
    known, found = _both_inferred(known, traces, exact=exact, grow_outputs=grow_outputs)
    sources = {other: of_tied.get(name, name) for other, name in of_teacher.items()}
    back = {of_student[name]: (other, sources[other]) for name, other in names.items()}
    return Pair(
        known, found, whole, stacks, back, [of_student[name] for name in unread],
        {of_student[name]: axes for name, axes in repeated.items()}, copies, own,
        {of_student[name]: axes for name, axes in longer.items()},
        (kernels.named(of_student), groups.named(of_student), gained), ends, aside,
    )  # fmt: skip


def _rename(traces: Sequence[Trace], names: Mapping[str, str], teacher: Trace) -> None:
    """Let the student's traces call tensors what the teacher's does, in its order, in place."""
    order = {name: place for place, name in enumerate(teacher.names.values())}
    for one in traces:
        renamed = {tensor: names[name] for tensor, name in one.names.items() if name in names}
        one.names = dict(sorted(renamed.items(), key=lambda item: order[item[1]]))


def _both_inferred(
    teacher: Inference, student: list[Trace], *, exact: bool, grow_outputs: bool
) -> tuple[Inference, Inference]:
    """What is known of both, with heads that grow inside.

    Raises:
        TransferError: (``exact``) they do not do the same, or heads grow in two ways at once.
    """
    theirs, student = shown_alike(teacher.traces, student)
    if exact:
        check_operations(theirs, student)
    if theirs != teacher.traces:
        teacher = _again(teacher, theirs, grow_outputs=grow_outputs)
    found = infer(student, on_unknown="fix", grow_outputs=grow_outputs)
    teacher, found = grown_inside(teacher, found, grow_outputs=grow_outputs)
    if exact:
        check_bundles(teacher, found)
    return teacher, found


def _without_names(known: Inference, names: set[str], *, grow_outputs: bool) -> Inference:
    """Without these tensors, of which the student's are others."""
    if all(names.isdisjoint(one.read_names) for one in known.traces):
        return known
    traces = [
        replace(one, names={t: name for t, name in one.names.items() if name not in names})
        for one in known.traces
    ]
    return _again(known, traces, grow_outputs=grow_outputs)


def _again(known: Inference, traces: list[Trace], *, grow_outputs: bool) -> Inference:
    found = infer(traces, on_unknown="fix", grow_outputs=grow_outputs)
    return replace(found, traced_with_values=known.traced_with_values)


Copier = Callable[[nn.Module], nn.Module]
"""``meta_copy`` or ``with_values``."""


def both_traced(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, make: Copier = meta_copy
) -> tuple[Copier, Trace, Trace]:
    """What both are run as (without their values, unless their code branches on these), and what
    student and teacher do."""
    try:
        whole = _traced(_like(teacher, student, make), inputs, "student")
        return make, whole, _traced(make(teacher), inputs, "teacher")
    except InputError as error:
        tensors = [one for model in (teacher, student) for _, one in named_tensors(model)]
        if make is with_values or any(tensor.is_meta for tensor in tensors):
            raise
        log.info("traced with values, for without them: %s", error)
        return both_traced(teacher, student, inputs, with_values)


def _without(
    model: nn.Module, kept: list[tuple[str, list[str], Stack]]
) -> tuple[nn.Module, dict[str, str]]:
    """A copy of its own with the corresponding blocks alone, in place, and its names → those
    before."""
    return model, cut(model, [(path, blocks, _names(stack)) for path, blocks, stack in kept])


def _made_anew(
    teacher: nn.Module, student: nn.Module, named: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, float], set[str]]:
    """Numbers in buffers that are others in the student: by the names of both inferences how much
    larger, and the student's names.

    Args:
        named: the student's name → that in both inferences, and the teacher's.
    """
    ours, theirs = numbers_in_buffers(student), numbers_in_buffers(teacher)
    found = {
        name: (named[name][0], number / theirs[named[name][1]])
        for name, number in ours.items()
        if name in named and theirs.get(named[name][1], 0.0) not in {0.0, number}
    }
    return dict(found.values()), set(found)


def _untied(own: nn.Module, student: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """A copy of the teacher, in place, with parameters of their own where it has tied ones that the
    student has not; and the names of these → the teacher's parameter."""
    first = {id(parameter): name for name, parameter in own.named_parameters()}
    theirs = {name for name, _ in student.named_parameters()}
    found = {}
    for name, parameter in list(own.named_parameters(remove_duplicate=False)):
        tied = first[id(parameter)]
        if name != tied and name in theirs and tied in theirs:
            path, _, last = name.rpartition(".")
            alone = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
            setattr(own.get_submodule(path), last, alone)
            found[name] = tied
    return own, found


def _like(teacher: nn.Module, student: nn.Module, make: Copier) -> nn.Module:
    """A copy of the student in the teacher's type: code converts, or not, accordingly."""
    types = (p.dtype for p in teacher.parameters() if p.is_floating_point())
    return make(student).to(next(types, None))


def _traced(meta: nn.Module, inputs: Inputs, which: str) -> Trace:
    try:
        return trace(meta, inputs)
    except InputError as error:
        raise InputError(
            f"the {which}: {error} Where code branches on hidden values, neither may be on meta.",
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


def _student_traces(
    meta: nn.Module, teacher: list[Trace], how: str = "without its added blocks"
) -> list[Trace]:
    try:
        return [trace(meta, one.inputs, training=one.training) for one in teacher]
    except InputError as error:
        raise TransferError(
            f"the student does not run {how}: {error.__cause__}. Check that it runs on these "
            "inputs, that its forward takes as many blocks as the stack has, and that its windows "
            "and pictures have the teacher's sizes."
        ) from error


def _without_added(
    meta: nn.Module, teacher: list[Trace], whole: Trace, added: list[str],
    before: Mapping[str, str],
) -> tuple[list[Trace], Beside]:  # fmt: skip
    """What the student does without its added blocks, and without what they put beside the rest, if
    it does not run with that."""
    try:
        return _student_traces(meta, teacher), NOTHING
    except TransferError:
        found = beside(whole, added)
        leave_out(meta, found, before)
        return _student_traces(meta, teacher), found


def _same_names(teacher: list[Trace], student: list[Trace]) -> dict[str, str]:
    """The student's tensor names → the teacher's. Where names differ, the order of use says."""
    old, new = (set(one[0].names.values()) for one in (teacher, student))
    if old == new:
        return {name: name for name in new}
    first, second = _in_use(teacher[0]), _in_use(student[0])
    uneven = len(first) != len(second) or len(new) != len(second) or len(old) != len(first)
    by_order = not uneven or not old & new  # of other names, the first layer that differs says more
    for a, b in zip(first, second, strict=False) if by_order else ():
        if a[1:] != b[1:]:
            raise TransferError(
                f"the teacher's '{a[0]}' is read by {a[1]} and has {a[2]} axes, where the "
                f"student's '{b[0]}' is read by {b[1]} and has {b[2]}. "
                "Build the student from layers of the same kinds in the same order."
            )
    if uneven:
        odd = sorted(old ^ new)[:4]
        raise TransferError(
            "teacher and student do not have the same parameters, added blocks apart: "
            f"{', '.join(odd)}, … are in one of them only. Build the student from layers of the "
            "same kinds, deeper in a ModuleList or Sequential alone, and pass inputs that reach "
            "all of them."
        )
    return {b[0]: a[0] for a, b in zip(first, second, strict=True)}


def _unread(teacher: Inference, student: list[Trace], names: dict[str, str]) -> list[str]:
    """Tensors of the student on which no output depends, of another size than the teacher's."""
    read = set[int]().union(*map(reached, student))
    used = {
        one.names[tensor] for one in teacher.traces for tensor in reached(one) & one.names.keys()
    }
    first = teacher.traces[0]
    sizes = {name: first.shapes[tensor] for tensor, name in first.names.items()}
    return [
        name
        for tensor, name in student[0].names.items()
        if tensor not in read
        and names[name] not in used
        and student[0].shapes[tensor] != sizes[names[name]]
    ]


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
