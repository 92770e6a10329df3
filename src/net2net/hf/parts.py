"""What a configuration and the configurations inside it say."""

from __future__ import annotations

from typing import Any

from torch import nn

from net2net.errors import InputError

VISION, SOUND, TEXT = (
    ("vision", "image", "backbone", "visual"),
    ("audio", "speech", "encoder"),
    ("text", "decoder"),
)
"""Words in the names of the parts of a model that look, hear, or read and write."""

TOKEN = ("token_id", "token_index")
"""How names of words end that stand for something else."""


def config_of(model: nn.Module, what: str, otherwise: str) -> Any:
    """The configuration of a model of transformers.

    Args:
        what: what is made by it, and ``otherwise``: what to do without one, for messages.

    Raises:
        InputError: transformers is not installed, or the model has no such configuration.
    """
    try:
        from transformers import PretrainedConfig
    except ImportError as error:
        raise InputError(
            f"{what} are made for models of transformers, which is not installed. "
            "Install it: pip install 'net2net[hf]'"
        ) from error
    config = getattr(model, "config", None)
    if not isinstance(config, PretrainedConfig):
        raise InputError(
            f"{type(model).__name__} has no configuration of transformers as its 'config', which "
            f"{what} are made from. {otherwise}"
        )
    return config


def sub_configs(config: Any) -> dict[str, Any]:
    """The configurations inside a configuration, by name."""
    from transformers import PretrainedConfig

    return {name: part for name, part in vars(config).items() if isinstance(part, PretrainedConfig)}


def find(config: Any, words: tuple[str, ...], *names: str, default: Any = None) -> Any:
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
        value = find(parts[part], words, *names)
        if value is not None:
            return value
    return default


def special_words(config: Any) -> set[int]:
    """Words that stand for something else: ends of sentences, places of pictures."""
    found = {
        value
        for name, value in vars(config).items()
        if name.endswith(TOKEN) and isinstance(value, int)
    }
    return found.union(*map(special_words, sub_configs(config).values()))
