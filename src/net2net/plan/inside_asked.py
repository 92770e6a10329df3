"""Whether widths ask for more in each head, instead of more heads.

An attribute that is named may count the features of heads, or the queries that each head of keys
serves. And where one width is for queries, and another for the keys and values that they share,
one of the two that stays tells: queries alone grow in each group, keys alone are dealt queries. So
does an attribute that stays, by which code divides one that grows (``heads // groups``). A head of
keys that all queries share grows with them where it is named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import nn

from net2net.apply.attributes import get_attribute
from net2net.infer.inference import Inference
from net2net.infer.inside import Inside
from net2net.infer.size_uses import axes_counted, divided_inside
from net2net.infer.spaces import Spaces, spaces_of
from net2net.infer.units import Axis
from net2net.plan.globs import counted, named, named_attributes, owns
from net2net.trace.traced_ints import Origin

Asked = Mapping[str, float | int]


@dataclass
class _Shared:
    """The heads of keys and values that one module shares among queries."""

    path: str
    heads: int
    axes: set[Axis] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    """The groups of their units, by number."""
    queries: set[Origin] = field(default_factory=set)


def asked_inside(
    inference: Inference, model: nn.Module, widths: Asked, number: Collection[Origin] = ()
) -> Inside:
    """What grows inside heads at these widths. ``number``: attributes that count no features, but
    heads whose number stays."""
    origins = _named(inference, model, widths)
    dealt: dict[Axis, int] = {}
    shared = _shared(inference)
    features = axes_counted(inference, origins - {*number}, inside=True)
    groups: set[Axis] = set()
    stay = staying(inference, model, widths)
    queries = divided_inside(inference, origins - stay, stay)
    several = len(widths) > 1 or (widths and any(one.heads == 1 for one in shared))
    spaces = spaces_of(inference) if shared and several else None
    for one in shared:
        keys, others = _ratios(spaces, inference, model, widths, one) if spaces else ([], [])
        grow_keys, grow_others = (any(ratio > 1 for ratio in some) for some in (keys, others))
        if origins & one.queries or (keys and grow_others and not grow_keys):
            queries |= one.axes
        elif queries & one.axes:
            continue
        elif others and grow_keys and not grow_others:
            dealt |= dict.fromkeys(one.axes, one.heads)
        elif one.heads == 1 and (grow_keys or features & one.axes):
            groups |= one.axes
    return Inside(features, queries, dealt, groups)


def _named(inference: Inference, model: nn.Module, widths: Asked) -> set[Origin]:
    """The attributes that widths name."""
    return {o for glob in widths for o in named_attributes(inference, model, glob).values()}


def staying(inference: Inference, model: nn.Module, widths: Asked) -> set[Origin]:
    """The attributes that widths name as they are."""
    found = set[Origin]()
    for glob, width in widths.items():
        for path, name in named_attributes(inference, model, glob).values():
            now = get_attribute(model.get_submodule(path), name)
            if width == (1.0 if isinstance(width, float) else now):
                found.add((path, name))
    return found


def counting_none(
    found: Inference, inside: Inference, model: nn.Module, widths: Asked
) -> set[Origin]:
    """The attributes named that count no units where heads grow inside."""
    if not inside.inside.features or not (origins := _named(found, model, widths)):
        return set()
    left = counted(spaces_of(inside), inside)
    return {origin for origin in origins if not left.get(origin)}


def _shared(inference: Inference) -> list[_Shared]:
    found: dict[str, _Shared] = {}
    for one in inference.units.shared_heads:
        known = found.setdefault(one.path, _Shared(one.path, one.heads))
        known.axes |= one.axes
        known.groups |= {*inference.groups_on(one.units)}
        if one.told_by is not None and (origin := one.told_by.attribute_alone) is not None:
            known.queries.add(origin)
    return list(found.values())


def _ratios(
    spaces: Spaces, inference: Inference, model: nn.Module, widths: Asked, shared: _Shared
) -> tuple[list[float], list[float]]:
    """By how much keys and values are asked to grow, and by how much the queries."""
    keys, others = list[float](), list[float]()
    keys_here, near = (
        {list(inference.groups)[number] for number in numbers}
        for numbers in (
            shared.groups,
            inference.groups_on(inference.units.all_inside_shared(shared.path)),
        )
    )
    for glob, width in widths.items():
        attributes = named_attributes(inference, model, glob)
        for path, found in named(spaces, inference, model, glob):
            for now, space in found:
                here = {group.key for group in space.groups}
                if here.isdisjoint(keys_here | near):
                    continue
                ratio = width if isinstance(width, float) else width / now.size
                makers = inference.makers & space.axes.keys()
                if path in attributes:
                    own = axes_counted(inference, [attributes[path]]) & makers
                else:
                    own = {axis for axis in makers if owns(path, axis.name)}
                if own and own <= shared.axes and here & keys_here:
                    keys.append(ratio)
                elif own and not own & shared.axes:
                    others.append(ratio)
    return keys, others
