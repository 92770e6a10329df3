"""Measure what the batch norm of an identity layer has to undo (paper, section 2.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from net2net.errors import InputError
from net2net.identity.insertion import Insertion, activation_module
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import copied
from net2net.trace.trace import Inputs, split_inputs


@torch.no_grad()
def run_batches(model: nn.Module, batches: Iterable[Inputs], seed: int) -> None:
    """Run a model on batches to calibrate on.

    Raises:
        InputError: there are none, or it does not run on one.
    """
    if not isinstance(batches, Iterable):
        raise InputError(
            f"calibrate is a {type(batches).__name__}. "
            "Give an iterable of batches, like the inputs."
        )
    ran = False
    with ALONE, torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in batches:
            try:
                args, kwargs = split_inputs(batch)
                model(*args, **kwargs)
            except Exception as error:
                raise InputError(
                    f"the model does not run on a batch of calibrate: {type(error).__name__}: "
                    f"{error}. Give batches like the inputs."
                ) from error
            ran = True
    if not ran:
        raise InputError("calibrate holds no batches. Give at least one, like the inputs.")


@torch.no_grad()
def calibrated(
    model: nn.Module, insertions: list[Insertion], batches: Iterable[Inputs], seed: int
) -> list[Insertion]:
    """Measure mean and variance of what each new batch norm will see in training."""
    watched = [one for one in insertions if one.norms]
    double = copied(model).train()
    sums: dict[str, list[Tensor]] = {}

    def watch(one: Insertion) -> Any:
        activation = (
            None if one.block or not one.activation else activation_module(model, one.activation)
        )

        def hook(part: nn.Module, args: Any, output: Tensor) -> None:
            seen = activation(output.clone()) if activation is not None else output
            rows = seen.double().transpose(0, 1).flatten(1)
            entry = [torch.tensor(rows.shape[1]), rows.sum(1), rows.square().sum(1)]
            old = sums.get(one.at)
            sums[one.at] = (
                entry if old is None else [a + b for a, b in zip(old, entry, strict=True)]
            )

        return hook

    handles = [double.get_submodule(one.at).register_forward_hook(watch(one)) for one in watched]
    try:
        run_batches(double, batches, seed)
    finally:
        for handle in handles:
            handle.remove()
    result = []
    for one in insertions:
        if one.at in sums:
            n, total, squares = sums[one.at]
            mean = total / n
            variance = (squares / n - mean.square()).clamp_min(0)
            one = replace(one, mean=tuple(mean.tolist()), variance=tuple(variance.tolist()))
        result.append(one)
    return result
