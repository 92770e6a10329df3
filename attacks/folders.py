"""Hostile folders: each function damages the folder of a whole GPT-2 that it is given."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"

Damage = Callable[[Path], object]

FOLDERS: dict[str, Damage] = {}
"""By what is wrong."""


def hostile(what: str) -> Callable[[Damage], Damage]:
    """Keep a function under what it makes wrong."""

    def kept(damage: Damage) -> Damage:
        FOLDERS[what] = damage
        return damage

    return kept


# -- headers of safetensors ------------------------------------------------------------------------


def _parts(folder: Path) -> tuple[dict[str, Any], bytes]:
    whole = (folder / WEIGHTS).read_bytes()
    size = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + size]), whole[8 + size :]


def _write(folder: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data)


def _with_header(what: str, change: Callable[[dict[str, Any], str, str], object]) -> None:
    @hostile(f"a header with {what}")
    def damage(folder: Path) -> None:
        header, data = _parts(folder)
        first, second = [name for name in header if name != "__metadata__"][:2]
        change(header, first, second)
        _write(folder, header, data)


_with_header("overlaps", lambda h, a, b: h[b].update(data_offsets=h[a]["data_offsets"]))
_with_header("a gap", lambda h, a, b: h.pop(b))
_with_header("another type", lambda h, a, b: h[a].update(dtype="F128"))
_with_header("no type", lambda h, a, b: h[a].pop("dtype"))
_with_header("a negative size", lambda h, a, b: h[a].update(shape=[-1, -4]))
_with_header("sizes that overflow", lambda h, a, b: h[a].update(shape=[2**62, 2**62]))
_with_header("sizes with a point", lambda h, a, b: h[a].update(shape=[1.5]))
_with_header("true for a size", lambda h, a, b: h[a].update(shape=[True]))
_with_header("offsets from its end", lambda h, a, b: h[a].update(data_offsets=[-8, 0]))
_with_header("offsets far away", lambda h, a, b: h[a].update(data_offsets=[2**60, 2**60 + 8]))
_with_header("a number for a tensor", lambda h, a, b: h.update({a: 7}))
_with_header("another name", lambda h, a, b: h.update({"../../etc/passwd": h.pop(a)}))


@hostile("truncated weights")
def _(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-5])


@hostile("weights that are longer")
def _(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes() + b"more")


@hostile("no weights but their length")
def _(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\0" * 7)


@hostile("a header that is longer than the file")
def _(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])


@hostile("a header that is no JSON")
def _(folder: Path) -> None:
    _write(folder, b"\xff" * 100, _parts(folder)[1])


@hostile("a header of lists in lists")
def _(folder: Path) -> None:
    _write(folder, b"[" * 1_000_000, b"")


@hostile("a header that names a tensor twice")
def _(folder: Path) -> None:
    header, data = _parts(folder)
    name = next(name for name in header if name != "__metadata__")
    text = json.dumps(header).encode()
    _write(folder, text[:-1] + b"," + json.dumps({name: header[name]}).encode()[1:], data)


@hostile("weights that are a pipe")
def _(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


@hostile("weights that are a device")
def _(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")


@hostile("weights that link to themselves")
def _(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(WEIGHTS)


@hostile("weights that are a folder")
def _(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


# -- the index -------------------------------------------------------------------------------------


def _with_index(what: str, file: Any) -> None:
    @hostile(f"an index that names {what}")
    def damage(folder: Path) -> None:
        names = [name for name in _parts(folder)[0] if name != "__metadata__"]
        (folder / WEIGHTS).rename(folder.parent / "elsewhere.safetensors")
        (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, file)}))


_with_index("a file above it", "../elsewhere.safetensors")
_with_index("a file by its whole path", "/etc/passwd")
_with_index("a file that is not there", "model-00001-of-00002.safetensors")
_with_index("itself", INDEX)
_with_index("its folder", ".")
_with_index("nothing", "")
_with_index("a number", 3)
_with_index("a name with a zero", "a\0b")


def _as_index(what: str, text: str) -> None:
    @hostile(f"an index that is {what}")
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / INDEX).write_text(text)


_as_index("no JSON", "{")
_as_index("lists in lists", "[" * 1_000_000)
_as_index("a list", "[]")
_as_index("a list of files", '{"weight_map": ["model.safetensors"]}')


# -- the configuration -----------------------------------------------------------------------------


def _with_config(what: str, **numbers: Any) -> None:
    @hostile(f"a configuration with {what}")
    def damage(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | numbers))


_with_config("10¹² words", vocab_size=10**12)
_with_config("10⁹ features", n_embd=10**9, n_head=1)
_with_config("10⁹ layers", n_layer=10**9)
_with_config("10⁹ positions", n_positions=10**9)
_with_config("as large an MLP as there is no memory for", n_inner=10**13)
_with_config("a negative width", n_embd=-32)
_with_config("no features", n_embd=0, n_head=1)
_with_config("a text for a width", n_embd="32")
_with_config("a list for a width", n_embd=[32])
_with_config("infinity", n_embd=float("inf"))
_with_config("a number that no type holds", n_embd=10**40)
_with_config("no class", architectures=[])
_with_config("a class that is none", architectures=["logging"])
_with_config("a class elsewhere", architectures=["os.system"])
_with_config("two types at once", model_type=["gpt2", "bert"])
_with_config("another type", model_type="../gpt2")
_with_config("code of its own", model_type="mine", auto_map={"AutoConfig": "mine.Mine"})


def _as_config(what: str, text: str) -> None:
    @hostile(f"a configuration that is {what}")
    def damage(folder: Path) -> None:
        (folder / CONFIG).write_text(text)


_as_config("empty", "")
_as_config("a list", "[]")
_as_config("lists in lists", "[" * 1_000_000)
_as_config("larger than any", '{"a": "' + "x" * 2**25 + '"}')


@hostile("a configuration that is a pipe")
def _(folder: Path) -> None:
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


# -- pickles ---------------------------------------------------------------------------------------


class _Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def ran(folder: Path) -> Path:
    """The file that is there once code of a hostile folder ran."""
    return folder.parent / "ran"


@hostile("weights that are code")
def _(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Runs(ran(folder))))


@hostile("weights that are code in an archive")
def _(folder: Path) -> None:
    import torch

    (folder / WEIGHTS).unlink()
    torch.save({"transformer.wte.weight": _Runs(ran(folder))}, folder / "pytorch_model.bin")


@hostile("an optimiser that is code")
def _(folder: Path) -> None:
    import torch

    torch.save({"state": _Runs(ran(folder)), "param_groups": []}, folder / "optimizer.pt")


@hostile("a Trainer's state of lists in lists")
def _(folder: Path) -> None:
    import torch

    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text("[" * 1_000_000)
