"""Models in parts on several processes: see ranks.py."""

from __future__ import annotations

import multiprocessing
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.multiprocessing as processes

from tests.unit.distributed import ranks


def launch(function: Callable[[int, Path], None], folder: Path, world: int) -> None:
    """Run it on every rank, in processes forked from one that has imported what they need."""
    multiprocessing.set_forkserver_preload(["tests.unit.distributed.ranks"])
    processes.start_processes(function, (folder,), world, start_method="forkserver")  # type: ignore[no-untyped-call]


def test_on_four_ranks(tmp_path: Path) -> None:
    """One launch for all checks. The rank that fails first says in which."""
    launch(ranks.main, tmp_path, ranks.WORLD)


def on_two(function: Callable[[int, Path], None], folder: Path) -> None:
    """Run it on two ranks that find each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    launch(function, folder, 2)


def test_a_checkpoint_of_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    on_two(ranks.accelerate, tmp_path)


def test_the_example_on_two_ranks(tmp_path: Path) -> None:
    on_two(ranks.example, tmp_path)
    printed = (tmp_path / "0.txt").read_text()
    last = re.fullmatch(
        r"largest difference (\S+), loss at the end (\S+)", printed.splitlines()[-1]
    )
    assert last is not None and float(last[1]) < 1e-5 and float(last[2]) < 0.5
    assert "32 → 48" in printed and not (tmp_path / "1.txt").read_text()
