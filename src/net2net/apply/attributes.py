"""The integers that modules keep about their sizes: found on the teacher, set on the student."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from net2net.errors import PlanError
from net2net.trace.meta_copy import named_tensors


@dataclass(frozen=True)
class SetAttribute:
    """An attribute of the module at a path (``num_heads``, ``config.hidden_size``, ``sizes.0``)
    gets this value."""

    path: str
    name: str
    value: Any


def edits(
    model: nn.Module,
    shapes: Mapping[str, Sequence[int]],
    counts: Sequence[tuple[str, str, int, int]],
) -> list[SetAttribute]:
    """What to set on the student's modules so that they agree with its tensors.

    ``counts``: integers that operations were called with (``groups``), by the module that called.
    """
    result: list[SetAttribute] = []
    modules = dict(model.named_modules())
    for path, attribute, old, new in counts:
        if path in modules and get_attribute(modules[path], attribute) == old:
            result.append(SetAttribute(path, attribute, new))
    grouped = {one.path: one.value for one in result if one.name == "groups"}
    names = {id(tensor): name for name, tensor in named_tensors(model)}
    for path, part in modules.items():
        own = {
            key: t
            for key, t in [*part._parameters.items(), *part._buffers.items()]
            if t is not None and id(t) in names
        }
        before = _sizes(part, {key: tuple(t.shape) for key, t in own.items()}, None)
        wider = {key: tuple(shapes.get(names[id(t)], t.shape)) for key, t in own.items()}
        for attribute, value in _sizes(part, wider, grouped.get(path)).items():
            # classes derived from torch's give some of their attributes another meaning
            if getattr(part, attribute) == before[attribute] != value:
                result.append(SetAttribute(path, attribute, value))
    return list(dict.fromkeys(result))


def _sizes(part: nn.Module, own: dict[str, tuple[int, ...]], groups: int | None) -> dict[str, Any]:
    """Attributes of torch's own layers that repeat the sizes of their tensors."""
    if isinstance(part, (nn.RNNBase, nn.RNNCellBase)):
        return _recurrent_sizes(own)
    if isinstance(part, nn.MultiheadAttention):
        return _attention_sizes(part, own)
    weight = own.get("weight")
    if weight is None:
        return {}
    if isinstance(part, nn.Linear):
        return {"out_features": weight[0], "in_features": weight[1]}
    if isinstance(part, _ConvTransposeNd):
        return {"in_channels": weight[0], "out_channels": weight[1] * (groups or part.groups)}
    if isinstance(part, _ConvNd):
        return {"out_channels": weight[0], "in_channels": weight[1] * (groups or part.groups)}
    if isinstance(part, _NormBase):
        return {"num_features": weight[0]}
    if isinstance(part, nn.GroupNorm):
        return {"num_channels": weight[0]}
    if isinstance(part, (nn.LayerNorm, nn.RMSNorm)):
        return {"normalized_shape": weight}
    if isinstance(part, nn.PReLU):
        return {"num_parameters": weight[0]}
    if isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
        return {"num_embeddings": weight[0], "embedding_dim": weight[1]}
    if isinstance(part, nn.Bilinear):
        return dict(zip(("out_features", "in1_features", "in2_features"), weight, strict=True))
    return {}


def _recurrent_sizes(own: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The first layer's weights tell; a projection is what the hidden state is read from."""
    read, recurrent = (
        own.get(f"weight_{kind}_l0", own.get(f"weight_{kind}")) for kind in ("ih", "hh")
    )
    if read is None or recurrent is None:
        return {}
    if (projection := own.get("weight_hr_l0")) is None:
        return {"input_size": read[1], "hidden_size": recurrent[1]}
    return {"input_size": read[1], "proj_size": projection[0], "hidden_size": projection[1]}


def _attention_sizes(
    part: nn.MultiheadAttention, own: dict[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Queries are as wide as the output; keys and values may have widths of their own."""
    packed = own.get("in_proj_weight")
    if packed is not None:
        return {"embed_dim": packed[1], "kdim": packed[1], "vdim": packed[1]}
    weights = (own.get(f"{letter}_proj_weight") for letter in "qkv")
    names = ("embed_dim", "kdim", "vdim")
    return {name: size[1] for name, size in zip(names, weights, strict=True) if size is not None}


def get_attribute(holder: Any, attribute: str) -> Any:
    """``attribute`` may lead through objects, lists and dicts: ``config.hidden_size``, ``sizes.0``,
    ``ranks.default``."""
    for name in attribute.split("."):
        if holder is None:
            return None
        # Its own dictionary: configurations exist that refuse to be asked for what varies by layer.
        if isinstance(holder, dict):
            holder = holder.get(name)
        elif name.isdigit():
            holder = holder[int(name)] if int(name) < len(holder) else None
        else:
            holder = vars(holder).get(name)
    return holder


def set_attributes(model: nn.Module, changes: Sequence[SetAttribute]) -> None:
    """Apply edits to a student.

    Raises:
        PlanError: there is no such module, or no such number in it.
    """
    modules = dict(model.named_modules())
    for one in changes:
        path, attribute, value = one.path, one.name, one.value
        if path not in modules or not _may_be(modules[path], attribute, value):
            raise PlanError(
                f"the plan sets '{attribute}' of '{path}' to {value!r}, and the model has no such "
                "size. Apply the plan to a copy of its own teacher, or make it again."
            )
        _set(modules[path], attribute.split("."), value)


def _may_be(module: nn.Module, attribute: str, value: Any) -> bool:
    """Whether there is a number of this name, a list with an item for each block, or a field of a
    configuration that says nothing yet."""
    now = get_attribute(module, attribute)
    holder, _, name = attribute.rpartition(".")
    if now is None and attribute.startswith("config."):
        fields = vars(get_attribute(module, holder) or object)
        return name in fields and _are_sizes(value)
    if isinstance(now, (list, tuple)) and isinstance(value, (list, tuple)):
        return _are_sizes(now, value) or all(item in now for item in value)
    return _are_sizes(now, value) or type(now) is type(value) is float


def _are_sizes(*values: Any) -> bool:
    """Whether these are integers, or sequences of integers."""
    flat = [x for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]
    return all(map(_is_size, flat))


def _is_size(item: Any) -> bool:
    """An integer, maybe one that numpy or torch computed."""
    try:
        index(item)
    except TypeError:
        return False
    return not isinstance(item, bool)


def _set(holder: Any, names: Sequence[str], value: Any) -> Any:
    """Set an attribute or item; sequences and dicts are replaced by new ones, as others may hold
    the old."""
    name, *rest = names
    if isinstance(holder, dict):
        entries = copy.copy(holder)
        entries[name] = _set(entries[name], rest, value) if rest else value
        return entries
    if name.isdigit():
        changed = list(holder)
        changed[int(name)] = _set(changed[int(name)], rest, value) if rest else value
        return type(holder)(changed)
    if rest:
        inner = getattr(holder, name)
        if (value := _set(inner, rest, value)) is inner:
            return holder  # what was set is in it; some configurations take long to set one inside
    elif isinstance(value, list):
        now = getattr(holder, name)
        value = list(value) if isinstance(now, list) else tuple(value)
    setattr(holder, name, value)
    return holder
