"""Safetensors files: where each tensor lies in them, checked before any of it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from net2net.errors import FolderError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"

LONGEST = 100_000_000
"""Bytes of the longest header, which is the format's own limit, and of the longest index."""

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: the file, its type and shape, and the offset of its first byte."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int

    @property
    def count(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return self.count * self.dtype.itemsize


def stored(folder: Path) -> dict[str, Place] | None:
    """All tensors of a model's folder, by their names on disk; None if none are safetensors.

    Raises:
        FolderError: a file is damaged, or the index names what is not there.
    """
    if (folder / WHOLE).exists():
        return tensors_in(folder / WHOLE)
    if not (folder / INDEX).exists():
        return None
    listed = _listed(folder / INDEX)
    found: dict[str, Place] = {}
    for name in sorted(set(listed.values())):
        here = tensors_in(folder / name)
        if twice := found.keys() & here.keys():
            raise FolderError(
                f"'{min(twice)}' is in '{found[min(twice)].file.name}' and in '{name}' of "
                f"'{folder}'. Save the model again."
            )
        found |= here
    odd = [name for name, file in listed.items() if found[name].file.name != file] if (
        listed.keys() <= found.keys()
    ) else sorted(listed.keys() - found.keys())  # fmt: skip
    if odd:
        raise FolderError(
            f"the index of '{folder}' says that '{odd[0]:.200}' is in '{listed[odd[0]]}', and it "
            "is not. Save the model again."
        )
    return found


def _listed(path: Path) -> dict[str, str]:
    """The names of tensors → those of files, all of which are in the folder of the index."""
    if path.stat().st_size > LONGEST:
        raise FolderError(f"'{path}' is longer than any index. Save the model again.")
    try:
        listed = json.loads(path.read_text("utf-8"))["weight_map"]
        names = set(listed.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FolderError(
            f"'{path}' is no index: {type(error).__name__}: {error!s:.200}. Save the model again."
        ) from error
    for name in names:
        if not isinstance(name, str) or name in {"", ".", ".."} or Path(name).name != name:
            raise FolderError(
                f"the index of '{path.parent}' names the file {name!r:.200}, which is none in that "
                "folder. Save the model again."
            )
    found: dict[str, str] = listed
    return found


def tensors_in(path: Path) -> dict[str, Place]:
    """The tensors of one file.

    Raises:
        FolderError: it is not there, truncated, or says of itself what cannot be.
    """
    if not path.is_file():  # a pipe or a device would never end
        raise FolderError(f"'{path}' is not there, or no file. Save the model again.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LONGEST, size - 8):
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            header = json.loads(file.read(length), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        header.pop("__metadata__", None)
        found = {name: _place(path, name, one, 8 + length) for name, one in header.items()}
        _check_row(found.items(), 8 + length, size)
        return found
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise FolderError(
            f"'{path}' is damaged: {error!s:.300}. Fetch it or save it again."
        ) from error


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the header names '{name:.200}' twice")
        found[name] = value
    return found


def _place(path: Path, name: str, said: Any, base: int) -> Place:
    match said:
        case {"dtype": str() as kind, "shape": [*shape], "data_offsets": [begin, end]} if all(
            type(number) is int and 0 <= number < 2**63 for number in (*shape, begin, end)
        ):
            if kind not in TYPES:
                raise ValueError(f"'{name:.200}' is of type {kind!r:.40}, which is not read here")
            one = Place(path, TYPES[kind], tuple(shape), base + begin)
            if one.bytes != end - begin:
                raise ValueError(
                    f"'{name:.200}' is {shape!r:.100} of {kind} and has {end - begin:,} bytes"
                )
            return one
    raise ValueError(f"'{name:.200}' is {said!r:.100}")


def _check_row(found: Iterable[tuple[str, Place]], begin: int, size: int) -> None:
    """Raises:
    ValueError: between the header and the end of the file there is something else than the
        tensors, one behind the other.
    """
    at = begin
    for name, one in sorted(found, key=lambda item: (item[1].begin, item[1].bytes)):
        if one.begin != at:
            raise ValueError(f"'{name:.200}' begins at byte {one.begin:,} and not at {at:,}")
        at += one.bytes
    if at != size:
        raise ValueError(f"its tensors end at byte {at:,}, and the file at {size:,}")


def header_of(
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
) -> tuple[bytes, list[str]]:
    """The header of a file with these tensors, and their order in it: as safetensors writes it."""
    kinds = {dtype: name for name, dtype in TYPES.items()}
    order = sorted(tensors, key=lambda name: (-_RANK[tensors[name][0]], name.encode()))
    said: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        dtype, shape = tensors[name]
        end = at + prod(shape) * dtype.itemsize
        said[name] = {"dtype": kinds[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


_RANK = {
    dtype: rank
    for rank, dtype in enumerate((
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16,
        torch.int32, torch.float32, torch.float64, torch.int64,
    ))
}  # fmt: skip
"""The order of types in a file, from the last to the first: by their size, then as safetensors has
them."""
