"""What a student has otherwise than its teacher where no unit tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from net2net.recipe.axis_map import AxisMap
from net2net.recipe.fill import Fill


@dataclass(frozen=True, eq=False)
class Difference:
    """One kind of it. The traces that teacher and student are compared by are without.

    Attributes:
        what: what a report calls it, before the names of its tensors.
        axes: tensor of the student → maps of axes along which no units grow.
        fills: tensor of the student → what it is overwritten with.
    """

    what: str
    axes: Mapping[str, Sequence[AxisMap]] = field(default_factory=dict)
    fills: Mapping[str, Fill] = field(default_factory=dict)

    @property
    def tensors(self) -> list[str]:
        """All that it is about."""
        return list(dict.fromkeys((*self.axes, *self.fills)))

    def named(self, names: Mapping[str, str]) -> Difference:
        """The same by other names of the tensors."""
        return Difference(
            self.what,
            {names[name]: maps for name, maps in self.axes.items()},
            {names[name]: fill for name, fill in self.fills.items()},
        )
