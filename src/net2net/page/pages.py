"""The pages: what can grow of a model, and what grew."""

from __future__ import annotations

from html import escape

from torch import nn

from net2net.infer.spaces import Kind, Spaces
from net2net.page.bars import bars
from net2net.page.html import element, listed, page, section, table
from net2net.page.modules import module_tree
from net2net.report import Report

_HEAD = ("where", "size", "note")

HINT = (
    "Each coloured module makes the units of one space, by number and colour; what is of one "
    "space grows together. A dashed one stays. Hover or move there with the Tab key for more."
)


def spaces_page(model: nn.Module, spaces: Spaces) -> str:
    """What can grow of a model, in what steps, and why not."""
    return page(
        f"What can grow: {type(model).__name__}",
        section("Modules", _hint(), module_tree(model, spaces)),
        section("Spaces", _spaces(spaces)),
    )


def growth_page(model: nn.Module, spaces: Spaces, report: Report, recipe: str = "") -> str:
    """What grew of a model.

    Args:
        model, spaces: the teacher's.
        report: of its growth.
        recipe: what it was grown by, as text.
    """
    parity = "nothing was measured" if report.parity is None else str(report.parity)
    whole = {
        "parameters": report.parameters, "bytes": report.bytes, "forward FLOPs": report.flops
    }  # fmt: skip
    sizes = "".join(bars(name, [(name, *pair)]) for name, pair in whole.items())
    rows = [(row.name, float(row.old), float(row.new)) for row in report.rows]
    notes = [(row.name, f"{row.old} → {row.new}", row.note) for row in report.rows]
    stayed = [(row.name, f"stays at {row.old}", row.note) for row in report.stayed]
    return page(
        f"What grew: {type(model).__name__}",
        element("p", escape(f"{report.action}; asked: {report.asked}")),
        section("Sizes", sizes),
        section("Parity", element("p", escape(parity))),
        section("Warnings", listed(report.warnings, "warn")),
        section("Widths and depth", bars("sizes before and after", rows)),
        section("What was done", table("spaces and stacks", _HEAD, notes + stayed)),
        section("Recipe", element("pre", escape(recipe)) if recipe else ""),
        section("The teacher's modules", _hint(), module_tree(model, spaces)),
        section("Notes", listed(report.notes)),
    )


def _hint() -> str:
    return element("p", escape(HINT), class_="quiet")


def _spaces(spaces: Spaces) -> str:
    rows = [
        (
            f"#{number} {space.name}", str(space.size),
            *(str(space.kinds.get(kind, "–")) for kind in Kind), ", ".join(space.modules),
            space.reason or space.equal_copies or "",
        )
        for number, space in enumerate(spaces, start=1)
    ]  # fmt: skip
    head = ("space", "size", *(f"{kind} by" for kind in Kind), "made by", "why not more")
    return table("units that can only grow together", head, rows)
