"""Who imports whom: the floors of docs/architecture.md hold, and there are no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "net2net"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
"""Module → file."""


def imports(module: str) -> Iterator[str]:
    """The modules of the library that a module imports anywhere in its code."""
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports from where it is"
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                if found := next((name for name in (whole, node.module) if name in FILES), None):
                    yield found


def floors() -> dict[str, int]:
    """Folder or file, as in the table of the document → its floor, counted from the top."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\[.*?) \|", text, re.MULTILINE)
    return {
        name: floor for floor, row in enumerate(rows) for name in re.findall(r"\[`(.+?)`\]", row)
    }


def place(module: str) -> str:
    """Where on the floors a module is: ``infer/``, ``report.py``."""
    path = FILES[module].relative_to(PACKAGE)
    return path.name if len(path.parts) == 1 else f"{path.parts[0]}/"


def test_everything_is_on_one_floor() -> None:
    assert set(floors()) == {place(module) for module in FILES}


def test_nothing_imports_upwards_or_sideways() -> None:
    floor = floors()
    assert [
        f"{module} imports {other}"
        for module in FILES
        for other in imports(module)
        if place(module) != place(other) and floor[place(module)] >= floor[place(other)]
    ] == []


def test_no_circles_between_files() -> None:
    """A folder's ``__init__`` may gather its own files, which is what it is there for."""
    TopologicalSorter(
        {
            module: [other for other in imports(module) if not other.startswith(f"{module}.")]
            for module in FILES
        }
    ).prepare()  # raises if there are any


def test_what_docstrings_name_exists() -> None:
    known = {path.name for path in FILES.values()}
    assert [
        f"{module} names {name}"
        for module, path in FILES.items()
        for name in re.findall(r"``(\w+\.py)``", path.read_text("utf-8"))
        if name not in known
    ] == []


def test_folders_say_what_their_files_do() -> None:
    silent = []
    for module, path in FILES.items():
        folder = path.parent
        if path.name != "__init__.py" and folder not in (PACKAGE, PACKAGE / "infer" / "rules"):
            said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
            if not re.search(rf"``{path.stem}(\.py)?``", said):
                silent.append(module)
    assert silent == []
