"""Heads of keys and values that several query heads share.

Usually a head of keys, with that of values and all queries that it serves, is one unit. Asked for
by name, there are two other ways to grow. Each serves more queries (so it is unasked where all
share one): then one unit is a query of every head. Or there are copies of each, among which its
queries are dealt out: then one unit is a copy of every head, of which the teacher has one, and all
that reads them stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from net2net.infer.relations import Count, OpSite
from net2net.infer.units import SharedHeads, UnitIds, Units
from net2net.infer.values import Part, Value


def served(site: OpSite, heads: UnitIds, times: int, *, by_query: bool) -> UnitIds | None:
    """The units of heads that are each repeated: of ``[heads, …]`` those of ``[heads, times, …]``,
    where positions along ``times`` are the queries of a head; None: nothing there grows.
    ``by_query``: units are the queries, since that was asked for, or all share one head."""
    units = site.units
    axes = units.axes_of(heads)
    shown = np.broadcast_to(heads[:, None], (len(heads), times, *heads.shape[1:]))
    known = next((n for n in site.op.traced_ints.values() if n == times), None)
    many = [units.dealt[axis] for axis in axes & units.dealt.keys()]
    if dealt := [before for before in many if not len(heads) % before]:
        if known is not None and (origin := known.attribute_alone) is not None:
            units.against[origin] = times, heads.reshape(len(heads), -1)[:, 0]
        block = heads.reshape(dealt[0], -1, *heads.shape[1:])
        _bundle_copies(units, block, units.inside_shared(site.op.path, block.shape[1]))
        return None
    if times > 1:
        named = frozenset(units.axes[axis] for axis in axes - units.anonymous)
        units.shared_heads.append(
            SharedHeads(site.op.path, named, len(heads), heads.reshape(-1), times, known)
        )
    if not by_query:
        # of a single head, queries would else be as one
        return units.derived(shown, _each(shown)) if _grouped(units, heads) else shown
    site.fix(heads, "shows each to several queries, whose number grows")
    own = units.inside_shared(site.op.path, times)
    if known is not None:
        site.counts.append(Count(site.op.path, "repeats", own, known))
    own = own.reshape(-1, *[1] * (heads.ndim - 1))
    return units.derived(np.broadcast_to(own, shown.shape), shown)


def _bundle_copies(units: Units, block: UnitIds, copies: UnitIds) -> None:
    """One unit for every copy ``[heads, copies, …]`` of all heads."""
    each = np.moveaxis(block, 1, 0).reshape(len(copies), -1)
    units.bundle(np.column_stack([each, copies]), (1,))
    units.read.append(each.reshape(-1))


def repeated(site: OpSite, value: Value, axis: int, times: int) -> Value:
    """Every head along an axis is shown to so many queries, one after the other."""
    axis = value.dim(axis)
    part = value.part(axis)
    index = np.repeat(np.arange(value.shape[axis]), times)
    if part is None or part.axes[0] != axis or len(part.axes) < 2:
        return value.take(axis, index)
    by_query = _by_query(site.units, part.ids, times)
    ids = served(site, part.ids, times, by_query=by_query)
    shown = _without(value, part).take(axis, index)
    if ids is None or by_query:
        shown = _not_alike(shown, axis)
    if ids is None:
        return shown
    heads = Part(part.axes, ids.reshape(-1, *part.ids.shape[1:]))
    if _grouped(site.units, part.ids):
        site.units.fix_size(heads.ids, 0)  # what repeats them does not count the heads
    return replace(shown, parts=(*shown.parts, heads))


def expanded(site: OpSite, value: Value, sizes: list[int]) -> Value:
    """An axis of size 1 right behind that of heads gets longer: positions along it are queries.

    Args:
        value: as it is expanded.
        sizes: what its axes were before.
    """
    for part in value.parts:
        axis = part.axes[0] + 1
        if len(part.axes) < 2 or axis in part.axes or sizes[axis] > 1:
            continue
        counted = ("size", axis) in site.op.traced_ints  # else they may be positions in time
        if value.shape[axis] == 1 and not counted:
            continue
        by_query = _by_query(site.units, part.ids, value.shape[axis] if counted else 1)
        ids = served(site, part.ids, value.shape[axis], by_query=by_query)
        rest = _not_alike(_without(value, part), axis)
        if ids is None:
            return rest
        if by_query or _grouped(site.units, part.ids):
            heads = Part((part.axes[0], axis, *part.axes[1:]), ids)
            return replace(rest, parts=(*rest.parts, heads))
    return value


def _by_query(units: Units, heads: UnitIds, times: int) -> bool:
    """Whether units are the queries of each: if that was asked for, or all share one head."""
    one_for_all = len(heads) == 1 < times and not _grouped(units, heads)
    return one_for_all or not units.axes_of(heads).isdisjoint(units.more_queries)


def _grouped(units: Units, heads: UnitIds) -> bool:
    """Whether a head that all queries share grows with them."""
    return not units.axes_of(heads).isdisjoint(units.more_groups)


def _each(shown: UnitIds) -> UnitIds:
    """``[heads, times, …]``: a number for each time."""
    times = np.arange(shown.shape[1]).reshape(-1, *[1] * (shown.ndim - 2))
    return np.broadcast_to(times, shown.shape)


def _without(value: Value, part: Part) -> Value:
    return replace(value, parts=tuple(one for one in value.parts if one is not part))


def _not_alike(value: Value, axis: int) -> Value:
    return replace(value, constant_axes=value.constant_axes - {axis})
