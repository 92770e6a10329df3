"""Sizes before and after, as bars that are text as well."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from net2net.page.html import element


def bars(label: str, rows: Iterable[tuple[str, float, float]]) -> str:
    """For each row two bars, before and after. What is measured in one unit has one scale.

    Args:
        rows: a name, and both sizes.
    """
    known = list(rows)
    most = max((max(old, new) for _, old, new in known), default=0) or 1
    cells = [cell for name, old, new in known for cell in _pair(name, old, new, most)]
    return element("div", *cells, class_="bars", role="group", aria_label=label) if cells else ""


def _pair(name: str, old: float, new: float, most: float) -> list[str]:
    times = f" (× {new / old:.2f})" if old else ""
    return [
        element("span", escape(name), class_="mono"), _bar(old, most, ""),
        element("span", f"{old:,.0f}", class_="quiet"),
        element("span", "→", class_="quiet"), _bar(new, most, " new"),
        element("span", f"{new:,.0f}{times}"),
    ]  # fmt: skip


def _bar(size: float, most: float, kind: str) -> str:
    width = f"width: {100 * size / most:.1f}%"
    return element("div", class_=f"bar{kind}", style=width, aria_hidden="true")
