"""Pooling, resampling and padding of pixels: channels pass through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from net2net.infer.relations import OpSite
from net2net.infer.rules import rule
from net2net.infer.units import NO_UNIT
from net2net.infer.values import Part, Value

POOLS = """
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    _adaptive_avg_pool2d _adaptive_avg_pool3d max_pool1d max_pool2d max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
    upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
"""


@rule(*POOLS.split())
def pool(site: OpSite) -> list[Value]:
    """Channels pass through, and axes along which the window is 1; pixels are pooled."""
    value = next(x for x in site.args.values() if isinstance(x, Value))
    spatial = int(next(digit for digit in site.name if digit.isdigit()))
    first = value.ndim - spatial
    windows = [*site.args.get("kernel_size", ())] * spatial  # one for all, or one each
    pixels = [
        axis
        for axis, window in zip(range(first, value.ndim), windows or [0] * spatial, strict=False)
        if window != 1 or site.shape[axis] != value.shape[axis]
    ]
    parts = site.confine(value, pixels, "pools over it").parts
    return [Value(shape, parts) for shape in site.outputs]


@rule("fractional_max_pool2d", "fractional_max_pool3d")
def fractional_pool(site: OpSite) -> list[Value]:
    """Every channel has random regions of its own: stored ones follow it, drawn ones fix it."""
    value, samples = site["self"], site["random_samples"]
    results: list[Value] = pool(site)
    channel = value.ndim - (3 if "2d" in site.name else 4)
    if samples.parts:
        site.align([(value, range(value.ndim)), (samples.without([0, 2]), [channel])], value.shape)
    else:
        site.pin(value, channel, "pools over random regions of each channel")
    return results


@rule("max_unpool2d", "max_unpool3d")
def unpool(site: OpSite) -> Value:
    value = site.pointwise([site["self"], site["indices"]], site["self"].shape)
    pixels = range(value.ndim - int(site.name[-2]), value.ndim)
    return Value(site.shape, site.confine(value, pixels, "unpools over it").parts)


@rule("pixel_shuffle")
def pixel_shuffle(site: OpSite) -> Value:
    """r² channels become the pixels of one: they are its bundle."""
    value, factor = site["self"], site["upscale_factor"]
    channel = value.ndim - 3
    value = site.confine(value, (-2, -1), "moves pixels in it")
    ids = value.ids(channel)
    if ids is None:
        site.pin(value, channel, "turns it into pixels")
        return Value(site.shape)
    rows = ids.reshape(-1, factor * factor)
    site.units.bundle(rows, (1,))
    return Value(site.shape, (Part((channel,), np.ascontiguousarray(rows[:, 0])),))


@rule("pixel_unshuffle")
def pixel_unshuffle(site: OpSite) -> Value:
    value, factor = site["self"], site["downscale_factor"]
    channel = value.ndim - 3
    value = site.confine(value, (-2, -1), "moves pixels in it")
    ids = value.ids(channel)
    if ids is None:
        return Value(site.shape)
    return Value(site.shape, (Part((channel,), np.repeat(ids, factor * factor)),))


@rule(
    "aten::pad", "aten::constant_pad_nd",
    *(f"aten::{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)),
)  # fmt: skip
def pad(site: OpSite) -> Value:
    """Padding lists (before, after) from the last axis backwards. Padded channels are no units, but
    where the code makes their number of sizes (a half of the channels): then they grow with those,
    and any is like any other."""
    value: Value = site["self"]
    if site.args.get("value"):  # what is padded with is not divided
        value = value.rigid()
    argument = "pad" if "pad" in site.args else "padding"
    amounts: list[int] = site[argument]
    for number, (axis, before, after) in enumerate(
        zip(range(value.ndim - 1, -1, -1), amounts[::2], amounts[1::2], strict=False)
    ):
        size = value.shape[axis]
        kept = range(max(-before, 0), size - max(-after, 0))
        index = [NO_UNIT] * max(before, 0) + list(kept) + [NO_UNIT] * max(after, 0)
        padded = value.take(axis, index)
        made = {(argument, 2 * number), (argument, 2 * number + 1)} & site.op.traced_sizes.keys()
        value = (
            _units_of_padding(site, padded, axis)
            if made and value.ids(axis) is not None
            else padded
        )
    return value


def _units_of_padding(site: OpSite, value: Value, axis: int) -> Value:
    """With new units at all positions of an axis that have none."""
    parts = []
    for part in value.parts:
        if part.axes == (axis,):
            empty = part.ids == NO_UNIT
            ids = part.ids.copy()
            ids[empty] = site.units.new("", axis, int(empty.sum()))[1]
            part = Part(part.axes, ids)
        parts.append(part)
    return replace(value, parts=tuple(parts))
