"""transfer: from a teacher into a larger student that the user built from its own configuration.

The student's added blocks are left out, and what remains is traced and matched with the teacher
(``pair.py``), as ``widen`` matches a model with its wider self. Added blocks then copy their
neighbours, and are made to return what they are given (``recipes.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import nn

from net2net.apply.fingerprint import fingerprint
from net2net.errors import TransferError
from net2net.finish import check, count_parameters
from net2net.growth import Growth, references
from net2net.maps.methods import Method, name_of, resolve_auto
from net2net.plan.calibrated import listed
from net2net.plan.plan import Plan
from net2net.plan.steepest import Loss
from net2net.report import Report
from net2net.stages import stage
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.transfer import told
from net2net.transfer.headed import base_of, headed
from net2net.transfer.longer import NewOutputs
from net2net.transfer.made import Maker
from net2net.transfer.pair import both_traced
from net2net.transfer.request import Request, check_request
from net2net.transfer.stacks import Depth
from net2net.transfer.upcycle import mixtures, upcycled


def transfer(
    teacher: nn.Module,
    student: nn.Module,
    inputs: Inputs,
    *,
    method: str | Method = "auto",
    depth: Depth = "spread",
    exact: bool = True,
    noise: float = 0.0,
    calibrate: Iterable[Inputs] | None = None,
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
            mixtures of experts in place of MLPs, each of which becomes a copy (``method`` and
            ``calibrate`` have no part in that). Its structure is used, not its
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
        calibrate: as for ``widen``: batches on which running means and variances of new units
            behind batch norms are measured.
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
    method = resolve_auto(method, copies=noise or not balanced)
    request = Request(
        method, depth, exact, noise, loss, seed, balanced, verify, outputs, new_outputs, also,
        None if calibrate is None else listed(calibrate),
    )  # fmt: skip
    check_request(request)
    return _grown(teacher, student, inputs, request)


def _grown(teacher: nn.Module, student: nn.Module, inputs: Inputs, request: Request) -> Growth:
    if path := base_of(teacher, student):
        inside = _grown(teacher, student.get_submodule(path), inputs, request)
        return _with_head(inside, teacher, student, path)
    if places := mixtures(teacher, student):
        return _upcycled(teacher, student, [inputs, *request.also], places, request)
    made = Maker(teacher, student, inputs, request).whole()
    report = Report(
        action=(
            f"transferred {type(teacher).__name__} into {type(student).__name__} by "
            f"{name_of(request.method)}"
        ),
        asked=f"a {type(student).__name__} that computes what the teacher does",
        rows=told.rows(made, request),
        stayed=(),
        parameters=(count_parameters(teacher), count_parameters(made.student)),
        bytes=made.plan.summary().bytes,
        flops=(flops(made.pair.teacher.traces[0]), flops(made.pair.whole)),
        parity=made.parity,
        warnings=told.warnings(made, request),
        notes=told.notes(made, request),
    )
    return Growth(made.student, made.plan, report, made.ends, references(teacher))


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
    request: Request,
) -> Growth:  # fmt: skip
    """A student that has experts in place of the teacher's MLPs, each a copy."""
    with stage("looked for how experts hold the teacher's layers"):
        found = upcycled(teacher, student, inputs[0], places, request.all_noise)
    plan = Plan(
        "transfer", "upcycle", request.seed, fingerprint(teacher), fingerprint(student),
        found.recipes, built=True,
    )  # fmt: skip
    with stage("made the student"):
        result = plan.apply(teacher, student=student)
    parity = None
    if request.verify:
        with stage("verified"):
            parity = check(teacher, result, inputs[0], must_match=False, also=inputs[1:])
        if request.must_match and not parity.exact:
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
