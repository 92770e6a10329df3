"""By model type: what a structure demands beyond small values by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from net2net_lab.zoo.transformers_sizes import HEADS, SPECIAL_TOKENS, WIDTH

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

_EFFICIENT = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}

_PICTURE = {"<image>": SPECIAL_TOKENS["image_token_id"]}
_BY_LETTER = {f"IMGIMG{letter}Z": word for word, letter in enumerate("ABCDEFGH", start=3)}
_BY_NUMBER = {f"<|visual token {code:06}|>": word for code, word in enumerate(range(3, 11))}
"""Words that stand for what a picture is coded in, and how their names say which code."""

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

_LCNET = {"stage_out_channels": [96, 96, 192, 384], "stem_channels": [3, 48, 96]}

BACKBONE = {
    "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
}  # fmt: skip
"""Instead of timm's, which have no small sizes."""

_EDGETAM = {
    "backbone_config": {"architecture": "repvit_m1", "num_classes": 2},
    "backbone_channel_list": [384, 192, 96, 48],
    "backbone_feature_sizes": [[8, 8], [4, 4], [2, 2]],
}  # fmt: skip

_PE = {"architecture": "test_vit", "model_args": {"dynamic_img_size": True}}

_PE_BOTH = {
    "audio_config": {"dac_config": {"encoder_hidden_size": 4}},
    "video_config": {"vision_config": _PE},
}

OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {"text_config": _MROPE} for name in _SECTIONED},
    **{f"{name}_text": _MROPE for name in _SECTIONED},
    **{
        name: {"text_config": _MROPE}
        for name in ("glm46v", "glmga", "hunyuan_vl", "paddleocr_vl", "qwen2_5_omni_thinker")
    },
    "align": {"projection_dim": 80, "vision_config": _EFFICIENT},
    "aria": {"projector_patch_to_query_dict": {16: 4}},
    "audio-spectrogram-transformer": {"max_length": 32, "frequency_stride": 8, "time_stride": 8},
    "big_bird": {"attention_type": "original_full"},  # what short inputs get in any case
    "bigbird_pegasus": {"attention_type": "original_full"},
    "blt": {
        "encoder_hash_byte_group_vocab": 97, "global_config": {"encoder_cross_output_size": 64},
    },
    "bridgetower": {
        "hidden_size": 128,
        "text_config": {"hidden_size": 128}, "vision_config": {"hidden_size": 128},
    },
    "bros": {
        "dim_bbox_sinusoid_emb_2d": 32, "dim_bbox_sinusoid_emb_1d": 4, "dim_bbox_projection": 8,
    },
    "chameleon": {
        "vocabulary_map": _PICTURE | _BY_LETTER, "vq_config": {**_VQ, "num_embeddings": 8},
    },
    "clap": {"audio_config": {
        "spec_size": 64, "patch_embeds_hidden_size": 32, "depths": [1, 1],
        "num_attention_heads": [2, 4], "hidden_size": 64,
    }},
    "clvp": {
        "text_config": {"hidden_size": 128}, "speech_config": {"hidden_size": 128},
    },
    "codegen": {"n_head": 8},  # in fours: of four, the nearest to most factors is none more
    "cohere_compass": {"text_config": _FULL_MROPE},
    "cohere_compass_text": _FULL_MROPE,
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
    "convnextv2": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
    "dac": {"encoder_hidden_size": 4},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0, "kv_n_heads": 2}},
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 8, "max_relative_positions": 16,
        "pos_att_type": ["c2p", "p2c"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
    },
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", "sparse"]}},
    "deepseek_v4": {"compress_rates": {
        "compressed_sparse_attention": 2, "heavily_compressed_attention": 4,
    }},
    "depth_pro": {
        "patch_size": 16, "fusion_hidden_size": 16, "intermediate_hook_ids": [1, 0],
        "intermediate_feature_dims": [16, 16], "scaled_images_feature_dims": [16, 16, 8],
        "image_model_config": {"image_size": 16, "patch_size": 4},
        "patch_model_config": {"image_size": 16, "patch_size": 4},
        "fov_model_config": {"image_size": 16, "patch_size": 4},
    },
    "dia": {"delay_pattern": [0, 1, 2], "decoder_config": {"num_channels": 3}},
    "diffllama": {"num_key_value_heads": HEADS},
    "donut-swin": _SWIN,
    "edgetam": {"vision_config": _EDGETAM, "prompt_encoder_config": {"patch_size": 16}},
    "edgetam_vision_model": _EDGETAM,
    "efficientloftr": {
        "hidden_size": 64, "out_features": [16, 16, 32, 64], "stage_num_blocks": [1, 1, 1, 1],
        "num_attention_heads": 8, "num_key_value_heads": 8,
    },
    "efficientnet": _EFFICIENT,
    "emu3": {
        "vocabulary_map": {**_PICTURE, "<|extra_200|>": 80, **_BY_NUMBER},
        "vq_config": {**_VQ, "codebook_size": 8},
    },
    "ernie4_5_vl_moe": {"text_config": {"rope_parameters": {
        "rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2],
    }}},
    "encodec": {"target_bandwidths": [24.0]},  # the least of them reaches few of the codebooks
    "esmc": {"num_key_value_heads": HEADS},
    "falcon": {"new_decoder_architecture": False, "multi_query": True, "alibi": False},
    "fast_vlm": {"vision_config": {
        "architecture": "test_convnext", "hidden_size": 64, "model_args": {},
    }},
    "fastspeech2_conformer_with_hifigan": {"vocoder_config": {"model_in_dim": 16}},
    "fun_asr_nano": {"adaptor_config": {"intermediate_size": 8}},
    "gemma3n": {
        "vision_config": {
            "architecture": "test_resnet", "hidden_size": 96, "vocab_offset": 94,
        },
        "audio_config": {"vocab_offset": 95},
        "vision_soft_tokens_per_image": 1, "audio_soft_tokens_per_image": 4,
    },
    "gemma3n_vision": {"architecture": "test_resnet"},
    "glmasr": {"audio_config": {"intermediate_size": 4 * WIDTH}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite4_vision": {
        "vision_config": {"hidden_size": 128}, "qformer_config": {"encoder_hidden_size": 128},
        "deepstack_layer_map": [[-1, 0]], "downsample_rate": "1/2",
        "spatial_target_layers": [1, 1, 1, 1],
    },
    "granite_speech5_ctc": {"encoder_config": {"num_key_value_heads": HEADS}},
    "granite_speech5_encoder": {"num_key_value_heads": HEADS},
    "hubert": _CONVOLVED,
    "hunyuan_vl_text": _MROPE,
    "kosmos-2": {"latent_query_num": 4},
    "kyutai_speech_to_text": {"num_codebooks": 3, "codebook_vocab_size": 32},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "levit": {"patch_size": 16, "image_size": 64},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lilt": {"hidden_size": 48, "channel_shrink_ratio": 2},
    "lw_detr": {"projector_scale_factors": [1.0], "backbone_config": {
        "model_type": "lw_detr_vit", "num_windows": 4, "out_indices": [2],
        "window_block_indices": [0],
    }},
    "mamba2": {"num_heads": 8, "n_groups": 2, "expand": 2, "chunk_size": 8},
    "maskformer-swin": _SWIN,
    "mistral4": {"head_dim": 16},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "mobilevitv2": {"patch_size": 2, "image_size": 64, "width_multiplier": 0.25},
    "molmo2": {"adapter_config": {"vision_feature_layer": [1, 0]}},
    "moonshine_streaming": {"num_key_value_heads": HEADS},
    "llama4": {"vision_config": {"intermediate_size": 4 * WIDTH}},
    "muse_glimmer": {"out_hidden_size": 128},
    "kimi_k25": {"projection_hidden_size": WIDTH},
    "mllama": {"vision_config": {"vision_output_dim": 2 * WIDTH}},
    "pe_audio": {"audio_config": {"dac_config": {"encoder_hidden_size": 4}}},
    "pe_audio_encoder": {"dac_config": {"encoder_hidden_size": 4}},
    "pe_video": {"video_config": {"vision_config": _PE}},
    "pe_audio_video": {"audio_video_config": _PE_BOTH},
    "pe_audio_video_encoder": _PE_BOTH,
    "muse_spark": {"out_hidden_size": 128},
    "xcodec2": {"quantization_dim": 2 * WIDTH, "num_key_value_heads": HEADS},
    "voxtral": {"audio_config": {"intermediate_size": 4 * WIDTH}},
    "neucodec": {"quantization_dim": 2 * WIDTH, "num_key_value_heads": HEADS},
    "pe_video_encoder": {"vision_config": _PE},
    "perception_lm": {"vision_config": {
        "architecture": "test_vit",
        "model_args": {"embed_dim": WIDTH, "img_size": [32, 32], "global_pool": ""},
    }},
    "pp_doclayout_v3": {"x4_feat_dim": 32, "mask_feature_channels": [16, 16]},
    "pp_ocrv6_small_rec": {"backbone_config": _LCNET},
    "pp_ocrv6_tiny_rec": {"backbone_config": _LCNET},
    "reformer": {
        "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "attn_layers": ["local", "lsh"],
        "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "num_buckets": 2, "hash_seed": 0,
        "attention_head_size": 8, "feed_forward_size": 48,
    },
    "regnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1]},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1]},
    "sam2": _SAM2,
    "sam2_hiera_det_model": _SAM2["vision_config"]["backbone_config"],
    "sam2_vision_model": _SAM2["vision_config"],
    "sam3_tracker": {"vision_config": {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}},
    "segformer": {
        "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [16, 32],
        "num_attention_heads": [2, 4], "patch_sizes": [3, 3], "strides": [2, 2],
        "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
    },
    "seggpt": {"image_size": [64, 32]},
    "squeezebert": {"embedding_size": WIDTH},
    "swin": _SWIN,
    "swin2sr": {"patch_size": 1},
    "swinv2": {**_SWIN, "pretrained_window_sizes": [0, 0]},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "textnet": {"stem_out_channels": 16},
    "timm_backbone": {"backbone": "test_resnet"},
    "timm_wrapper": {"architecture": "test_resnet"},
    "uvdoc": {"backbone_config": {
        "out_features": [f"stage{stage}" for stage in range(1, 7)], "out_indices": [*range(1, 7)],
    }},
    "wav2vec2": _CONVOLVED,
    "xclip": {"vision_config": {"mit_hidden_size": 16, "mit_intermediate_size": 24}},
    "xcodec": {"codebook_dim": 2 * WIDTH},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 3, "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "attention_hidden_size": 2 * WIDTH, "attention_head_dim": 16,
    },
    "zamba2": {"hybrid_layer_ids": [1], "attention_hidden_size": 2 * WIDTH},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
"""Of configurations; sub-configurations are nested."""

FED = {
    "blip_2_qformer": ("query_embeds",),
    "speecht5": ("input_values", "decoder_input_values"),
}
"""Inputs that are the stream already, which other models of theirs make."""

INPUTS: dict[str, dict[str, Callable[[], Any]]] = {
    **{
        name: {
            "pixel_values": lambda: torch.randn(1, 3, 8, 8 * 32),
            "target_sizes": lambda: torch.tensor([[4, 4], [4, 4]]),
        }
        for name in ("minicpm_ocr_vision", "minicpmv4_7_vision")
    },
    **{
        name: {
            "input_features": lambda: torch.randn(2, 12, 7 * 16),
            "input_features_mask": lambda: torch.ones(2, 12, dtype=torch.long),
        }
        for name in ("fun_asr_nano", "fun_asr_nano_encoder")
    },
    **{
        name: {
            "input_features": lambda: torch.randn(2, 16, 200),
            "input_features_mask": lambda: torch.ones(2, 200, dtype=torch.long),
        }
        for name in ("qwen3_asr", "qwen3_asr_encoder")
    },
    **{
        f"pp_ocrv{name}_rec": {"pixel_values": lambda: torch.randn(2, 3, 96, 96)}
        for name in ("5_mobile", "5_server", "6_small", "6_tiny")
    },
    "audio-spectrogram-transformer": {"input_values": lambda: torch.randn(2, 32, 16)},
    "blip_2_qformer": {"encoder_hidden_states": lambda: torch.randn(2, 5, WIDTH)},
    "clap": {"input_features": lambda: torch.randn(2, 1, 64, 16)},
    "clvp": {"input_features": lambda: torch.randn(2, 80, 16)},
    "decision_transformer": {
        "states": lambda: torch.randn(2, 5, 17),
        "actions": lambda: torch.randn(2, 5, 4),
        "rewards": lambda: torch.randn(2, 5, 1),
        "returns_to_go": lambda: torch.randn(2, 5, 1),
        "timesteps": lambda: torch.arange(5).repeat(2, 1),
        "attention_mask": lambda: torch.ones(2, 5, dtype=torch.long),
    },
    "depth_pro": {"pixel_values": lambda: torch.randn(2, 3, 64, 64)},
    "dia": {"decoder_input_ids": lambda: torch.randint(3, 90, (2, 8, 3))},
    "efficientloftr": {"pixel_values": lambda: torch.randn(1, 2, 3, 64, 64)},
    "gemma3n": {
        "input_features": lambda: torch.randn(2, 64, 128),
        "input_features_mask": lambda: torch.ones(2, 64, dtype=torch.bool),
    },
    "gemma3n_audio": {
        "audio_mel": lambda: torch.randn(2, 64, 128),
        "audio_mel_mask": lambda: torch.zeros(2, 64, dtype=torch.bool),
    },
    "gemma4_audio": {"input_features": lambda: torch.randn(2, 64, 128)},
    "gemma4_vision": {
        "pixel_values": lambda: torch.randn(2, 16, 3 * 8 * 8),
        "pixel_position_ids": lambda: torch.cartesian_prod(*2 * [torch.arange(4)]).repeat(2, 1, 1),
    },
    "granite_docling": {
        "pixel_values": lambda: torch.randn(2, 1, 3, 32, 32),
        "pixel_attention_mask": lambda: torch.ones(2, 1, dtype=torch.bool),
    },
    "inkling_mm_model": {"pixel_values": lambda: torch.randn(2, 2, 32, 32, 3)},
    "mllama": {
        "pixel_values": lambda: torch.randn(2, 1, 4, 3, 32, 32),
        "aspect_ratio_ids": lambda: torch.ones(2, 1, dtype=torch.long),
        "aspect_ratio_mask": lambda: torch.ones(2, 1, 4, dtype=torch.long),
    },
    **{
        name: {
            "pixel_values": lambda: torch.randn(2, 2, 3, 32, 32),
            "image_sizes": lambda: torch.tensor([[32, 32], [32, 32]]),
        }
        for name in ("granite4_vision", "llava_next", "llava_next_video", "llava_onevision")
    },
    "idefics": {
        "pixel_values": lambda: torch.randn(2, 1, 3, 32, 32),
        "image_attention_mask": lambda: torch.ones(2, 12, 1, dtype=torch.long),
    },
    "inkling2": {"pixel_values": lambda: torch.randn(32, 16, 16, 3)},
    "inkling2_vision": {"pixel_values": lambda: torch.randn(32, 16, 16, 3)},
    "kosmos-2": {
        "image_embeds_position_mask": lambda: torch.tensor([[0, 1, 1, 1, 1] + [0] * 7] * 2),
    },
    "kyutai_speech_to_text": {"input_ids": lambda: torch.randint(3, 30, (2, 12, 4))},
    **{
        name: {
            "attention_mask": lambda: torch.ones(2, 12, dtype=torch.long),
            "global_attention_mask": lambda: torch.tensor([[1] + [0] * 11] * 2),
        }
        for name in ("led", "longformer")
    },
    "lxmert": {
        "visual_feats": lambda: torch.randn(2, 4, 16),
        "visual_pos": lambda: torch.rand(2, 4, 4),
    },
    "neucodec": {"input_features": lambda: torch.randn(2, 12, 16)},
    "oneformer": {"task_inputs": lambda: torch.randint(3, 90, (2, 77))},
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
    "timesfm": {
        "past_values": lambda: torch.randn(2, 32),
        "past_values_padding": lambda: torch.zeros(2, 32, dtype=torch.long),
        "freq": lambda: torch.zeros(2, 1, dtype=torch.long),
    },
    "pe_audio_video": {
        "input_values": lambda: torch.randn(2, 1, 3840),
        "pixel_values_videos": lambda: torch.randn(2, 4, 3, 32, 32),
    },
    "pe_audio_video_encoder": {
        "input_values": lambda: torch.randn(2, 1, 3840),
        "pixel_values_videos": lambda: torch.randn(2, 4, 3, 32, 32),
    },
    "uvdoc": {"pixel_values": lambda: torch.randn(2, 3, 64, 64)},
    "udop": {"bbox": lambda: torch.rand(2, 12, 4)},
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": lambda: torch.randn(2, WIDTH, 8)},
    "vilt": {"pixel_values": lambda: torch.randn(2, 3, 32, 32)},
    "voxtral_realtime": {"input_ids": lambda: torch.randint(3, 90, (2, 8))},
    "xcodec2": {"input_features": lambda: torch.randn(2, 12, 16)},
}
"""Inputs that no name or shape in the configuration tells."""
