"""From a model and its inputs to what is known of its units: trace → infer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from torch import nn

from net2net.errors import InputError, UnknownOperationError
from net2net.infer.branches import input_decisions, places
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.spaces import Spaces, spaces_of
from net2net.plan.feasible import pattern
from net2net.plan.inside_asked import asked_inside, counting_none
from net2net.plan.value_proxy import with_values
from net2net.trace.meta_copy import meta_copy, named_tensors
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs, Trace, trace

log = logging.getLogger(__name__)


def analyse(
    model: nn.Module, inputs: Inputs, *, on_unknown: str = "raise", grow_outputs: bool = False,
    widths: Mapping[str, float | int] | None = None, also: Sequence[Inputs] = (),
) -> Inference:  # fmt: skip
    """Trace a meta copy of the model and infer its units. Where evaluation leaves parameters unread
    (auxiliary heads), what training does is taken in as well, and what it does on ``also``. Code
    that branches on hidden values is run with them. ``widths`` tell whether heads grow inside,
    instead of in number."""
    meta, done, traced_with_values = traced(model, inputs, *also)
    found = infer(done, on_unknown=on_unknown, grow_outputs=grow_outputs)
    if not traced_with_values:
        found = _with_training(meta, inputs, found, on_unknown, grow_outputs)
    _check_reached(found, traced_with_values)
    found.traced_with_values = traced_with_values
    if not (inside := asked_inside(found, model, widths or {})):
        return found
    again = infer(found.traces, on_unknown=on_unknown, grow_outputs=grow_outputs, inside=inside)
    if lost := counting_none(found, again, model, widths or {}):
        if not (inside := asked_inside(found, model, widths or {}, lost)):
            return found
        again = infer(found.traces, on_unknown=on_unknown, grow_outputs=grow_outputs, inside=inside)
    again.traced_with_values = traced_with_values
    return again


def traced(model: nn.Module, *inputs: Inputs) -> tuple[nn.Module, list[Trace], bool]:
    """The copy of the model that was traced, its trace on each of the inputs, and whether it has
    values: a meta copy has not, and where code branches on hidden values it does not run."""
    meta = meta_copy(model)
    try:
        return meta, [trace(meta, one) for one in inputs], False
    except InputError as error:
        log.info("traced with values, for without them: %s", error)
        whole = with_values(model)
        return whole, [trace(whole, one) for one in inputs], True


def _with_training(
    meta: nn.Module, inputs: Inputs, found: Inference, on_unknown: str, grow_outputs: bool
) -> Inference:
    shapes = dict(named_tensors(meta))
    if all(shapes[name].ndim == 0 for name in found.unused):
        return found
    try:
        training = trace(meta, inputs, training=True)
    except InputError as error:
        log.info("not traced in training mode: %s", error)
        return found
    if not training.read_names.intersection(found.unused):
        return found
    return infer([*found.traces, training], on_unknown=on_unknown, grow_outputs=grow_outputs)


def _check_reached(found: Inference, hidden: bool) -> None:
    """What these inputs do not reach, others may: an expert that stayed narrow would fail there.
    Not if no module around it branches: it is left over from what the class makes for others. A
    single number is as it is at any width.

    ``hidden``: the code branches on hidden values."""
    decisions = input_decisions(found)
    if not hidden and not decisions:
        return
    trace = found.traces[0]
    around = [f"{one.path}." if one.path else "" for one in decisions] or [""]
    shapes = {name: trace.shapes[tensor] for tensor, name in trace.names.items()}
    alike = {name: (pattern(name), shape) for name, shape in shapes.items()}
    reached = {one for name, one in alike.items() if name not in found.unused}
    missed = [
        name
        for name in found.unused
        if alike[name] in reached and shapes[name] and name.startswith(tuple(around))
    ]
    if missed:
        raise InputError(
            f"the code branches on {'hidden values' if hidden else 'its input'}"
            f"{f' at {places(decisions)}' if decisions else ''}, and on these inputs it does not "
            f"reach '{missed[0]}' ({len(missed)} tensors in all), though it reaches others like "
            "it. Give inputs that reach every part (more rows, other values), or pass others as "
            "well with also=[…]."
        )


def spaces(
    model: nn.Module, inputs: Inputs, *, on_unknown: str = "fix", also: Sequence[Inputs] = ()
) -> Spaces:
    """The spaces of a model: units that can only grow together.

    Args:
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments that the
            model runs on. Only shapes and types matter.
        on_unknown: ``"fix"`` shows spaces that an operation without a rule touches as such that
            stay; ``"raise"`` raises.
        also: further inputs, for code that branches on them: what any of them reaches is seen.

    Returns:
        A table: print it; index it by module path or position.

    Raises:
        UnsupportedModelError, InputError, UnknownOperationError: as the messages say.
    """
    check_model(model)
    check_choice(on_unknown)
    check_also(also)
    return spaces_of(analyse(model, inputs, on_unknown=on_unknown, also=also))


def check_also(also: Sequence[Inputs]) -> None:
    """Refuse a single input in place of a list of them."""
    if not isinstance(also, (list, tuple)):
        raise InputError(
            f"also is a {type(also).__name__}. Give a list of inputs, each like ``inputs``."
        )


def check_choice(on_unknown: str) -> None:
    """Refuse any other way to treat operations without a rule."""
    if on_unknown not in {"raise", "fix"}:
        raise UnknownOperationError(
            f'on_unknown is {on_unknown!r}. Give "raise", or "fix" to leave spaces as they are '
            "where an operation has no rule."
        )
