"""What commands do alike: the log, and the source with its inputs."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from torch import nn

from net2net.hf.source import Source, inputs_in, open_source
from net2net.trace.trace import Inputs


def log_to_stderr() -> None:
    """What is done, with its time, on the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    library = logging.getLogger("net2net")
    library.handlers = [handler]
    library.setLevel(logging.INFO)


def source_of(where: str, given: dict[str, Any]) -> tuple[Source, Inputs | None]:
    """A source, and the inputs that were given, by the reading options, taken out of what was
    given. A class that the user names is also looked for where the command was called."""
    class_name, file = given.pop("class_name"), given.pop("inputs")
    if class_name is not None and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    source = open_source(where, class_name, trust_remote_code=given.pop("trust_remote_code"))
    return source, None if file is None else inputs_in(file)


def inputs_for(source: Source, model: nn.Module, given: Inputs | None) -> Inputs:
    """Those that were given, or examples."""
    return source.inputs(model) if given is None else given
