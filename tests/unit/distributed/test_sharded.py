"""Models in parts on four processes: see ranks.py."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import torch.multiprocessing as processes

from tests.unit.distributed import ranks


def test_on_every_rank(tmp_path: Path) -> None:
    """One launch for all, by a process that has imported once what they need. The rank that fails
    first says in which check."""
    multiprocessing.set_forkserver_preload(["tests.unit.distributed.ranks"])
    processes.start_processes(ranks.main, (tmp_path,), ranks.WORLD, start_method="forkserver")  # type: ignore[no-untyped-call]
