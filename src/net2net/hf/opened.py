"""What a folder says of its model: the class, its configuration, and where its tensors are. Checked
before anything of the size that it names is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from net2net.errors import FolderError
from net2net.hf.shards import Place, stored
from net2net.hf.unloaded import check_depth

LONGEST = 2**24
"""Bytes of the longest config.json or trainer_state.json."""


@dataclass(frozen=True)
class Opened:
    """A model's folder.

    Attributes:
        folder: where it is.
        kind: the class of the model.
        config: its configuration.
        places: its tensors by their names on disk; None if they are pickled.
        elements: about how many numbers there are.
    """

    folder: Path
    kind: Any
    config: Any
    places: Mapping[str, Place] | None
    elements: int


def opened(path: Path, *, trust_remote_code: bool = False) -> Opened:
    """A folder, of which nothing but headers was read.

    Raises:
        FolderError: it holds no model, one that needs code of its own, or damaged files.
    """
    if not (path / "config.json").is_file():
        raise FolderError(
            f"'{path}' has no config.json, so it holds no model of transformers. Give a folder "
            "that save_pretrained wrote."
        )
    places = stored(path)
    pickled = sum(one.stat().st_size for one in path.glob("*.bin") if one.is_file())
    elements = pickled if places is None else sum(one.count for one in places.values())
    with readable(path):
        check_depth(json_in(path / "config.json"), len(places or ()) or pickled)
        config, kind = config_and_class(path, trust_remote_code=trust_remote_code)
        return Opened(path, kind, config, places, elements)


def config_and_class(path: Path, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """A folder's configuration, and the class of transformers that it names, or of code in the
    folder."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        path,
        local_files_only=True,
        trust_remote_code=trust_remote_code,  # and nobody is asked
    )
    (name,) = config.architectures or [""]
    own = getattr(config, "auto_map", {})
    if trust_remote_code and (found := [at for at in own.values() if at.endswith(f".{name}")]):
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        return config, get_class_from_dynamic_module(found[0], path, local_files_only=True)
    return config, getattr(transformers, name)


def json_in(path: Path) -> Any:
    """What a file of JSON says.

    Raises:
        FolderError: it is none, or longer than any configuration or state.
    """
    if path.stat().st_size > LONGEST:
        raise FolderError(f"'{path}' is longer than any of its kind. Save the model again.")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FolderError(f"'{path}' is no JSON: {error!s:.200}. Save the model again.") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises:
    FolderError: for all that transformers raises meanwhile.
    """
    try:
        yield
    except FolderError:
        raise
    except ImportError as error:
        raise FolderError(
            f"transformers cannot be imported: {error}. Install it: pip install 'net2net[hf]'"
        ) from error
    except Exception as error:
        raise FolderError(
            f"the model in '{path}' cannot be read: {type(error).__name__}: {error!s:.300}. Check "
            "that its class (architectures in config.json) is one of transformers' own and that "
            "from_pretrained reads it."
        ) from error
