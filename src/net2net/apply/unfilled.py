"""Models built on ``meta`` without drawing their weights, which would hold nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Unfilled(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What draws numbers into a tensor on ``meta`` is left out: for want of a kernel, torch
    decomposes it in Python, which takes longer than all else that a constructor does."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        draws = torch.Tag.nondeterministic_seeded in func.tags and func._schema.name.endswith("_")
        if draws and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
