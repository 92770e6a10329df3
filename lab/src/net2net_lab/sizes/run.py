"""Measure the pairs that have no record yet, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from net2net.files import write_whole
from net2net_lab.sizes.measure import Found
from net2net_lab.sizes.pairs import Pair, pairs
from net2net_lab.sizes.table import table


def read(path: Path) -> dict[Pair, Found]:
    """The records of a file, if it is there."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [Found(**json.loads(line)) for line in lines]
    return {one.pair: one for one in records}


def write(records: Mapping[Pair, Found], path: Path, page: Path) -> None:
    """The records in the order of the pairs, one line each, and the page of those."""
    ordered = [records[pair] for pair in pairs() if pair in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        path, "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in ordered)
    )
    write_whole(page, table(ordered))


def measured(wanted: Sequence[Pair], seconds: float) -> Iterator[Found]:
    """What comes of each, in a process of its own."""
    for pair in wanted:
        names = pair.family, pair.small, pair.large
        command = [sys.executable, "-m", "net2net_lab.sizes.measure", *names]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
            yield Found(**json.loads(done.stdout.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            yield Found(*names, why=f"not measured: it takes more than {seconds:g} s")
        except (IndexError, ValueError):
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            yield Found(*names, why=f"not measured: the process said last: {last:.300}")
