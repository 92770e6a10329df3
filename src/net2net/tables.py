"""Tables for terminals and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def format_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Left-aligned columns, the first row as a heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * min(max(map(len, lines)), 100), *lines[1:]])


def html_table(
    rows: Sequence[tuple[str, ...]], *, title: str = "", below: Sequence[str] = ()
) -> str:
    """The same as HTML: a caption, the first row as a heading, lines below."""
    head, *body = rows
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    after = "".join(f"<div>{escape(line)}</div>" for line in below)
    table = f"<table>{caption}<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
    return f"<div>{table}{after}</div>"
