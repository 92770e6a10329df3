"""Grow a model in the middle of training, while its parameters lie in parts on several processes:

    torchrun --nproc-per-node 2 examples/fsdp2_grow.py

The plan is made on ``meta``, on every rank alike; weights and the optimiser's state are brought
together one tensor at a time. On GPUs: "nccl" for "gloo", "cuda" for "cpu".
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

import net2net


class _Block(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
        return found


def sharded(model: nn.Module) -> nn.Module:
    for part in model:  # type: ignore[attr-defined]
        fully_shard(part)
    fully_shard(model)
    return model.to_empty(device="cpu")


dist.init_process_group("gloo")
with torch.device("meta"):  # no rank ever has a whole model
    blueprint = nn.Sequential(nn.Linear(8, 32), _Block(), _Block(), nn.Linear(32, 8))
batch = torch.randn(64, 8, generator=torch.Generator().manual_seed(dist.get_rank()))
grown = net2net.widen(blueprint, 1.5, batch, method="fresh", verify=False)

torch.manual_seed(0)
model = sharded(blueprint)
for parameter in model.parameters():
    nn.init.normal_(parameter, std=0.1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=10)
for step in range(20):
    if step == 10:
        teacher, model = model, sharded(grown.model)
        net2net.distributed.apply(grown.plan, teacher, model)
        handle = net2net.distributed.carry(grown.plan, teacher, model, optimizer)
        apart = (model(batch) - teacher(batch)).abs().max().item()
    loss = (model(batch) - batch.sin()).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
if dist.get_rank() == 0:
    print(f"{grown.report}\nlargest difference {apart:.1e}, loss at the end {loss.item():.3f}")
dist.destroy_process_group()
