"""Small models of public libraries, and what a user calls their widths: for tests of any width.

Each is built from its configuration, in float64, with every parameter drawn anew: no norm, bias,
layer scale, class token or table of positions is neutral.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from tests.helpers import noise, tokens

EXACT = 1e-9
"""Largest relative difference in float64."""

IN_FLOAT32 = 5e-6
"""Where the model's own code computes in float32."""


@dataclass(frozen=True)
class Part:
    """What grows together, as a user asks for it.

    Attributes:
        globs: the modules that make its spaces, which are called so.
        factor: what is asked.
        ratio: what comes of it, from the old size to the new.
    """

    globs: tuple[str, ...]
    factor: float
    ratio: Fraction


@dataclass(frozen=True)
class Net:
    """A model, and its parts by name (``stream``, ``mlp``, ``heads``).

    Attributes:
        build: the model as its library initialises it.
        inputs: what it runs on.
        parts: each is grown alone.
        together: those that are grown at once.
        float32: what its own code computes in float32, or empty.
        forbids: what keeps its (first) stream from all but whole multiples: a regular expression.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Tensor]]
    parts: Mapping[str, Part]
    together: tuple[str, ...]
    float32: str = ""
    forbids: str = ""

    def widths(self, *names: str) -> dict[str, float]:
        return {glob: self.parts[n].factor for n in names for glob in self.parts[n].globs}

    @property
    def tolerance(self) -> float:
        return IN_FLOAT32 if self.float32 else EXACT

    def model(self) -> nn.Module:
        """The same on every call."""
        torch.manual_seed(0)
        return drawn(self.build())


@torch.no_grad()
def drawn(model: nn.Module) -> nn.Module:
    """In place: scales lie within 0.3 of 1 and shifts within 0.3 of 0, whatever the model calls
    them, and matrices are normal. In float64, in evaluation mode."""
    rng = torch.Generator().manual_seed(0)
    for parameter in model.double().eval().parameters():
        if parameter.numel() == max(parameter.shape):  # a norm's, a bias, a layer scale, a token
            shift = torch.rand(parameter.shape, generator=rng, dtype=torch.float64) * 0.6 - 0.3
            parameter.copy_(shift + bool(parameter.mean() > 0.5))
        else:
            normal = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            inputs = parameter.shape[-1] if parameter.ndim == 3 else parameter[0].numel()
            parameter.copy_(normal * inputs**-0.5)
    return model


def text() -> dict[str, Tensor]:
    return {"input_ids": tokens(2, 9, below=40)}


def texts() -> dict[str, Tensor]:
    return {**text(), "decoder_input_ids": tokens(2, 7, below=40, seed=2)}


def pictures(name: str = "pixel_values") -> Callable[[], dict[str, Tensor]]:
    return lambda: {name: noise(2, 3, 16, 16)}


def parts(
    stream: str, mlp: str, heads: str, *, size: int, factor: float = 1.37, step: int = 1
) -> dict[str, Part]:
    """Globs, where there are several with a blank between.

    Args:
        size: of the stream; the last modules are narrower by the same factor.
        factor: what is asked of the stream.
        step: what the size of the stream has to be a multiple of.
    """
    asked = {
        "stream": (stream, factor, Fraction(round(size * factor / step) * step, size)),
        "mlp": (mlp, 1.3, Fraction(13, 10)),
        "heads": (heads, 1.5, Fraction(3, 2)),
    }
    return {n: Part(tuple(g.split()), f, ratio) for n, (g, f, ratio) in asked.items() if g}


def hf(kind: str, config: str, **sizes: Any) -> Callable[[], nn.Module]:
    """A class of transformers, from a class of configurations."""

    def build() -> nn.Module:
        import transformers

        model: nn.Module = getattr(transformers, kind)(getattr(transformers, config)(**sizes))
        return model

    return build


# -- streams of any width --------------------------------------------------------------------------

DECODERS: dict[str, Net] = {}
"""With ``generate``."""

ENCODERS: dict[str, Net] = {}

ALL = "stream", "mlp", "heads"
RMS = "RMSNorm"
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def causal(
    name: str, kind: str, stream: str, mlp: str, heads: str, *, float32: str = "", **sizes: Any
) -> None:
    """A language model of transformers: ``kind`` is its class and that of its configuration."""
    build = hf(*kind.split(), vocab_size=40, **SPECIAL, **sizes)
    size = sizes.get("hidden_size") or sizes["n_embd"]
    DECODERS[name] = Net(build, text, parts(stream, mlp, heads, size=size), ALL, float32)


MODERN = {
    "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128,
}  # fmt: skip
LLAMA = {**MODERN, "hidden_size": 44, "head_dim": 8, "num_key_value_heads": 2}
"""Heads of another width than the stream's."""

GPT = {"n_embd": 32, "n_inner": 40, "n_layer": 2, "n_head": 4, "n_positions": 128}


def llama(
    name: str, kind: str, mlp: str = "mlp.gate_proj", heads: str = "self_attn.q_proj",
    float32: str = RMS, **sizes: Any,
) -> None:  # fmt: skip
    layer = "model.layers.*."
    kind = kind if " " in kind else f"{kind}ForCausalLM {kind}Config"
    causal(name, kind, "model.embed_tokens", layer + mlp, layer + heads, float32=float32, **sizes)


llama("llama", "Llama", **LLAMA)
llama("qwen3", "Qwen3", **LLAMA)
llama("gemma", "Gemma", **LLAMA)
llama("gemma2", "Gemma2", sliding_window=8, **LLAMA)
llama("gemma3_text", "Gemma3ForCausalLM Gemma3TextConfig", sliding_window=8, **LLAMA)
llama("mistral", "Mistral", **LLAMA)
llama(
    "mixtral", "Mixtral", "mlp.experts", float32="RMSNorm and the router", num_local_experts=4,
    experts_implementation="eager", **LLAMA,
)  # fmt: skip
llama("phi3", "Phi3", "mlp.gate_up_proj", "self_attn.qkv_proj", num_key_value_heads=2, **MODERN)
llama("olmo2", "Olmo2", **LLAMA)
llama("phi", "Phi", "mlp.fc1", float32="", **MODERN)
llama("stablelm", "StableLm", float32="", num_key_value_heads=2, **MODERN)
causal(
    "gpt2", "GPT2LMHeadModel GPT2Config", "transformer.wte",
    "transformer.h.*.mlp.c_fc", "transformer.h.*.attn.c_attn", **GPT,
)  # fmt: skip
causal(
    "gptj", "GPTJForCausalLM GPTJConfig", "transformer.wte",
    "transformer.h.*.mlp.fc_in", "transformer.h.*.attn.k_proj",
    float32="the product of query and key", rotary_dim=4, **GPT,
)  # fmt: skip
causal(
    "gpt_neox", "GPTNeoXForCausalLM GPTNeoXConfig", "gpt_neox.embed_in",
    "gpt_neox.layers.*.mlp.dense_h_to_4h",
    "gpt_neox.layers.*.attention.query_key_value", **MODERN,
)  # fmt: skip
causal(
    "opt", "OPTForCausalLM OPTConfig", "model.decoder.embed_tokens", "model.decoder.layers.*.fc1",
    "model.decoder.layers.*.self_attn.k_proj", hidden_size=32, ffn_dim=40, num_hidden_layers=2,
    num_attention_heads=4, max_position_embeddings=128, word_embed_proj_dim=32,
)  # fmt: skip
causal(
    "falcon", "FalconForCausalLM FalconConfig", "transformer.word_embeddings",
    "transformer.h.*.mlp.dense_h_to_4h", "transformer.h.*.self_attention.query_key_value",
    hidden_size=32, ffn_hidden_size=40,
    num_hidden_layers=2, num_attention_heads=4, num_kv_heads=2, new_decoder_architecture=True,
    bias=True,
)  # fmt: skip


class Logits(nn.Module):
    """What a model predicts, without its encoder's features, which it also returns."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **inputs: Tensor) -> Tensor:
        logits: Tensor = self.inner(**inputs).logits
        return logits


DECODERS["t5"] = Net(
    lambda: Logits(
        hf(
            "T5ForConditionalGeneration", "T5Config", vocab_size=40, d_model=24, d_kv=8, d_ff=40,
            num_layers=2, num_heads=4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )()
    ),
    texts,
    parts(
        "inner.shared.weight", "*.DenseReluDense.wi", "*.SelfAttention.q *.EncDecAttention.q",
        size=24,
    ),
    ALL,
    RMS,
)  # fmt: skip

IMAGE = {"image_size": 16, "patch_size": 4, "num_labels": 5}
VIT = {
    "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    **IMAGE,
}  # fmt: skip


def vision(name: str, kind: str, layers: str = "layers", **more: Any) -> None:
    """A classifier of transformers."""
    build = hf(f"{kind}ForImageClassification", f"{kind}Config", **{**VIT, **more})
    layer = f"{name}.{layers}.*"
    asked = parts(
        f"{name}.embeddings.patch_embeddings.projection", f"{layer}.mlp.fc1",
        f"{layer}.attention.q_proj", size=32,
    )  # fmt: skip
    ENCODERS[name] = Net(build, pictures(), asked, ALL)


vision("vit", "ViT")
vision("deit", "DeiT")
vision("beit", "Beit", use_relative_position_bias=True, use_mean_pooling=False)
vision("dinov2", "Dinov2", "encoder.layer", mlp_ratio=2)


def timm_vit(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(
            name, img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=4, mlp_ratio=1.25,
            num_classes=5,
        )  # fmt: skip
        return model

    return build


def eva() -> nn.Module:
    from timm.models.eva import Eva

    return Eva(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=4, mlp_ratio=1.25,
        num_classes=5, swiglu_mlp=True, use_rot_pos_emb=True, qkv_fused=False,
        ref_feat_shape=(4, 4), init_values=0.1,
    )  # fmt: skip


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=40,
        num_classes=5,
    )  # fmt: skip


ENCODERS["timm_vit"] = Net(
    timm_vit("vit_tiny_patch16_224"),
    pictures("x"),
    parts("patch_embed.proj", "blocks.*.mlp.fc1", "blocks.*.attn.qkv", size=32),
    ALL,
)
ENCODERS["timm_deit3"] = Net(
    timm_vit("deit3_small_patch16_224"),
    pictures("x"),
    parts("patch_embed.proj", "blocks.*.mlp.fc1", "blocks.*.attn.qkv", size=32),
    ALL,
)

# The code of these gives the stream and all heads together one size, so it is one space.
ENCODERS["timm_eva"] = Net(
    eva,
    pictures("x"),
    parts("patch_embed.proj", "blocks.*.mlp.fc1", "patch_embed.proj", size=32, step=8),
    ("heads", "mlp"),
)
ENCODERS["torchvision_vit"] = Net(
    torchvision_vit,
    pictures("x"),
    parts("conv_proj", "encoder.layers.*.mlp.0", "conv_proj", size=32, step=8),
    ("heads", "mlp"),
)

# -- streams of whole multiples only ---------------------------------------------------------------

MULTIPLES: dict[str, Net] = {}

BERT = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip


def multiples(
    name: str, build: Callable[[], nn.Module], inputs: Callable[[], dict[str, Tensor]],
    stream: str, mlp: str, heads: str, forbids: str, float32: str = "",
) -> None:  # fmt: skip
    every = parts(stream, mlp, heads, size=32, factor=2.0)
    asked = {name: part for name, part in every.items() if heads or name != "heads"}
    MULTIPLES[name] = Net(build, inputs, asked, tuple(asked), float32, forbids)


multiples(
    "bert", hf("BertForMaskedLM", "BertConfig", **BERT), text,
    "bert.embeddings.word_embeddings", "*.intermediate.dense", "*.attention.self.query",
    "LayerNorm",
)  # fmt: skip
multiples(
    "roberta", hf("RobertaForMaskedLM", "RobertaConfig", **BERT), text,
    "roberta.embeddings.word_embeddings", "*.intermediate.dense", "*.attention.self.query",
    "LayerNorm",
)  # fmt: skip
multiples(
    "deberta-v2",
    hf(
        "DebertaV2ForMaskedLM", "DebertaV2Config", relative_attention=True, position_buckets=8,
        max_relative_positions=16, pos_att_type=["c2p", "p2c"], share_att_key=True,
        norm_rel_ebd="layer_norm", **BERT,
    ),
    text, "deberta.embeddings.word_embeddings", "*.intermediate.dense",
    "*.attention.self.query_proj", "LayerNorm",
)  # fmt: skip
multiples(
    "modernbert",
    hf(
        "ModernBertForMaskedLM", "ModernBertConfig", cls_token_id=1, sep_token_id=2, **SPECIAL,
        **BERT,
    ),
    text, "model.embeddings.tok_embeddings", "*.mlp.Wi", "*.attn.Wqkv", r"embeddings\.norm",
)  # fmt: skip
multiples(
    "bloom",
    hf(
        "BloomForCausalLM", "BloomConfig", vocab_size=40, hidden_size=32, n_layer=2, n_head=4,
        **SPECIAL,
    ),
    text, "transformer.word_embeddings", "*.mlp.dense_h_to_4h", "",  # heads: each has its own slope
    "word_embeddings_layernorm",
)  # fmt: skip
multiples(
    "whisper",
    hf(
        "WhisperForAudioClassification", "WhisperConfig", vocab_size=40, num_mel_bins=8, d_model=32,
        encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=40, decoder_layers=1,
        decoder_attention_heads=4, decoder_ffn_dim=40, max_source_positions=12,
        classifier_proj_size=16, num_labels=5, decoder_start_token_id=1, **SPECIAL,
    ),
    lambda: {"input_features": noise(2, 8, 24)},
    "encoder.conv2", "encoder.layers.*.fc1", "encoder.layers.*.self_attn.k_proj", "encoder|gelu",
)  # fmt: skip
multiples(
    "clip",
    hf("CLIPForImageClassification", "CLIPConfig", vision_config=VIT, num_labels=5), pictures(),
    "vision_model.embeddings.patch_embedding", "*.mlp.fc1", "*.self_attn.k_proj", "pre_layrnorm",
)  # fmt: skip
multiples(
    "swin",
    hf(
        "SwinForImageClassification", "SwinConfig", image_size=16, patch_size=2, embed_dim=16,
        depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5, mlp_ratio=2.5,
    ),
    pictures(), "swin.embeddings.patch_embeddings.projection *.downsample.reduction",
    "*.mlp.fc1", "*.attention.q_proj", "norm",
)  # fmt: skip
multiples(
    "convnext",
    hf(
        "ConvNextForImageClassification", "ConvNextConfig", hidden_sizes=[10, 20], depths=[1, 1],
        num_stages=2, patch_size=2, num_labels=5, layer_scale_init_value=0.1,
    ),
    pictures(), "convnext.embeddings.patch_embeddings convnext.*.downsampling_layer.1",
    "*.pwconv1", "", "dwconv|layernorm",
)  # fmt: skip


def mixer() -> nn.Module:
    from timm.models import MlpMixer

    return MlpMixer(
        img_size=16, patch_size=4, num_blocks=2, embed_dim=32, mlp_ratio=(1.25, 1.25),
        num_classes=5,
    )  # fmt: skip


multiples(
    "mixer", mixer, pictures("x"),
    "stem.proj", "blocks.*.mlp_tokens.fc1 blocks.*.mlp_channels.fc1", "", "tokens|norm",
)  # fmt: skip
