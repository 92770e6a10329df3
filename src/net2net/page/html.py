"""Pages of HTML: elements with everything escaped, and one style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --quiet: #59636e;
  --line: #d1d9e0; --card: #f6f8fa; --old: #8c959f; --new: #0969da; --warn: #9a6700;
  --light: 88%; --edge: 38%; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9198a1;
  --line: #3d444d; --card: #151b23; --old: #6e7681; --new: #4493f8; --warn: #d29922;
  --light: 24%; --edge: 66%; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2rem; }
code, .mono { font-family: ui-monospace, monospace; font-size: 0.88em; }
.quiet { color: var(--quiet); } .warn { color: var(--warn); }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
caption { text-align: left; color: var(--quiet); padding: 0.3rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem;
  border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; }
ul.tree, ul.tree ul { list-style: none; margin: 0; padding-left: 1rem; }
ul.tree { padding-left: 0; } ul.tree li { margin: 0.15rem 0; position: relative; }
summary { cursor: pointer; }
.module { display: inline-block; border: 2px solid var(--line); border-radius: 0.4rem;
  padding: 0 0.5rem; background: var(--card); }
.module.space { background: hsl(var(--hue) 65% var(--light));
  border-color: hsl(var(--hue) 60% var(--edge)); }
.module.stays { border-style: dashed; }
.tip { display: none; position: absolute; z-index: 1; left: 2rem; top: 1.8rem; max-width: 36rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 0.4rem;
  padding: 0.5rem 0.8rem; box-shadow: 0 4px 16px rgb(0 0 0 / 25%); font-size: 0.88rem; }
.module:hover + .tip, .module:focus + .tip { display: block; }
:focus-visible { outline: 3px solid var(--new); outline-offset: 2px; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 0.25rem 0.8rem;
  align-items: center; margin: 0 0 1rem; }
.bar { height: 0.9rem; border-radius: 0.2rem; background: var(--old); min-width: 2px; }
.bar.new { background: var(--new); }
pre { background: var(--card); padding: 0.8rem; overflow-x: auto; border-radius: 0.4rem; }
"""


def element(name: str, *inside: str, **attributes: object) -> str:
    """An element with what is HTML already; a final underscore of an attribute's name is dropped,
    and other ones are hyphens."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{''.join(inside)}</{name}>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of plain text; the first cell of a row is its heading."""
    first = element("tr", *(element("th", escape(cell), scope="col") for cell in head))
    lines = [
        element(
            "tr",
            element("th", escape(row[0]), scope="row", class_="mono"),
            *(element("td", escape(cell)) for cell in row[1:]),
        )
        for row in rows
    ]
    whole = element(
        "table", element("caption", escape(caption)), element("thead", first),
        element("tbody", *lines),
    )  # fmt: skip
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def listed(lines: Iterable[str], class_: str = "") -> str:
    """Of plain text; nothing for none."""
    items = [element("li", escape(line)) for line in lines]
    return element("ul", *items, class_=class_) if items else ""


def section(title: str, *inside: str) -> str:
    """With a heading; nothing for nothing."""
    whole = "".join(inside)
    return element("section", element("h2", escape(title)), whole) if whole else ""


def page(title: str, *inside: str) -> str:
    """A whole document, which fetches nothing and runs nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = element("main", element("h1", escape(title)), *inside)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'
