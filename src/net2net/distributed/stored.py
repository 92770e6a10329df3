"""What torch.distributed.checkpoint has in a folder: read one by one, written one by one."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from net2net.errors import FolderError
from net2net.optim.young import Young

Place = tuple[str | int, ...]
"""Where something is in a state dict of state dicts."""

Entry = Tensor | bytes
"""What is there: a tensor (on ``meta``, if it is still to be read or made), or the bytes of
something pickled."""


@dataclass(frozen=True)
class Grown:
    """What of a folder is replaced, and by what.

    Attributes:
        replaced: what is no more there.
        entries: what is there instead (tensors on ``meta``), and how it is made when its turn
            comes.
        young: by the names of the student's parameters, what of them has no past.
    """

    replaced: frozenset[Place] = frozenset()
    entries: Mapping[Place, tuple[Entry, Callable[[], Entry]]] = field(default_factory=dict)
    young: Mapping[str, Young] = field(default_factory=dict)


class Stored:
    """A folder that was saved.

    Attributes:
        folder: its path.
        entries: what is where; tensors on ``meta``.

    Raises:
        FolderError: it is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader = _Reader(folder)
        try:
            with _told(folder, "read"):
                known = self._reader.read_metadata()
                kinds, places = known.state_dict_metadata, known.planner_data or {}
        except (pickle.UnpicklingError, AttributeError, EOFError, ImportError) as error:
            raise FolderError(
                f"'{folder}' is no checkpoint of torch.distributed: {type(error).__name__}: "
                f"{error!s:.200}. Give a folder that torch.distributed.checkpoint.save wrote."
            ) from error
        self._keys: dict[Place, str] = {}
        self.entries: dict[Place, Entry] = {}
        for key, kind in kinds.items():
            place = tuple(places.get(key, (key,)))
            self._keys[place] = key
            if isinstance(kind, TensorStorageMetadata):
                dtype = kind.properties.dtype
                self.entries[place] = torch.empty(kind.size, dtype=dtype, device="meta")
            else:
                self.entries[place] = b""

    def tensors(self, places: Sequence[Place]) -> list[Tensor]:
        """These, read.

        Raises:
            FolderError: they cannot be.
        """
        found = {
            self._keys[place]: torch.empty_like(cast("Tensor", self.entries[place]), device="cpu")
            for place in places
        }
        if found:
            self._load(found, DefaultLoadPlanner(flatten_state_dict=False))
        return [found[self._keys[place]] for place in places]

    def bytes(self, place: Place) -> bytes:
        """What is pickled there, as it is.

        Raises:
            FolderError: it cannot be read.
        """
        planner = _Bytes(flatten_state_dict=False)
        self._load({self._keys[place]: b""}, planner)
        return planner.found

    def value(self, place: Place) -> Any:
        """What is pickled there, if it is made of numbers, words and tensors.

        Raises:
            FolderError: it is not.
        """
        try:
            return torch.load(io.BytesIO(self.bytes(place)), weights_only=True)
        except pickle.UnpicklingError as error:
            raise FolderError(
                f"'{self._keys[place]}' in '{self.folder}' is pickled, and of more than numbers, "
                f"words and tensors: {error!s:.200}. Save it as such."
            ) from error

    def _load(self, into: dict[str, Any], planner: DefaultLoadPlanner) -> None:
        with _told(self.folder, "read"):
            load(into, storage_reader=self._reader, planner=planner, no_dist=True)


def pickled(value: Any) -> bytes:
    """A value as an entry."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def write(folder: Path, stored: Stored, grown: Sequence[Grown]) -> None:
    """Write what was stored, with what has grown in its place, one entry after another.

    Raises:
        FolderError: it cannot be written.
    """
    with _told(folder, "written"):
        save(
            {}, storage_writer=FileSystemWriter(folder), planner=_OneByOne(stored, grown),
            no_dist=True,
        )  # fmt: skip


@contextmanager
def _told(folder: Path, what: str) -> Iterator[None]:
    """Errors in torch's own wrapping, taken out of it."""
    try:
        with warnings.catch_warnings():  # it is meant to be one process
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            yield
    except (CheckpointException, OSError, RuntimeError) as error:
        found: BaseException = error
        if isinstance(error, CheckpointException):
            found = next(iter(error.failures.values()))[0]
        if not isinstance(found, (OSError, RuntimeError, KeyError, AssertionError)):
            raise found from error
        if isinstance(found, FolderError):
            raise found from error
        raise FolderError(
            f"'{folder}' cannot be {what}: {type(found).__name__}: {found!s:.200}. Give a folder "
            "that torch.distributed.checkpoint.save wrote, and a target with room for it."
        ) from error


class _Reader(FileSystemReader):
    """Reads what there is once."""

    @lru_cache(maxsize=1)  # noqa: B019
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return super().read_metadata()


class _Bytes(DefaultLoadPlanner):
    """Takes bytes as they are: nothing in them is executed."""

    found = b""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        self.found = value.getvalue()


class _OneByOne(DefaultSavePlanner):
    """Makes what is saved when it is written."""

    def __init__(self, stored: Stored, grown: Sequence[Grown]) -> None:
        super().__init__()
        self._stored = stored
        self._replaced = frozenset().union(*(one.replaced for one in grown))
        self._made = {place: made for one in grown for place, made in one.entries.items()}

    def set_up_planner(
        self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False
    ) -> None:
        entries = {
            **{at: e for at, e in self._stored.entries.items() if at not in self._replaced},
            **{at: entry for at, (entry, _) in self._made.items()},
        }
        self.mappings = {".".join(map(str, place)): place for place in entries}
        self.state_dict = dict(zip(self.mappings, entries.values(), strict=True))
        self.is_coordinator = is_coordinator

    def resolve_data(self, write_item: Any) -> Tensor | io.BytesIO:
        place: Place = self.mappings[write_item.index.fqn]
        if place in self._made:
            found = self._made[place][1]()
        elif isinstance(self._stored.entries[place], Tensor):
            (found,) = self._stored.tensors([place])
        else:
            found = self._stored.bytes(place)
        return found if isinstance(found, Tensor) else io.BytesIO(found)
