"""The families, and which of their models follow each other in size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Pair:
    """A model, and a larger one of the same family."""

    family: str
    small: str
    large: str


FAMILIES: dict[str, str] = {
    "vit": "vit_tiny_patch16_224 vit_small_patch16_224",
    "deit3": "deit3_small_patch16_224 deit3_base_patch16_224",
    "eva02": "eva02_tiny_patch14_224 eva02_small_patch14_224",
    "swin": "swin_tiny_patch4_window7_224 swin_small_patch4_window7_224 "
    "swin_base_patch4_window7_224",
    "swin, twice as wide": "swin_tiny_patch4_window7_224 swin_large_patch4_window7_224",
    "swin_s3": "swin_s3_tiny_224 swin_s3_small_224",
    "convnext": "convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny "
    "convnext_small convnext_base",
    "convnext, twice as wide": "convnext_atto convnext_nano",
    "convnextv2": "convnextv2_atto convnextv2_femto",
    "resnet": "resnet18 resnet34",
    "resnet, bottlenecks": "resnet26 resnet50 resnet101",
    "resnext": "resnext50_32x4d resnext101_32x8d",
    "wide_resnet": "resnet50 wide_resnet50_2",
    "resnetv2": "resnetv2_50 resnetv2_101",
    "resnest": "resnest14d resnest26d",
    "regnetx": "regnetx_002 regnetx_004 regnetx_006 regnetx_008",
    "regnety": "regnety_002 regnety_004 regnety_006 regnety_008 regnety_040",
    "densenet": "densenet121 densenet169 densenet201",
    "densenet, wider": "densenet121 densenet161",
    "dla": "dla34 dla60 dla102",
    "hrnet": "hrnet_w18_small hrnet_w18_small_v2 hrnet_w18 hrnet_w30",
    "vgg": "vgg11 vgg13 vgg16",
    "repvgg": "repvgg_a0 repvgg_a1",
    "mobilenetv2": "mobilenetv2_050 mobilenetv2_100",
    "mobilenetv3, small": "mobilenetv3_small_050 mobilenetv3_small_075 mobilenetv3_small_100",
    "mobilenetv3, large": "mobilenetv3_large_075 mobilenetv3_large_100",
    "mobilenetv3": "mobilenetv3_small_100 mobilenetv3_large_100",
    "efficientnet": "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3",
    "ghostnet": "ghostnet_050 ghostnet_100 ghostnet_130",
    "hardcorenas": "hardcorenas_a hardcorenas_b hardcorenas_c",
    "nfnet": "nfnet_f0 nfnet_f1",
    "levit": "levit_128s levit_128 levit_192 levit_256 levit_384",
    "edgenext": "edgenext_xx_small edgenext_x_small edgenext_small",
    "xcit": "xcit_nano_12_p16_224 xcit_tiny_12_p16_224 xcit_tiny_24_p16_224",
    "xcit, wider": "xcit_tiny_12_p16_224 xcit_small_12_p16_224",
    "mobilevit": "mobilevit_xxs mobilevit_xs mobilevit_s",
    "mobilevitv2": "mobilevitv2_050 mobilevitv2_075 mobilevitv2_100",
    "mobilevitv2, twice as wide": "mobilevitv2_050 mobilevitv2_100",
    "tnt": "tnt_s_patch16_224 tnt_b_patch16_224",
    "pit": "pit_ti_224 pit_xs_224 pit_s_224 pit_b_224",
    "twins_pcpvt": "twins_pcpvt_small twins_pcpvt_base twins_pcpvt_large",
    "twins_svt": "twins_svt_small twins_svt_base twins_svt_large",
    "convmixer": "convmixer_768_32 convmixer_1536_20",
    "mixer": "mixer_s16_224 mixer_b16_224",
    "resmlp": "resmlp_12_224 resmlp_24_224",
    "gmlp": "gmlp_ti16_224 gmlp_s16_224",
    "pvt_v2": "pvt_v2_b0 pvt_v2_b1",
    "poolformer": "poolformer_s12 poolformer_s24",
    "cait": "cait_xxs24_224 cait_xxs36_224",
    "coat_lite": "coat_lite_tiny coat_lite_mini",
    "fastvit": "fastvit_t8 fastvit_t12",
    "nest": "nest_tiny nest_small",
    "mvitv2": "mvitv2_tiny mvitv2_small",
    "focalnet": "focalnet_tiny_srf focalnet_small_srf",
    "davit": "davit_tiny davit_small",
    "inception_next": "inception_next_tiny inception_next_small",
    "efficientformer": "efficientformer_l1 efficientformer_l3",
    "efficientformerv2": "efficientformerv2_s0 efficientformerv2_s1",
}


def pairs() -> list[Pair]:
    """Each model with the next of its family."""
    return [
        Pair(family, small, large)
        for family, names in FAMILIES.items()
        for small, large in pairwise(names.split())
    ]
