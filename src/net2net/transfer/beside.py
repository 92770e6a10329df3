"""Blocks that put what they make beside what they are given, as those of a DenseNet do: an added
one need not return its input, if at first nobody reads what it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from net2net.errors import TransferError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.units import NO_UNIT, Axis, Role, joined
from net2net.recipe.axis_map import ABSENT, NEW, AxisMap, Index
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Trace
from net2net.transfer.longer import put_smaller


@dataclass(frozen=True, eq=False)
class Beside:
    """What added blocks alone make.

    Attributes:
        blocks: those that return nothing else.
        others: axes of the student's other tensors on which it is → where the rest is, how many
            positions there are, and what the tensor does along them.
    """

    blocks: frozenset[str]
    others: dict[Axis, tuple[Index, int, Role]]

    def axes(self, name: str, grown: Sequence[AxisMap]) -> list[AxisMap]:
        """The maps of a tensor's axes, of which ``grown`` are those of the rest: what is beside is
        new, and not read."""
        found = {one.dim: one for one in grown}
        for axis, (rest, size, role) in self.others.items():
            if axis.name == name:
                found[axis.dim] = _among(found.get(axis.dim), axis.dim, rest, size, role)
        return list(found.values())


Numbers = TypeVar("Numbers", NDArray[np.int64], NDArray[np.float64])

NOTHING = Beside(frozenset(), {})


def beside(whole: Trace, added: Sequence[str]) -> Beside:
    """What these blocks of the student make beside what the others do.

    Raises:
        TransferError: it would count without being read.
    """
    found = infer([whole], on_unknown="fix")
    alone = _made_by(found, added)
    for group in found.groups.values():
        why = group.fixed or group.equal_copies or group.no_copies
        if why and alone[group.components].any():
            raise TransferError(
                f"added blocks of the student make units beside the others on "
                f"{min(map(str, group.places))}, and {why}. Keep the teacher's depth there."
            )
    others = {}
    for axis, number in found.numbers.items():
        mine = alone[found.ids(number)]
        if mine.any() and not _under(axis.name, added):
            others[axis] = (np.flatnonzero(~mine), len(mine), found.role(axis))
    return Beside(frozenset(path for path in added if _returns(found, whole, path, alone)), others)


def leave_out(meta: nn.Module, one: Beside, before: Mapping[str, str]) -> None:
    """Leave out what added blocks make, in place, of a model without them or values.

    Args:
        before: the names of its tensors → those in the student.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in named_tensors(meta):
        for axis, (rest, _, _) in one.others.items():
            if axis.name == before.get(name):
                tensors[name] = tensors.get(name, tensor.detach())[
                    (slice(None),) * axis.dim + (rest,)
                ]
    put_smaller(meta, tensors)


def _made_by(found: Inference, blocks: Sequence[str]) -> NDArray[np.bool_]:
    """``[units]``: components that parameters of these blocks make, and others read at most."""
    ours, theirs = (np.zeros(len(found.component), dtype=bool) for _ in range(2))
    for axis, number in found.numbers.items():
        if found.role(axis) is Role.PRODUCES:
            (ours if _under(axis.name, blocks) else theirs)[found.ids(number)] = True
    read = np.zeros(len(found.component), dtype=bool)
    for axis, number in found.numbers.items():
        if not _under(axis.name, blocks):
            read[found.ids(number)] = True
    alone: NDArray[np.bool_] = ours & ~theirs & read
    return alone


def _returns(found: Inference, whole: Trace, path: str, alone: NDArray[np.bool_]) -> bool:
    """Whether all that a block returns is among these units."""
    calls = [one for one in whole.calls if one.path == path]
    returned = [joined(found.ids_of(0, tensor)) for call in calls for tensor in call.outputs]
    return bool(returned) and all(
        len(units) and (units != NO_UNIT).all() and alone[found.component[units]].all()
        for units in returned
    )


def _under(name: str, blocks: Sequence[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in blocks)


def _among(one: AxisMap | None, dim: int, rest: Index, size: int, role: Role) -> AxisMap:
    """The map of an axis on which the rest lies among what is new."""
    one = one or AxisMap(dim, np.arange(len(rest)), role)
    index = np.full(size, ABSENT if role is Role.CONSUMES else NEW)
    index[rest] = one.index
    twin = None
    if one.twin is not None:
        twin = np.arange(size)
        twin[rest] = rest[one.twin]
    return replace(
        one, index=index, divisor=_spread(one.divisor, rest, np.ones(size, dtype=np.int64)),
        scale=_spread(one.scale, rest, np.ones(size)),
        offset=_spread(one.offset, rest, np.zeros(size)), twin=twin,
    )  # fmt: skip


def _spread(given: Numbers | None, rest: Index, among: Numbers) -> Numbers | None:
    if given is None:
        return None
    among[rest] = given
    return among
