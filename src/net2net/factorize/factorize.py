"""factorize: a layer becomes two in a row, W = W₂ · W₁.

The paper's identity layer is the special case in which one of them is the layer itself; it names
the general form as a direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from net2net.analysis import analyse, check_also, traced
from net2net.apply.fingerprint import fingerprint
from net2net.errors import DepthError, InputError
from net2net.factorize.layers import Split, splits
from net2net.finish import check, check_memory, count_parameters
from net2net.growth import Growth, references
from net2net.infer.branches import branch_notes
from net2net.plan.factoring import factoring
from net2net.plan.plan import Plan
from net2net.report import Report, Row
from net2net.stages import stage
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs, Trace


def factorize(
    model: nn.Module,
    widths: Mapping[str, int],
    inputs: Inputs,
    *,
    exact: bool = True,
    activation: str | None = None,
    seed: int = 0,
    verify: bool = True,
    also: Sequence[Inputs] = (),
) -> Growth:
    """Layers become two each, whose product they are: W = W₂ · W₁, by the singular value
    decomposition, balanced (each gets the roots of the singular values).

        net2net.factorize(model, {"head.fc": 512}, inputs)

    A linear layer becomes two; a convolution one of its kernel, stride and padding, and one of a
    kernel of 1 behind it, in the layer's groups. The first has no bias, the second the layer's.
    They stand in a ``Sequential``: ``head.fc.0`` and ``head.fc.1``.

    Args:
        model: the teacher; never changed.
        widths: globs over module paths → how many inner units stand between the two. Units beyond
            the rank of the layer are as those of ``method="fresh"``: made at random, and read by
            nobody yet.
        inputs: what the model runs on: a tensor, a tuple (positional) or a dict (keywords).
        exact: refuse fewer inner units than the rank (of the weight in its own type: a singular
            value that its rounding explains counts for nothing). ``False`` keeps the largest
            singular values, and reports what is left out of each layer, and the difference that
            makes.
        activation: an operation that stands between the two (``"relu"``, ``"gelu"``, ``"silu"``),
            one for which φ(v) − φ(−v) is a multiple of v. Each singular value then takes two inner
            units, v and −v.
        seed: of what is drawn for units beyond the rank.
        verify: measure the difference, and raise if the function was not kept.
        also: further inputs, for code that branches on its input (the report says where): the
            student is verified on each.

    Raises:
        UnsupportedModelError, InputError: the model cannot be traced.
        UnknownModuleError: a glob matches no module.
        DepthError: a match cannot become two (no linear or convolution layer, or the model's code
            reaches into it), no such activation can stand between, or the student would not fit
            into memory.
        WidthError: an inner width is less than the rank, which the message gives.
        VerificationError: the student's outputs differ.
    """
    check_model(model)
    check_also(also)
    if type(seed) is not int:
        raise DepthError(f"seed is {seed!r}. Give an integer.")
    found = splits(model, widths, activation, exact=exact)
    every = [inputs, *also]
    with stage("traced the teacher"):
        teacher = analyse(model, inputs, on_unknown="fix", also=also)
    with stage("made two layers of each"):
        plan = _plan(model, found, seed)
        check_memory(plan, model, DepthError)
        student = plan.apply(model)
        done = _trace_student(student, every, found)
    parity = None
    if verify:
        with stage("verified"):
            parity = check(model, student, inputs, must_match=exact, also=also)
    report = Report(
        action=f"factorised {type(model).__name__}",
        asked=", ".join(f"{glob} by {inner}" for glob, inner in widths.items()),
        rows=tuple(Row(one.edit.at, 1, 2, one.note) for one in found),
        stayed=(),
        parameters=(count_parameters(model), count_parameters(student)),
        bytes=plan.summary().bytes,
        flops=(flops(teacher.traces[0]), flops(done)),
        parity=parity,
        notes=(*_left_out(found), *branch_notes(teacher)),
    )
    return Growth(student, plan, report, _parameters=references(model))


def _left_out(found: Sequence[Split]) -> tuple[str, ...]:
    if not any(one.left_out for one in found):
        return ()
    return (
        "what is left out of a weight W is ‖W − W₂W₁‖ / ‖W‖ (Frobenius), and no two layers with as "
        "few units between leave out less",
    )


def _plan(model: nn.Module, found: Sequence[Split], seed: int) -> Plan:
    edits = tuple(one.edit for one in found)
    known, recipes = factoring(model, edits, {one.edit.at: one.factor for one in found})
    return Plan("factorize", "svd", seed, fingerprint(model), known, recipes, edits)


def _trace_student(student: nn.Module, inputs: Sequence[Inputs], found: Sequence[Split]) -> Trace:
    """What it does on the first of the inputs; it has to run on all."""
    try:
        return traced(student, *inputs)[1][0]
    except InputError as error:
        raise DepthError(
            f"the student does not run ({error.__cause__}): the model's code reaches into a layer "
            f"that became two ({', '.join(repr(one.edit.at) for one in found)}). "
            "Choose another layer."
        ) from error
