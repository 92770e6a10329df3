"""Where in a longer row the old ones stand: of ``many`` places the ``few``, ascending, the first of
them the first place, so that what is added stands behind one that it can copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def _spread(many: int, few: int) -> list[int]:
    return [-(-place * many // few) for place in range(few)]


def _top(many: int, few: int) -> list[int]:
    return list(range(few))


def _bottom(many: int, few: int) -> list[int]:
    return [0, *range(many - few + 1, many)]


def _middle(many: int, few: int) -> list[int]:
    half = (few + 1) // 2
    return [*range(half), *range(many - few + half, many)]


ORDERS: Mapping[str, Callable[[int, int], list[int]]] = {
    "spread": _spread, "top": _top, "bottom": _bottom, "middle": _middle,
}  # fmt: skip
