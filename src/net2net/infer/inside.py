"""What is asked to grow inside heads, instead of in their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from net2net.infer.units import Axis


@dataclass(frozen=True)
class Inside:
    """By the parameter axes that make the heads.

    Attributes:
        features: heads of which each gets more features.
        queries: heads of keys and values of which each is to serve more queries.
        dealt: heads of keys and values → how many there are in the teacher: there are to be copies
            of each, among which its queries are dealt out.
        groups: heads of keys and values that all queries share, and that grow with these: more of
            them, each with as many queries, or more features of all.
    """

    features: Collection[Axis] = ()
    queries: Collection[Axis] = ()
    dealt: Mapping[Axis, int] = field(default_factory=dict)
    groups: Collection[Axis] = ()

    def __bool__(self) -> bool:
        return bool(self.features or self.queries or self.dealt or self.groups)


NOTHING = Inside()
"""Heads grow in number."""
