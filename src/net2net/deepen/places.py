"""Which modules a glob of ``depths`` means, and their calls."""

from __future__ import annotations

from torch import nn

from net2net.errors import DepthError
from net2net.identity.blocks import LAYERS
from net2net.infer.inference import Inference
from net2net.plan.globs import matching
from net2net.trace.trace import Call, Trace


def targets(model: nn.Module, glob: str) -> list[str]:
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


def outermost(model: nn.Module, glob: str) -> list[str]:
    """Modules that match and are in no other that does."""
    matched = set(matching(model, glob))
    paths = [path for path, _ in model.named_modules() if path in matched]
    if not paths:
        raise DepthError(f"'{glob}' matches no module. Choose one for the new block to follow.")
    return [path for path in paths if not any(path.startswith(f"{one}.") for one in paths)]


def calls_of(model: nn.Module, found: Inference, path: str) -> list[tuple[Trace, Call]]:
    """The calls of a module, in all traces.

    Raises:
        DepthError: it does not run, or not from one tensor to one.
    """
    calls = [(t, call) for t in found.traces for call in t.calls if call.path == path]
    if not calls and isinstance(model.get_submodule(path), nn.ModuleList):
        raise DepthError(
            f"'{path}' is a list of modules, which does not run itself, so nothing can follow it. "
            "Name modules in it; or give a number alone, of blocks like those in it."
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
