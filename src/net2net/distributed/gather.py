"""What is in parts, or on some ranks only, as a whole on every rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from net2net.errors import PlanError
from net2net.shards import whole
from net2net.trace.meta_copy import named_tensors


class Gather:
    """Brings tensors together. All ranks have to ask for the same ones, in the same order.

    Ranks that have none of a model (outside its mesh, or where one rank has all of it) hold it on
    ``meta``, and are sent what the first of the others has.

    Args:
        tensors: a model's on this rank.

    Raises:
        PlanError: no rank has the model's values.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        have = bool(tensors) and not any(tensor.is_meta for tensor in tensors.values())
        self._kind = next((one.device.type for one in tensors.values()), "cpu")
        told: list[Any] = from_all((have, self._kind))
        self._holder = next((rank for rank, (there, _) in enumerate(told) if there), None)
        if self._holder is None:
            raise PlanError(
                "the model has values on no rank: some of its tensors are on meta. Give the one "
                "that was trained; a student has to leave meta first (student.to_empty(device=…))."
            )
        self._have, self._all = have, all(there for there, _ in told)
        self._kind = self._kind if have else told[self._holder][1]

    def whole(self, tensor: Tensor) -> Tensor:
        """All of a tensor: of the model's own memory, where that is whole here."""
        found = whole(tensor.detach()) if self._have else None
        if self._all:
            assert found is not None
            return found
        if found is None:
            found = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._kind)
        found = found.contiguous()
        dist.broadcast(found, cast("int", self._holder))
        return found

    def told(self, item: Any) -> Any:
        """What the first rank that has the model gives here, on every rank."""
        held = [item]
        if not self._all:
            dist.broadcast_object_list(held, cast("int", self._holder))
        return held[0]


def from_all(item: Any) -> list[Any]:
    """What every rank gives here, in the order of ranks."""
    if not dist.is_initialized():
        return [item]
    told = [None] * dist.get_world_size()
    dist.all_gather_object(told, item)
    return told


def inside(model: nn.Module) -> nn.Module:
    """The model that wrappers hold (DDP, AveragedModel, ``torch.compile``), with its parameters in
    parts again where a forward pass has left them whole."""
    while isinstance(held := _held(model), nn.Module):
        model = held
    for part in model.modules():
        if callable(reshard := getattr(part, "reshard", None)) and hasattr(part, "unshard"):
            reshard()
    return model


def _held(model: nn.Module) -> object:
    if isinstance(model, (nn.DataParallel, DistributedDataParallel, AveragedModel)):
        return model.module
    return getattr(model, "_orig_mod", None)  # torch.compile's


def by_first_name(model: nn.Module, ties: Mapping[str, str]) -> dict[str, Tensor]:
    """A model's tensors by the names that a plan has for them.

    Raises:
        PlanError: tensors are two here, and one in the plan.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in named_tensors(model):
        first = ties.get(name, name)
        if first in found:
            raise PlanError(
                f"'{name}' and '{first}' are one tensor in the plan, and two here. Tie them again, "
                "as the model's class does."
            )
        found[first] = tensor
    return found
