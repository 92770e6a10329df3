"""What of a target is written already: by a run that was stopped, for one that goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from net2net.files import DONE, emptied, write_whole


class Journal:
    """The files of a folder that are done, by their hashes.

    Args:
        folder: where they are.
        key: of all that they depend on; what another one wrote is none of this.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        self.files: dict[str, str] = {}
        try:
            known = json.loads((folder / DONE).read_text("utf-8"))
            if known["key"] == key:
                self.files = {str(name): str(digest) for name, digest in known["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # nothing is done
        emptied(folder, {DONE, *self.files})

    def has(self, name: str) -> bool:
        """Whether the file is there, with all its bytes."""
        path = self.folder / name
        return name in self.files and path.is_file() and sha256(path) == self.files[name]

    def add(self, name: str, digest: str) -> None:
        """A file is done."""
        self.files[name] = digest
        write_whole(self.folder / DONE, json.dumps({"key": self.key, "files": self.files}))

    def close(self) -> None:
        """All is done: what remains is the model's alone."""
        (self.folder / DONE).unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
