"""One rule per operation: how the units of its outputs follow from those of its inputs.

A rule takes an ``OpSite`` and returns the output's ``Value`` (a list for several outputs), having
said on the way what must stay together, what is fixed and who takes the shares. One family of
operations a file; ``aten::relu_`` and ``aten::relu`` share a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from net2net.infer.relations import OpSite

Rule = Callable[[OpSite], Any]

_RULES: dict[str, Rule] = {}


def canonical(name: str) -> str:
    """The name that an operation is registered by: ``relu_`` and ``relu`` are ``aten::relu``."""
    name = name.rstrip("_")
    return name if "::" in name else f"aten::{name}"


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations, by schema name: ``@rule("mylib::op")``. The last one counts.

    The rule is called with an ``OpSite`` and returns a ``Value``, or a list of them.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[canonical(name)] = function
        return function

    return register


def find(name: str) -> Rule | None:
    """The rule of an operation, or None."""
    return _RULES.get(canonical(name))


from net2net.infer.rules import (  # noqa: E402
    contract,  # noqa: F401
    index,  # noqa: F401
    loss,  # noqa: F401
    norm,  # noqa: F401
    pointwise,  # noqa: F401
    pool,  # noqa: F401
    recurrent,  # noqa: F401
    reduce,  # noqa: F401
    select,  # noqa: F401
    shape,  # noqa: F401
)
