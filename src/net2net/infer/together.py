"""Which groups can only grow together.

Groups that lie on one output axis of a weight (a convolution whose channels are cut by a slice),
that the code cuts in proportion (``chunk``), or to which it gives one size, grow by one factor:
they are one space. Fixed groups are listed where a weight makes or reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from net2net.infer.inference import Group, Inference
from net2net.infer.size_uses import SizeUse, by_attribute, size_uses
from net2net.infer.units import NO_UNIT, UnitIds, joined
from net2net.trace.traced_ints import Origin, axis_of


class Together:
    """The groups of an inference, by number, each with the *leader* of those that grow with it."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._groups = list(inference.groups.values())
        self._leader = list(range(len(self._groups)))
        self._given: dict[int, str] = {}
        """Group → what gives it the size of others."""
        self._held: dict[int, str] = {}
        """Group → why it stays."""
        for axis, number in inference.numbers.items():
            if axis in inference.makers:
                starts = inference.units.starts
                self._unite([np.arange(starts[number], starts[number + 1])])
        for block in inference.position_splits:
            self._unite([block])
        for ids, _ in inference.units.equal_copies:
            self._unite([ids])
        self.size_uses = size_uses(inference)
        self._unite_sizes()
        for pieces, why in inference.units.uneven:
            self._keep(pieces, why)

    def leader(self, number: int) -> int:
        """The group that stands for all that grow with this one."""
        leader = self._leader
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    def leaders(self, blocks: Iterable[UnitIds]) -> set[int]:
        """Those of the groups that these units are in."""
        found = (self._inference.groups_on(block[block != NO_UNIT]) for block in blocks)
        return {self.leader(number) for numbers in found for number in numbers}

    def members(self) -> dict[int, list[Group]]:
        """Leaders → the groups that grow together."""
        found: dict[int, list[Group]] = {}
        for number, group in enumerate(self._groups):
            found.setdefault(self.leader(number), []).append(group)
        return found

    def held(self) -> dict[int, str]:
        """Leaders → why they stay."""
        return {self.leader(number): why for number, why in self._held.items()}

    def ties(self) -> dict[int, tuple[str, ...]]:
        """Leaders → what ties the groups, each once."""
        found: dict[int, dict[str, None]] = {}
        for number, how in self._given.items():
            found.setdefault(self.leader(number), {})[how] = None
        inference = self._inference
        units = [tie.unit for tie in inference.units.ties]
        owners = inference.group_of[inference.component[units]]
        for tie, owner in zip(inference.units.ties, owners.tolist(), strict=True):
            if owner != NO_UNIT:
                where = f"{tie.op} in '{tie.path}'" if tie.path else tie.op
                found.setdefault(self.leader(owner), {})[where] = None
        return {key: tuple(ties) for key, ties in found.items()}

    def _on(self, blocks: Sequence[UnitIds]) -> list[int]:
        """The groups, by number, that these units are in."""
        ids = joined([block.reshape(-1) for block in blocks])
        return self._inference.groups_on(ids[ids != NO_UNIT])

    def _unite(self, blocks: Sequence[UnitIds]) -> tuple[list[int], list[int]]:
        """Returns the groups that are one space now, and those that cannot grow."""
        found = self._on(blocks)
        growable = [number for number in found if self._groups[number].fixed is None]
        for number in growable:
            self._leader[self.leader(number)] = self.leader(growable[0])
        return growable, [number for number in found if self._groups[number].fixed]

    def _unite_sizes(self) -> None:
        """What the code gives one size."""
        inference = self._inference
        inside = bool(inference.inside.features)
        every = by_attribute(self.size_uses)
        for origin, uses in every.items():
            if len(uses) == 1 and uses[0].size.attribute_alone:
                continue  # whatever grows there, the attribute is their sum
            alone = [use.units for use in uses if len(use.size.values) == 1]
            told = set(self._on(alone)) if axis_of(origin) else set[int]()
            for alike in _alike(inference, uses) if inside else [uses]:
                tied, still = self._unite([use.units for use in alike])
                if len(tied) > 1:
                    self._given.setdefault(tied[0], _size_name(origin, uses))
                if inside:  # heads that are asked to grow inside: all or none
                    grows = any(_grows_in(inference, use, origin, every) for use in alike)
                    still = [] if grows else _stay_whole(inference, uses)
                both = bool(told & {*tied} and told & {*still})  # one number counts them
                if tied and still and (both or (inside and not axis_of(origin))):
                    why = self._groups[still[0]].fixed
                    self._held[tied[0]] = f"the code gives it the size of what stays: {why}"

    def _keep(self, pieces: Sequence[UnitIds], why: str) -> None:
        """Units stay that the code cuts into pieces as it would cut no larger number of them, if a
        weight is as large as one of the pieces."""
        every = [self._on([piece]) for piece in pieces]
        axes = [{axis for one in found for axis in self._groups[one].places} for found in every]
        if any(one != axes[0] for one in axes):
            self._held |= {one: why for found in every for one in found}


def _alike(inference: Inference, uses: Sequence[SizeUse]) -> list[list[SizeUse]]:
    """The uses of an attribute by how much of what it counts stays (the features of a head that a
    rotation meets): what else there is grows by another factor."""
    found: dict[Fraction, list[SizeUse]] = {}
    for use in uses:
        share = Fraction(int(inference.stays(use.units).sum()), len(use.units))
        found.setdefault(share, []).append(use)
    return list(found.values())


def _grows_in(
    inference: Inference, use: SizeUse, origin: Origin, every: Mapping[Origin, list[SizeUse]]
) -> bool:
    """Whether a size is a sum with another attribute, which grows (keys and values of a head)."""
    others = [other for other in use.size.values if other != origin]
    return any(
        ((other, 1),) in use.size.terms and not _stay_whole(inference, every[other])
        for other in others
    )


def _stay_whole(inference: Inference, uses: Sequence[SizeUse]) -> list[int]:
    """The groups (by number) of all that an attribute counts where nothing of it grows."""
    stay = [u.units for u in uses if u.size.attribute_alone and inference.stays(u.units).all()]
    units = joined(stay)
    return inference.groups_on(units[units != NO_UNIT])


def _size_name(origin: Origin, uses: list[SizeUse]) -> str:
    """How to call a size that the code gives several."""
    if not axis_of(origin):
        return "'" + ".".join(filter(None, origin)) + "'"
    path = next((use.path for use in uses if use.path), "")
    return f"one size in '{path}'" if path else "one size in the model's code"
