"""Tiny models of transformers: small configurations, inputs that fit, outputs that are read."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net_lab.zoo.build_transformers import _features
from net2net_lab.zoo.families import family
from net2net_lab.zoo.measure import measure
from net2net_lab.zoo.subject import NotBuiltError, Readout, Subject, first_output
from net2net_lab.zoo.transformers_configs import tiny
from net2net_lab.zoo.transformers_sizes import SPECIAL_TOKENS
from tests.helpers import Written

transformers = pytest.importorskip("transformers")


def config(name: str) -> Any:
    return tiny(transformers.CONFIG_MAPPING[name], name)


def test_names_get_small_values_in_the_parts_as_well() -> None:
    clip = config("clip")
    assert clip.text_config.hidden_size == clip.vision_config.hidden_size == 32
    assert clip.vision_config.image_size == 32
    assert clip.vision_config.num_attention_heads == 4


def test_there_is_a_layer_of_every_kind() -> None:
    for name in ("gemma3_text", "qwen3_next"):
        default = transformers.CONFIG_MAPPING[name]()
        small = config(name)
        assert small.layer_types == list(dict.fromkeys(default.layer_types))
        assert small.num_hidden_layers == len(set(small.layer_types)) == 2


def test_words_for_pictures_are_in_the_vocabulary() -> None:
    small = config("qwen2_5_vl")
    assert small.image_token_id < small.text_config.vocab_size
    assert len({small.image_token_id, small.video_token_id, small.vision_start_token_id}) == 3
    assert small.text_config.rope_parameters["mrope_section"] == [2, 1, 1]  # half of a head


@pytest.mark.parametrize(
    ("name", "token", "places"),
    [
        ("llava", "image_token_index", 16),
        ("qwen2_5_vl", "image_token_id", 4),
        ("audioflamingo3", "audio_token_id", 16),
        ("chameleon", "image_token_id", 256),
    ],
)
def test_text_has_as_many_places_as_there_are_features(name: str, token: str, places: int) -> None:
    torch.manual_seed(0)
    subject = family("transformers").build(name)
    inputs: Any = subject.inputs
    assert subject.note == ""
    assert {"pixel_values", "input_features"} & inputs.keys()
    word = SPECIAL_TOKENS[token]
    assert (inputs["input_ids"] == word).sum(1).tolist() == 2 * [places]


def test_nested_outputs_are_read() -> None:
    x = torch.randn(2, 3)
    assert first_output({"ids": x.long(), "parts": ({"a": x},), "last": x})[0] == "last"
    place, tensor = first_output({"ids": x.long(), "parts": ({"a": x},)})
    assert place == ("parts", 0, "a") and tensor is x

    class Nested(nn.Module):
        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            return {"maps": [x, 2 * x]}

    [read] = Readout(Nested(), [(("maps", 1), -1, 0)])(x)
    assert torch.equal(read, 2 * x)
    with pytest.raises(NotBuiltError, match="none of the model's outputs"):
        first_output([x.long()])
    with pytest.raises(NotBuiltError, match="returns a str"):
        first_output("x")


def test_a_model_that_is_finite_in_float32_alone_grows_in_that() -> None:
    """Its mask is a zero of float32 times the least number of the input's type."""

    def code(model: Any, x: Tensor) -> Tensor:
        hidden = 1.0 - torch.ones_like(x[:, :1]).float()
        return model.last(model.next(model.first(x)) + hidden * torch.finfo(x.dtype).min)

    layers = {"first": nn.Linear(3, 8), "next": nn.Linear(8, 8), "last": nn.Linear(8, 2)}
    masked = Written(code, **layers)
    found = measure(Subject(masked, torch.randn(2, 3)))
    assert (found.status, found.reason) == ("ok", None)
    assert not masked.double()(torch.randn(2, 3).double()).isfinite().any()


@pytest.mark.parametrize(
    ("shape", "of_pictures", "axis"),
    [
        ((2, 512, 1, 1), True, 1),
        ((1, 2, 8, 16, 16), True, 2),
        ((2, 4, 4, 32), True, 3),
        ((2, 9, 32), True, 2),
        ((2, 1, 32, 32), False, 3),
    ],
)
def test_where_features_lie(shape: tuple[int, ...], of_pictures: bool, axis: int) -> None:
    assert _features(shape, of_pictures) == axis
