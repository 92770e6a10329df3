"""deepen: insert layers that are identities (Net2DeeperNet, paper section 2.4).

h = φ(W x) becomes φ(U φ(W x)) with U = I, which is the same if φ(φ(v)) = φ(v). The new layer stands
*before* the teacher's own activation, behind a copy of it: W, [φ, U, norm], φ. So it does not
matter how the model calls its activation. On top of a module that ends in no layer (a
concatenation, a sum), a block of the caller's own stands: see ``attach``. What is followed is
replaced by a ``Sequential`` of itself and the new ones: the names of ``trunk.3`` in the state dict
then start with ``trunk.3.0``, those of the first new one with ``trunk.3.1``, and no others change.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from net2net.analysis import analyse, check_also, traced
from net2net.apply.fingerprint import fingerprint
from net2net.deepen.attach import BlockBuilder, attached
from net2net.errors import DepthError, InputError
from net2net.finish import check, count_parameters
from net2net.growth import Growth
from net2net.identity.blocks import ACTIVATIONS, LAYERS
from net2net.identity.calibrate import calibrated
from net2net.identity.insertion import Insertion, identity_block
from net2net.identity.ranges import scalars
from net2net.infer.branches import branch_notes
from net2net.infer.inference import Inference
from net2net.infer.units import Axis, UnitIds
from net2net.plan.deepening import deepening
from net2net.plan.globs import matching
from net2net.plan.plan import Plan
from net2net.report import Report, Row
from net2net.stages import stage
from net2net.trace.alone import ALONE
from net2net.trace.flops import flops
from net2net.trace.graph import Graph, Node
from net2net.trace.meta_copy import copied
from net2net.trace.trace import Call, Inputs, Trace, check_model, split_inputs

log = logging.getLogger(__name__)

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
            activation would change what it gets).
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
            _check_block(model, one, [inputs, *also])
    if calibrate is not None:
        with stage("calibrated"):
            found = calibrated(model, found, calibrate, seed)
        notes += _called_again(teacher, found)
    plan = _plan(model, found)
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
    return Growth(student, plan, report)


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
        for path in _targets(model, glob) if block is None else _outermost(model, glob):
            if block is None:
                one, note = _locate(model, teacher, path, count)
            else:
                one, note = attached(teacher, _calls(model, teacher, path), count, block), []
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


def _targets(model: nn.Module, glob: str) -> list[str]:
    """Weight layers that match, or, where none does, modules that contain weight layers."""
    modules = dict(model.named_modules())
    paths = [path for path in matching(model, glob) if path in modules]
    layers = [path for path in paths if isinstance(modules[path], LAYERS)]
    around = [
        path for path in paths if any(isinstance(part, LAYERS) for part in modules[path].modules())
    ]
    if not layers and not around:
        kinds = sorted({type(modules[path]).__name__ for path in paths})
        raise DepthError(
            f"'{glob}' matches {', '.join(kinds)}, and identity layers can follow linear and "
            "convolution layers, or modules that contain them. Choose one of those."
        )
    return layers or around


def _outermost(model: nn.Module, glob: str) -> list[str]:
    """Modules that match and are in no other that does."""
    matched = set(matching(model, glob))
    paths = [path for path, _ in model.named_modules() if path in matched]
    if not paths:
        raise DepthError(f"'{glob}' matches no module. Choose one for the new block to follow.")
    return [path for path in paths if not any(path.startswith(f"{one}.") for one in paths)]


# -- where, and what follows ----------------------------------------------------------------------


def _calls(model: nn.Module, found: Inference, path: str) -> list[tuple[Trace, Call]]:
    calls = [(t, call) for t in found.traces for call in t.calls if call.path == path]
    if not calls and isinstance(model.get_submodule(path), nn.ModuleList):
        raise DepthError(
            f"'{path}' is a list of modules, which does not run itself, so nothing can follow it. "
            "Name modules in it; or build a model with a longer list, and net2net.transfer into it."
        )
    if not calls:
        raise DepthError(
            f"'{path}' does not run on these inputs, so nothing can follow it. "
            "Choose a module that runs."
        )
    if any(len(call.inputs) != 1 or len(call.outputs) != 1 for _, call in calls):
        raise DepthError(
            f"'{path}' does not take one tensor and return one. "
            "Choose the linear or convolution layer inside."
        )
    return calls


def _next(node: Node) -> Node | None:
    """What the operation makes that alone consumes a tensor, or None. In place, it consumes all
    there was."""
    if len(node.users) != 1 or node.returned:
        return None
    return next(iter(node.graph.outputs(node.users[0])), None)


def _locate(
    model: nn.Module, found: Inference, path: str, count: int
) -> tuple[Insertion, list[str]]:
    calls = _calls(model, found, path)
    if not isinstance(model.get_submodule(path), LAYERS):
        return _locate_block(model, found, path, count), []
    places = {_follow(model, found.graph_of(trace), path, call) for trace, call in calls}
    if len(places) > 1:
        raise DepthError(
            f"'{path}' is called several times with different norms or activations behind it. "
            "Choose a layer that is called in one way."
        )
    at, norm, activation, skipped = places.pop()
    layer = model.get_submodule(path)
    if getattr(layer, "groups", 1) > 1 and layer.in_channels != layer.out_channels:
        raise DepthError(
            f"'{path}' has {layer.groups} groups and changes its width, so a layer of the same "
            "kind cannot be an identity. Choose another layer."
        )
    _check_activation(path, activation)
    name = activation[0]
    kind: str | tuple[str, dict[str, float]] = ""
    if activation[1]:
        kind = activation[1]
    elif name:
        kind = (name, dict(activation[2]))
    note = (
        [f"after '{path}': without a {skipped}, whose statistics nothing can undo"]
        if skipped
        else []
    )
    return Insertion(at, {path: []}, count, activation=kind, norms=[norm] if norm else []), note


Activation = tuple[str, str, tuple[tuple[str, float], ...]]
"""Operation, module path if a module of its own computes it, scalar arguments."""


def _follow(
    model: nn.Module, graph: Graph, path: str, call: Call
) -> tuple[str, str, Activation, str]:
    """After a layer: where to insert, its batch norm, its activation, a norm left out."""
    at, norm, skipped = path, "", ""
    trace = graph.trace
    made = _next(graph.node(call.outputs[0], call.end))
    op = made.producer if made else None
    if made is not None and op is not None and made.traits.normalises:
        part = model.get_submodule(op.path)
        if list(part.children()):  # a functional norm: the new layer stands before it
            return at, norm, ("", "", ()), skipped
        if isinstance(part, _BatchNorm) and part.track_running_stats:
            norm = op.path
        else:
            skipped = type(part).__name__
        at = op.path
        made = _next(made)
        op = made.producer if made else None
    none: Activation = ("", "", ())
    if op is None or op.kind not in ACTIVATIONS:
        return at, norm, none, skipped
    name = op.kind
    part = model.get_submodule(op.path)
    alone = (  # a module that computes this and nothing more: it is copied as it is
        op.path != ""
        and not list(part.children())
        and not list(part.parameters())
        and sum(one.path == op.path for one in trace.ops)
        == sum(call.path == op.path for call in trace.calls)
    )
    return at, norm, (name, op.path if alone else "", tuple(scalars(op).items())), skipped


def _check_activation(path: str, activation: Activation) -> None:
    """Net2DeeperNet needs φ(φ(v)) = φ(v): tried on numbers, not looked up in a list."""
    name, _, numbers = activation
    if not name:
        return
    idempotent = False
    if name != "prelu":
        grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
        function = getattr(torch.ops.aten, name)
        once = function(grid, **dict(numbers))
        idempotent = bool(torch.equal(function(once, **dict(numbers)), once))
    if not idempotent:
        raise DepthError(
            f"'{path}' is followed by {name}, and {name}({name}(v)) is not {name}(v), so no "
            "identity layer with this activation exists (paper, section 2.4). Deepen after a layer "
            "that ReLU or no activation follows, or widen this one instead."
        )


def _locate_block(model: nn.Module, found: Inference, path: str, count: int) -> Insertion:
    """A module around weight layers, side by side or in a row (a vertical and a horizontal
    convolution): the new block copies it, every piece an identity."""
    trace, call = _calls(model, found, path)[0]
    number = found.traces.index(trace)
    value = found.values[number].get(call.outputs[0])
    source = found.values[number].get(call.inputs[0])
    rows_of = _rows_of_layers(model, found, path)
    # features, and no axis of rows that a parameter lies along: what most layers inside make
    channel = max(
        (p for p in (value.parts if value else ()) if len(p.axes) == 1),
        key=lambda p: sum(np.isin(rows, found.component[p.ids]).all() for rows in rows_of.values()),
        default=None,
    )
    if value is None or channel is None or source is None:
        raise DepthError(
            f"the output of '{path}' has no axis of hidden units. "
            "Choose a linear or convolution layer."
        )
    units = found.component[channel.ids]
    place = {int(unit): j for j, unit in enumerate(units.tolist())}
    layers = {}
    norms = []
    for name, part in model.get_submodule(path).named_modules():
        full = f"{path}.{name}" if name else path
        if full in rows_of:
            rows = [place.get(int(u), -1) for u in rows_of[full].tolist()]
            if -1 in rows:  # a layer before the last: it hands on what the block put out before
                if len(rows) != len(place):
                    raise DepthError(
                        f"'{path}' is {len(place)} wide, and '{full}' in it {len(rows)}, so a copy "
                        "of it cannot hand all features on. Choose a layer inside."
                    )
                rows = list(range(len(rows)))
            layers[full] = rows
        elif isinstance(part, _BatchNorm) and part.track_running_stats:
            norms.append(full)
    return Insertion(path, layers, count, block=True, norms=norms)


def _rows_of_layers(model: nn.Module, found: Inference, path: str) -> dict[str, UnitIds]:
    """The weight layers in a module, and what each makes."""
    result = {}
    for name, part in model.get_submodule(path).named_modules():
        if isinstance(part, LAYERS):
            full = f"{path}.{name}" if name else path
            result[full] = _rows(model, found, full)
    return result


def _rows(model: nn.Module, found: Inference, path: str) -> UnitIds:
    """The components that a weight layer makes: the rows of its weight, or, where that is computed
    (a parametrisation) or goes by another name (tied), what it puts out.

    Raises:
        DepthError: neither says.
    """
    number = found.numbers.get(Axis(f"{path}.weight", 0))
    if number is not None:
        return found.ids(number)
    trace, call = _calls(model, found, path)[0]
    (made,) = call.outputs
    value = found.values[found.traces.index(trace)].get(made)
    kernel = getattr(model.get_submodule(path), "kernel_size", ())
    dims = (len(trace.shapes[made]) - 1 - len(kernel),)
    for part in value.parts if value else ():
        if part.axes == dims:
            return found.component[part.ids]
    raise DepthError(f"the output of '{path}' has no axis of hidden units. Choose another layer.")


@torch.no_grad()
def _check_block(model: nn.Module, insertion: Insertion, inputs: Sequence[Inputs]) -> None:
    """A block's copy has to be an identity on what the block puts out: tried on these inputs."""
    double = copied(model).double().eval()
    seen: list[Tensor] = []
    original = double.get_submodule(insertion.at)
    handle = original.register_forward_hook(lambda part, args, output: seen.append(output.clone()))
    with ALONE, torch.random.fork_rng():
        for one in inputs:
            args, kwargs = tree_map(_as_double, split_inputs(one))
            double(*args, **kwargs)
        handle.remove()
        try:
            again = identity_block(double, insertion)(seen[0].clone())
            same = again.shape == seen[0].shape and torch.allclose(again, seen[0], 1e-9, 1e-12)
        except RuntimeError:
            same = False
    if not same:
        raise DepthError(
            f"a copy of '{insertion.at}' with identity weights does not return its input: its "
            "activation is not idempotent (paper, section 2.4), it normalises per sample, or it "
            "adds its input. Choose a layer inside that ReLU or no activation follows."
        )


def _as_double(item: Any) -> Any:
    return item.double() if isinstance(item, Tensor) and item.is_floating_point() else item
