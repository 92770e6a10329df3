"""transformers: a tiny random configuration of every model type, made from small values.

A configuration's own defaults say which attributes it has; those with a name that is known here get
a small value, in its sub-configurations as well. ``OVERRIDES`` holds what a structure demands
beyond that.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from net2net.zoo.subject import Entry, NotBuiltError, Readout, Subject, first_output, private, run
from net2net.zoo.transformers_sizes import LISTS, OVERRIDES, SMALL

LIBRARIES = ("transformers",)

TOKENS, FRAMES, SAMPLES, PIXELS = 12, 64, 400, 32

FEATURES = ("last_hidden_state", "logits_per_image", "logits")
"""Outputs that are read first, if there are any of that name."""


def entries() -> list[Entry]:
    """All types that ``AutoModel`` knows."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return [Entry("", name) for name in sorted(MODEL_MAPPING_NAMES)]


def build(name: str) -> Subject:
    """A model with random weights, and an input for it."""
    from transformers import CONFIG_MAPPING, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    config = tiny(CONFIG_MAPPING[name], name)
    model = AutoModel.from_config(config).eval()  # type: ignore[no-untyped-call]
    inputs = _inputs(model, config)
    try:
        output = run(private(model), inputs)
    except Exception as error:
        raise NotBuiltError(
            f"it does not run on {', '.join(inputs)}: {type(error).__name__}: {error}"
        ) from error
    key, tensor = next(
        ((key, output[key]) for key in FEATURES if isinstance(output, dict) and key in output),
        None,
    ) or first_output(output)
    if isinstance(key, str) and key.startswith("logits"):
        return Subject(Readout(model, [(key, -1, 0)]), inputs)
    axis = 1 if tensor.ndim == 4 else tensor.ndim - 1
    return Subject(Readout(model, [(key, axis, tensor.shape[axis])]), inputs)


def tiny(kind: Any, name: str) -> Any:
    """A small configuration of a class."""
    try:
        default = kind()
    except Exception:  # a configuration without defaults
        return kind(**OVERRIDES.get(name, {}))
    return kind(**small_values(default, OVERRIDES.get(name, {})))


def small_values(default: Any, override: dict[str, Any]) -> dict[str, Any]:
    """What to pass to the class of ``default``: small values under names that it has."""
    from transformers import AutoConfig, PretrainedConfig

    present = vars(default)
    aliases = {alias: name for alias, name in default.attribute_map.items() if name not in present}
    values: dict[str, Any] = {}
    for name, now in present.items():
        if isinstance(now, PretrainedConfig):
            nested = override.get(name, {})
            if nested.get("model_type", now.model_type) != now.model_type:
                values[name] = nested  # another kind of part than by default
                continue
            values[name] = small_values(now, nested)
            if default.sub_configs.get(name, AutoConfig) is AutoConfig:
                values[name]["model_type"] = now.model_type  # of which class it is to be
        elif name in LISTS and isinstance(now, (list, tuple)):
            values[name] = LISTS[name](now)
        elif name in SMALL and not isinstance(now, (list, tuple, dict)):
            values[name] = SMALL[name]
    values.update({name: SMALL[name] for name in aliases if name in SMALL})
    for name, value in override.items():
        if not isinstance(present.get(name), PretrainedConfig):
            values[name] = value
    return values


def _inputs(model: Any, config: Any) -> dict[str, Tensor]:
    """Inputs under the names that the model's forward wants."""
    ids = torch.randint(3, 90, (2, TOKENS))
    decoder = {"decoder_input_ids": ids} if "decoder_input_ids" in _arguments(model) else {}
    main = model.main_input_name
    text = getattr(config, "text_config", None) is not None
    makers = {
        "pixel_values": lambda: torch.randn(2, _channels(config), *_image_size(config)),
        "input_values": lambda: torch.randn(2, SAMPLES),
        "input_features": lambda: torch.randn(2, _find(config, "num_mel_bins", 16), FRAMES),
    }
    if main in makers:
        return {main: makers[main](), **decoder}
    if main != "input_ids":
        raise NotBuiltError(f"its main input is '{main}', which is not made here")
    inputs = {"input_ids": ids}
    if text and getattr(config, "vision_config", None) is not None:
        inputs["pixel_values"] = makers["pixel_values"]()
    return {**inputs, **decoder}


def _arguments(model: Any) -> Collection[str]:
    return inspect.signature(model.forward).parameters.keys()


def _find(config: Any, name: str, default: Any) -> Any:
    """An attribute of the configuration, or of the part of it that looks at images."""
    for part in (getattr(config, "vision_config", None), config):
        value = getattr(part, name, None)
        if value is not None:
            return value
    return default


def _channels(config: Any) -> int:
    found = _find(config, "num_channels", 3)
    return found if isinstance(found, int) else 3


def _image_size(config: Any) -> tuple[int, int]:
    size = _find(config, "image_size", PIXELS)
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return (size, size) if isinstance(size, int) and size <= 64 else (64, 64)
