"""An activation between two factors: φ(v) − φ(−v) gives v back, times a number, for some of them.

ReLU gives v; so do GELU, SiLU and hardswish, whose halves add up. Tried on numbers, not looked up.
"""

from __future__ import annotations

import torch
from torch import nn

from net2net.errors import DepthError
from net2net.identity.blocks import ACTIVATIONS


def gain_of(activation: str) -> float:
    """The number for which φ(v) − φ(−v) is that times v.

    Raises:
        DepthError: there is none, or no such activation.
    """
    found = _gain(ACTIVATIONS[activation]) if activation in ACTIVATIONS else None
    if found is None:
        known = [repr(name) for name, kind in ACTIVATIONS.items() if _gain(kind) is not None]
        raise DepthError(
            f"activation is {activation!r:.40}, and no two of its values give back what it gets: "
            f"φ(v) − φ(−v) is no multiple of v. Choose one of {', '.join(known)}, or None."
        )
    return found


@torch.no_grad()
def _gain(kind: type[nn.Module]) -> float | None:
    try:
        part = kind().double().eval()
    except TypeError:  # it has no form of its own without numbers
        return None
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    odd = part(grid.clone()) - part(-grid)
    gain = float(odd[-1] / grid[-1])
    linear = torch.allclose(odd, gain * grid, rtol=0, atol=1e-13)
    return gain if linear and gain and not list(part.parameters()) else None
