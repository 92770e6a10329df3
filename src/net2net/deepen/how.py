"""How stacks are made longer: where new blocks stand, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from net2net.errors import DepthError
from net2net.plan.orders import ORDERS

Order = str | Sequence[int]

WHOLE = ("overlap", "stack")
"""Ways to copy blocks as they are."""

COPIES = ("neighbour", "own", *WHOLE)


@dataclass(frozen=True)
class How:
    """Where new blocks stand, what they hold, and whether the function has to be kept."""

    order: Order = "spread"
    copy: str = "neighbour"
    exact: bool = True

    def check(self) -> None:
        """Raises:
        DepthError: there is no such way.
        """
        named = self.order in ORDERS if isinstance(self.order, str) else _is_list(self.order)
        if not named:
            raise DepthError(
                f"order is {self.order!r:.80}. Give one of {', '.join(map(repr, ORDERS))}, or a "
                "list of the blocks behind which new ones stand, by number."
            )
        if self.copy == "zeros":
            raise DepthError(
                'copy is "zeros", and where two zeros meet in a product neither gets a gradient, '
                'ever. Pass "neighbour" or "own", which hold zeros at the ends of branches alone.'
            )
        if self.copy not in COPIES:
            raise DepthError(
                f"copy is {self.copy!r:.40}. Give one of {', '.join(map(repr, COPIES))}."
            )
        if self.copy in WHOLE and self.exact:
            raise DepthError(
                f'copy="{self.copy}" repeats whole blocks, which changes what the model computes. '
                'Pass exact=False as well, or copy="neighbour".'
            )


def _is_list(order: object) -> bool:
    return isinstance(order, (list, tuple)) and all(type(i) is int for i in order)
