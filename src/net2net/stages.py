"""Stages: what a verb does, told to the log with the time that it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("net2net")


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Log at INFO that this is done, and how long it took."""
    begin = time.perf_counter()
    yield
    log.info("%s: %.2f s", what, time.perf_counter() - begin)
