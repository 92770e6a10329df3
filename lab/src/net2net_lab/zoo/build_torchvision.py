"""torchvision: all its models, without quantised ones, at the smallest input that each takes."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from net2net.trace.trace import Inputs
from net2net_lab.zoo.subject import Entry, Readout, Subject, run, shorten

LIBRARIES = ("torchvision",)

CLASSES = 10

SIZES = {
    r"inception_v3": 299,  # the auxiliary head's windows
    r"maxvit_t": 224,  # partitions of 7 at each of five scales
    r"swin": 112,
    r"ssd300": 300,
    r"ssdlite320": 320,
    r"raft": 128,
    r"s3d|mvit": 224,
    r"vit_h_14": 56,
}
"""Pixels along an edge, by pattern; 64 for all others."""

OPTIONS: dict[str, dict[str, Any]] = {
    r"googlenet|inception_v3": {"init_weights": False},  # a slow draw of what is drawn again here
    r"vit_h_14": {"image_size": 56},
    r"vit": {"image_size": 64},
}

STACKS = {
    r"vit_(l|h)": (("encoder.layers",), 4),
    r"regnet_y_128gf": (tuple(f"trunk_output.block{i}" for i in (1, 2, 3, 4)), 1),
}
"""Where a float64 student of the whole depth would not fit: stacks of blocks, and how many stay."""


def entries() -> list[Entry]:
    """All models, by the part of the library they are in."""
    return [Entry(group, name) for group, names in _groups().items() for name in names]


def _groups() -> dict[str, list[str]]:
    import torchvision  # type: ignore[import-untyped]

    models = torchvision.models
    parts: dict[str, ModuleType] = {
        "classification": models,
        "segmentation": models.segmentation,
        "video": models.video,
        "optical flow": models.optical_flow,
        "detection backbone": models.detection,
    }
    return {group: models.list_models(module=part) for group, part in parts.items()}


def build(name: str) -> Subject:
    """A model with random weights, and an input for it."""
    from torchvision.models import get_model  # type: ignore[import-untyped]

    group = next(group for group, names in _groups().items() if name in names)
    options = dict(_matching(OPTIONS, name) or {})
    if group != "optical flow":
        options["num_classes"] = CLASSES
    if group in ("segmentation", "detection backbone"):
        options["weights_backbone"] = None
    model = get_model(name, weights=None, **options)
    stacks = _matching(STACKS, name)
    note = shorten(model, *stacks) if stacks else ""
    inputs = _inputs(group, _matching(SIZES, name) or 64, 16 if re.match("s3d|mvit", name) else 8)
    if group == "detection backbone":
        maps = run(model.backbone, inputs)
        reads = [(key, 1, features.shape[1]) for key, features in maps.items()]
        return Subject(Readout(model.backbone, reads), inputs, note)
    return Subject(model, inputs, note)


def _matching(table: dict[str, Any], name: str) -> Any:
    return next((value for pattern, value in table.items() if re.match(pattern, name)), None)


def _inputs(group: str, size: int, frames: int) -> Inputs:
    def images(*leading: int) -> Tensor:
        return torch.randn(2, 3, *leading, size, size)

    if group == "optical flow":
        return {"image1": images(), "image2": images(), "num_flow_updates": 2}
    return images(frames) if group == "video" else images()
