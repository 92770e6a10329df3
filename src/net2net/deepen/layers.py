"""Identity layers, and blocks of the caller's own: from what is asked to a student."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import nn

from net2net.analysis import traced
from net2net.apply.fingerprint import fingerprint
from net2net.deepen.after_block import after_block, check_block
from net2net.deepen.after_layer import after_layer
from net2net.deepen.attach import attached
from net2net.deepen.made import BlockBuilder, Depths, Made
from net2net.deepen.pair import pair_like
from net2net.deepen.places import calls_of, outermost, targets
from net2net.errors import DepthError, InputError
from net2net.finish import check_memory
from net2net.identity.blocks import LAYERS
from net2net.identity.calibrate import calibrated
from net2net.identity.insertion import Insertion
from net2net.infer.inference import Inference
from net2net.plan.deepening import deepening
from net2net.plan.plan import Plan
from net2net.report import Row
from net2net.stages import stage
from net2net.trace.trace import Inputs, Trace

DEEPEST = 10_000
"""New layers in one place beyond which nobody goes: what asks for more is a slip."""


def with_layers(
    model: nn.Module, teacher: Inference, depths: Depths, inputs: Sequence[Inputs],
    calibrate: Iterable[Inputs] | None, seed: int, kind: str,
) -> Made:  # fmt: skip
    """The student with new layers, of a kind of ``KINDS``.

    Raises:
        DepthError: no identity can stand there, or the student would not fit into memory.
    """
    found, notes = _insertions(model, teacher, depths, kind)
    for one in found:
        if one.block:
            check_block(model, one, inputs)
    if calibrate is not None:
        with stage("calibrated"):
            found = calibrated(model, found, calibrate, seed)
        notes += _called_again(teacher, found)
    plan = _plan(model, found)
    check_memory(plan, model, DepthError)
    student = plan.apply(model)
    rows = (Row(one.at, 1, 1 + one.count, one.what) for one in found)
    done = _trace_student(student, inputs, found)
    return Made(student, plan, tuple(rows), done, notes=tuple(notes))


def _insertions(
    model: nn.Module, teacher: Inference, depths: Depths, kind: str
) -> tuple[list[Insertion], list[str]]:
    """What to insert, from the inside outwards (what is inside a module that was wrapped has
    another path), and what to say of it.

    Raises:
        DepthError: no identity can stand there, or what is asked for makes no sense.
    """
    insertions: dict[str, Insertion] = {}
    notes: list[str] = []
    for glob, asked in depths.items():
        count, block = asked if isinstance(asked, tuple) and len(asked) == 2 else (asked, None)
        if type(count) is not int or not 0 <= count <= DEEPEST:
            raise DepthError(
                f"the depth of '{glob}' is {asked!r:.40}. Give a number of layers, from 0 to "
                f"{DEEPEST:,}, or a pair of such a number and a function that builds a new block."
            )
        for path in paths_of(model, glob, asked, kind):
            one, note = _insertion(model, teacher, path, count, block, kind)
            if one.at in insertions:
                raise DepthError(
                    f"'{glob}' asks for layers after '{one.at}' that another glob asks for too. "
                    "Name each place once."
                )
            if count:
                insertions[one.at] = one
                notes += note
    return sorted(insertions.values(), key=lambda one: -one.at.count(".")), notes


def paths_of(model: nn.Module, glob: str, asked: object, kind: str) -> list[str]:
    """The modules that a glob means, for what is asked to follow them.

    Raises:
        UnknownModuleError, DepthError: there are none that it can follow.
    """
    if isinstance(asked, tuple):
        return outermost(model, glob)
    found = targets(model, glob)
    return found if kind != "pair" or _is_layer(model, found[0]) else outermost(model, glob)


def _is_layer(model: nn.Module, path: str) -> bool:
    return isinstance(model.get_submodule(path), LAYERS)


def _insertion(
    model: nn.Module, teacher: Inference, path: str, count: int, block: BlockBuilder | None,
    kind: str,
) -> tuple[Insertion, list[str]]:  # fmt: skip
    if block is None and _is_layer(model, path):
        return after_layer(model, teacher, path, count, kind)
    if block is None and kind == "identity":
        return after_block(model, teacher, path, count)
    if block is None and kind == "pair":
        block = pair_like(model.get_submodule(path))
    if block is None:
        raise DepthError(
            f"'{path}' is no layer, and kind={kind!r} puts one behind a layer. Name linear or "
            "convolution layers."
        )
    return attached(teacher, calls_of(model, teacher, path), count, block), []


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
