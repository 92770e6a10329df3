"""Where a folder comes from: what its files were when it was read, what was done, and the documents
that tell of it in the folder that was made."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any

from net2net.errors import FolderError
from net2net.files import write_whole
from net2net.growth import Growth
from net2net.hf.journal import sha256
from net2net.plan.plan import FORMAT, Plan

LINEAGE = "net2net.json"
"""The file that says what a folder was grown from, and how."""

READ = (
    "config.json", "generation_config.json", "*.safetensors", "*.index.json", "*.bin", "*.pt",
    "*.pth", "*.distcp", ".metadata", "plan.json",
)  # fmt: skip
"""What is read of a source, and by whose hashes it is known."""


@dataclass(frozen=True)
class Source:
    """A folder, or one file, as it was when it was first looked at: the size of each of its files
    and when it was changed.

    Attributes:
        path: of the folder, or of the file.
        files: name → bytes, and nanoseconds.
    """

    path: Path
    files: Mapping[str, tuple[int, int]]

    @staticmethod
    def of(path: Path) -> Source:
        """A folder as it is."""
        return Source(path, _files(path))

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.path.parent if self.path.is_file() else self.path

    @property
    def name(self) -> str:
        """What people call it: in the cache of the hub, its name there."""
        path = self.path.resolve()
        kind, _, name = path.parent.parent.name.partition("--")
        hub = path.parent.name == "snapshots" and kind == "models"
        return name.replace("--", "/") if hub else path.name

    def check_same(self) -> None:
        """Raises:
        FolderError: a file has been written, removed or added since.
        """
        now = _files(self.path)
        for name in sorted({*now, *self.files}):
            if now.get(name) != self.files.get(name):
                raise FolderError(
                    f"'{name}' of '{self.path}' changed while it was read. Grow it again when "
                    "nothing writes there."
                )

    def hashes(self) -> dict[str, str]:
        """What was read, by name."""
        every = self.path.is_file()
        read = {n for n in self.files if every or any(Path(n).match(one) for one in READ)}
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


def _files(path: Path) -> dict[str, tuple[int, int]]:
    there = [path] if path.is_file() else path.iterdir()
    found = {one.name: one.stat() for one in there if one.is_file()}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in found.items()}


def versions() -> dict[str, str]:
    """Of all that may have had a part in it."""
    found = {"python": platform.python_version()}
    for name in ("net2net", "torch", "transformers", "timm"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _header(plan: Plan) -> dict[str, Any]:
    """What of a plan can be said in a line; of the growth before it as well."""
    previous = None if plan.previous is None else _header(plan.previous)
    said = {"format": FORMAT, "kind": plan.kind, "method": plan.method, "seed": plan.seed}
    return said | ({} if previous is None else {"previous": previous})


def write_lineage(
    grown: Growth, source: Source, hashes: Mapping[str, str], command: str, folder: Path
) -> None:
    """Write what a folder was grown from, and how."""
    report = grown.report.to_dict()
    lineage: dict[str, Any] = {
        "plan": _header(grown.plan),
        "source": source.name,
        "files": dict(hashes),
        "versions": versions(),
        "command": command,
        "parity": report["parity"],
        "report": report,
    }
    write_whole(folder / LINEAGE, json.dumps(lineage, indent=1))
