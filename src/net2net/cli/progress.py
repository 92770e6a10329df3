"""How far a target is written: a bar on the terminal, with bytes and the time that is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from net2net.hf.stream import Progress as Written
from net2net.hf.stream import Told


@contextmanager
def bar() -> Iterator[Told | None]:
    """What is to be told of every block; None where nobody looks, and the log says it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("writing"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("writing", total=None, visible=False)

        def told(written: Written) -> None:
            done, total = written.done, written.total
            progress.update(task, completed=done, total=total, visible=done < total)

        yield told
