"""What makes the steps of a model: one of the experiments' optimisers, or Muon with one beside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from net2net_lab.experiments.schedule import OPTIMISERS

Optimisers = list[torch.optim.Optimizer]


def _muon(model: nn.Module, rate: float) -> Optimisers:
    """Muon for the matrices inside of blocks, and AdamW for embeddings, read-out and vectors; its
    updates are as large as AdamW's, so that one rate is for both."""
    inside = [
        one for name, one in model.named_parameters() if one.ndim == 2 and name.startswith("blocks")
    ]
    known = set(inside)
    others = [one for one in model.parameters() if one not in known]
    muon = torch.optim.Muon(inside, rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, OPTIMISERS["adamw"].make(others, rate)]


MORE: dict[str, Callable[[nn.Module, float], Optimisers]] = {"muon": _muon}


def made(name: str, model: nn.Module, rate: float) -> Optimisers:
    """The optimisers of this name, for all parameters of a model."""
    if name in MORE:
        return MORE[name](model, rate)
    return [OPTIMISERS[name].make(model.parameters(), rate)]
