"""How much memory there is, and what fits into it."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from net2net.trace.meta_copy import named_tensors


def fits(*models: nn.Module) -> bool:
    """Whether these models fit into half of the memory that there is, in float64."""
    elements = sum(tensor.numel() for one in models for _, tensor in named_tensors(one))
    return 16 * elements < available()


def available() -> int:
    """How many bytes processes can have."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        said = dict(line.split(":", 1) for line in lines)
        return int(said["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 2**34
