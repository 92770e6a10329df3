"""deepen: insert layers that are identities (Net2DeeperNet, paper section 2.4).

h = φ(W x) becomes φ(U φ(W x)) with U = I, which is the same if φ(φ(v)) = φ(v). The new layer stands
*before* the teacher's own activation, behind a copy of it: W, [φ, U, norm], φ. So it does not
matter how the model calls its activation. On top of a module that ends in no layer (a
concatenation, a sum), a block of the caller's own stands: see ``attach``. What is followed is
replaced by a ``Sequential`` of itself and the new ones: the names of ``trunk.3`` in the state dict
then start with ``trunk.3.0``, those of the first new one with ``trunk.3.1``, and no others change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from net2net.analysis import analyse, check_also, traced
from net2net.apply.fingerprint import fingerprint
from net2net.deepen.after_block import after_block, check_block
from net2net.deepen.after_layer import after_layer
from net2net.deepen.attach import BlockBuilder, attached
from net2net.deepen.places import calls_of, outermost, targets
from net2net.errors import DepthError, InputError
from net2net.finish import check, check_memory, count_parameters
from net2net.growth import Growth, references
from net2net.identity.blocks import LAYERS
from net2net.identity.calibrate import calibrated
from net2net.identity.insertion import Insertion
from net2net.infer.branches import branch_notes
from net2net.infer.inference import Inference
from net2net.plan.deepening import deepening
from net2net.plan.plan import Plan
from net2net.report import Report, Row
from net2net.stages import stage
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs, Trace

DEEPEST = 10_000
"""New layers in one place beyond which nobody goes: what asks for more is a slip."""

Depths = Mapping[str, int | tuple[int, BlockBuilder]]


def deepen(
    model: nn.Module,
    depths: Depths,
    inputs: Inputs,
    *,
    seed: int = 0,
    calibrate: Iterable[Inputs] | None = None,
    verify: bool = True,
    also: Sequence[Inputs] = (),
) -> Growth:
    """Net2DeeperNet (paper, section 2.4): a deeper network that computes the same.

    Args:
        model: the teacher; never changed.
        depths: globs over module paths → how many identity layers to insert after each match. A
            match is a linear or convolution layer, or a module around such layers (a
            convolution–norm–activation block, a maxout). The new layer is of the same kind, with
            the kernel size, norm and activation of the one it follows. Or → a pair of how many
            and a function from a number of channels to a new block (linear or convolution layers
            that keep it, batch norms and activations in a ``Sequential``): these follow any
            module, whatever it ends in; of nested matches the outermost. Its weights are set to
            identities, and its activations have to keep what the module puts out, as ReLU does
            what comes from a ReLU.
        inputs: what the model runs on: a tensor, a tuple (positional) or a dict (keywords).
        seed: of random numbers that the model draws while calibrating.
        calibrate: batches, each like ``inputs``, on which mean and variance for a new batch norm
            are measured (the model runs in training mode, on a copy). Without them, the norm is
            an identity in evaluation mode only.
        verify: measure the difference, and raise if the function was not kept.
        also: further inputs, for code that branches on its input (the report says where): the
            student is verified on each.

    Raises:
        UnsupportedModelError, InputError: the model cannot be traced.
        UnknownModuleError: a glob matches no module.
        DepthError: no identity can stand there (a sigmoid, tanh or GELU follows; the new block's
            activation would change what it gets), or the student would not fit into memory.
        VerificationError: the student's outputs differ.
    """
    check_model(model)
    check_also(also)
    if type(seed) is not int:
        raise DepthError(f"seed is {seed!r}. Give an integer.")
    with stage("traced and inferred the teacher"):
        teacher = analyse(model, inputs, on_unknown="fix", also=also)
    found, notes = _insertions(model, teacher, depths)
    for one in found:
        if one.block:
            check_block(model, one, [inputs, *also])
    if calibrate is not None:
        with stage("calibrated"):
            found = calibrated(model, found, calibrate, seed)
        notes += _called_again(teacher, found)
    plan = _plan(model, found)
    check_memory(plan, model, DepthError)
    student = plan.apply(model)
    after = _trace_student(student, [inputs, *also], found)
    parity = None
    if verify:
        with stage("verified"):
            parity = check(model, student, inputs, must_match=True, also=also)
    report = Report(
        action=f"deepened {type(model).__name__}",
        asked=", ".join(f"{glob} + {_count(asked)}" for glob, asked in depths.items()),
        rows=tuple(
            Row(one.at, 1, 1 + one.count, "new blocks" if one.new else "identity layers")
            for one in found
        ),
        stayed=(),
        parameters=(count_parameters(model), count_parameters(student)),
        bytes=plan.summary().bytes,
        flops=(flops(teacher.traces[0]), flops(after)),
        parity=parity,
        notes=(*notes, *branch_notes(teacher)),
    )
    return Growth(student, plan, report, _parameters=references(model))


def _count(asked: int | tuple[int, BlockBuilder]) -> int:
    return asked[0] if isinstance(asked, tuple) else asked


def _insertions(
    model: nn.Module, teacher: Inference, depths: Depths
) -> tuple[list[Insertion], list[str]]:
    """What to insert, from the inside outwards (what is inside a module that was wrapped has
    another path), and what to say of it.

    Raises:
        DepthError: no identity can stand there, or what is asked for makes no sense.
    """
    insertions: dict[str, Insertion] = {}
    notes: list[str] = []
    if not isinstance(depths, Mapping):
        raise DepthError(
            f"depths is a {type(depths).__name__}. "
            "Give a dict from module globs to how many identity layers to insert."
        )
    for glob, asked in depths.items():
        count, block = asked if isinstance(asked, tuple) and len(asked) == 2 else (asked, None)
        if type(count) is not int or not 0 <= count <= DEEPEST:
            raise DepthError(
                f"the depth of '{glob}' is {asked!r:.40}. Give a number of layers, from 0 to "
                f"{DEEPEST:,}, or a pair of such a number and a function that builds a new block."
            )
        for path in targets(model, glob) if block is None else outermost(model, glob):
            if block is None:
                here = isinstance(model.get_submodule(path), LAYERS)
                one, note = (after_layer if here else after_block)(model, teacher, path, count)
            else:
                one, note = attached(teacher, calls_of(model, teacher, path), count, block), []
            if one.at in insertions:
                raise DepthError(
                    f"'{glob}' asks for layers after '{one.at}' that another glob asks for too. "
                    "Name each place once."
                )
            if count:
                insertions[one.at] = one
                notes += note
    return sorted(insertions.values(), key=lambda one: -one.at.count(".")), notes


def _plan(model: nn.Module, found: list[Insertion]) -> Plan:
    known, recipes = deepening(model, found)
    edits = tuple(replace(one, mean=(), variance=()) for one in found)  # they are in the recipes
    return Plan("deepen", "identity", 0, fingerprint(model), known, recipes, edits)


def _trace_student(student: nn.Module, inputs: Sequence[Inputs], found: list[Insertion]) -> Trace:
    """What it does on the first of the inputs; it has to run on all."""
    try:
        return traced(student, *inputs)[1][0]
    except InputError as error:
        raise DepthError(
            f"the deeper student does not run ({error.__cause__}): the model's code reaches into "
            f"the layer that was wrapped ({', '.join(repr(one.at) for one in found)}). "
            "Choose another place."
        ) from error


def _called_again(found: Inference, insertions: Iterable[Insertion]) -> list[str]:
    """Batch norms that no measured mean and variance make identities in training mode."""
    calls = Counter(call.path for call in found.traces[0].calls)
    return [
        f"'{one.at}' is called {calls[one.at]} times, each with a mean and variance of its own, so "
        "its new norm is an identity in evaluation mode only, calibrated or not"
        for one in insertions
        if one.norms and calls[one.at] > 1
    ]
