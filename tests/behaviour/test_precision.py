"""In float32 and bfloat16 a grown network differs from its teacher by rounding alone: no more than a
few times as much as the teacher whose units were put in another order."""

from __future__ import annotations

import copy
import statistics

import pytest
import torch
from torch import Tensor, nn

import net2net
from tests.behaviour.test_methods import FAMILIES, LanguageModel
from tests.helpers import randomise

TIMES = 4


def permuted(teacher: nn.Module, seed: int) -> nn.Module:
    """The same network with the units of the stream and of the hidden layer in another order."""
    assert isinstance(teacher, LanguageModel)
    model = copy.deepcopy(teacher)
    rng = torch.Generator().manual_seed(seed)
    stream = torch.randperm(8, generator=rng)
    hidden = torch.randperm(10, generator=rng)
    with torch.no_grad():
        for tensor in (model.embedding.weight, model.position, model.layer_scale):
            tensor.copy_(tensor[..., stream])
        for norm in model.norms:
            for tensor in norm.parameters():
                tensor.copy_(tensor[stream])
        for layer in (model.attention.q, model.attention.kv, model.mlp.gate, model.mlp.up):
            layer.weight.copy_(layer.weight[:, stream])
        for layer in (model.attention.o, model.mlp.down):
            layer.weight.copy_(layer.weight[stream])
            layer.bias.copy_(layer.bias[stream])
        for layer in (model.mlp.gate, model.mlp.up):
            layer.weight.copy_(layer.weight[hidden])
            layer.bias.copy_(layer.bias[hidden])
        model.mlp.down.weight.copy_(model.mlp.down.weight[:, hidden])
        if model.head.weight is not model.embedding.weight:
            model.head.weight.copy_(model.head.weight[:, stream])
    return model


def difference(a: nn.Module, b: nn.Module, tokens: Tensor) -> float:
    """The root mean square of it."""
    with torch.no_grad():
        return float((a(tokens).double() - b(tokens).double()).square().mean().sqrt())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", ["replicate", "fresh", "silent", "pair"])
@pytest.mark.parametrize(
    "family", ["layer norm", "layer norm, tied", "RMS norm", "layer norm by hand"]
)
def test_rounding_alone(family: str, method: str, dtype: torch.dtype) -> None:
    make, inputs = FAMILIES[family]
    tokens = torch.randint(0, 20, (64, 6), generator=torch.Generator().manual_seed(0))
    grown, other = [], []
    for seed in range(4):
        teacher = randomise(make(), seed).to(dtype)
        student = net2net.widen(teacher, 1.37, inputs, method=method, seed=seed, verify=False).model
        grown.append(difference(teacher, student, tokens))
        other.append(difference(teacher, permuted(teacher, seed), tokens))
    assert statistics.median(other) > 0
    assert statistics.median(grown) <= TIMES * statistics.median(other)
