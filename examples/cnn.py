"""Grow a convolutional network while it trains, on scikit-learn's handwritten digits.

A small network is trained, made wider and then deeper, and trained on. Its accuracy does not fall
when it grows. Needs scikit-learn.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import net2net

data = load_digits()
IMAGES = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
LABELS = torch.tensor(data.target)
TRAIN, TEST = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0)).split(1400)


def train(model: nn.Module, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    model.train()
    for _ in range(steps):
        batch = TRAIN[torch.randint(len(TRAIN), (64,))]
        loss = cross_entropy(model(IMAGES[batch]), LABELS[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    found: Tensor = model.eval()(IMAGES[TEST]).argmax(1) == LABELS[TEST]
    return found.float().mean().item()


def block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


torch.manual_seed(0)
pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)]
teacher = nn.Sequential(*block(1, 8), *block(8, 16), *pooled)
train(teacher, 30, 0.01)
print(f"teacher: {accuracy(teacher):.3f}")

# Noise tells copies apart, so that they can learn different things; it costs exactness.
wider = net2net.widen(teacher, {"0": 16, "3": 2.0}, IMAGES[:8], noise=0.01)
print(wider.report)
print(f"wider: {accuracy(wider.model):.3f}")

# New batch norms are measured on a few batches, so that they change nothing in training either.
batches = [IMAGES[TRAIN[start : start + 64]] for start in (0, 64, 128)]
deeper = net2net.deepen(wider.model, {"3": 1}, IMAGES[:8], calibrate=batches)
print(deeper.report)
print(f"deeper: {accuracy(deeper.model):.3f}")

train(deeper.model, 30, 0.003)  # a smaller rate: it does not start from scratch
print(f"trained on: {accuracy(deeper.model):.3f}")
