"""Random values wherever a fresh model has constants: a one or a zero hides what a rule does wrong.

Normalisation statistics, affine parameters of norms, biases, layer scales (some start at 1e-6, and
silence their branch) and every matrix that is next to constant (BLIP's start at 1e-10).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SPREAD, FAINT, VISIBLE = 0.3, 1e-3, 0.1


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Change the model in place, the same way every time."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        drawn = torch.empty(like.shape, dtype=torch.float64)
        return drawn.uniform_(low, high, generator=generator).to(like.dtype)

    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point():
                continue
            if sum(size > 1 for size in parameter.shape) <= 1:
                parameter.add_(uniform(parameter, -SPREAD, SPREAD))  # in whatever shape it spreads
            elif parameter.std() < FAINT:
                parameter.add_(uniform(parameter, -VISIBLE, VISIBLE))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(uniform(buffer, -SPREAD, SPREAD))
            elif name.endswith("running_var"):
                buffer.copy_(uniform(buffer, 0.5, 1.5))
    return model
