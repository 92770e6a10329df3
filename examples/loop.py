"""Grow in the middle of a plain loop: optimiser, schedule and an average of the weights go on.

All of it is saved and resumed later, with the handle that lets new units train as if they had an
optimiser of their own.
"""

import copy
import io

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import net2net


def batch(step: int) -> torch.Tensor:
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(step))


torch.manual_seed(0)
model: nn.Module = nn.Sequential(
    nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 8)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
average: nn.Module = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

for step in range(120):
    if step == 60:
        grown = net2net.widen(model, 1.5, batch(step), method="fresh")
        handle = grown.carry(optimizer, rewarm=1.3, over=30)
        model, average = grown.model, grown.plan.apply(average)
        print(grown.report)
    if step == 90:  # as after an interruption
        file = io.BytesIO()
        torch.save(
            [one.state_dict() for one in (model, optimizer, schedule, average, handle)], file
        )
        file.seek(0)
        model = copy.deepcopy(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
        handle = net2net.Carried(optimizer, model)
        for one, state in zip(
            (model, optimizer, schedule, average, handle), torch.load(file), strict=True
        ):
            one.load_state_dict(state)
    x = batch(step)
    loss = (model(x) - x.sin()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    average.update_parameters(model)  # type: ignore[operator]
    if step in {0, 59, 60, 119}:
        print(f"step {step}: loss {loss.item():.3f}")
