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
from net2net.deepen.made import Depths
from net2net.errors import Net2NetError
from net2net_lab.experiments import keras_mnist
from net2net_lab.experiments.data.data import Data, DataError
from net2net_lab.experiments.gpt import GPT
from net2net_lab.experiments.models import ConvNet, seeded
from net2net_lab.models import inception_bn, pair

NARROW, WIDE = 0.3**0.5, 2**0.5
"""The paper's factors: of its narrow teachers' widths, and of its students' beyond the standard."""


class UnknownNetworkError(Net2NetError):
    """No network of this name."""


Deepened = Callable[[nn.Module, Data, int], nn.Module]
"""From a network, its data and a seed to a deeper network that computes the same."""


@dataclass(frozen=True)
class Network:
    """A family of networks that differ in width and depth."""

    build: Callable[[Data, float], nn.Module]
    """For the data, with all widths that are to grow times a factor, or the nearest that it can
    have; untrained."""
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
        batch = min(256, data.size)
        batches = data.epochs(batch, seed)
        calibrate = [next(batches)[0] for _ in range(min(8, data.size // batch))]
        return net2net.deepen(model, depths, data.example, seed=seed, calibrate=calibrate).model

    return deepened


HEAD = 32
"""Features of each of the GPT's attention heads."""


def _more_blocks(model: nn.Module, data: Data, seed: int) -> nn.Module:
    """Twice the blocks, half of them new: identity layers find no place inside, as none is one
    before a GELU."""
    assert isinstance(model, GPT)
    classes, width = model.head.weight.shape
    context, blocks = len(model.positions.weight), 2 * len(model.blocks)
    larger = seeded(lambda: GPT(classes, context, width, width // HEAD, blocks), seed)
    return net2net.transfer(model, larger, data.example, method="replicate", seed=seed).model


def _convnet(data: Data, width: float) -> nn.Module:
    # Small enough to leave something to gain: on digits, its best accuracy is below its students'.
    return ConvNet([round(4 * width), round(8 * width)], _image(data)[0], data.classes)


def _inception(data: Data, width: float, *, modules: int, stem: int) -> nn.Module:
    channels, size, _ = _image(data)
    return inception_bn(
        size=size, in_channels=channels, classes=data.classes,
        modules=modules, stem=stem, widths=width,
    )  # fmt: skip


def _gpt(data: Data, width: float) -> nn.Module:
    if data.example.dim() != 2:
        raise DataError("These data are no texts. Give --model the name of a network for images.")
    # LayerNorms grow by whole multiples, so these are the paper's factors here.
    heads = round(4 * {NARROW: 0.5, WIDE: 2.0}.get(width, width))
    return GPT(data.classes, data.example.shape[1], HEAD * heads, heads)


def _keras(data: Data, width: float) -> nn.Module:
    if _image(data) != (1, 28, 28):
        raise DataError("Keras's example has grey images of 28 pixels. Give another --model.")
    return keras_mnist.network(round(64 * width), classes=data.classes)


def _image(data: Data) -> torch.Size:
    """Channels, height, width."""
    if data.example.dim() != 4:
        raise DataError("These data are no images. Give --model the name of a network for texts.")
    return data.example.shape[1:]


PAIRS = identities({"stages.*.middle.0": 2, "stages.*.long.1": 2})
"""Two more vertical–horizontal pairs wherever one stands."""
ON_TOP = identities({"stages.?.?": (4, lambda channels: pair(channels, channels, 3))})
"""Four pairs on top of every module."""

NETWORKS: dict[str, Network] = {
    "convnet": Network(_convnet, identities({"blocks.*.conv": 1})),
    "inception": Network(partial(_inception, modules=11, stem=16), PAIRS, ON_TOP),
    "inception-4": Network(partial(_inception, modules=4, stem=8), PAIRS, ON_TOP),
    "gpt": Network(_gpt, _more_blocks),
    "keras": Network(_keras, identities(keras_mnist.DEEPER), noise=keras_mnist.NOISE),
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
        "of a net2net_lab.experiments.networks.Network of your own."
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
