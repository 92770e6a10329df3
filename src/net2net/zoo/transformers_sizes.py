"""Small values for attributes of configurations, by name, and what some model types need beyond."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

WIDTH, BLOCK_WIDTH, HEADS, LAYERS, WORDS = 32, 48, 4, 2, 99


SMALL: dict[str, Any] = {
    **dict.fromkeys("hidden_size n_embd d_model dim word_embed_proj_dim".split(), WIDTH),
    **dict.fromkeys("attention_hidden_size".split(), WIDTH),
    **dict.fromkeys(
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers"
        " num_decoder_layers num_encoder_layers".split(),
        LAYERS,
    ),
    **dict.fromkeys(
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads"
        " decoder_attention_heads".split(),
        HEADS,
    ),
    **dict.fromkeys(
        "intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff hidden_dim n_inner"
        " dim_feedforward".split(),
        BLOCK_WIDTH,
    ),
    **dict.fromkeys("head_dim d_kv attention_head_size query_pre_attn_scalar".split(), 8),
    **dict.fromkeys("max_position_embeddings n_positions n_ctx".split(), 64),
    **dict.fromkeys("moe_intermediate_size shared_expert_intermediate_size".split(), 24),
    **dict.fromkeys("num_experts num_local_experts n_routed_experts".split(), 4),
    **dict.fromkeys("max_source_positions max_target_positions context_length".split(), 32),
    "vocab_size": WORDS,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "embedding_size": 16,
    "projection_dim": 16,
    "image_size": 32,
    "patch_size": 8,
    "num_mel_bins": 16,
    "rotary_dim": 4,
    "state_size": 8,
    "num_queries": 5,
    "sliding_window": 16,
    "global_attn_every_n_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "groups_width": 8,
    "use_cache": False,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
}


def _ones(now: Sequence[int]) -> list[int]:
    return [1] * len(now)


def _quarters(now: Sequence[int]) -> list[int]:
    """A quarter of each: keeps what heads divide, and the order."""
    return [max(8, width // 4) for width in now]


LISTS: dict[str, Callable[[Sequence[int]], list[int]]] = {
    "depths": _ones,
    "hidden_sizes": _quarters,
    "embed_dims": _quarters,
    "encoder_hidden_sizes": _quarters,
}
"""Attributes that hold a number for every stage: the stages stay, each gets small."""

_CONVOLVED = {
    "conv_dim": (16, 16), "conv_stride": (2, 2), "conv_kernel": (3, 3),
    "num_feat_extract_layers": 2,
}  # fmt: skip

_TOWER = {"encoder_hidden_size": WIDTH}

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
    "detr": {"backbone": None, "backbone_config": {
        "model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1], "out_features": ["stage4"],
    }},
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 8, "max_relative_positions": 16,
        "pos_att_type": ["c2p", "p2c"], "share_att_key": True, "norm_rel_ebd": "layer_norm",
    },
    "falcon": {"new_decoder_architecture": False, "multi_query": True, "alibi": False},
    "blip": {"text_config": _TOWER},
}  # fmt: skip
"""By model type: what a structure demands; sub-configurations are nested."""
