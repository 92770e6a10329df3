"""timm: from one size of a family into another that its authors published, reduced in what only
makes it slow. All are tried where ``NET2NET_EVERY_TYPE`` is set; the quickest always."""

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

import net2net
from tests.helpers import noise, randomise


@dataclass(frozen=True)
class Family:
    small: str
    large: str
    pixels: int = 32
    both: dict[str, Any] = field(default_factory=dict)
    only: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


DEEPER = ({"depth": 2}, {"depth": 3})
SWIN = {"img_size": 64, "window_size": 2, "embed_dim": 24}
CONVNEXT = {"dims": (8, 16, 16, 16)}
FAMILIES = {
    "vit": Family(
        "vit_tiny_patch16_224", "vit_small_patch16_224", both={"img_size": 32}, only=DEEPER
    ),
    "deit3": Family(
        "deit3_small_patch16_224", "deit3_base_patch16_224", both={"img_size": 32}, only=DEEPER
    ),
    "eva02": Family(
        "eva02_tiny_patch14_224", "eva02_small_patch14_224", 28, {"img_size": 28}, DEEPER
    ),
    "resmlp": Family("resmlp_12_224", "resmlp_24_224", both={"img_size": 32}),
    "swin": Family(
        "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", 64, SWIN,
        ({"depths": (1, 1, 2, 1)}, {"depths": (2, 2, 4, 2)}),
    ),
    "convnext": Family(
        "convnext_tiny", "convnext_small", 64, CONVNEXT,
        ({"depths": (1, 1, 2, 1)}, {"depths": (1, 1, 4, 1)}),
    ),
    "pvt_v2": Family("pvt_v2_b0", "pvt_v2_b1", 64),
    "poolformer": Family("poolformer_s12", "poolformer_s24", 64),
    "poolformerv2": Family("poolformerv2_s12", "poolformerv2_s24", 64),
    "resnet": Family("resnet18", "resnet34", 64),
    "resnetv2": Family("resnetv2_50", "resnetv2_101", 64),
    "mobilenetv2": Family("mobilenetv2_050", "mobilenetv2_100", 64),
    "efficientnet": Family("efficientnet_b0", "efficientnet_b1", 64),
    "densenet": Family("densenet121", "densenet169", 64),
    "densenet, wider": Family("densenet121", "densenet161", 64),
    "regnetx": Family("regnetx_002", "regnetx_004", 64),
    "resnext": Family("resnext50_32x4d", "resnext101_32x8d", 64),
    "hrnet": Family("hrnet_w18_small", "hrnet_w18_small_v2", 64),
    "nfnet": Family("nfnet_f0", "nfnet_f1", 64),
    "xcit": Family("xcit_tiny_12_p16_224", "xcit_small_12_p16_224", 64),
    "mobilenetv3": Family("mobilenetv3_large_075", "mobilenetv3_large_100", 64),
    "ghostnet": Family("ghostnet_050", "ghostnet_100", 64),
    "repvgg": Family("repvgg_a0", "repvgg_a1", 64),
    "vgg": Family("vgg11_bn", "vgg13_bn", 64),
}  # fmt: skip
EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))


@pytest.mark.parametrize("name", FAMILIES if EVERY else ["eva02"])
def test_from_size_to_size(name: str) -> None:
    timm = pytest.importorskip("timm")
    one = FAMILIES[name]
    teacher, student = (
        timm.create_model(which, num_classes=5, **one.both, **more)
        for which, more in zip((one.small, one.large), one.only, strict=True)
    )
    growth = net2net.transfer(
        randomise(teacher), student.double(), noise(1, 3, one.pixels, one.pixels)
    )
    assert growth.report.parity.max_rel <= 1e-9
    assert type(growth.model) is type(student) and growth.report.rows
