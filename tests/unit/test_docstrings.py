"""Worked calls in docstrings give the results that are shown."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import net2net

PACKAGE = Path(net2net.__file__).parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def test_worked_calls() -> None:
    """Read from the sources: doctest's own finder passes cached properties by."""
    runner, ran = doctest.DocTestRunner(verbose=False), []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" not in (source := path.read_text("utf-8")):
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        names = vars(importlib.import_module(name.removesuffix(".__init__")))
        for node in ast.walk(ast.parse(source)):
            doc = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if doc and ">>>" in doc:
                where = getattr(node, "name", name)
                one = doctest.DocTestParser().get_doctest(doc, names, where, str(path), 0)
                runner.run(one)
                ran.append(where)
    assert {"Units", "reshape", "slot", "positions"} <= set(ran)
    assert runner.summarize(verbose=False).failed == 0
