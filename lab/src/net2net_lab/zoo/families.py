"""The families of models, by name. Each is a module that is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from net2net.errors import Net2NetError
from net2net_lab.zoo.environment import prepare
from net2net_lab.zoo.subject import Entry, Subject

MODULES = {
    "torchvision": "net2net_lab.zoo.build_torchvision",
    "timm": "net2net_lab.zoo.build_timm",
    "transformers": "net2net_lab.zoo.build_transformers",
}


class MissingLibraryError(Net2NetError):
    """The library of a family is not installed."""


class Family(Protocol):
    """What a module of ``MODULES`` has."""

    LIBRARIES: tuple[str, ...]
    """What has to be installed; their versions go into the records."""

    def entries(self) -> list[Entry]:
        """All models, in the order of the table."""
        ...

    def build(self, name: str) -> Subject:
        """A model with random weights, and an input for it."""
        ...


def family(name: str) -> Family:
    """A family's module, which imports its library only when entries or models are asked for.

    Raises:
        MissingLibraryError: the library is not installed.
    """
    module = cast(Family, import_module(MODULES[name]))
    missing = [library for library in module.LIBRARIES if find_spec(library) is None]
    if missing:
        raise MissingLibraryError(
            f"The {name} models need {', '.join(missing)}. "
            f"Install them: pip install {' '.join(missing)}"
        )
    prepare()
    return module
