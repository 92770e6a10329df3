"""Folders of all kinds of models grow by width, depth, configuration and budget: what
``from_pretrained`` reads of the target computes and writes the same, and tensor by tensor the files
have the bits that they have in memory. All kinds are tried where ``NET2NET_EVERY_TYPE`` is set; the
quickest always."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import net2net
from net2net.hf import folder, grow_folder
from net2net.hf.budget import Budget
from net2net.hf.saved import NotAsItIsError
from net2net.hf.wish import Wish
from tests.any_width import BERT, DECODERS, IN_FLOAT32, LLAMA, SPECIAL, VIT, drawn, hf, text
from tests.helpers import noise

pytest.importorskip("transformers")

EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))


@dataclass(frozen=True)
class Kind:
    """A type of model, and what is asked of it; ``{}`` where there is nothing of that kind.

    Attributes:
        build: the model, before its weights are drawn.
        widths, depths, numbers: what grows, each alone.
        grows_to, multiple_of: how many times as many parameters a budget has, and its steps.
        written: what ``generate`` gets.
        whole: only in memory, and why.
        dtype: of its weights; float32 where a kernel knows no other.
    """

    build: Callable[[], nn.Module]
    widths: Mapping[str, float]
    depths: Mapping[str, int]
    numbers: Mapping[str, int]
    grows_to: float = 2.0
    multiple_of: int = 2
    written: Mapping[str, Any] = field(default_factory=text)
    whole: str = ""
    dtype: torch.dtype = torch.float64

    @property
    def tolerance(self) -> float:
        return 1e-9 if self.dtype == torch.float64 else IN_FLOAT32


def clip() -> nn.Module:
    """Its scale is a number, which has no shape to be drawn by."""
    model = hf(
        "CLIPModel", "CLIPConfig", projection_dim=16, vision_config=VIT,
        text_config={**BERT, "eos_token_id": 39, "bos_token_id": 0, "pad_token_id": 1},
    )()  # fmt: skip
    model.logit_scale = nn.Parameter(model.logit_scale.detach()[None])
    drawn(model)
    model.logit_scale = nn.Parameter(model.logit_scale.detach()[0])
    return model


LAYERS = {"model.layers": 1}
MLP = {"model.layers.*.mlp.up_proj": 1.5}
WIDER = {"hidden_size": 64, "intermediate_size": 60, "num_hidden_layers": 3}
NOTHING: dict[str, Any] = {}

KINDS = {
    "gpt2": Kind(
        DECODERS["gpt2"].build, {"transformer.h.*.mlp.c_fc": 1.5}, {"transformer.h": 1},
        {"n_embd": 48, "n_head": 6, "n_layer": 3},
    ),
    "llama": Kind(DECODERS["llama"].build, MLP, LAYERS, WIDER),
    "llama, tied": Kind(
        hf("LlamaForCausalLM", "LlamaConfig", vocab_size=40, tie_word_embeddings=True, **SPECIAL,
           **LLAMA),
        MLP, LAYERS, WIDER,
    ),
    "qwen3": Kind(DECODERS["qwen3"].build, MLP, LAYERS, WIDER),
    "gemma2": Kind(DECODERS["gemma2"].build, MLP, {"model.layers": 2}, {
        **WIDER, "num_hidden_layers": 4,
    }),
    "mixtral": Kind(
        DECODERS["mixtral"].build, {"model.layers.*.mlp.experts": 1.5}, LAYERS, WIDER,
        multiple_of=8, whole="experts are merged", dtype=torch.float32,
    ),
    "bert": Kind(
        hf("BertForMaskedLM", "BertConfig", **BERT), {"*.intermediate.dense": 1.5}, NOTHING,
        {"hidden_size": 64, "num_attention_heads": 8}, written=NOTHING,
    ),
    "t5": Kind(
        hf("T5ForConditionalGeneration", "T5Config", vocab_size=40, d_model=24, d_kv=8, d_ff=40,
           num_layers=2, num_heads=4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1),
        {"*.DenseReluDense.wi": 1.5}, {"encoder.block": 1}, {"d_model": 36, "d_ff": 60},
    ),
    "vit": Kind(
        hf("ViTForImageClassification", "ViTConfig", **VIT), {"vit.layers.*.mlp.fc1": 1.5},
        {"vit.layers": 1}, {"hidden_size": 48, "num_attention_heads": 6, "num_hidden_layers": 3},
        written=NOTHING,
    ),
    "whisper": Kind(
        hf("WhisperForConditionalGeneration", "WhisperConfig", vocab_size=40, num_mel_bins=8,
           d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=40,
           decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=40,
           max_source_positions=12, max_target_positions=32, decoder_start_token_id=1, **SPECIAL),
        {"model.encoder.layers.*.fc1": 1.5}, {"model.encoder.layers": 1},
        {"d_model": 64, "encoder_attention_heads": 8, "decoder_attention_heads": 8},
        written={"input_features": noise(2, 8, 24)},
    ),
    "clip": Kind(
        clip, {"vision_model.encoder.layers.*.mlp.fc1": 1.5}, {"text_model.encoder.layers": 1},
        {"vision_config.intermediate_size": 60}, written=NOTHING,
    ),
    "mamba2": Kind(
        hf("Mamba2ForCausalLM", "Mamba2Config", vocab_size=40, hidden_size=32, num_heads=8,
           head_dim=8, state_size=8, n_groups=1, num_hidden_layers=2, chunk_size=4, **SPECIAL),
        NOTHING, {"backbone.layers": 1}, {"num_hidden_layers": 3},
    ),
    "opt": Kind(
        DECODERS["opt"].build, {"model.decoder.layers.*.fc1": 1.5}, {"model.decoder.layers": 1},
        {"hidden_size": 48, "word_embed_proj_dim": 48, "num_attention_heads": 6, "ffn_dim": 60},
    ),
}  # fmt: skip

QUICK = [("gpt2", "config")]


def wish(kind: Kind, way: str, model: nn.Module) -> Wish:
    size = sum(one.numel() for one in model.parameters())
    budget = Budget("parameters", kind.grows_to * size)
    return {
        "width": lambda: Wish(widths=kind.widths, method="fresh"),
        "depth": lambda: Wish(depths=kind.depths),
        "config": lambda: Wish(numbers=kind.numbers),
        "budget": lambda: Wish(budget=budget, multiple_of=kind.multiple_of),
    }[way]()


def ways() -> list[Any]:
    every = [
        (name, way)
        for name, kind in KINDS.items()
        for way in ("width", "depth", "config", "budget")
        if (way != "depth" or kind.depths) and (way != "width" or kind.widths)
    ]
    return every if EVERY else QUICK


def in_memory(*arguments: Any) -> Any:
    raise NotAsItIsError("so that it is made in memory")


@pytest.mark.parametrize(("name", "way"), ways())
def test_a_folder_grows(name: str, way: str, tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    kind = KINDS[name]
    torch.manual_seed(0)
    model: Any = kind.build() if name == "clip" else drawn(kind.build()).to(kind.dtype)
    model.save_pretrained(tmp_path / "small")
    asked = wish(kind, way, model)
    with caplog.at_level("INFO", "net2net"):
        grown = grow_folder(tmp_path / "small", tmp_path / "large", wish=asked)
    assert bool(kind.whole) == any("in memory" in line for line in caplog.messages)
    assert grown.report.parity is not None and grown.report.parity.max_rel <= kind.tolerance
    before, after = grown.report.parameters
    assert before < after and (way != "budget" or after >= kind.grows_to * before)

    small, large = (type(model).from_pretrained(tmp_path / one) for one in ("small", "large"))
    assert large.dtype == kind.dtype
    inputs = net2net.hf.example_inputs(small)
    parity = net2net.verify(small, large, {**inputs, **no_cache(small)}, outputs=grown.outputs)
    assert parity.max_rel <= kind.tolerance
    if kind.written:
        how = {"do_sample": False, "max_new_tokens": 8, "min_new_tokens": 8}
        wrote = [one.eval().generate(**kind.written, **how) for one in (small, large)]
        assert torch.equal(*wrote)

    monkeypatch.setattr(folder, "without_weights", in_memory)
    grow_folder(tmp_path / "small", tmp_path / "again", wish=asked, verify=False)
    for path in sorted((tmp_path / "again").glob("*.safetensors")):
        assert path.read_bytes() == (tmp_path / "large" / path.name).read_bytes()


def no_cache(model: Any) -> dict[str, bool]:
    return {"use_cache": False} if hasattr(model, "generate") else {}
