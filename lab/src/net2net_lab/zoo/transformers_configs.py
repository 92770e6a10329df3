"""A tiny configuration of every model type, made from small values.

A configuration's own defaults say which attributes it has; those with a name that is known here get
a small value, in its sub-configurations as well. ``OVERRIDES`` holds what a structure demands
beyond that.
"""

from __future__ import annotations

from typing import Any

from net2net_lab.zoo.transformers_overrides import BACKBONE, OVERRIDES
from net2net_lab.zoo.transformers_sizes import HEADS, LAYERS, LISTS, SMALL, SPECIAL_TOKENS, WORDS


def tiny(kind: Any, name: str) -> Any:
    """A small configuration of a class."""
    try:
        default = kind()
    except Exception:  # a configuration without defaults
        return kind(**OVERRIDES.get(name, {}))
    return kind(**small_values(default, OVERRIDES.get(name, {})))


DEPTH = "num_hidden_layers"
KINDS = ("layer_types", "mlp_layer_types", "layers_block_type")
"""Lists that hold the kind of every layer."""

TOKEN = ("token_id", "token_index")


def _kinds_of(default: Any) -> dict[str, list[Any]]:
    present = vars(default)
    return {name: list(dict.fromkeys(present[name])) for name in KINDS if present.get(name)}


def _layers(default: Any) -> dict[str, int]:
    """So many that there is one of every kind, or as many as there are stages."""
    stages = getattr(default, "depths", None)
    if isinstance(stages, (list, tuple)):
        return {DEPTH: len(stages)}
    return {DEPTH: max(LAYERS, *map(len, _kinds_of(default).values()), 0)}


def _kinds(default: Any, layers: int) -> dict[str, list[Any]]:
    """One layer of every kind, in the order in which they come; the last is repeated."""
    return {
        name: kinds + [kinds[-1]] * (layers - len(kinds))
        for name, kinds in _kinds_of(default).items()
    }


def _sections(rope: dict[str, Any]) -> dict[str, Any]:
    """Rotary parameters whose sections, if they have any, fill a small head."""
    found: dict[str, Any] = {}
    for name, now in rope.items():
        if isinstance(now, dict):
            found[name] = _sections(now)
        elif name.endswith("_section") and isinstance(now, (list, tuple)):
            found[name] = [SMALL["head_dim"] // 2 - len(now) + 1] + [1] * (len(now) - 1)
            found["partial_rotary_factor"] = 1.0
        elif name == "partial_rotary_factor":
            found.setdefault(name, max(now, 0.5))
        else:
            found[name] = now
    return found


def _related(default: Any) -> dict[str, int]:
    """Sizes that mean something else beside other attributes."""
    found, present = {}, vars(default)
    if "kv_lora_rank" in present:  # keys are made from one latent vector: as many as queries
        found["num_key_value_heads"] = HEADS
    if not getattr(default, "qk_rope_head_dim", 1):  # no part of a head is rotated
        found["qk_rope_head_dim"] = 0
    if "spatial_merge_size" in present:  # in points of the picture, not in patches
        found["window_size"] = SMALL["image_size"]
    return found


def _given(part: Any) -> dict[str, Any]:
    """What a configuration gives to its part beyond the part's own defaults."""
    found = part.to_diff_dict()
    return {
        name: value
        for name, value in found.items()
        if ("depths" in vars(part) and name in ("out_indices", "out_features"))
        or (
            (name == "model_args" or isinstance(value, (str, bool)))
            and name not in ("transformers_version", "model_type")
        )
    }


def small_values(default: Any, override: dict[str, Any]) -> dict[str, Any]:
    """What to pass to the class of ``default``: small values under names that it has."""
    from transformers import AutoConfig, PretrainedConfig

    present = vars(default)
    aliases = {alias: name for alias, name in default.attribute_map.items() if name not in present}
    values: dict[str, Any] = {}
    small = {**SMALL, **SPECIAL_TOKENS, **_layers(default), **_related(default)}
    for name, now in present.items():
        if isinstance(now, PretrainedConfig):
            nested = override.get(name, {})
            if nested.get("model_type", now.model_type) != now.model_type:
                values[name] = nested  # another kind of part than by default
                continue
            if now.model_type == "timm_backbone":
                values[name] = {**BACKBONE, "out_indices": now.out_indices}
                continue
            values[name] = {**_given(now), **small_values(now, nested)}
            if default.sub_configs.get(name, AutoConfig) is AutoConfig:
                values[name]["model_type"] = now.model_type  # of which class it is to be
        elif name in LISTS and isinstance(now, (list, tuple)):
            values[name] = LISTS[name](now)
        elif name in small and not isinstance(now, (list, tuple, dict)):
            values[name] = small[name]
        elif isinstance(now, dict) and name.startswith("rope_"):
            values[name] = _sections(now)
        elif name.endswith(TOKEN) and isinstance(now, int) and now >= WORDS:
            values[name] = min(SPECIAL_TOKENS.values()) - 1
    values.update({name: small[name] for name in aliases if name in small})
    values.update(_kinds(default, small[DEPTH]))
    for name, value in override.items():
        if not isinstance(present.get(name), PretrainedConfig):
            values[name] = value
    return values
