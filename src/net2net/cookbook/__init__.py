"""Growths as files: ``recipe.yaml`` says from what, how, and with which optimiser.

``schema`` is what may stand in one, ``read`` reads it and names the line of what is wrong,
``presets`` are the ways of growing that have names, ``run`` carries one out. (The folder ``recipe``
next door is about how single tensors are made.) pydantic and PyYAML are imported when a recipe is
read (``pip install 'net2net[recipes]'``).
"""

from typing import Any

from net2net.cookbook.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset", "run"]


def __getattr__(name: str) -> Any:
    """What needs pydantic, which is imported then."""
    if name == "run":
        from net2net.cookbook import run

        return run.run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
