"""Before the first import of a model library: nothing may reach the network, and torchvision's
operators must exist."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import net2net
import net2net_lab

_LIBRARIES: list[torch.library.Library] = []  # definitions last as long as their library object


def prepare() -> None:
    """Cut off the network, and stand in for torchvision's operators where they are missing."""
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _operators_load(spec.submodule_search_locations or ()):
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):  # its import registers kernels for these, and fails without
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)


def _operators_load(folders: Iterable[str]) -> bool:
    """Load the compiled operators as torchvision would, without its import, which fails if they
    are missing or were built for another torch."""
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    for folder in folders:
        for path in [*Path(folder).glob("_C*.so"), *Path(folder).glob("_C*.pyd")]:
            try:
                torch.ops.load_library(path)  # type: ignore[no-untyped-call]
            except OSError:
                continue
    return hasattr(torch.ops.torchvision, "nms")


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """Versions of net2net, torch and these libraries; what a record is valid for. Those of net2net
    and of the lab end in a hash of the sources (the lab's: of the zoo), so that a changed library
    is another version."""
    found = {
        "net2net": f"{net2net.__version__}+{sources_hash(Path(net2net.__file__).parent)}",
        "net2net-lab": f"{net2net_lab.__version__}+{sources_hash(Path(__file__).parent)}",
    }
    for name in ("torch", *libraries):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def sources_hash(folder: Path) -> str:
    """Of all Python files in a folder, their names included."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        found.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:8]
