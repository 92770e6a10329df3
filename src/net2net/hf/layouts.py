"""Random tensors for the arguments of transformers' models, in the layouts that there are."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from net2net.hf.parts import SOUND, TEXT, VISION, find, special_words

TOKENS, FRAMES, SAMPLES, MORE_SAMPLES, PIXELS, WORDS = 12, 64, 1040, 3840, 32, 100

GRID = (1, 4, 4)
"""Time, height and width of a picture in patches, for models that take pictures of all sizes."""


class Ask(NamedTuple):
    """What tensors are made from: a configuration, and how many pixels an edge has at most."""

    config: Any
    largest: int


def image_size(config: Any) -> tuple[int, int]:
    """Height and width of the pictures that a configuration names."""
    size = find(config, VISION, "image_size", "img_size", default=PIXELS)
    if isinstance(size, dict):
        size = [size.get("height", PIXELS), size.get("width", PIXELS)]
    height, width = (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
    return int(height), int(width)


def word_range(config: Any) -> tuple[int, int]:
    """From which word on, and below which, words stand for themselves: without the first three,
    which rarely do, and up to the first that the configuration names."""
    words = int(find(config, TEXT, "vocab_size", default=WORDS))
    first = 3
    last = min([words, *(word for word in special_words(config) if word >= first)])
    return (first, last) if first < last else (0, words)


def _ids(ask: Ask) -> list[Tensor]:
    return [torch.randint(*word_range(ask.config), (2, TOKENS))]


def _edges(ask: Ask) -> tuple[int, int]:
    height, width = image_size(ask.config)
    return min(height, ask.largest), min(width, ask.largest)


def _channels(config: Any) -> int:
    found = find(config, VISION, "num_channels", "in_channels", "in_chans", default=3)
    return found if isinstance(found, int) else 3


def _patch(config: Any) -> int:
    found = find(config, VISION, "patch_size", default=8)
    return int(found[-1] if isinstance(found, (list, tuple)) else found)


def _patches(config: Any) -> Tensor:
    """Pictures cut into patches, those of all pictures in one row."""
    depth = find(config, VISION, "temporal_patch_size", "patch_temporal", default=1)
    return torch.randn(2 * prod(GRID), _channels(config) * depth * _patch(config) ** 2)


def _takes_patches(config: Any) -> bool:
    return find(config, VISION, "spatial_merge_size", "temporal_patch_size") is not None


def _pictures(ask: Ask) -> list[Tensor]:
    config = ask.config
    plain = torch.randn(2, _channels(config), *_edges(ask))
    layouts = [plain, *_video(ask), plain[:, None]]
    layouts.insert(0 if _takes_patches(config) else len(layouts), _patches(config))
    side = _patch(config)
    single = torch.randn(2 * prod(GRID), _channels(config), side, side)
    row = torch.cat(list(single), -1)[None]
    return [*layouts, single, single[None], single.reshape(2, prod(GRID), -1), row]


def _video(ask: Ask) -> list[Tensor]:
    frames = find(ask.config, VISION, "num_frames", "frames_per_clip", default=4)
    return [torch.randn(2, frames, _channels(ask.config), *_edges(ask))]


def _samples() -> list[Tensor]:
    return [torch.randn(2, SAMPLES), torch.randn(2, 1, MORE_SAMPLES), torch.randn(2, MORE_SAMPLES)]


def _spectrogram(ask: Ask) -> list[Tensor]:
    """Of a length that most take; then of the only one, where the encoder has as many positions as
    two convolutions leave frames."""
    bins = find(
        ask.config, SOUND, "num_mel_bins", "feature_size", "input_feat_per_channel", default=16
    )
    positions = find(ask.config, SOUND, "max_source_positions", default=FRAMES // 2)
    layouts = []
    for frames in dict.fromkeys((FRAMES, 2 * positions)):
        found = torch.randn(2, bins, frames)
        layouts += [found, found.mT.contiguous(), found.mT[:, None].contiguous()]
    return layouts


def _boxes(ask: Ask) -> list[Tensor]:
    corners = torch.randint(0, 30, (2, TOKENS, 2))
    return [torch.cat([corners, corners + torch.randint(1, 30, corners.shape)], -1)]


def _width(ask: Ask) -> int:
    return int(find(ask.config, (), "hidden_size", "d_model", default=32))


def _embedded(ask: Ask) -> list[Tensor]:
    return [torch.randn(2, TOKENS, _width(ask))]


def _past(ask: Ask) -> list[Tensor]:
    config = ask.config
    steps = config.context_length + max([0, *(getattr(config, "lags_sequence", None) or [0])])
    channels = getattr(config, "num_input_channels", 1)
    return [torch.randn(2, steps, channels), torch.randn(2, steps)]


LAYOUTS: dict[str, Callable[[Ask], list[Any]]] = {
    "input_ids": _ids,
    "decoder_input_ids": _ids,
    "qformer_input_ids": _ids,
    "pixel_values": _pictures,
    "pixel_values_videos": _video,
    "high_res_pixel_values": _pictures,
    "hidden_states": lambda ask: [_patches(ask.config), *_samples()],
    "grid_thw": lambda ask: [torch.tensor([GRID] * 2)],
    "image_grid_thw": lambda ask: [torch.tensor([GRID] * 2)],
    "image_sizes": lambda ask: [None, torch.tensor([_edges(ask)] * 2)],
    "image_merge_sizes": lambda ask: [torch.tensor([2, 2])],
    "merge_sizes": lambda ask: [torch.tensor([2, 2])],
    "target_sizes": lambda ask: [torch.tensor([GRID[1:]] * 2)],
    "spatial_shapes": lambda ask: [torch.tensor([GRID[1:]] * 2)],
    "pixel_attention_mask": lambda ask: [torch.ones(2, prod(GRID), dtype=torch.long), None],
    "latents": lambda ask: [torch.randn(2, _width(ask), 8), torch.randn(2, 8, _width(ask))],
    "mm_token_type_ids": lambda ask: [torch.zeros(2, TOKENS, dtype=torch.long)],
    "input_values": lambda ask: _samples(),
    "input_features": _spectrogram,
    "input_features_mask": lambda ask: [None, torch.ones(2, FRAMES, dtype=torch.long)],
    "feature_attention_mask": lambda ask: [torch.ones(2, FRAMES, dtype=torch.long)],
    "encoder_hidden_states": _embedded,
    "query_embeds": _embedded,
    "inputs_embeds": _embedded,
    "bbox": _boxes,
    "past_values": _past,
    "past_time_features": lambda ask: [
        torch.randn(2, _past(ask)[0].shape[1], ask.config.num_time_features)
    ],
    "past_observed_mask": lambda ask: [torch.ones_like(value) for value in _past(ask)],
}
"""By the name of the argument: tensors that it may want, the likely one first."""
