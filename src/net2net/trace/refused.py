"""States of a model in which it cannot be grown, and the way out of each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from net2net.errors import UnsupportedModelError
from net2net.trace.meta_copy import named_tensors


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be grown, before anything is done.

    Raises:
        UnsupportedModelError: not a module, lazy, quantised, mixed devices or floating types, or in
            a state of those below.
    """
    if not isinstance(model, nn.Module):
        raise UnsupportedModelError(
            f"the model is a {type(model).__name__}. Give a torch.nn.Module."
        )
    devices: dict[str, str] = {}
    types: dict[str, str] = {}
    for path, part in model.named_modules():
        _check_state(path, part)
        if "quantized" in type(part).__module__:
            raise UnsupportedModelError(
                f"module '{path}' ({type(part).__name__}) is quantised, and its packed weights "
                "cannot be copied unit by unit. Grow the float model, then quantise the student."
            )
    for name, tensor in named_tensors(model):
        if is_lazy(tensor):
            raise UnsupportedModelError(
                f"'{name}' is a lazy parameter without a shape. "
                "Run the model once on real inputs, then grow it."
            )
        if tensor.is_quantized:
            raise UnsupportedModelError(
                f"'{name}' is quantised. Grow the float model, then quantise the student."
            )
        if isinstance(tensor, nn.Parameter) or "meta" not in devices:
            devices.setdefault(
                str(tensor.device), name
            )  # buffers may have values beside no weights
        if isinstance(tensor, nn.Parameter) and tensor.is_floating_point():
            types.setdefault(str(tensor.dtype), name)
    for kind, found in (("devices", devices), ("types", types)):
        if len(found) > 1:
            where = ", ".join(f"{value} ('{name}')" for value, name in found.items())
            raise UnsupportedModelError(
                f"the model's tensors are on several {kind}: {where}. "
                "Bring them to one with model.to(...), grow, and spread the student afterwards."
            )


def _check_state(path: str, part: nn.Module) -> None:
    """Refuse a module that is wrapped, compiled, sharded, or holds what cannot be copied.

    Raises:
        UnsupportedModelError: with the state, and what to do first.
    """
    kind = type(part).__name__
    where = f"module '{path}' ({kind})" if path else f"the model ({kind})"
    if isinstance(part, torch.jit.ScriptModule):
        raise UnsupportedModelError(
            f"{where} is compiled by torch.jit, and its code keeps its own sizes. "
            "Grow the model that it was made from, then compile the student."
        )
    if isinstance(part, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise UnsupportedModelError(
            f"{where} only hands its inputs to the model inside. "
            "Grow its .module, then wrap the student."
        )
    sharded = any(hasattr(tensor, "device_mesh") for tensor in part._parameters.values())
    if sharded or _SHARDED.intersection(base.__name__ for base in type(part).__mro__):
        raise UnsupportedModelError(
            f"{where} is sharded over devices (fully_shard), so no weight is here as a whole. "
            "Make the plan on meta, and apply it to the parts (net2net.distributed)."
        )
    for name, item in vars(part).items():
        if isinstance(item, Tensor) and not item.is_leaf:
            raise UnsupportedModelError(f"'{name}' of {where} {_computed(part, name)}")


_SHARDED = frozenset({"FSDPModule", "FullyShardedDataParallel"})
"""Classes of modules, which need not be importable here."""


def _computed(part: nn.Module, name: str) -> str:
    """What a tensor is that gradients flow through, and how to be rid of it."""
    before = "is computed with gradients before every call, so it cannot be copied"
    if hasattr(part, f"{name}_mask"):
        return (
            f"is pruned: it {before}. "
            f"Make that permanent with torch.nn.utils.prune.remove(module, '{name}')."
        )
    if hasattr(part, f"{name}_g") and hasattr(part, f"{name}_v"):
        return (
            f"has torch.nn.utils.weight_norm: it {before}. "
            f"Use torch.nn.utils.parametrizations.weight_norm(module, '{name}') instead."
        )
    return (
        "is an activation that was kept, with gradients, so it cannot be copied. "
        "Set it to None, or run the model once under torch.no_grad()."
    )
