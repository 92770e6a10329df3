"""timm: the smallest model of every module, that is of every architecture.

Which one is smallest takes minutes to find, on the ``meta`` device: ``timm_smallest.json`` keeps
the answer, and only modules that it does not know are counted again.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor, nn

from net2net.finish import count_parameters
from net2net_lab.zoo.subject import (
    Entry,
    NotBuiltError,
    Readout,
    Subject,
    first_output,
    private,
    run,
    shorten,
)

LIBRARIES = ("timm", "torchvision")

CLASSES = 10

EDGES = (64, 96, 128, 192, 256)
"""Input sizes that are tried, before the model's own, where a model does not fix it."""


LARGE, BLOCKS = 30_000_000, 4
"""Above so many parameters, only the first blocks of a stack stay: depth repeats them."""


def entries() -> list[Entry]:
    """The smallest model of every module that makes any."""
    import timm

    known = known_smallest()
    found = []
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            name = known.get(module)
            found.append(Entry(module, name if name in names else smallest(names)))
    return found


def known_smallest() -> dict[str, str]:
    """Module → model, as it was counted once."""
    text = files("net2net_lab.zoo").joinpath("timm_smallest.json").read_text(encoding="utf-8")
    known: dict[str, str] = json.loads(text)
    return known


def smallest(names: list[str]) -> str:
    """The name of the model with the fewest parameters, none of which gets any memory."""
    return min(names, key=lambda name: (_parameters(name), name))


def _parameters(name: str) -> float:
    import timm

    try:
        with torch.device("meta"):
            return count_parameters(timm.create_model(name, pretrained=False))
    except Exception:  # a model that reads its weights while it is made, or needs more libraries
        return float("inf")


def build(name: str) -> Subject:
    """A model with random weights, and an input for it."""
    model, note = _model(name).eval(), ""
    stacks = _repeated(model)
    try:
        note = shorten(model, stacks, BLOCKS) if stacks else ""
        images, output = _images(model, model.pretrained_cfg)
    except NotBuiltError:
        if not stacks:
            raise
        model, note = _model(name).eval(), ""  # its blocks are not repetitions of one another
        images, output = _images(model, model.pretrained_cfg)
    key, tensor = first_output(output)
    if key is None and tensor.ndim == 2 and tensor.shape[1] == CLASSES:
        return Subject(model, images, note)
    axis = 1 if tensor.ndim == 4 and tensor.shape[-1] != model.num_features else tensor.ndim - 1
    return Subject(Readout(model, [(key, axis, tensor.shape[axis])]), images, note)


def _model(name: str) -> nn.Module:
    import timm

    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    except TypeError:  # a model without classes
        model = timm.create_model(name, pretrained=False)
    return model


def _repeated(model: nn.Module) -> list[str]:
    """Long stacks of blocks of one class, in a large model; none within another."""
    found: list[str] = []
    if count_parameters(model) <= LARGE:
        return found
    for path, part in model.named_modules():
        if isinstance(part, (nn.Sequential, nn.ModuleList)) and len(part) > BLOCKS:
            alike = len({type(block) for block in part}) == 1
            if alike and not any(path.startswith(outer + ".") for outer in found):
                found.append(path)
    return found


def _images(model: nn.Module, config: Any) -> tuple[Tensor, Any]:
    """Images of the smallest size that the model runs on, and what it returned."""
    channels, *full = config["input_size"]
    own = tuple(full)
    sizes = [own]
    if not config.get("fixed_input_size"):
        sizes = [*((edge, edge) for edge in EDGES if edge < min(own)), own]
    for size in sizes:
        images = torch.randn(2, channels, *size)
        try:
            return images, run(private(model), images)
        except Exception as error:  # too small for a window, a stride or a pooled map
            last = error
    raise NotBuiltError(
        f"it does not run on images of {own}: {type(last).__name__}: {last}"
    ) from last
