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
    "codebook_dim": WIDTH,
    "vector_quantization_hidden_dimension": WIDTH,
    "num_quantizers": 4,
    "num_groups": 4,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "prediction_length": 4,
    "num_frames": 4,
    "frames_per_clip": 4,
    "crop_size": 32,
    "audio_hidden_size": WIDTH,
    "condition_dim": WIDTH,
    "text_hidden_size": WIDTH,
    "layers": LAYERS,
    "attention_heads": HEADS,
    "num_experts_per_token": 2,
    "num_expert_group": 2,
    "moe_topk": 2,
    "moe_top_k": 2,
    "moe_k": 2,
    "moe_num_experts": 4,
    "zero_expert_num": 2,
    "ffn_hidden_size": BLOCK_WIDTH,
    "expert_ffn_hidden_size": 24,
    "d_latents": WIDTH,
    "num_latents": 8,
    "num_self_attends_per_block": LAYERS,
    "num_self_attention_heads": HEADS,
    "num_cross_attention_heads": HEADS,
    "visual_feat_dim": 16,
    "l_layers": 1,
    "x_layers": 1,
    "r_layers": 1,
    "base_channels": 32,
    "latent_channels": 32,
    "num_embeddings": 16,
    "num_res_blocks": 1,
    "feature_projection_input_dim": 16,
    "input_feat_per_channel": 16,
    "conv_channels": WIDTH,
    "depth": LAYERS,
    "embed_dim": WIDTH,
    "emb_dim": WIDTH,
    "window_size": 2,
    "n_shared_experts": 1,
    "top_k_experts": 2,
    "index_head_dim": 8,
    "index_n_heads": HEADS,
    "index_topk": 4,
    "output_channels": WIDTH,
    "mlp_dim": BLOCK_WIDTH,
    "fpn_hidden_size": WIDTH,
    "num_pos_feats": WIDTH // 2,
    "iou_head_hidden_dim": 16,
    "image_embedding_size": 4,
    "adapter_in_dim": WIDTH,
    "adapter_out_dim": WIDTH,
    "adapter_input_size": WIDTH,
    "encoder_hidden_size": WIDTH,
    "cross_hidden_size": WIDTH,
    "cross_head_dim": 8,
    "cross_num_attention_heads": HEADS,
    "cross_num_key_value_heads": 2,
    "num_kv_shared_layers": 0,
    "vocab_size_per_layer_input": WORDS,
    "hidden_size_per_layer_input": 8,
    "entity_vocab_size": WORDS,
    "entity_emb_size": 16,
    "context_size": 16,
    "upsample_initial_channel": 32,
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


def _heads(now: Sequence[int]) -> list[int]:
    """Two in the first stage, and in proportion later."""
    return [2 * heads // now[0] for heads in now]


def _after_first(now: Sequence[int]) -> list[int]:
    """Quarters, but for the channels of the picture."""
    return [now[0], *_quarters(now[1:])]


LISTS: dict[str, Callable[[Sequence[int]], list[int]]] = {
    "depths": _ones,
    "hidden_sizes": _quarters,
    "channel_multiplier": lambda now: [1, 1],
    "tubelet_size": lambda now: [2, 8, 8],
    "num_heads": _heads,
    "num_attention_heads": _heads,
    "num_attention_heads_per_stage": _heads,
    "embed_dim": _quarters,
    "embed_dim_per_stage": _quarters,
    "backbone_channel_list": _quarters,
    "blocks_per_stage": _ones,
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
