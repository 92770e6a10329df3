"""Whether a kind of new layer can stand behind one of the model's, before its activation."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch

from net2net.errors import DepthError
from net2net.identity.blocks import ACTIVATIONS
from net2net.identity.ranges import scalars
from net2net.trace.trace import Op

Settings = tuple[tuple[str, float | str], ...]


def settings(op: Op) -> Settings:
    """The numbers and words among an activation's arguments that its module takes too."""
    known = signature(ACTIVATIONS[op.kind]).parameters
    words = {name: value for name, value in op.args.items() if isinstance(value, str)}
    return tuple((k, v) for k, v in (scalars(op) | words).items() if k in known)


def check_fit(path: str, layer: Any, kind: str, activation: str, given: Settings) -> None:
    """Raises:
    DepthError: such a layer cannot return what it is given behind this one.
    """
    if (
        kind != "residual"
        and getattr(layer, "groups", 1) > 1
        and layer.in_channels != layer.out_channels
    ):
        raise DepthError(
            f"'{path}' has {layer.groups} groups and changes its width, so a layer of the same "
            'kind cannot be an identity. Choose another layer, or pass kind="residual".'
        )
    if kind == "pair":
        _check_kernel(path, layer)
    if kind == "residual" and activation == "prelu":
        raise DepthError(
            f"'{path}' is followed by a PReLU, whose slopes are weights of its own, so a branch "
            'cannot begin with another one. Pass kind="linear" for a layer without it.'
        )
    if kind in {"identity", "pair"} and activation:
        _check_idempotent(path, activation, dict(given))


def _check_kernel(path: str, layer: Any) -> None:
    kernel = getattr(layer, "kernel_size", ())
    if len(kernel) != 2 or 1 in kernel:
        raise DepthError(
            f"'{path}' is a {type(layer).__name__} with a kernel of "
            f"{' × '.join(map(str, kernel)) or 'none'}, which is not a vertical and a horizontal "
            "one. Choose a two-dimensional convolution with a larger kernel, or a module around "
            "such layers."
        )


def _check_idempotent(path: str, name: str, given: dict[str, float | str]) -> None:
    """Net2DeeperNet needs φ(φ(v)) = φ(v): tried on numbers, not looked up in a list."""
    idempotent = False
    if name != "prelu":
        grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
        function = getattr(torch.ops.aten, name)
        once = function(grid, **given)
        idempotent = bool(torch.equal(function(once, **given), once))
    if not idempotent:
        raise DepthError(
            f"'{path}' is followed by {name}, and {name}({name}(v)) is not {name}(v), so no "
            "identity layer with this activation exists (paper, section 2.4). Pass "
            'kind="residual" for a branch that starts at zero, or kind="linear" for a layer '
            "without the activation; or widen this one instead."
        )
