"""A layer becomes two, one behind the other, whose product it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from net2net.identity.blocks import ACTIVATIONS, LAYERS


@dataclass(frozen=True)
class SplitLayer:
    """A linear or convolution layer becomes a ``Sequential`` of two of its kind.

    The first makes the inner units with the layer's kernel, stride and padding, and has no bias;
    the second reads them position by position, and has the layer's bias.

    Attributes:
        at: its path.
        inner: how many units are between them.
        activation: the operation between them (``relu``), or nothing.
    """

    at: str
    inner: int
    activation: str = ""

    @property
    def first(self) -> str:
        """The path of the layer that makes the inner units."""
        return f"{self.at}.0"

    @property
    def second(self) -> str:
        """The path of the layer that reads them."""
        return f"{self.at}.{2 if self.activation else 1}"

    def renamed(self, name: str) -> str:
        """The name in the student of what was named so before: its bias goes on."""
        return f"{self.second}.bias" if name == f"{self.at}.bias" else name


def split(student: nn.Module, edit: SplitLayer) -> None:
    """Put two layers, whose weights are on ``meta``, wherever the student has the one.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: the edit does not fit the student.
    """
    layer: Any = student.get_submodule(edit.at)
    made = two_layers(layer, edit)
    for part in list(student.modules()):
        part._modules.update({name: made for name, one in part._modules.items() if one is layer})


def two_layers(layer: Any, edit: SplitLayer) -> nn.Sequential:
    """The layers on ``meta``, with the bias of the layer itself.

    Raises:
        ValueError: it is no such layer.
    """
    if not isinstance(layer, LAYERS):
        raise ValueError(f"{type(layer).__name__} is no linear or convolution layer")
    options: dict[str, Any] = {"bias": False, "device": "meta", "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        first: Any = nn.Linear(layer.in_features, edit.inner, **options)
        second: Any = nn.Linear(edit.inner, layer.out_features, **options)
    else:
        kind: Any = next(kind for kind in LAYERS if isinstance(layer, kind))  # not a user's class
        options["groups"] = layer.groups
        first = kind(
            layer.in_channels, edit.inner, layer.kernel_size, layer.stride, layer.padding,
            layer.dilation, padding_mode=layer.padding_mode, **options,
        )  # fmt: skip
        second = kind(edit.inner, layer.out_channels, 1, **options)
    second.bias = layer.bias
    for one in (first, second):
        one.weight.requires_grad_(layer.weight.requires_grad)
    between = [ACTIVATIONS[edit.activation]()] if edit.activation else []
    return nn.Sequential(first, *between, second).train(layer.training)
