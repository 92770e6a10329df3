"""Write ``api.md``: the public names of the library, from their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import net2net

TARGET = Path(__file__).with_name("api.md")

HEAD = """# Reference

The public names of `net2net`, from their docstrings. `make docs` writes this page; a test checks
that it is current.
Inputs for models of transformers are made by `net2net.hf.example_inputs(model)`.
"""

SECTIONS = {
    "Args": "Arguments",
    "Returns": "Returns",
    "Raises": "Raises",
    "Attributes": "Attributes",
}


def page() -> str:
    """The whole document."""
    public = {name: getattr(net2net, name) for name in net2net.__all__}
    functions = {name: one for name, one in public.items() if inspect.isfunction(one)}
    errors = {n: e for n, e in public.items() if inspect.isclass(e) and issubclass(e, Exception)}
    classes = {n: c for n, c in public.items() if n not in functions and n not in errors}
    parts = [HEAD, "## Calls\n"]
    for name, function in functions.items():
        parts += [f"### {name}\n", signature(name, function), *text(function)]
    parts.append("## Classes\n")
    for name, kind in classes.items():
        parts += [f"### {name}\n", *text(kind), *members(kind)]
    parts.append("## Errors\n")
    for name, error in errors.items():
        bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
        parts += [f"### {name}\n", f"A kind of {bases}.\n", *text(error)]
    return "\n".join(parts)


def members(kind: type) -> Iterator[str]:
    """The documented methods and properties of a class itself."""
    for name, one in vars(kind).items():
        computed = isinstance(one, property | cached_property)
        if name.startswith("_") or not (computed or inspect.isroutine(one)):
            continue
        function = one if computed else getattr(kind, name)
        if function.__doc__ is None:
            continue
        yield f"#### {kind.__name__}.{name}\n"
        if not computed:
            yield signature(name, function)
        yield from text(function)


def signature(name: str, function: Any) -> str:
    """A call, on one line or with an argument a line."""
    found = inspect.signature(function)
    arguments: list[str] = []
    for key, one in found.parameters.items():
        if key == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        stars = "*" if one.kind is one.VAR_POSITIONAL else ""
        default = "" if one.default is one.empty else f" = {one.default!r}"
        arguments.append(f"{stars}{key}: {one.annotation}{default}")
    end = f") -> {found.return_annotation}"
    line = f"{name}({', '.join(arguments)}{end}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in arguments) + end
    return f"```text\n{line}\n```\n"


def text(item: Any) -> Iterator[str]:
    """A docstring as Markdown, block by block."""
    doc = re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(item.__doc__ or ""), flags=re.DOTALL)
    for block in doc.split("\n\n"):
        first, _, rest = block.partition("\n")
        title = SECTIONS.get(first.removesuffix(":"))
        if block.startswith(">>>"):
            yield f"```text\n{block}\n```\n"
        elif title is None or not first.endswith(":"):
            yield f"{block}\n"
        else:
            yield f"**{title}**\n"
            yield "".join(entries(inspect.cleandoc(rest), listed=title != "Returns"))


def entries(lines: str, *, listed: bool) -> Iterator[str]:
    """``name: what it is``, over several lines that are indented further, as a list."""
    if not listed:
        yield f"{lines}\n"
        return
    for entry in re.split(r"\n(?=\S)", lines):
        name, colon, said = entry.partition(":")
        said = " ".join(said.split())
        yield f"- `{name}`: {said}\n" if colon else f"- {' '.join(entry.split())}\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
