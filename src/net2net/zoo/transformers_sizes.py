"""Small values for attributes of configurations, by name."""

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
    "out_hidden_size": WIDTH,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "encoder_hidden_dim": WIDTH,
    "hidden_size_global": WIDTH,
    "upsample_groups": WIDTH,
    "num_filters": 8,
    "codebook_size": 32,
    "codebook_dim": 16,
    "vector_quantization_hidden_dimension": 16,
    "num_quantizers": 4,
    "num_groups": 4,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "prediction_length": 4,
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


def _after_first(now: Sequence[int]) -> list[int]:
    """Quarters, but for the channels of the picture."""
    return [now[0], *_quarters(now[1:])]


LISTS: dict[str, Callable[[Sequence[int]], list[int]]] = {
    "depths": _ones,
    "hidden_sizes": _quarters,
    "embed_dims": _quarters,
    "encoder_hidden_sizes": _quarters,
    "encoder_in_channels": _quarters,
    "decoder_in_channels": lambda now: [WIDTH] * len(now),
    "stage_in_channels": _quarters,
    "stage_mid_channels": _quarters,
    "stage_out_channels": _quarters,
    "stem_channels": _after_first,
    "image_size": lambda now: [32] * len(now),
    "patch_size": lambda now: [8] * len(now),
}
"""Attributes that hold a number for every stage: the stages stay, each gets small."""

SPECIAL_TOKENS = {
    name: WORDS - 1 - place
    for place, names in enumerate(
        (
            "image_token_id image_token_index",
            "video_token_id video_token_index",
            "audio_token_id audio_token_index",
            "vision_start_token_id image_start_token_id boi_token_id boi_token_index",
            "vision_end_token_id image_end_token_id eoi_token_id eoi_token_index",
        )
    )
    for name in names.split()
}
"""Words that stand for something else. Those that are not here and that are too large for the
vocabulary become the last but these."""
