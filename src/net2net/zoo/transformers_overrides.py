"""By model type: what a structure demands beyond small values by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from net2net.zoo.transformers_sizes import SPECIAL_TOKENS, WIDTH

_CONVOLVED = {
    "conv_dim": (16, 16), "conv_stride": (2, 2), "conv_kernel": (3, 3),
    "num_feat_extract_layers": 2,
}  # fmt: skip

_MROPE = {"rope_parameters": {
    "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1],
}}  # fmt: skip
_SECTIONED = "qwen2_vl", "qwen2_5_vl", "glm4v", "glm4v_moe", "glm_ocr", "glm_image"
"""Their code has sections of its own if the configuration has none."""

_TOWER = {"encoder_hidden_size": WIDTH}

_EFFICIENT = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}

_PICTURE_WORDS = {"<image>": SPECIAL_TOKENS["image_token_id"], "<|extra_200|>": 80} | {
    f"IMGIMGBS{letter}Z": number for number, letter in enumerate("ABCDEFGH", start=3)
}

OVERRIDES: dict[str, dict[str, Any]] = {
    "swin": {
        "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 2, "patch_size": 4,
    },
    "segformer": {
        "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [16, 32],
        "num_attention_heads": [2, 4], "patch_sizes": [3, 3], "strides": [2, 2],
        "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
    },
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
    "convnextv2": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1]},
    "regnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1]},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "wav2vec2": _CONVOLVED,
    "hubert": _CONVOLVED,
    "mamba2": {"num_heads": 8, "n_groups": 2, "expand": 2, "chunk_size": 8},
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 8, "max_relative_positions": 16,
        "pos_att_type": ["c2p", "p2c"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
    },
    "falcon": {"new_decoder_architecture": False, "multi_query": True, "alibi": False},
    **{name: {"text_config": _MROPE} for name in _SECTIONED},
    **{f"{name}_text": _MROPE for name in _SECTIONED},
    "align": {"projection_dim": 80, "vision_config": _EFFICIENT},
    "efficientnet": _EFFICIENT,
    "bridgetower": {
        "hidden_size": 128,
        "text_config": {"hidden_size": 128}, "vision_config": {"hidden_size": 128},
    },
    "blt": {
        "encoder_hash_byte_group_vocab": 97, "global_config": {"encoder_cross_output_size": 64},
    },
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "lilt": {"channel_shrink_ratio": 2},
    "bros": {
        "dim_bbox_sinusoid_emb_2d": 32, "dim_bbox_sinusoid_emb_1d": 4, "dim_bbox_projection": 8,
    },
    "chameleon": {"vocabulary_map": _PICTURE_WORDS},
    "emu3": {"vocabulary_map": _PICTURE_WORDS},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "blip": {"text_config": _TOWER},
}  # fmt: skip
"""Of configurations; sub-configurations are nested."""

INPUTS: dict[str, dict[str, Callable[[], Any]]] = {}
"""Inputs that no name or shape in the configuration tells."""
