"""Small values for attributes of configurations, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

WIDTH, BLOCK_WIDTH, HEADS, LAYERS, WORDS = 32, 48, 4, 2, 99


_BY_SIZE: tuple[tuple[Any, str], ...] = (
    # widths
    (WIDTH, """
        hidden_size n_embd d_model dim word_embed_proj_dim attention_hidden_size embed_dim emb_dim
        out_hidden_size output_dim hidden_size_global projector_hidden_size
        encoder_hidden_size encoder_hidden_dim decoder_hidden_size cross_hidden_size
        vit_dim vision_output_dim projector_input_dim projector_output_dim mm_hidden_size
        text_hidden_size audio_hidden_size condition_dim pred_hidden_size d_latents
        output_channels fpn_hidden_size conv_channels base_channels latent_channels
        adapter_in_dim adapter_out_dim adapter_input_size upsample_groups upsample_initial_channel
        codebook_dim codebook_size vector_quantization_hidden_dimension
    """),
    (BLOCK_WIDTH, """
        intermediate_size ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff hidden_dim n_inner
        dim_feedforward ffn_hidden_size mlp_dim encoder_linear_units decoder_linear_units
    """),
    (24, """
        moe_intermediate_size shared_expert_intermediate_size expert_ffn_hidden_size q_lora_rank
    """),
    (16, """
        embedding_size entity_emb_size projection_dim kv_lora_rank num_pos_feats visual_feat_dim
        iou_head_hidden_dim feature_projection_input_dim input_feat_per_channel num_mel_bins
        speech_decoder_postnet_units duration_predictor_channels energy_predictor_channels
        pitch_predictor_channels
    """),
    (8, "downsample_hidden_size hidden_size_per_layer_input num_filters groups_width"),
    # heads
    (HEADS, """
        num_attention_heads n_head n_heads num_heads attention_heads encoder_attention_heads
        decoder_attention_heads cross_num_attention_heads pred_num_attention_heads
        conf_num_attention_heads num_self_attention_heads num_cross_attention_heads
        index_n_heads indexer_n_heads linear_num_heads linear_num_value_heads
        swa_num_attention_heads
    """),
    (2, """
        num_key_value_heads swa_num_key_value_heads cross_num_key_value_heads linear_num_key_heads
    """),
    (1, "indexer_kv_heads"),
    (8, """
        head_dim d_kv attention_head_size query_pre_attn_scalar cross_head_dim v_head_dim
        swa_head_dim linear_head_dim linear_key_head_dim linear_value_head_dim
        qk_nope_head_dim qk_rope_head_dim index_head_dim indexer_head_dim
    """),
    (4, "rotary_dim"),
    # state spaces
    (64, "mamba_d_ssm"),
    (8, "state_size mamba_n_heads mamba_d_head mamba_d_state mamba_chunk_size chunk_size"),
    # layers
    (LAYERS, """
        num_hidden_layers n_layer n_layers num_layers layers depth encoder_layers decoder_layers
        num_encoder_layers num_decoder_layers pred_num_hidden_layers conf_num_hidden_layers
        num_self_attends_per_block global_attn_every_n_layers
    """),
    (1, "l_layers x_layers r_layers num_res_blocks first_k_dense_replace"),
    (0, "num_kv_shared_layers"),
    # experts
    (4, "num_experts num_local_experts n_routed_experts moe_num_experts"),
    (2, """
        num_experts_per_tok num_experts_per_token top_k_experts moe_topk moe_top_k moe_k
        zero_expert_num n_group num_expert_group
    """),
    (1, "n_shared_experts topk_group"),
    # lengths
    (64, "max_position_embeddings n_positions n_ctx"),
    (32, "max_source_positions max_target_positions context_length"),
    (16, "sliding_window context_size num_position_embeddings"),
    (8, "num_latents indexer_budget"),
    (5, "num_queries"),
    (4, """
        num_frames frames_per_clip prediction_length image_embedding_size index_topk
        num_conv_pos_embeddings mm_tokens_per_image
    """),
    (2, "window_size indexer_compress_ratio index_kpool num_conv_pos_embedding_groups"),
    # pictures
    (32, "image_size crop_size"),
    (8, "patch_size"),
    # words and codes
    (WORDS, """
        vocab_size vocab_size_per_layer_input entity_vocab_size num_bpe_labels num_wordpiece_labels
    """),
    (16, "num_embeddings"),
    (4, "num_quantizers num_codebooks num_groups"),
    (2, "type_vocab_size eos_token_id"),
    (1, "bos_token_id decoder_start_token_id"),
    (0, "pad_token_id"),
    (False, "use_cache use_timm_backbone use_pretrained_backbone"),
)  # fmt: skip

SMALL: dict[str, Any] = {name: value for value, names in _BY_SIZE for name in names.split()}


def _ones(now: Sequence[int]) -> list[int]:
    return [1] * len(now)


def _quarters(now: Sequence[int]) -> list[int]:
    """A quarter of each: keeps what heads divide, and the order."""
    return [max(8, width // 4) for width in now]


def _heads(now: Sequence[int]) -> list[int]:
    """Two in the first stage, and in proportion later."""
    return [2 * heads // now[0] for heads in now]


def _at_most_eight(now: Sequence[int]) -> list[int]:
    return [min(size, 8) for size in now]


def _after_first(now: Sequence[int]) -> list[int]:
    """Quarters, but for the channels of the picture."""
    return [now[0], *_quarters(now[1:])]


LISTS: dict[str, Callable[[Sequence[int]], list[Any]]] = {
    "depths": _ones,
    "vision_feature_layer": lambda now: [-2, -1],
    "downsample_channels": lambda now: [16, WIDTH],
    "intermediate_layers_indices": lambda now: [0],
    "image_grid_pinpoints": lambda now: [[32, 32]],
    "hidden_sizes": _quarters,
    "sscp_conv_channel_size": lambda now: [8, 4],
    "global_attn_indexes": lambda now: [LAYERS - 1],
    "channel_multiplier": lambda now: [1, 1],
    "tubelet_size": _at_most_eight,
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
    "patch_size": _at_most_eight,
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
