"""Inputs for models of transformers, made from their configurations and tried."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import InputError
from net2net.hf import example_inputs
from net2net.hf.examples import find_example
from net2net.hf.layouts import image_size, word_range
from tests.helpers import untouched

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def gpt2(**options: Any) -> Any:
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50, **options)
    return transformers.GPT2LMHeadModel(config)


class Body(nn.Module):
    """Runs on one shape, and tells under which names it got something."""

    main_input_name = "input_values"

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.config = transformers.PretrainedConfig()

    def forward(self, input_values: Tensor) -> dict[str, Tensor]:
        if input_values.shape != self.shape:
            raise ValueError("not this layout")
        return {"values": input_values}


def test_what_is_made_grows_the_model() -> None:
    model = gpt2(bos_token_id=1, eos_token_id=2)
    with untouched(model):
        inputs = example_inputs(model)
    assert inputs.keys() == {"input_ids"}
    grown = net2net.widen(model, {"transformer.h.0.mlp": 2.0}, inputs)
    assert grown.report.parameters[1] > grown.report.parameters[0]


def test_inputs_are_the_same_on_every_call_and_draw_nothing_from_outside() -> None:
    model = gpt2(bos_token_id=1, eos_token_id=2)
    before = torch.get_rng_state()
    first, second = example_inputs(model), example_inputs(model)
    assert torch.equal(first["input_ids"], second["input_ids"])
    assert torch.equal(torch.get_rng_state(), before)


def test_words_are_those_that_stand_for_themselves() -> None:
    assert word_range(gpt2(bos_token_id=7, eos_token_id=7).config) == (3, 7)
    assert word_range(gpt2(bos_token_id=1, eos_token_id=49).config) == (3, 49)
    assert word_range(gpt2(bos_token_id=3, eos_token_id=3).config) == (0, 50)
    assert word_range(transformers.PretrainedConfig()) == (3, 100)


@pytest.mark.parametrize("size", [24, 96])
def test_pictures_have_the_size_that_the_model_takes(size: int) -> None:
    config = transformers.ViTConfig(**SMALL, intermediate_size=16, image_size=size, patch_size=8)
    pixels = example_inputs(transformers.ViTModel(config))["pixel_values"]
    assert pixels.shape == (2, 3, size, size)


def test_small_pictures_come_first_where_all_sizes_run() -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], image_size=224
    )
    assert image_size(config) == (224, 224)
    assert example_inputs(transformers.ResNetModel(config))["pixel_values"].shape[-2:] == (64, 64)


def test_sound_is_as_long_as_the_positions() -> None:
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=8,
        max_source_positions=50, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip
    inputs = example_inputs(transformers.WhisperModel(config))
    assert inputs["input_features"].shape == (2, 8, 100)
    assert inputs["decoder_input_ids"].shape == (2, 12)


def test_numbers_have_the_type_of_the_parameters() -> None:
    config = transformers.ViTConfig(**SMALL, intermediate_size=16, image_size=16, patch_size=8)
    model = transformers.ViTModel(config).to(torch.bfloat16)
    assert example_inputs(model)["pixel_values"].dtype == torch.bfloat16


def test_the_first_layout_that_runs_is_taken() -> None:
    example = find_example(Body(2, 1, 3840))
    assert example.inputs["input_values"].shape == example.output["values"].shape == (2, 1, 3840)
    assert example.note == ""
    with pytest.raises(InputError, match=r"examples of input_values: ValueError: not .*\. Give"):
        find_example(Body(7))


def test_what_is_given_is_used() -> None:
    example = find_example(Body(5), {"input_values": lambda: torch.arange(5.0)})
    assert example.output["values"].tolist() == [0, 1, 2, 3, 4]


def test_an_argument_that_is_not_known_is_named() -> None:
    class Strange(Body):
        def forward(self, session: object) -> dict[str, Tensor]:  # type: ignore[override]
            raise AssertionError

    with pytest.raises(InputError, match=r"forward of Strange wants 'session', .*not made here"):
        example_inputs(Strange())


def test_models_of_other_libraries_are_refused() -> None:
    with pytest.raises(InputError, match="Linear has no configuration of transformers"):
        example_inputs(nn.Linear(3, 2))


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'net2net\[hf\]'"):
        example_inputs(nn.Linear(3, 2))
