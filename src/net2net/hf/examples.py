"""Inputs for a model of transformers: what its forward asks for, made by argument name.

A name may have several layouts (samples with or without a channel, frames before or after their
features): the first that the model runs on is taken, small pictures before those of the size that
the configuration names. A model that takes pictures or sound along with text gets both, with as
many places in the text as the model's own features fill; only where that does not run does it get
the text alone, and says so.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import nn

from net2net.apply.module import with_tensors
from net2net.errors import InputError
from net2net.hf.layouts import LAYOUTS, Ask, image_size
from net2net.hf.parts import config_of, sub_configs
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import tensors_of, trace

log = logging.getLogger(__name__)

SMALL_PICTURE = 64
"""Pixels along an edge, at most, of the pictures that are tried first."""

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


Given = Mapping[str, Callable[[], Any]]
"""By the name of an argument: a function that makes what it gets."""


@dataclass(frozen=True)
class Example:
    """Inputs that a model runs on.

    Attributes:
        inputs: by the name of the argument.
        output: what the model puts out on them; None if it is on ``meta``.
        note: what they leave out, or empty.
    """

    inputs: dict[str, Any]
    output: Any
    note: str


def example_inputs(model: nn.Module) -> dict[str, Any]:
    """Random inputs that a model of transformers runs on, by argument name: a batch of two, of the
    type and on the device of the model's parameters (of a model on ``meta``, in memory, for they
    have values); the same on every call.

    They are made from the model's configuration, and tried: the model runs, in evaluation mode, on
    what its forward may want until it does not fail. The model is not changed.

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        grown = net2net.widen(model, 1.5, example_inputs(model))

    Raises:
        InputError: transformers is not installed, the model has none of its configurations, its
            forward wants something that is not made here, or it runs on none of the inputs.
    """
    with ALONE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        example = find_example(model)
    if example.note:
        log.warning("example inputs are %s", example.note)
    return example.inputs


def find_example(model: nn.Module, given: Given | None = None) -> Example:
    """The first example that the model runs on, drawn from torch's own random numbers.

    Args:
        given: what to use for some arguments instead of what is made here.

    Raises:
        InputError: as ``example_inputs``; where it runs on none, the error is that of the first
            that were tried.
    """
    first: tuple[str, Exception] | None = None
    config = config_of(model, "example inputs", "Give inputs of your own.")
    for inputs, note in _candidates(model, config, given or {}):
        try:
            return Example(inputs, _tried(model, inputs), note)
        except Exception as error:
            first = first or (", ".join(inputs), error)
    assert first is not None
    names, cause = first
    raise InputError(
        f"the model does not run on examples of {names}: {type(cause).__name__}: {cause}. "
        "Give inputs that it runs on."
    ) from cause


def _tried(model: nn.Module, inputs: dict[str, Any]) -> Any:
    """What the model puts out; None of a model without values, which is traced."""
    if any(parameter.is_meta for parameter in model.parameters()):
        trace(meta_copy(model), inputs)
        return None
    return _run(_copy(model), inputs)


def _copy(model: nn.Module) -> nn.Module:
    """A copy that shares the parameters: models keep caches from one run to the next."""
    parameters = dict(model.named_parameters())
    return with_tensors(model, {name: tensor.detach() for name, tensor in parameters.items()})


def _run(model: nn.Module, inputs: dict[str, Any]) -> Any:
    with torch.no_grad():
        return model.eval()(**inputs)


def _candidates(model: Any, config: Any, given: Given) -> Iterator[tuple[dict[str, Any], str]]:
    """Inputs in all layouts, the likely ones first; at last the text alone, if there is more."""
    arguments = inspect.signature(model.forward).parameters
    wanted = _wanted(model, arguments)
    media = _media(config, arguments)
    if media or not wanted:
        wanted.append("input_ids")
    edge = max(image_size(config))
    for names, note in [(wanted + media, ""), (wanted, "text alone")] if media else [(wanted, "")]:
        beside = [name for name in given if not (note and name in (*WITH_PICTURES, *WITH_SOUND))]
        names = [name for name in dict.fromkeys([*names, *beside]) if name in arguments]
        unknown = [name for name in names if name not in LAYOUTS and name not in given]
        if unknown:
            raise InputError(
                f"the forward of {type(model).__name__} wants '{unknown[0]}', which is not made "
                "here. Give inputs of your own."
            )
        for largest in dict.fromkeys((min(edge, SMALL_PICTURE), edge)):
            ask = Ask(config, largest)
            layouts = [[given[name]()] if name in given else LAYOUTS[name](ask) for name in names]
            for values in product(*layouts):
                inputs = {n: v for n, v in zip(names, values, strict=True) if v is not None}
                inputs = _as_parameters(model, inputs)
                yield (inputs if note else _with_places(model, config, inputs)), note


def _as_parameters(model: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """On the device of the model's parameters (of those without values, on the CPU), and numbers of
    their type."""
    parameter = next((one for one in model.parameters() if one.is_floating_point()), None)
    if parameter is None:
        return inputs
    device = torch.device("cpu") if parameter.is_meta else parameter.device
    return {
        name: value.to(device, parameter.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


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
        get = getattr(_copy(model), getter)
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
        places = torch.full((len(ids), count), token, device=ids.device)
        ids = torch.cat([ids[:, :1], places, ids[:, 1:]], 1)
        kinds = torch.cat([kinds[:, :1], torch.full_like(places, kind), kinds[:, 1:]], 1)
    marks = {"mm_token_type_ids": kinds} if "mm_token_type_ids" in inputs else {}
    return {**inputs, "input_ids": ids, **marks}
