"""widen: the whole way, trace → infer → plan → apply → verify."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial

from torch import nn

from net2net.analysis import analyse, check_choice
from net2net.apply import attributes
from net2net.apply.configs import config_edits
from net2net.apply.exported_graph import Exported, GraphModel, checksum, graph_of
from net2net.errors import (
    GraphMismatchError,
    InputError,
    UnsupportedModelError,
    WidthError,
)
from net2net.finish import check, count_parameters
from net2net.growth import Growth
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.spaces import spaces_of
from net2net.maps.methods import PRESERVING, method_named
from net2net.plan.feasible import nearest_feasible
from net2net.plan.globs import counted, name_attributes
from net2net.plan.match import match
from net2net.plan.outputs import OutputMaps, output_maps
from net2net.plan.plan import WidenPlan
from net2net.plan.rescale import factors
from net2net.plan.value_proxy import value_proxy
from net2net.plan.widths import SpaceGrowth, Widths, new_integers, new_shapes, resolve
from net2net.report import Report, Row
from net2net.trace.flops import flops
from net2net.trace.input_spec import spec_of
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, check_model, trace

log = logging.getLogger(__name__)


def widen(
    model: nn.Module,
    widths: Widths,
    inputs: Inputs,
    *,
    method: str = "replicate",
    balanced: bool = True,
    noise: float = 0.0,
    seed: int = 0,
    verify: bool = True,
    on_unknown: str = "raise",
    outputs: str = "keep",
) -> Growth:
    """Net2WiderNet (paper, section 2.3, equation 2): a wider network that computes the same.

    Args:
        model: the teacher; never changed.
        widths: a factor for every space that can grow, or a dict from globs over module paths to
            a factor (float) or a new width (int). The space that the module *makes* grows, with
            all that is tied to it. A factor goes to the nearest admissible size. Attention grows
            by whole heads. A glob can also name an attribute that the code reads as a size
            (``"*.attn.num_heads"``); that of what lies inside heads (``"*.attn.head_dim"``) lets
            their number be, and makes them larger. Where a size is
            written into the model's code, one factor for all leaves the spaces that meet it as
            they are; spaces asked for by name grow in a graph of the model that ``torch.export``
            makes, a ``torch.fx.GraphModule``, and the report says so.
        inputs: what the model runs on: a tensor, a tuple (positional) or a dict (keywords).
        method: ``"replicate"`` copies units and divides what reads them; ``"random_pad"`` is the
            paper's baseline, which does not keep the function.
        balanced: deal copies out evenly; ``False`` samples them as in the paper.
        noise: standard deviation of the noise on the weights of all but the first copy of each
            unit, relative to the weights' own standard deviation. Breaks symmetry, and exactness.
        seed: of the random map and the noise. The same seed gives the same student everywhere.
        verify: measure the difference, and raise if the function was not kept.
        on_unknown: ``"raise"``, or ``"fix"`` for operations without a rule.
        outputs: ``"keep"``, or ``"grow"`` where the model ends in features that may grow as well:
            ``Growth.outputs`` then says which of the teacher's values each position repeats.

    Raises:
        UnsupportedModelError, InputError, UnknownOperationError: the model cannot be traced.
        UnknownModuleError, WidthError, NotGrowableError: the widths cannot be had.
        GraphMismatchError: the student's code does not follow its new sizes.
        VerificationError: the student's outputs differ.
    """
    check_model(model)
    method_named(method)
    check_choice(on_unknown)
    if not 0 <= noise < math.inf:
        raise WidthError(f"noise is {noise}. Give 0 or a positive fraction.")
    if outputs not in {"keep", "grow"}:
        raise WidthError(f'outputs is {outputs!r}. Give "keep" or "grow".')
    grow = partial(
        _grow, model, widths, inputs, method=method, balanced=balanced, noise=noise, seed=seed,
        verify=verify, on_unknown=on_unknown, open_end=outputs == "grow",
    )  # fmt: skip
    try:
        return grow(model)
    except GraphMismatchError as error:
        # Most of it grows without the spaces that meet there: that is the user's choice. And a
        # graph has none of the attributes.
        if not isinstance(widths, Mapping) or name_attributes(model, widths):
            raise
        graph, exported, notes = _graph_instead(model, inputs, error)
        return grow(graph, exported=exported, notes=notes)


def _graph_instead(
    model: nn.Module, inputs: Inputs, error: GraphMismatchError
) -> tuple[GraphModel, Exported, tuple[str, ...]]:
    """A graph of the model to grow where the student of its class failed, and what to say of it."""
    try:
        shapes = spec_of(inputs)
        graph = graph_of(model, shapes)
    except (UnsupportedModelError, InputError) as reason:
        raise GraphMismatchError(
            f"{str(error).removesuffix(_BY_NAME)} "
            f"A graph of the model cannot be grown instead: {reason}",
            error.axes, error.module,
        ) from error  # fmt: skip
    kind = type(model).__name__
    where = f" (a {kind} of these widths stops in '{error.module}')" if error.module else ""
    notes = [
        f"the student is a torch.fx.GraphModule, not a {kind}, for a size is written into the code "
        f"of {kind}{where}"
    ]
    if not graph.trains:
        notes.append(
            f"in training mode the code of {kind} does something else; the student does what it "
            "does in evaluation, apart from torch's own layers of one input"
        )
    return graph, Exported(shapes, checksum(graph)), tuple(notes)


def _grow(
    model: nn.Module, widths: Widths, inputs: Inputs, base: nn.Module, *, method: str,
    balanced: bool, noise: float, seed: int, verify: bool, on_unknown: str, open_end: bool,
    exported: Exported | None = None, notes: tuple[str, ...] = (),
) -> Growth:  # fmt: skip
    """What ``widen`` does, to the model itself, or to a graph of it as its ``base``."""
    globs = widths if isinstance(widths, Mapping) else ()
    teacher = analyse(base, inputs, on_unknown=on_unknown, grow_outputs=open_end, globs=globs)
    table = spaces_of(teacher)
    grown = resolve(table, teacher, base, widths)

    def wider(grown: list[SpaceGrowth], edits: Sequence[attributes.Edit]) -> nn.Module:
        shapes = new_shapes(teacher, grown)
        made = (
            value_proxy(base, teacher, grown)
            if teacher.traced_with_values
            else meta_copy(base, shapes)
        )
        attributes.set_attributes(made, edits)
        return made

    def attempt(grown: list[SpaceGrowth]) -> tuple[Inference, WidenPlan, OutputMaps]:
        integers = new_integers(table, teacher, grown)
        edits = attributes.edits(base, new_shapes(teacher, grown), integers)
        student = _infer_student(wider(grown, edits), inputs, teacher, on_unknown, open_end)
        maps = match(teacher, student, method=method, balanced=balanced, seed=seed)
        rescaled = factors(teacher, student, {axis: one.index for axis, one in maps.items()})
        plan = WidenPlan.make(
            model, maps, edits, [*teacher.units.norms], rescaled, method=method, noise=noise,
            seed=seed, exported=exported,
        )  # fmt: skip
        return student, plan, output_maps(teacher, student, maps) if open_end else {}

    grown, (student, plan, ends) = nearest_feasible(
        grown, attempt, lambda: [found for _, found in counted(table, teacher).values()]
    )
    settings, unfit = config_edits(
        base, partial(wider, grown, plan.attributes), inputs, student.traces[0]
    )
    plan.attributes += settings
    result = plan.apply(model)
    exact = method in PRESERVING and noise == 0
    parity = check(model, result, inputs, must_match=exact, outputs=ends) if verify else None
    report = Report(
        action=f"widened {type(model).__name__} by {method}",
        rows=tuple(_row(one) for one in grown if one.new != one.space.size),
        parameters=(count_parameters(model), count_parameters(result)),
        flops=(flops(teacher.traces[0]), flops(student.traces[0])),
        parity=parity,
        notes=notes + _left(grown) + _notes(teacher, exact, method, noise) + unfit,
    )
    return Growth(result, plan, report, ends)


_BY_NAME = " Or name the spaces in widths: that makes the student a graph module."


def _infer_student(
    wider: nn.Module, inputs: Inputs, teacher: Inference, on_unknown: str, grow_outputs: bool
) -> Inference:
    modes = (False, True)[: len(teacher.traces)]
    advice = (
        "Leave the spaces that meet there as they are, or read the size from a tensor's shape in "
        f"forward.{_BY_NAME}"
    )
    try:
        found = [trace(wider, inputs, training=training) for training in modes]
    except InputError as error:
        raise GraphMismatchError(
            "the wider student does not run: a size is written into the model's code. "
            f"({error.__cause__}) {advice}",
            module=error.module,
        ) from error
    old, new = (
        [(where, one.shapes[tensor]) for where, tensor in one.outputs.items()]
        for one in (teacher.traces[0], found[0])
    )
    if old != new and not grow_outputs:
        raise GraphMismatchError(
            f"the wider student returns {new}, and the teacher {old}: a size is written into the "
            f"model's code. {advice}"
        )
    return infer(
        found,
        on_unknown=on_unknown,
        grow_outputs=grow_outputs,
        head_size_axes=teacher.head_size_axes,
    )


def _row(one: SpaceGrowth) -> Row:
    others = [module for module in one.space.modules if module != one.space.name]
    notes = [one.note] if one.note else []
    if others and one.space.ties:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        joins = [
            tie for tie in one.space.ties if tie.split(" in ")[0] not in PASSING
        ] or one.space.ties
        notes.append(f"with {shown}, tied by {' and '.join(joins[:2])}")
    return Row(one.space.name, one.space.size, one.new, "; ".join(notes))


PASSING = frozenset(
    "batch_norm instance_norm group_norm layer_norm rms_norm linear matmul addmm prelu"
    " conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split()
)
"""Operations that hand units on; what is left of a space's ties brings modules together."""


def _left(grown: list[SpaceGrowth]) -> tuple[str, ...]:
    """Spaces that were asked to grow and did not."""
    still = [one for one in grown if one.new == one.space.size and one.note]
    return tuple(f"'{one.space.name}' stays at {one.new}: {one.note}" for one in still)


def _notes(teacher: Inference, exact: bool, method: str, noise: float) -> tuple[str, ...]:
    notes = []
    if method not in PRESERVING:
        notes.append(f"{method} does not preserve the function; new units are random")
    elif not exact:
        notes.append(f"noise of {noise:g} breaks symmetry, so the function is kept only roughly")
    shapes = {name: t for trace in teacher.traces for t, name in trace.names.items()}
    unread = [n for n in teacher.unused if teacher.traces[0].shapes[shapes[n]]]
    if unread:
        notes.append(f"left as they are, for no operation read them: {', '.join(unread)}")
    return tuple(notes)
