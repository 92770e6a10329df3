"""Inputs for a model of transformers: what its forward asks for, made by argument name.

A name may have several layouts (samples with or without a channel, frames before or after their
features): the first that the model runs on is taken. A model that takes pictures or sound along
with text gets both, with as many places in the text as the model's own features fill; only where
that does not run does it get the text alone, and says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from net2net.trace import tensors_of
from net2net.zoo.subject import NotBuiltError, private, run
from net2net.zoo.transformers_overrides import INPUTS
from net2net.zoo.transformers_sizes import SPECIAL_TOKENS, WIDTH

TOKENS, FRAMES, SAMPLES, PIXELS, STEPS = 12, 64, 400, 32, 32
LARGEST_PICTURE = 64
WORD_RANGE = (3, min(SPECIAL_TOKENS.values()) - 1)

VISION, SOUND = ("vision", "image", "backbone", "visual"), ("audio", "speech", "encoder")


def runnable(model: Any, config: Any, name: str) -> tuple[dict[str, Any], Any, str]:
    """Inputs that a model runs on, what it puts out on them, and a note.

    Raises:
        NotBuiltError: it runs on none; the error is that of the first that were tried.
    """
    first: tuple[str, Exception] | None = None
    for inputs, note in _candidates(model, config, INPUTS.get(name, {})):
        try:
            return inputs, run(private(model), inputs), note
        except Exception as error:
            first = first or (", ".join(inputs), error)
    assert first is not None
    names, cause = first
    raise NotBuiltError(f"it does not run on {names}: {type(cause).__name__}: {cause}") from cause


def _candidates(
    model: Any, config: Any, extra: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    arguments = inspect.signature(model.forward).parameters
    needed = [
        name
        for name, argument in arguments.items()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
    ]
    main = model.main_input_name
    mains = [main] if isinstance(main, str) else list(main)
    wanted = [*needed, *(name for name in mains if name in arguments and not needed)]
    wanted += [name for name in ALWAYS if name in arguments]
    media = _media(config, arguments)
    if media or not wanted:
        wanted.append("input_ids")
    for names, note in [(wanted + media, ""), (wanted, "text alone")][: 2 if media else 1]:
        names = [name for name in dict.fromkeys([*names, *extra]) if name in arguments]
        unknown = [name for name in names if name not in MAKERS and name not in extra]
        if unknown:
            raise NotBuiltError(f"it wants '{unknown[0]}', which is not made here")
        given = {name: [value()] for name, value in extra.items()}
        made = [given.get(name) or MAKERS[name](config) for name in names]
        for values in product(*made):
            inputs = {n: v for n, v in zip(names, values, strict=True) if v is not None}
            if not note:
                inputs = _with_places(model, config, inputs)
            yield inputs, note


def _media(config: Any, arguments: Any) -> list[str]:
    """What is not text, and what goes along with it, if the model has text and something else."""
    parts = sub_configs(config)
    if "text_config" not in parts and "decoder_config" not in parts:
        return []
    found: list[str] = []
    if any("vision" in part or "backbone" in part for part in parts):
        found += WITH_PICTURES
    if any("audio" in part for part in parts):
        found += WITH_SOUND
    return [name for name in found if name in arguments]


def _with_places(model: Any, config: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Put as many places into the text as the features that the model makes of the rest."""
    ids = inputs.get("input_ids")
    if ids is None:
        return inputs
    kinds = torch.zeros_like(ids)
    for kind, (medium, getter, tokens) in enumerate(PLACES, start=1):
        token = next(
            (getattr(config, t) for t in tokens if isinstance(getattr(config, t, None), int)), None
        )
        if medium not in inputs or token is None or not hasattr(model, getter):
            continue
        known = inspect.signature(getattr(model, getter)).parameters
        with torch.no_grad():
            try:
                output = getattr(model, getter)(**{n: v for n, v in inputs.items() if n in known})
            except Exception:  # the model's own run says what is wrong
                continue
        features = getattr(output, "pooler_output", output)
        count = sum(tensor.numel() for _, tensor in tensors_of(features))
        count //= model.get_input_embeddings().weight.shape[-1] * len(ids)
        places = torch.full((len(ids), count), token)
        ids = torch.cat([ids[:, :1], places, ids[:, 1:]], 1)
        kinds = torch.cat([kinds[:, :1], torch.full_like(places, kind), kinds[:, 1:]], 1)
    found = {**inputs, "input_ids": ids}
    if "mm_token_type_ids" in inputs:
        found["mm_token_type_ids"] = kinds
    return found


def sub_configs(config: Any) -> dict[str, Any]:
    """The configurations inside a configuration, by name."""
    from transformers import PretrainedConfig

    return {name: part for name, part in vars(config).items() if isinstance(part, PretrainedConfig)}


def _find(config: Any, words: tuple[str, ...], *names: str, default: Any = None) -> Any:
    """The first of these attributes that a configuration has, or a part of it; first the parts
    that have one of the words in their name."""
    parts = sub_configs(config)
    ordered = sorted(parts, key=lambda part: not any(word in part for word in words))
    inside = [parts[part] for part in ordered if any(word in part for word in words)]
    for part in [*inside, config, *(parts[p] for p in ordered if parts[p] not in inside)]:
        for name in names:
            value = getattr(part, name, None)
            if value is not None:
                return value
    for part in ordered:
        value = _find(parts[part], words, *names)
        if value is not None:
            return value
    return default


def _ids(config: Any) -> list[Tensor]:
    return [torch.randint(*WORD_RANGE, (2, TOKENS))]


def _channels(config: Any) -> int:
    found = _find(config, VISION, "num_channels", "in_channels", "in_chans", default=3)
    return found if isinstance(found, int) else 3


def _image_size(config: Any) -> tuple[int, int]:
    size = _find(config, VISION, "image_size", "img_size", default=PIXELS)
    if isinstance(size, dict):
        size = [size.get("height", PIXELS), size.get("width", PIXELS)]
    height, width = (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
    return min(int(height), LARGEST_PICTURE), min(int(width), LARGEST_PICTURE)


def _patch(config: Any) -> int:
    found = _find(config, VISION, "patch_size", default=8)
    return int(found[-1] if isinstance(found, (list, tuple)) else found)


GRID = (1, 4, 4)
"""Time, height and width of a picture in patches, for models that take pictures of all sizes."""


def _patches(config: Any) -> Tensor:
    """Pictures cut into patches, those of all pictures in one row."""
    depth = _find(config, VISION, "temporal_patch_size", "patch_temporal", default=1)
    return torch.randn(2 * prod(GRID), _channels(config) * depth * _patch(config) ** 2)


def _takes_patches(config: Any) -> bool:
    return _find(config, VISION, "spatial_merge_size", "temporal_patch_size") is not None


def _pictures(config: Any) -> list[Tensor]:
    plain = torch.randn(2, _channels(config), *_image_size(config))
    layouts = [plain, *_video(config), plain[:, None]]
    if _takes_patches(config):
        layouts.insert(0, _patches(config))
    side = _patch(config)
    single = torch.randn(2 * prod(GRID), _channels(config), side, side)
    return [*layouts, single, single.reshape(2, prod(GRID), -1)]


def _video(config: Any) -> list[Tensor]:
    frames = _find(config, VISION, "num_frames", "frames_per_clip", default=4)
    return [torch.randn(2, frames, _channels(config), *_image_size(config))]


def _samples(config: Any) -> list[Tensor]:
    return [torch.randn(2, SAMPLES), torch.randn(2, 1, 8 * SAMPLES), torch.randn(2, 8 * SAMPLES)]


def _spectrogram(config: Any) -> list[Tensor]:
    bins = _find(
        config, SOUND, "num_mel_bins", "feature_size", "input_feat_per_channel", default=16
    )
    found = torch.randn(2, bins, FRAMES)
    return [found, found.mT.contiguous(), found.mT[:, None].contiguous()]


def _boxes(config: Any) -> list[Tensor]:
    corners = torch.randint(0, 30, (2, TOKENS, 2))
    return [torch.cat([corners, corners + torch.randint(1, 30, corners.shape)], -1)]


def _width(config: Any) -> int:
    return int(_find(config, (), "hidden_size", "d_model", default=32))


def _past(config: Any) -> list[Tensor]:
    steps = config.context_length + max([0, *(getattr(config, "lags_sequence", None) or [0])])
    channels = getattr(config, "num_input_channels", 1)
    return [torch.randn(2, steps, channels), torch.randn(2, steps)]


MAKERS: dict[str, Callable[[Any], list[Any]]] = {
    "input_ids": _ids,
    "decoder_input_ids": _ids,
    "qformer_input_ids": _ids,
    "pixel_values": _pictures,
    "pixel_values_videos": _video,
    "hidden_states": lambda config: [_patches(config), *_samples(config)],
    "grid_thw": lambda config: [torch.tensor([GRID] * 2)],
    "image_grid_thw": lambda config: [torch.tensor([GRID] * 2)],
    "image_sizes": lambda config: [torch.tensor([_image_size(config)] * 2)],
    "image_merge_sizes": lambda config: [torch.tensor([2, 2])],
    "merge_sizes": lambda config: [torch.tensor([2, 2])],
    "target_sizes": lambda config: [torch.tensor([GRID[1:]] * 2)],
    "spatial_shapes": lambda config: [torch.tensor([GRID[1:]] * 2)],
    "pixel_attention_mask": lambda config: [torch.ones(2, prod(GRID), dtype=torch.long), None],
    "latents": lambda config: [torch.randn(2, WIDTH, 8), torch.randn(2, 8, WIDTH)],
    "mm_token_type_ids": lambda config: [torch.zeros(2, TOKENS, dtype=torch.long)],
    "input_values": _samples,
    "input_features": _spectrogram,
    "input_features_mask": lambda config: [None, torch.ones(2, FRAMES, dtype=torch.long)],
    "encoder_hidden_states": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "query_embeds": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "inputs_embeds": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "bbox": _boxes,
    "past_values": _past,
    "past_time_features": lambda config: [
        torch.randn(2, _past(config)[0].shape[1], config.num_time_features)
    ],
    "past_observed_mask": lambda config: [torch.ones_like(value) for value in _past(config)[::-1]],
}
"""The layouts of an input, by the name of the argument."""

ALWAYS = ("decoder_input_ids", "bbox", "input_features_mask")
"""Arguments that get a value wherever there are any."""

WITH_PICTURES = (
    "pixel_values", "image_grid_thw", "image_sizes", "mm_token_type_ids", "image_merge_sizes",
    "spatial_shapes", "pixel_attention_mask",
)  # fmt: skip
WITH_SOUND = ("input_features", "input_features_mask")

PLACES = (
    ("pixel_values", "get_image_features", ("image_token_id", "image_token_index")),
    ("pixel_values_videos", "get_video_features", ("video_token_id", "video_token_index")),
    ("input_features", "get_audio_features", ("audio_token_id", "audio_token_index")),
)
"""What is put into the text: the input, how the model makes features of it, and their token."""
