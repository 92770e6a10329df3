"""What commands share: messages on a terminal, and a clean end."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler


@contextmanager
def logging_to(console: Console) -> Iterator[None]:
    """Show the lab's messages; those that only tell of progress if there is no bar."""
    logger = logging.getLogger("net2net_lab")
    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    before = logger.level
    logger.setLevel(logging.WARNING if console.is_terminal else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Who asks the program to end (``kill``, a job's time limit) ends its workers as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
