"""Grow in the middle of a fit, by a callback in Lightning's form, which is called by name.

With Lightning it derives from ``lightning.pytorch.Callback``; here a small trainer calls it alike.
"""

from typing import Any

import torch
from torch import nn

import net2net


class Growth:
    """Grows ``module.network`` at a step. The optimiser stays the trainer's own object."""

    def __init__(self, at: int, factor: float) -> None:
        self.at, self.factor = at, factor
        self.handle: net2net.Carried | None = None

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
        if trainer.global_step == self.at:
            grown = net2net.widen(module.network, self.factor, batch, method="fresh")
            self.handle = grown.carry(trainer.optimizers[0])
            module.network = grown.model
            print(grown.report)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["net2net"] = None if self.handle is None else self.handle.state_dict()


class _Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))

    def training_step(self, x: torch.Tensor) -> torch.Tensor:
        return (self.network(x) - x.sin()).square().mean()  # type: ignore[no-any-return]


class _Trainer:
    def __init__(self, callback: Growth) -> None:
        self.callback, self.global_step = callback, 0

    def fit(self, module: _Module, data: torch.Tensor) -> None:
        self.optimizers = [torch.optim.AdamW(module.parameters(), lr=3e-3)]
        for self.global_step, batch in enumerate(data):
            self.callback.on_train_batch_start(self, module, batch, self.global_step)
            self.optimizers[0].zero_grad()
            loss = module.training_step(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizers[0].step()
        print(f"loss {loss.item():.3f}")


torch.manual_seed(0)
growth, checkpoint = Growth(at=50, factor=1.5), dict[str, Any]()
_Trainer(growth).fit(_Module(), torch.randn(100, 64, 8))
growth.on_save_checkpoint(None, None, checkpoint)
print(f"saved beside the weights: what of {len(checkpoint['net2net']['young'])} parameters is new")
