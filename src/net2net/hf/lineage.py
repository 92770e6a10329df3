"""Where a folder comes from: what its files were when it was read, what was done, and the documents
that tell of it in the folder that was made."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

from net2net.errors import FolderError
from net2net.files import write_whole
from net2net.growth import Growth
from net2net.hf.journal import sha256

LINEAGE = "net2net.json"
"""The file that says what a folder was grown from, and how."""

READ = ("config.json", "generation_config.json", "*.safetensors", "*.index.json", "*.bin")
"""What is read of a source, and by whose hashes it is known."""


@dataclass(frozen=True)
class Source:
    """A folder as it was when it was first looked at: the size of each of its files and when it was
    changed."""

    folder: Path
    files: Mapping[str, tuple[int, int]]

    @staticmethod
    def of(folder: Path) -> Source:
        """A folder as it is."""
        return Source(folder, _files(folder))

    def check_same(self) -> None:
        """Raises:
        FolderError: a file has been written, removed or added since.
        """
        now = _files(self.folder)
        for name in sorted({*now, *self.files}):
            if now.get(name) != self.files.get(name):
                raise FolderError(
                    f"'{name}' of '{self.folder}' changed while it was read. Grow it again when "
                    "nothing writes there."
                )

    def hashes(self) -> dict[str, str]:
        """What was read, by name."""
        read = {name for name in self.files if any(Path(name).match(one) for one in READ)}
        return {name: sha256(self.folder / name) for name in sorted(read)}


class Hashing:
    """The hashes of a source, which are taken meanwhile; who fails before need not wait."""

    def __init__(self, source: Source) -> None:
        self.found: Future[dict[str, str]] = Future()
        Thread(target=self._hash, args=(source,), daemon=True).start()

    def _hash(self, source: Source) -> None:
        try:
            self.found.set_result(source.hashes())
        except OSError as error:
            self.found.set_exception(error)

    def result(self) -> dict[str, str]:
        """Names and hashes."""
        return self.found.result()


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path.name: path.stat() for path in folder.iterdir() if path.is_file()}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in found.items()}


def versions() -> dict[str, str]:
    """Of all that had a part in it."""
    return {name: version(name) for name in ("net2net", "torch", "transformers")} | {
        "python": platform.python_version()
    }


def write_lineage(
    grown: Growth, source: Source, hashes: Mapping[str, str], command: str, folder: Path
) -> None:
    """Write what a folder was grown from, and how."""
    plan = grown.plan
    lineage: dict[str, Any] = {
        "plan": {"kind": plan.kind, "method": plan.method, "seed": plan.seed},
        "source": source.folder.resolve().name,
        "files": dict(hashes),
        "versions": versions(),
        "command": command,
        "report": grown.report.to_dict(),
    }
    write_whole(folder / LINEAGE, json.dumps(lineage, indent=1))
