"""By model type: what a structure demands beyond small values by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from net2net.zoo.transformers_sizes import HEADS, SPECIAL_TOKENS, WIDTH

_CONVOLVED = {
    "conv_dim": (16, 16), "conv_stride": (2, 2), "conv_kernel": (3, 3),
    "num_feat_extract_layers": 2,
}  # fmt: skip

_MROPE = {"rope_parameters": {
    "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1],
    "partial_rotary_factor": 1.0,
}}  # fmt: skip
_SECTIONED = "qwen2_vl", "qwen2_5_vl", "glm4v", "glm4v_moe", "glm_ocr", "glm_image"
"""Their code has sections of its own if the configuration has none."""

_TOWER = {"encoder_hidden_size": WIDTH}

_EFFICIENT = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}

_PICTURE_WORDS = {"<image>": SPECIAL_TOKENS["image_token_id"], "<|extra_200|>": 80} | {
    f"IMGIMGBS{letter}Z": number for number, letter in enumerate("ABCDEFGH", start=3)
}

_FULL_MROPE = {"rope_parameters": {"full_attention": _MROPE["rope_parameters"]}}

_VQ = {
    "base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "embed_dim": 8,
    "latent_channels": 8, "resolution": 32,
}  # fmt: skip

_SWIN = {
    "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 2, "patch_size": 4,
}  # fmt: skip

_SAM2: dict[str, Any] = {
    "vision_config": {
        "backbone_config": {
            "hidden_size": 24,
            "num_attention_heads": 1,
            "window_size_per_stage": [2, 2, 2, 2],
        },
        "backbone_feature_sizes": [[8, 8], [4, 4], [2, 2]],
    },
    "prompt_encoder_config": {"patch_size": 16},
}

OVERRIDES: dict[str, dict[str, Any]] = {
    "swin": _SWIN,
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
    "glm46v": {"text_config": _MROPE},
    "glmga": {"text_config": _MROPE},
    "hunyuan_vl": {"text_config": _MROPE},
    "hunyuan_vl_text": _MROPE,
    "ernie4_5_vl_moe": {"text_config": _MROPE},
    "mistral4": {"head_dim": 16},
    "moonshine_streaming": {"num_key_value_heads": HEADS},
    "dbrx": {"attn_config": {"rope_theta": 1e4}},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "kosmos-2": {"latent_query_num": 4},
    "kyutai_speech_to_text": {"num_codebooks": 3, "codebook_vocab_size": 32},
    "levit": {"patch_size": 16, "image_size": 64},
    "mobilevitv2": {"patch_size": 2},
    "seggpt": {"image_size": [64, 32]},
    "textnet": {"stem_out_channels": 16},
    "xmod": {"default_language": "en_XX"},
    "lw_detr": {"backbone_config": {
        "model_type": "lw_detr_vit", "num_windows": 4, "out_indices": [2],
        "window_block_indices": [0],
    }},
    "granite4_vision": {
        "deepstack_layer_map": [[-1, 0]], "downsample_rate": "1/2",
        "spatial_target_layers": [1, 1, 1, 1],
    },
    **{
        name: {part: {"architecture": "test_vit", "model_args": {"dynamic_img_size": True}}}
        for name, part in (("pe_video_encoder", "vision_config"),)
    },
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
    "lilt": {"hidden_size": 48, "channel_shrink_ratio": 2},
    "bros": {
        "dim_bbox_sinusoid_emb_2d": 32, "dim_bbox_sinusoid_emb_1d": 4, "dim_bbox_projection": 8,
    },
    "chameleon": {"vocabulary_map": _PICTURE_WORDS, "vq_config": {**_VQ, "num_embeddings": 8}},
    "emu3": {"vocabulary_map": _PICTURE_WORDS, "vq_config": {**_VQ, "codebook_size": 8}},
    "audio-spectrogram-transformer": {"max_length": 32, "frequency_stride": 8, "time_stride": 8},
    "clap": {"audio_config": {
        "spec_size": 64, "patch_embeds_hidden_size": 32, "depths": [1, 1],
        "num_attention_heads": [2, 4],
    }},
    "cohere_compass": {"text_config": _FULL_MROPE},
    "cohere_compass_text": _FULL_MROPE,
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", "sparse"]}},
    "depth_pro": {
        "patch_size": 16, "fusion_hidden_size": 16, "intermediate_hook_ids": [1, 0],
        "intermediate_feature_dims": [16, 16], "scaled_images_feature_dims": [16, 16, 8],
        "image_model_config": {"image_size": 16, "patch_size": 4},
        "patch_model_config": {"image_size": 16, "patch_size": 4},
        "fov_model_config": {"image_size": 16, "patch_size": 4},
    },
    "dia": {"delay_pattern": [0, 1, 2], "decoder_config": {"num_channels": 3}},
    "esmc": {"num_key_value_heads": HEADS},
    "timm_wrapper": {"architecture": "test_resnet"},
    "timm_backbone": {"backbone": "test_resnet"},
    "fast_vlm": {"vision_config": {
        "architecture": "test_convnext", "hidden_size": 64, "model_args": {},
    }},
    "zamba2": {"hybrid_layer_ids": [1]},
    "zaya": {"num_experts_per_tok": 1},
    "squeezebert": {"embedding_size": WIDTH},
    "donut-swin": _SWIN,
    "maskformer-swin": _SWIN,
    "swinv2": {**_SWIN, "pretrained_window_sizes": [0, 0]},
    "swin2sr": {"patch_size": 1},
    "dac": {"encoder_hidden_size": 4},
    "sam2": _SAM2,
    "sam2_vision_model": _SAM2["vision_config"],
    "sam2_hiera_det_model": _SAM2["vision_config"]["backbone_config"],
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "blip": {"text_config": _TOWER},
}  # fmt: skip
"""Of configurations; sub-configurations are nested."""

INPUTS: dict[str, dict[str, Callable[[], Any]]] = {
    "audio-spectrogram-transformer": {"input_values": lambda: torch.randn(2, 32, 16)},
    "clap": {"input_features": lambda: torch.randn(2, 1, 64, 16)},
    "clvp": {"input_features": lambda: torch.randn(2, 80, 16)},
    "blip_2_qformer": {"encoder_hidden_states": lambda: torch.randn(2, 5, WIDTH)},
    "decision_transformer": {
        "states": lambda: torch.randn(2, 5, 17),
        "actions": lambda: torch.randn(2, 5, 4),
        "rewards": lambda: torch.randn(2, 5, 1),
        "returns_to_go": lambda: torch.randn(2, 5, 1),
        "timesteps": lambda: torch.arange(5).repeat(2, 1),
        "attention_mask": lambda: torch.ones(2, 5, dtype=torch.long),
    },
    "inkling2_vision": {"pixel_values": lambda: torch.randn(2 * 16 * 64, 3)},
    "inkling2": {"pixel_values": lambda: torch.randn(2 * 16 * 64, 3)},
    "kosmos-2": {
        "image_embeds_position_mask": lambda: torch.tensor([[0, 1, 1, 1, 1] + [0] * 7] * 2),
    },
    "kyutai_speech_to_text": {"input_ids": lambda: torch.randint(3, 30, (2, 12, 4))},
    "lightglue": {"pixel_values": lambda: torch.randn(1, 2, 3, 64, 64)},
    "efficientloftr": {"pixel_values": lambda: torch.randn(1, 2, 3, 64, 64)},
    "lxmert": {
        "visual_feats": lambda: torch.randn(2, 4, 16),
        "visual_pos": lambda: torch.rand(2, 4, 4),
    },
    "oneformer": {"task_inputs": lambda: torch.randint(3, 90, (2, 77))},
    "omdet-turbo": {
        "classes_input_ids": lambda: torch.randint(3, 90, (4, 5)),
        "classes_attention_mask": lambda: torch.ones(4, 5, dtype=torch.long),
        "tasks_input_ids": lambda: torch.randint(3, 90, (2, 5)),
        "tasks_attention_mask": lambda: torch.ones(2, 5, dtype=torch.long),
        "classes_structure": lambda: torch.tensor([2, 2]),
    },
    "muse_glimmer_assistant": {
        "noise_embeds": lambda: torch.randn(2, 16, WIDTH),
        "context_hidden_states": lambda: torch.randn(2, 12, 5 * WIDTH),
    },
    "perceiver": {"inputs": lambda: torch.randn(2, 12, WIDTH)},
    "seggpt": {
        "pixel_values": lambda: torch.randn(2, 3, 32, 32),
        "prompt_pixel_values": lambda: torch.randn(2, 3, 32, 32),
        "prompt_masks": lambda: torch.randn(2, 3, 32, 32),
    },
    "speecht5": {
        "input_values": lambda: torch.randn(2, 12, WIDTH),
        "decoder_input_values": lambda: torch.randn(2, 8, WIDTH),
    },
    "vilt": {"pixel_values": lambda: torch.randn(2, 3, 32, 32)},
    "dia": {"decoder_input_ids": lambda: torch.randint(3, 90, (2, 8, 3))},
    "gemma3n_audio": {
        "audio_mel": lambda: torch.randn(2, 64, 128),
        "audio_mel_mask": lambda: torch.zeros(2, 64, dtype=torch.bool),
    },
}
"""Inputs that no name or shape in the configuration tells."""
