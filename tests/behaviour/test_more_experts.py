"""Models of transformers into the same with twice the experts, which their code runs one by one.
All are tried where ``NET2NET_EVERY_TYPE`` is set; DeepSeek, whose router chooses among groups
first, always."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import nn

import net2net
from net2net import TransferError
from tests.helpers import randomise, refused, tokens

SIZES = {
    "vocab_size": 40, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
QWEN = {"moe_intermediate_size": 8, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}
GROUPED = {
    "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 3,
    "moe_intermediate_size": 8, "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
LATENT = {
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "v_head_dim": 4,
}  # fmt: skip
T5 = {
    "d_model": 16, "d_ff": 12, "d_kv": 8, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
    "num_experts": 3, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1,
}  # fmt: skip
WIDER = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4}
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "deepseek_v3": ("DeepseekV3ForCausalLM", GROUPED | LATENT, WIDER | {"num_hidden_layers": 3}),
    "deepseek_v3, weights that add up to less": (
        "DeepseekV3ForCausalLM", GROUPED | LATENT | {"norm_topk_prob": False}, {},
    ),
    "deepseek_v2": (
        "DeepseekV2ForCausalLM", GROUPED | LATENT | {"topk_method": "group_limited_greedy"}, {},
    ),
    "mixtral": ("MixtralForCausalLM", LOCAL, WIDER | {"num_hidden_layers": 3}),
    "gpt_oss": ("GptOssForCausalLM", LOCAL | {"head_dim": 8}, {}),
    "granitemoe": ("GraniteMoeForCausalLM", LOCAL, {}),
    "minimax_m2": ("MiniMaxM2ForCausalLM", LOCAL | {"head_dim": 8}, {}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", QWEN | {"shared_expert_intermediate_size": 8}, {}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", QWEN | {"norm_topk_prob": True}, {}),
    "qwen3_moe, of all": ("Qwen3MoeForCausalLM", QWEN | {"norm_topk_prob": False}, {}),
    "olmoe": ("OlmoeForCausalLM", {"num_experts": 4, "num_experts_per_tok": 2}, {}),
    "ernie4_5_moe": (
        "Ernie4_5_MoeForCausalLM",
        {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 8, "head_dim": 8}, {},
    ),
    "glm4_moe": ("Glm4MoeForCausalLM", GROUPED | {"head_dim": 8}, {}),
    "switch_transformers": ("SwitchTransformersForConditionalGeneration", T5, {}),
}  # fmt: skip
COUNTS = {
    "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", "moe_k",
    "num_experts_per_tok", "n_group", "topk_group",
}  # fmt: skip
EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))


def build(name: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, MODELS[name][0])
    torch.manual_seed(0)
    model = kind(kind.config_class(**SIZES | MODELS[name][1]))
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # of grouped products torch has no float64
    model = randomise(model)
    for key, buffer in model.named_buffers():
        if "correction" in key:
            buffer.copy_(torch.randn_like(buffer) * 0.1)
    return model


def inputs(model: Any, seed: int) -> dict[str, Any]:
    given: dict[str, Any] = {"input_ids": tokens(4, 50, below=40, seed=seed), "use_cache": False}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = tokens(4, 50, below=40, seed=seed + 1)
    return given


@pytest.mark.parametrize("name", MODELS if EVERY else ["deepseek_v3"])
def test_twice_the_experts(name: str) -> None:
    _, sizes, wider = MODELS[name]
    more = {key: 2 * value for key, value in sizes.items() if key in COUNTS}
    teacher = build(name)
    grown = net2net.grow(teacher, inputs(teacher, 1), **more, **wider)
    assert grown.report.parity is not None and grown.report.parity.max_rel <= 1e-9
    for seed in (11, 21):  # which choose other experts
        again = net2net.verify(teacher, grown.model, inputs(teacher, seed), outputs=grown.outputs)
        assert again.max_rel <= 1e-9


def test_larger_groups_are_refused() -> None:
    teacher = build("deepseek_v3")
    asked = {"n_routed_experts": 16, "num_experts_per_tok": 6}
    with refused(TransferError, "groups in", "as many times more groups", teacher=teacher):
        net2net.grow(teacher, inputs(teacher, 1), **asked)
