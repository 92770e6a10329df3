"""Kernels that are larger in the student: the teacher's, with zeros around, where what the student
pads more keeps the picture in its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from net2net.errors import TransferError
from net2net.infer.units import Role
from net2net.recipe.axis_map import ABSENT, AxisMap
from net2net.trace.graph import Graph, Node
from net2net.trace.trace import Trace
from net2net.transfer.difference import Difference


@dataclass(frozen=True)
class Kernel:
    """What a layer does with pixels, by axis of the picture: taps; zeros that are put before it, by
    the layer or by code in front of it; how far taps are apart; and pixels that come out."""

    taps: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    pixels: tuple[int, ...]


def larger_kernels(
    teacher: Trace, student: Sequence[Trace], names: Mapping[str, str]
) -> Difference:
    """The student's weights with more taps. Its traces then tell of them, in place, as if they had
    the teacher's alone.

    Args:
        names: the student's tensors → the teacher's.

    Raises:
        TransferError: the student pads otherwise than those taps need.
    """
    theirs, found = _kernels(teacher), dict[str, list[AxisMap]]()
    for name, ours in _kernels(student[0]).items():
        for old, new in zip(theirs.get(names.get(name, ""), ()), ours, strict=False):
            if len(old.taps) == len(new.taps) and old.taps != new.taps:
                found[name] = list(_around(name, old, new))
    _leave_out(student, found)
    return Difference("kernels with zeros around the teacher's", found)


def _leave_out(student: Sequence[Trace], kernels: Mapping[str, Sequence[AxisMap]]) -> None:
    for one in student:
        for tensor, name in one.names.items():
            shape = list(one.shapes[tensor])
            for axis in kernels.get(name, ()):
                shape[axis.dim] = int((axis.index != ABSENT).sum())
            one.shapes[tensor] = tuple(shape)


def _around(name: str, old: Kernel, new: Kernel) -> Iterator[AxisMap]:
    for axis, (n, m) in enumerate(zip(old.taps, new.taps, strict=True)):
        step, apart = new.dilation[axis], old.dilation[axis]
        more = new.padding[axis] - old.padding[axis]
        before = more // step
        moved = more % step or not 0 <= before <= m - n or (n > 1 and step != apart)
        if moved or new.pixels != old.pixels:
            raise TransferError(
                f"'{name}' has {_by(old.taps)} taps and a padding of {_by(old.padding)} in the "
                f"teacher, {_by(new.taps)} and {_by(new.padding)} in the student, so zeros around "
                "the teacher's taps would move the picture. For two taps more, pad one more on "
                "each side."
            )
        index = np.full(m, ABSENT)
        index[before : before + n] = np.arange(n)
        if n != m:
            yield AxisMap(axis + 2, index, Role.PRODUCES)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _kernels(one: Trace) -> dict[str, list[Kernel]]:
    """By weights, those of all layers that read them as they are."""
    found: dict[str, list[Kernel]] = defaultdict(list)
    graph = Graph(one)
    for op in one.ops:
        if "padding" not in op.args or "dilation" not in op.args:
            continue
        node = graph.outputs(op)[0]
        weight = node.args.get("weight")
        if isinstance(weight, Node) and weight.name:
            taps = weight.shape[2:]
            dilation = _each(op.args["dilation"], len(taps))
            around = [step * (size - 1) // 2 for step, size in zip(dilation, taps, strict=True)]
            own = op.args["padding"]
            own = around if own == "same" else [0] if own == "valid" else own
            padding = zip(_each(own, len(taps)), _padded(node.args["input"], taps), strict=True)
            found[weight.name].append(Kernel(
                taps, tuple(map(sum, padding)), dilation, node.shape[-len(taps) :]
            ))  # fmt: skip
    return found


def _each(given: Sequence[int], axes: int) -> tuple[int, ...]:
    return tuple(given) * axes if len(given) == 1 else tuple(given)


def _padded(picture: Node, taps: Sequence[int]) -> list[int]:
    """Zeros that code puts before each axis of a picture."""
    given = picture.args
    plain = given.get("mode", "constant") == "constant" and not given.get("value")
    zeros = picture.kind in {"pad", "constant_pad_nd"} and plain
    pad = given["pad"][::2] if zeros else []
    return [*pad, *[0] * len(taps)][: len(taps)][::-1]
