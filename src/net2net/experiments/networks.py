"""The networks of the experiments: each one is a small entry that says how it is built and where
it deepens. How it widens is found out: towards the one that is built wider."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

import net2net
from net2net.deepen import Depths
from net2net.errors import Net2NetError
from net2net.experiments.data import Data
from net2net.experiments.models import ConvNet
from net2net.models import inception_bn, pair


class UnknownNetworkError(Net2NetError):
    """No network of this name."""


Deepened = Callable[[nn.Module, Data, int], nn.Module]
"""From a network, its data and a seed to a deeper network that computes the same."""


@dataclass(frozen=True)
class Network:
    """A family of networks that differ in width and depth."""

    build: Callable[[Data, float], nn.Module]
    """For the data, with all widths that are to grow times a factor; untrained."""
    deeper: Deepened
    """How much deeper the student of the deeper figure is."""
    deepest: Deepened | None = None
    """The same of the figure in which the standard network grows beyond itself, if it is more."""
    noise: float = 0.02
    """Size of the noise on the copies of Net2WiderNet. Even copies get equal gradients, so without
    noise (or dropout) they would stay copies for ever and the student would gain no capacity."""


def identities(depths: Depths) -> Deepened:
    """Net2DeeperNet: identity layers behind these modules, or blocks, as ``net2net.deepen`` takes
    them. Norms are measured on up to 2,048 training examples."""

    def deepened(model: nn.Module, data: Data, seed: int) -> nn.Module:
        batch, device = min(256, data.size), next(model.parameters()).device
        batches = data.epochs(batch, seed)
        calibrate = [next(batches)[0].to(device) for _ in range(min(8, data.size // batch))]
        grown = net2net.deepen(
            model, depths, data.example.to(device), seed=seed, calibrate=calibrate
        )
        return grown.model

    return deepened


def _convnet(data: Data, width: float) -> nn.Module:
    # Small enough to leave something to gain: on digits, its best accuracy is below its students'.
    return ConvNet([round(4 * width), round(8 * width)], data.example.shape[1], data.classes)


def _inception(data: Data, width: float, *, modules: int, stem: int) -> nn.Module:
    _, channels, size, _ = data.example.shape
    return inception_bn(
        size=size, in_channels=channels, classes=data.classes,
        modules=modules, stem=stem, widths=width,
    )  # fmt: skip


PAIRS = identities({"stages.*.middle.0": 2, "stages.*.long.1": 2})
"""Two more vertical–horizontal pairs wherever one stands."""
ON_TOP = identities({"stages.?.?": (4, lambda channels: pair(channels, channels, 3))})
"""Four pairs on top of every module."""

NETWORKS: dict[str, Network] = {
    "convnet": Network(_convnet, identities({"blocks.*.conv": 1})),
    "inception": Network(partial(_inception, modules=11, stem=16), PAIRS, ON_TOP),
    "inception-4": Network(partial(_inception, modules=4, stem=8), PAIRS, ON_TOP),
    "inception-2": Network(partial(_inception, modules=2, stem=4), PAIRS, ON_TOP),
}


def network(name: str) -> Network:
    """The network of this name, or the one that ``module:attribute`` names.

    Raises:
        UnknownNetworkError: there is none.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    module, _, attribute = name.partition(":")
    if attribute:
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            found = None
        if isinstance(found, Network):
            return found
    raise UnknownNetworkError(
        f"There is no network '{name}'. Give one of {', '.join(NETWORKS)}, or module:attribute "
        "of a net2net.experiments.networks.Network of your own."
    )


def widths_towards(teacher: nn.Module, student: nn.Module) -> dict[str, int]:
    """What ``widen`` has to be told to arrive at the student's widths: those of its layers that
    have more units than the teacher's."""
    wanted = dict(student.named_modules())
    return {
        path: _units(wanted[path])
        for path, layer in teacher.named_modules()
        if _units(layer) != _units(wanted[path])
    }


def _units(layer: nn.Module) -> int:
    """How many units a linear or convolution layer makes; 0 of other modules."""
    for name in ("out_features", "out_channels"):
        if isinstance(getattr(layer, "weight", None), torch.Tensor) and hasattr(layer, name):
            return int(getattr(layer, name))
    return 0
