"""Inputs for a model of transformers: what its forward asks for, made by argument name.

A name may have several layouts (samples with or without a channel, frames before or after their
features): the first that the model runs on is taken. A model that takes pictures or sound along
with text gets both, with as many places in the text as the model's own features fill; only where
that does not run does it get the text alone, and says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import product
from typing import Any

import torch

from net2net.trace.trace import tensors_of
from net2net_lab.zoo.subject import NotBuiltError, private, run
from net2net_lab.zoo.transformers_layouts import LAYOUTS, sub_configs
from net2net_lab.zoo.transformers_overrides import INPUTS

ALWAYS = ("decoder_input_ids", "bbox", "input_features_mask")
"""Arguments that get a value wherever there are any."""

WITH_PICTURES = (
    "pixel_values", "high_res_pixel_values", "pixel_attention_mask", "image_grid_thw",
    "image_sizes", "target_sizes", "spatial_shapes", "image_merge_sizes", "mm_token_type_ids",
)  # fmt: skip
WITH_SOUND = ("input_features", "input_features_mask", "feature_attention_mask")
"""Arguments that go along with text, if the model looks at pictures or hears."""

PLACES = (
    ("pixel_values", "get_image_features", ("image_token_id", "image_token_index")),
    ("pixel_values_videos", "get_video_features", ("video_token_id", "video_token_index")),
    ("input_features", "get_audio_features", ("audio_token_id", "audio_token_index")),
)
"""What is put into the text: the input, how the model makes features of it, and their token."""


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
    model: Any, config: Any, extra: dict[str, Callable[[], Any]]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Inputs in all layouts, the likely ones first; at last the text alone, if there is more."""
    arguments = inspect.signature(model.forward).parameters
    wanted = _wanted(model, arguments)
    media = _media(config, arguments)
    if media or not wanted:
        wanted.append("input_ids")
    for names, note in [(wanted + media, ""), (wanted, "text alone")] if media else [(wanted, "")]:
        beside = [name for name in extra if not (note and name in (*WITH_PICTURES, *WITH_SOUND))]
        names = [name for name in dict.fromkeys([*names, *beside]) if name in arguments]
        unknown = [name for name in names if name not in LAYOUTS and name not in extra]
        if unknown:
            raise NotBuiltError(f"it wants '{unknown[0]}', which is not made here")
        layouts = [[extra[name]()] if name in extra else LAYOUTS[name](config) for name in names]
        for values in product(*layouts):
            inputs = {n: v for n, v in zip(names, values, strict=True) if v is not None}
            yield (inputs if note else _with_places(model, config, inputs)), note


def _wanted(model: Any, arguments: Mapping[str, inspect.Parameter]) -> list[str]:
    """Arguments without a default, or the main ones, and those that always get a value."""
    needed = [
        name
        for name, argument in arguments.items()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
    ]
    main = model.main_input_name
    mains = [main] if isinstance(main, str) else list(main)
    return [name for name in [*(needed or mains), *ALWAYS] if name in arguments]


def _media(config: Any, arguments: Collection[str]) -> list[str]:
    """What is not text, and what goes along with it, if the model has text and something else."""
    parts = sub_configs(config)
    if not parts.keys() & {"text_config", "decoder_config", "vq_config"}:
        return []
    found: list[str] = []
    if any(word in part for part in parts for word in ("vision", "backbone", "vq_config")):
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
        found = (getattr(config, name, None) for name in tokens)
        token = next((one for one in found if isinstance(one, int)), None)
        if medium not in inputs or token is None or not hasattr(model, getter):
            continue
        get = getattr(private(model), getter)
        known = inspect.signature(get).parameters
        try:
            with torch.no_grad():
                output = get(**{n: v for n, v in inputs.items() if n in known})
        except Exception:  # the model's own run says what is wrong
            continue
        features = getattr(output, "pooler_output", None)
        if features is None:
            features = getattr(output, "last_hidden_state", output)
        size = sum(tensor.numel() for _, tensor in tensors_of(features))
        count = size // (model.get_input_embeddings().weight.shape[-1] * len(ids))
        places = torch.full((len(ids), count), token)
        ids = torch.cat([ids[:, :1], places, ids[:, 1:]], 1)
        kinds = torch.cat([kinds[:, :1], torch.full_like(places, kind), kinds[:, 1:]], 1)
    marks = {"mm_token_type_ids": kinds} if "mm_token_type_ids" in inputs else {}
    return {**inputs, "input_ids": ids, **marks}
