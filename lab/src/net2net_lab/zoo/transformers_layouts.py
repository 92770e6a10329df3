"""Random tensors for the arguments of transformers' models, in the layouts that there are."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from net2net_lab.zoo.transformers_sizes import SPECIAL_TOKENS, WIDTH

TOKENS, FRAMES, SAMPLES, MORE_SAMPLES, PIXELS = 12, 64, 400, 3840, 32
LARGEST_PICTURE = 64
WORD_RANGE = (3, min(SPECIAL_TOKENS.values()) - 1)

GRID = (1, 4, 4)
"""Time, height and width of a picture in patches, for models that take pictures of all sizes."""

VISION, SOUND = ("vision", "image", "backbone", "visual"), ("audio", "speech", "encoder")
"""Words in the names of the parts of a model that look or hear."""


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


def _patches(config: Any) -> Tensor:
    """Pictures cut into patches, those of all pictures in one row."""
    depth = _find(config, VISION, "temporal_patch_size", "patch_temporal", default=1)
    return torch.randn(2 * prod(GRID), _channels(config) * depth * _patch(config) ** 2)


def _takes_patches(config: Any) -> bool:
    return _find(config, VISION, "spatial_merge_size", "temporal_patch_size") is not None


def _pictures(config: Any) -> list[Tensor]:
    plain = torch.randn(2, _channels(config), *_image_size(config))
    layouts = [plain, *_video(config), plain[:, None]]
    layouts.insert(0 if _takes_patches(config) else len(layouts), _patches(config))
    side = _patch(config)
    single = torch.randn(2 * prod(GRID), _channels(config), side, side)
    row = torch.cat(list(single), -1)[None]
    return [*layouts, single, single[None], single.reshape(2, prod(GRID), -1), row]


def _video(config: Any) -> list[Tensor]:
    frames = _find(config, VISION, "num_frames", "frames_per_clip", default=4)
    return [torch.randn(2, frames, _channels(config), *_image_size(config))]


def _samples(config: Any) -> list[Tensor]:
    return [torch.randn(2, SAMPLES), torch.randn(2, 1, MORE_SAMPLES), torch.randn(2, MORE_SAMPLES)]


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


LAYOUTS: dict[str, Callable[[Any], list[Any]]] = {
    "input_ids": _ids,
    "decoder_input_ids": _ids,
    "qformer_input_ids": _ids,
    "pixel_values": _pictures,
    "pixel_values_videos": _video,
    "high_res_pixel_values": _pictures,
    "hidden_states": lambda config: [_patches(config), *_samples(config)],
    "grid_thw": lambda config: [torch.tensor([GRID] * 2)],
    "image_grid_thw": lambda config: [torch.tensor([GRID] * 2)],
    "image_sizes": lambda config: [None, torch.tensor([_image_size(config)] * 2)],
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
    "feature_attention_mask": lambda config: [torch.ones(2, FRAMES, dtype=torch.long)],
    "encoder_hidden_states": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "query_embeds": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "inputs_embeds": lambda config: [torch.randn(2, TOKENS, _width(config))],
    "bbox": _boxes,
    "past_values": _past,
    "past_time_features": lambda config: [
        torch.randn(2, _past(config)[0].shape[1], config.num_time_features)
    ],
    "past_observed_mask": lambda config: [torch.ones_like(value) for value in _past(config)],
}
"""By the name of the argument: tensors that it may want, the likely one first."""
