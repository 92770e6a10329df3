"""The model as a tree of its modules, each in the colour of the space that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import count

from torch import nn

from net2net.infer.spaces import Kind, Space, Spaces
from net2net.page.html import element

TURN = 137.508
"""Degrees from one hue to the next, so that neighbours differ."""

OPEN = 2
"""How deep the tree is open at first."""

MOST = 4
"""Of what ties a space, how much is told."""


def module_tree(model: nn.Module, spaces: Spaces) -> str:
    """Lists in lists; what is to be said of a module shows on hovering and on focus."""
    makes: dict[str, Space] = {}
    numbers = {space.name: number for number, space in enumerate(spaces, start=1)}
    for space in spaces:
        for path in (space.name, *space.modules):
            makes.setdefault(path, space)
    ids = count(1)

    def branch(part: nn.Module, path: str, name: str, depth: int) -> str:
        shown = _shown(part, path, name, makes.get(path), numbers, f"tip{next(ids)}")
        inside = [
            branch(child, f"{path}.{key}" if path else key, key, depth + 1)
            for key, child in part.named_children()
        ]
        if not inside:
            return element("li", shown)
        opened = {"open": ""} if depth < OPEN else {}
        summary = element("summary", element("span", shown))
        return element("li", element("details", summary, element("ul", *inside), **opened))

    return element("ul", branch(model, "", type(model).__name__, 0), class_="tree")


def hue(space: Space, numbers: Mapping[str, int]) -> int:
    """Of a space, in degrees."""
    return round(numbers[space.name] * TURN) % 360


def _shown(
    part: nn.Module, path: str, name: str, space: Space | None, numbers: Mapping[str, int], tip: str
) -> str:
    kind = type(part).__name__
    label = name if name == kind else f"{name}: {kind}"
    if space is None:
        return element("span", escape(label), class_="module")
    number, size = numbers[space.name], space.made_by(path) if path else space.size
    look = "module space" + ("" if space.growable else " stays")
    box = element(
        "span", escape(label), f" <strong>#{number}</strong> {size}", class_=look,
        style=f"--hue: {hue(space, numbers)}", tabindex=0, role="group",
        aria_label=f"{label}, space {number}, {size}", aria_describedby=tip,
    )  # fmt: skip
    return box + element("span", *_said(space, number), class_="tip", role="tooltip", id=tip)


def _said(space: Space, number: int) -> list[str]:
    """Who ties it, what it may become, and why not."""
    lines = [f"space {number}, '{space.name}': {space.size}"]
    if space.growable:
        lines += [f"by {kind}: in steps of {step}" for kind, step in space.kinds.items()]
        some = ", ".join(str(space.size + n * space.step) for n in range(1, 4))
        lines.append(f"next sizes: {some}, …")
        lines += [
            f"no new units by {kind}: {why}"
            for kind in Kind
            if kind not in space.kinds and (why := space.why_not(kind))
        ]
    else:
        lines.append(f"stays: {space.reason}")
    if space.equal_copies:
        lines.append(f"by whole multiples: {space.equal_copies}")
    ties = list(space.ties[:MOST])
    if len(space.ties) > MOST:
        ties.append(f"{len(space.ties) - MOST} more")
    if ties:
        lines.append(f"tied by {', '.join(ties)}")
    return [element("div", escape(line)) for line in lines]
