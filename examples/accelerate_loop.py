"""Grow in the middle of a loop with Accelerate, and save what resumes. Needs net2net[hf].

The optimiser and the schedule that Accelerate prepared go on, and the larger model takes the place
of the other. The handle is registered, so that ``save_state`` and ``load_state`` know of it.
"""

import tempfile

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

import net2net

X = torch.randn(1280, 8, generator=torch.Generator().manual_seed(0))

torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
network = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 8))
adam = torch.optim.AdamW(network.parameters(), lr=3e-3)
model, optimizer, data, schedule = accelerator.prepare(
    network, adam, DataLoader(X, batch_size=64),  # type: ignore[arg-type]
    torch.optim.lr_scheduler.LinearLR(adam, total_iters=40),
)  # fmt: skip


def epoch() -> float:
    for x in data:
        loss: torch.Tensor = (model(x) - x.sin()).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return loss.item()


print(f"before: loss {epoch():.3f}")
teacher = accelerator.unwrap_model(model)
grown = net2net.widen(teacher, 1.5, X[:4], method="fresh")
handle = grown.carry(optimizer)
accelerator.free_memory()  # it forgets the teacher, and is told again of what goes on
model, optimizer, data, schedule = accelerator.prepare(grown.model, optimizer, data, schedule)
accelerator.register_for_checkpointing(handle)
print(grown.report)
print(f"after: loss {epoch():.3f}")

with tempfile.TemporaryDirectory() as folder:
    accelerator.save_state(folder)
    first = epoch()
    accelerator.load_state(folder)
    print(f"resumed: the same loss {first == epoch()}")
