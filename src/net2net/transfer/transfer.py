"""transfer: from a teacher into a larger student that the user built from its own configuration.

The student's added blocks are left out, and what remains is traced and matched with the teacher
(``pair.py``), as ``widen`` matches a model with its wider self. Added blocks then copy their
neighbours, and are made to return what they are given (``recipes.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from net2net.analysis import check_also
from net2net.apply.fingerprint import fingerprint
from net2net.errors import GraphMismatchError, TransferError, VerificationError
from net2net.finish import (
    check,
    count_parameters,
    has_even_copies,
    never_separate,
    returned_numbers,
)
from net2net.growth import Growth, references
from net2net.infer.branches import branch_notes
from net2net.infer.inference import Inference
from net2net.infer.units import Role
from net2net.maps.methods import Method, method_of, name_of
from net2net.plan.compensate import compensated
from net2net.plan.initial import initial, perturbed
from net2net.plan.match import Matched, match
from net2net.plan.outputs import OutputMaps, output_maps
from net2net.plan.plan import Plan
from net2net.plan.rescale import rescaled
from net2net.plan.steepest import Loss, check_loss, steepest
from net2net.report import Report, Row
from net2net.stages import stage
from net2net.trace.flops import flops
from net2net.trace.meta_copy import meta_copy
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.transfer.checks import other_numbers
from net2net.transfer.headed import base_of, headed
from net2net.transfer.longer import NewOutputs, check_choice, said
from net2net.transfer.pair import Pair, both_traced, paired
from net2net.transfer.recipes import recipes_for
from net2net.transfer.stacks import Depth, Stack
from net2net.transfer.upcycle import mixtures, upcycled
from net2net.transfer.weighed import weighed
from net2net.verify import Parity

COPIES = "experts: copies of all"
ALIKE = (
    "copies of an expert are alike, and stay so where nothing sets them apart: pass noise=0.01 or "
    "so, or train with noise in the router"
)


UNLIKE = (
    "Copies of experts may weigh otherwise than what they copy: let there be twice as many (or "
    "three times), and the router take as many times more. "
)


def transfer(
    teacher: nn.Module,
    student: nn.Module,
    inputs: Inputs,
    *,
    method: str | Method = "replicate",
    depth: Depth = "spread",
    exact: bool = True,
    noise: float = 0.0,
    loss: Loss | None = None,
    seed: int = 0,
    balanced: bool = True,
    verify: bool = True,
    outputs: str = "keep",
    new_outputs: NewOutputs | None = None,
    also: Sequence[Inputs] = (),
) -> Growth:
    """Give a larger model, built by its own code, the weights with which it computes what the
    teacher does.

    Args:
        teacher: the trained model; never changed.
        student: a model of more or wider blocks, or of more experts (copies of all, if its routers
            take as many times more of them), in any state; or one of the same sizes with
            mixtures of experts in place of MLPs, each of which becomes a copy (``method`` has no
            part in that). Its structure is used, not its
            weights (except in added blocks that are like no other, which the report names); it is
            not changed either, and may be on the ``meta`` device.
        inputs: what both run on: a tensor, a tuple (positional) or a dict (keywords).
        method: how new units are made, a name in ``net2net.METHODS`` or a ``net2net.Method``, as
            for ``widen``.
        depth: which blocks of a stack (a ``ModuleList`` or ``Sequential`` at the same place in
            both) are the teacher's: ``"spread"``, each added block behind the one it copies;
            ``"top"``, the teacher's first; ``"bottom"``, its first alone stays in front, and
            ``"middle"``, half of them; or a dict from blocks of the student to blocks of the
            teacher, or to None for added ones.
        exact: refuse what cannot be exact. ``False`` does the closest thing, and reports how far
            off that is (streams behind post-norms are padded as by ``widen(exact=False)``).
        noise: as for ``widen``: on all but the first copy of each unit, relative to the weights.
        loss: as for ``widen``, for ``method="gradmax"``.
        seed: of the random map, and of what is drawn.
        balanced: deal copies out evenly.
        verify: measure the difference.
        outputs: ``"keep"``, or ``"grow"`` as for ``widen``, where models end in features.
        new_outputs: what makes outputs that are new (classes, words), behind the teacher's:
            ``"zero"`` rows, the ``"mean"`` of the teacher's rows, or ``"random"`` ones like them.
            The teacher's own are verified; the report names the new ones. New rows of tables alone
            (positions, words of a model that puts out none) are random without it.
        also: further inputs, for code that branches on its input (the report says where): all that
            any of them reaches is matched, and the student is verified on each.

    Returns:
        A new model of the student's class. ``plan.apply(teacher, student=student)`` makes it again.

    Raises:
        UnsupportedModelError, InputError: a model cannot be traced.
        TransferError: the student cannot be exact; where, and what to do.
    """
    check_model(teacher)
    check_model(student)
    if type(seed) is not int:
        raise TransferError(f"seed is {seed!r}. Give an integer.")
    check_also(also)
    if type(noise) not in (int, float) or not 0 <= noise < math.inf:
        raise TransferError(f"noise is {noise!r}. Give 0 or a positive fraction.")
    way = method_of(method)
    check_loss(loss, way)
    if outputs not in {"keep", "grow"}:
        raise TransferError(f'outputs is {outputs!r}. Give "keep" or "grow".')
    check_choice(new_outputs, outputs)
    if path := base_of(teacher, student):
        inside = transfer(
            teacher, student.get_submodule(path), inputs, method=method, depth=depth, exact=exact,
            noise=noise, loss=loss, seed=seed, balanced=balanced, verify=verify, outputs=outputs,
            new_outputs=new_outputs, also=also,
        )  # fmt: skip
        return _with_head(inside, teacher, student, path)
    noise = noise or way.noise
    must_match = exact and way.exact and not noise
    if places := mixtures(teacher, student):
        return _upcycled(teacher, student, [inputs, *also], places, noise, seed, verify, must_match)
    with stage("traced and inferred both"):
        pair = paired(
            teacher, student, inputs, depth, exact=exact, grow_outputs=outputs == "grow", also=also,
            new_outputs=new_outputs,
        )  # fmt: skip
    with stage("matched their units"):
        found = _matched(pair, way, balanced, seed, strict=exact)
    maps = found.maps
    names = [name for name, _ in student.named_parameters()]
    recipes, notes = recipes_for(
        teacher, student, pair, maps, exact=exact, noise=noise, opposite=way.pair,
        initial=initial(meta_copy(student), names) if way.incoming == "initial" else {},
        new_rows=new_outputs or "random",
    )  # fmt: skip
    if way.perturbs:
        recipes = perturbed(recipes, meta_copy(student), way.shrink, way.perturb)
    if noise:
        notes.append(f"noise of {noise:g} breaks symmetry, so the function is kept only roughly")
    notes += [f"'{min(map(str, axes))}': {why}" for axes, why in found.taken]
    plan = Plan(
        "transfer",
        name_of(method),
        seed,
        fingerprint(teacher),
        fingerprint(student),
        recipes,
        built=True,
    )
    with stage("made the student"):
        result = plan.apply(teacher, student=student)
    if loss is not None:
        with stage("looked for the largest gradient"):
            ours = {key: name for name, (key, _) in pair.sources.items()}
            plan = steepest(plan, result, pair.student, loss, ours)
            result = plan.apply(teacher, student=student)
    ends = output_maps(pair.teacher, pair.student, maps) if outputs == "grow" else pair.ends
    parity = None
    if verify:
        if must_match and pair.has_more_experts:
            with stage("weighed experts"):
                plan, result, more = weighed(plan, result, teacher, student, pair, ends, inputs)
                notes += more
        with stage("verified"):
            parity = _measured(teacher, result, [inputs, *also], pair, ends, must_match, notes)
    even = must_match and has_even_copies(maps.values())
    longer, said_of_them = said(pair.longer, pair.ends, new_outputs or "random")
    rows = (
        *_depth_rows(pair.stacks), *_width_rows(pair.teacher, pair.student),
        *_expert_rows(student, pair), *longer,
    )  # fmt: skip
    alike = () if noise or not pair.has_more_experts else (ALIKE,)
    report = Report(
        action=(
            f"transferred {type(teacher).__name__} into {type(student).__name__} by "
            f"{name_of(method)}"
        ),
        asked=f"a {type(student).__name__} that computes what the teacher does",
        rows=rows,
        stayed=(),
        parameters=(count_parameters(teacher), count_parameters(result)),
        bytes=plan.summary().bytes,
        flops=(flops(pair.teacher.traces[0]), flops(pair.whole)),
        parity=parity,
        warnings=(*(never_separate(pair.teacher) if even else ()), *alike),
        notes=(
            *notes,
            *said_of_them,
            *branch_notes(pair.teacher),
            *returned_numbers(pair.teacher, pair.student),
        ),
    )
    return Growth(result, plan, report, ends, references(teacher))


def _with_head(inside: Growth, teacher: nn.Module, student: nn.Module, path: str) -> Growth:
    """The growth of all of the student, of which a part grew."""
    plan, note = headed(inside.plan, student, path)
    result = plan.apply(teacher, student=student)
    report = replace(
        inside.report,
        action=f"{inside.report.action}, in a {type(student).__name__}",
        asked=f"a {type(student).__name__} around what computes what the teacher does",
        parameters=(count_parameters(teacher), count_parameters(result)),
        bytes=plan.summary().bytes,
        notes=(*inside.report.notes, note),
    )
    return replace(inside, model=result, plan=plan, report=report)


def _upcycled(
    teacher: nn.Module, student: nn.Module, inputs: list[Inputs], places: Sequence[str],
    noise: float, seed: int, verify: bool, must_match: bool,
) -> Growth:  # fmt: skip
    """A student that has experts in place of the teacher's MLPs, each a copy."""
    with stage("looked for how experts hold the teacher's layers"):
        found = upcycled(teacher, student, inputs[0], places, noise)
    plan = Plan(
        "transfer", "upcycle", seed, fingerprint(teacher), fingerprint(student), found.recipes,
        built=True,
    )  # fmt: skip
    with stage("made the student"):
        result = plan.apply(teacher, student=student)
    parity = None
    if verify:
        with stage("verified"):
            parity = check(teacher, result, inputs[0], must_match=False, also=inputs[1:])
        if must_match and not parity.exact:
            raise TransferError(
                f"the student does not compute the teacher's function: {parity}. Build what lies "
                "around the experts as the teacher has it, or pass exact=False."
            )
    _, whole, before = both_traced(teacher, student, inputs[0])
    report = Report(
        action=f"upcycled {type(teacher).__name__} into {type(student).__name__}",
        asked=f"a {type(student).__name__} that computes what the teacher does",
        rows=(), stayed=(),
        parameters=(count_parameters(teacher), count_parameters(result)),
        bytes=plan.summary().bytes, flops=(flops(before), flops(whole)), parity=parity, warnings=(),
        notes=found.notes,
    )  # fmt: skip
    return Growth(result, plan, report, {}, references(teacher))


def _matched(pair: Pair, method: Method, balanced: bool, seed: int, *, strict: bool) -> Matched:
    """The maps of the axes that grow.

    Raises:
        TransferError: units have no counterpart, or a number of the student's code is another, and
            nothing makes up for it.
    """
    old, new = pair.teacher, pair.student
    try:
        found = match(
            old, new, method=method, balanced=balanced, seed=seed, strict=strict,
            closest=None if strict else "pads",
        )  # fmt: skip
        maps = rescaled(old, new, found.maps, strict=strict)
        if strict:
            maps, _ = compensated(old, new, maps, found.numbers)
        return replace(found, maps=maps)
    except GraphMismatchError as error:
        raise TransferError(
            f"{error} Or pass exact=False; or new_outputs, if they are outputs that are new."
        ) from error


def _measured(
    teacher: nn.Module, student: nn.Module, inputs: list[Inputs], pair: Pair,
    ends: OutputMaps, must_match: bool, notes: list[str],
) -> Parity | None:  # fmt: skip
    """The worst parity of all inputs."""
    try:
        parity = check(teacher, student, inputs[0], must_match=False, outputs=ends, also=inputs[1:])
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
            f"{UNLIKE if pair.has_more_experts else ''}"
            f"{other_numbers(pair.teacher.traces[0], pair.student.traces[0])}"
            "Remove the difference, or pass exact=False."
        )
    return parity


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
