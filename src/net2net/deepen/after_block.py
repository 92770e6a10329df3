"""A module around weight layers: the new block copies it, every piece an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from net2net.deepen.places import calls_of
from net2net.errors import DepthError, InputError
from net2net.identity.blocks import LAYERS
from net2net.identity.insertion import Insertion, identity_block
from net2net.infer.inference import Inference
from net2net.infer.units import Axis, UnitIds
from net2net.trace.trace import Inputs
from net2net.verify import ROUNDING, run_copy


def after_block(
    model: nn.Module, found: Inference, path: str, count: int
) -> tuple[Insertion, list[str]]:
    """The insertion after layers side by side or in a row (a vertical and a horizontal
    convolution), and what to say of it.

    Raises:
        DepthError: a copy of the module cannot hand its features on.
    """
    trace, call = calls_of(model, found, path)[0]
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
    return Insertion(path, layers, count, block=True, norms=norms), []


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
    trace, call = calls_of(model, found, path)[0]
    (made,) = call.outputs
    value = found.values[found.traces.index(trace)].get(made)
    kernel = getattr(model.get_submodule(path), "kernel_size", ())
    dims = (len(trace.shapes[made]) - 1 - len(kernel),)
    for part in value.parts if value else ():
        if part.axes == dims:
            return found.component[part.ids]
    raise DepthError(f"the output of '{path}' has no axis of hidden units. Choose another layer.")


def check_block(model: nn.Module, insertion: Insertion, inputs: Sequence[Inputs]) -> None:
    """A block's copy has to be an identity on what the block puts out: tried on these inputs, in
    float64 if the model runs in it."""
    try:
        kept = all(_keeps(model, insertion, one, torch.float64) for one in inputs)
    except InputError:
        kept = all(_keeps(model, insertion, one, None) for one in inputs)
    if kept:
        return
    raise DepthError(
        f"a copy of '{insertion.at}' with identity weights does not return its input: its "
        "activation is not idempotent (paper, section 2.4), it normalises per sample, or it "
        "adds its input. Choose a layer inside that ReLU or no activation follows."
    )


def _keeps(
    model: nn.Module, insertion: Insertion, inputs: Inputs, dtype: torch.dtype | None
) -> bool:
    """Whether the block's copy returns what the block puts out on these inputs.

    Raises:
        InputError: the model does not run.
    """
    kept: list[bool] = []

    def watch(double: nn.Module) -> None:
        copied = identity_block(double, insertion)

        def hook(part: nn.Module, args: Any, output: Tensor) -> None:
            try:
                again = copied(output.clone())
            except RuntimeError:  # it takes another shape than it makes
                kept.append(False)
            else:
                kept.append(again.shape == output.shape and _close(output, again))

        double.get_submodule(insertion.at).register_forward_hook(hook)

    run_copy(model, inputs, dtype, watch)
    return all(kept)


def _close(old: Tensor, new: Tensor) -> bool:
    tolerance = ROUNDING.get(old.dtype, 1e-9) * (1 if old.dtype == torch.float64 else 10)
    return torch.allclose(new, old, tolerance, tolerance / 1000)
