"""From a model and its inputs to what is known of its units: trace → infer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from net2net.errors import InputError, UnknownOperationError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.spaces import Spaces, spaces_of
from net2net.plan.feasible import pattern
from net2net.plan.globs import named_head_sizes
from net2net.plan.value_proxy import with_values
from net2net.trace.meta_copy import meta_copy, named_tensors
from net2net.trace.trace import Inputs, Trace, check_model, trace

log = logging.getLogger(__name__)


def analyse(
    model: nn.Module, inputs: Inputs, *, on_unknown: str = "raise", grow_outputs: bool = False,
    globs: Iterable[str] = (),
) -> Inference:  # fmt: skip
    """Trace a skeleton of the model and infer its units. Where evaluation leaves parameters unread
    (auxiliary heads), what training does is taken in as well. Code that branches on hidden values
    is run with them. ``globs`` of widths tell whether heads grow inside, instead of in number."""
    meta, done, traced_with_values = traced(model, inputs)
    found = infer([done], on_unknown=on_unknown, grow_outputs=grow_outputs)
    if traced_with_values:
        _check_reached(found)
        found = replace(found, traced_with_values=True)
    else:
        found = _with_training(meta, inputs, found, on_unknown, grow_outputs)
    if not (head_size_axes := named_head_sizes(found, model, globs)):
        return found
    again = infer(
        found.traces,
        on_unknown=on_unknown,
        grow_outputs=grow_outputs,
        head_size_axes=head_size_axes,
    )
    return replace(again, traced_with_values=traced_with_values)


def traced(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Trace, bool]:
    """The copy of the model that was traced, its trace, and whether it has values: a skeleton has
    not, and where code branches on hidden values it does not run."""
    meta = meta_copy(model)
    try:
        return meta, trace(meta, inputs), False
    except InputError as error:
        log.info("traced with values, for without them: %s", error)
        whole = with_values(model)
        return whole, trace(whole, inputs), True


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
    return infer([*found.traces, training], on_unknown=on_unknown, grow_outputs=grow_outputs)


def _check_reached(found: Inference) -> None:
    """What these inputs do not reach, others may: an expert that stayed narrow would fail there."""
    names = found.traces[0].names.values()
    reached = {pattern(name) for name in names if name not in found.unused}
    missed = [name for name in found.unused if pattern(name) in reached]
    if missed:
        raise InputError(
            f"the code branches on hidden values, and on these inputs it does not reach "
            f"'{missed[0]}' ({len(missed)} tensors in all), though it reaches others like it. "
            "Give inputs that reach every part: more rows, other values."
        )


def spaces(model: nn.Module, inputs: Inputs, *, on_unknown: str = "raise") -> Spaces:
    """The spaces of a model: units that can only grow together.

    Args:
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments that the
            model runs on. Only shapes and types matter.
        on_unknown: ``"raise"``, or ``"fix"`` to leave spaces as they are where an operation has
            no rule.

    Returns:
        A table: print it; index it by module path or position.

    Raises:
        UnsupportedModelError, InputError, UnknownOperationError: as the messages say.
    """
    check_model(model)
    check_choice(on_unknown)
    return spaces_of(analyse(model, inputs, on_unknown=on_unknown))


def check_choice(on_unknown: str) -> None:
    """Refuse any other way to treat operations without a rule."""
    if on_unknown not in {"raise", "fix"}:
        raise UnknownOperationError(
            f'on_unknown is {on_unknown!r}. Give "raise", or "fix" to leave spaces as they are '
            "where an operation has no rule."
        )
