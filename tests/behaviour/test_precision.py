"""What rounding does to a grown network: in float32 as little as another order of units does to the
teacher. In bfloat16 that order changes next to nothing, since sums are float32, and scaled weights
are rounded: there as little as rounding itself, that is the distance from the same in float64."""

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


@pytest.mark.parametrize("method", ["replicate", "fresh", "silent", "pair"])
@pytest.mark.parametrize("family", ["layer norm, tied", "RMS norm"])
def test_rounding_alone(family: str, method: str) -> None:
    make, inputs = FAMILIES[family]
    tokens = torch.randint(0, 20, (64, 6), generator=torch.Generator().manual_seed(0))
    grown: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    other: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for seed in range(3):
        whole = randomise(make(), seed)
        plan = net2net.widen(whole, 1.37, inputs, method=method, seed=seed, verify=False).plan
        for dtype, found in grown.items():
            teacher = copy.deepcopy(whole).to(dtype)
            found.append(difference(teacher, plan.apply(teacher), tokens))
            like = permuted(teacher, seed) if dtype is torch.float32 else teacher.double()
            other[dtype].append(difference(copy.deepcopy(whole).to(dtype), like, tokens))
    for dtype, found in grown.items():
        assert 0 < statistics.median(found) <= TIMES * statistics.median(other[dtype])
