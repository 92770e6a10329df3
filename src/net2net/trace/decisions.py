"""Where code turns what the model was given into a decision.

A trace holds the operations of the branch that was taken, and nothing tells of the other one. What
tells that there is another is the conversion of an input's values to a number or a truth value
(``if x[0, 0] > 0``), and the comparison of a size (``if x.shape[0] > 8``): each is noted with the
line of the code that does it. A comparison that can only end in an error is a check, not a branch.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

import torch

OURS = str(Path(__file__).parent) + os.sep
TORCH = str(Path(torch.__file__).parent) + os.sep
LAYERS = f"{TORCH}nn{os.sep}"
GENERATED = ("<string>", "<eval_with_key>")
"""Where torch has its own code from: the checks of an exported graph."""
WRAPPERS = {f"{TORCH}{name}" for name in ("_tensor.py", "overrides.py")}
"""Bodies of tensor methods (``3 in x``): the decision is their caller's."""


@dataclass(frozen=True)
class Decision:
    """One line of code that branches. ``path``: the module that runs; ``sizes``: the tensors, and
    their axes, whose sizes it compares; none where it reads values."""

    path: str
    file: str
    line: int
    sizes: frozenset[tuple[int, int]] = frozenset()

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def decision(path: str, sizes: frozenset[tuple[int, int]] = frozenset()) -> Decision | None:
    """The decision that the running code makes; None where that is torch's own code, or a check."""
    frame = _deciding()
    if frame is None or frame.f_code.co_filename.startswith((TORCH, *GENERATED)):
        return None
    file, line = frame.f_code.co_filename, frame.f_lineno
    return None if line in _checks(file) else Decision(path, file, line, sizes)


def _deciding() -> FrameType | None:
    """The frame that called into the recorder (and through torch's machinery, to it again)."""
    frame: FrameType | None = sys._getframe()
    caller = None
    while frame is not None and (file := frame.f_code.co_filename).startswith((OURS, TORCH)):
        if file.startswith(LAYERS):
            break
        if file.startswith(OURS):
            caller = frame.f_back
        frame = frame.f_back
    while caller is not None and caller.f_code.co_filename in WRAPPERS:
        caller = caller.f_back
    return caller


@cache
def _checks(file: str) -> frozenset[int]:
    """The lines of a file on which something is asserted, or tested for an error to be raised."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return frozenset()
    return frozenset(line for test in _checked(tree) for line in _lines(test))


def _checked(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        raises = isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
        if isinstance(node, ast.Assert) or (isinstance(node, ast.If) and raises):
            yield node.test
        elif isinstance(node, ast.Call) and node.args and "assert" in ast.unparse(node.func):
            yield node.args[0]  # torch._assert


def _lines(node: ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
