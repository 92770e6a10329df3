"""States of a model that cannot be grown: each refusal names the state and the way out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import prune

import net2net
from net2net.errors import UnsupportedModelError

from ..helpers import noise, randomise, widen

X = noise(4, 6)


def base() -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    randomise(layers)
    return layers


def every_verb(model: nn.Module) -> list[Callable[[], Any]]:
    return [
        lambda: net2net.widen(model, 2.0, X),
        lambda: net2net.deepen(model, {"*": 1}, X),
        lambda: net2net.spaces(model, X),
        lambda: net2net.transfer(model, base(), X),
        lambda: net2net.transfer(base(), model, X),
    ]


def assert_refused(model: nn.Module, *words: str) -> None:
    for call in every_verb(model):
        with pytest.raises(UnsupportedModelError) as caught:
            call()
        for word in words:
            assert word in str(caught.value)


def with_part(change: Callable[[nn.Module], Any]) -> nn.Module:
    model = base()
    changed = change(model[2])
    if isinstance(changed, nn.Module):
        model[2] = changed
    return model


@pytest.fixture(autouse=True)
def _deprecated() -> Iterator[None]:
    """torch.jit and the old weight_norm say that they are."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        yield


@pytest.mark.parametrize("how", ["script", "trace"])
def test_compiled_by_jit(how: str) -> None:
    def compiled(layer: nn.Module, *shape: int) -> Any:
        return torch.jit.script(layer) if how == "script" else torch.jit.trace(layer, noise(*shape))

    assert_refused(compiled(base(), 4, 6), "the model", "torch.jit", "compile the student")
    assert_refused(with_part(lambda layer: compiled(layer, 4, 8)), "module '2'", "torch.jit")


def test_data_parallel() -> None:
    assert_refused(nn.DataParallel(base()), "DataParallel", ".module", "wrap the student")


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_distributed_data_parallel() -> None:
    model = nn.parallel.DistributedDataParallel(base())
    assert_refused(model, "DistributedDataParallel", ".module", "wrap the student")


@pytest.mark.usefixtures("one_process")
def test_fully_sharded() -> None:
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    assert_refused(fully_shard(base(), mesh=mesh), "sharded", "net2net.distributed")
    assert_refused(with_part(lambda layer: fully_shard(layer, mesh=mesh)), "module '2'", "sharded")


STATES = {
    "pruned": (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.3) and None,
        ["'weight' of module '2'", "pruned", "prune.remove(module, 'weight')"],
    ),
    "weight norm": (
        lambda layer: nn.utils.weight_norm(layer) and None,
        ["'weight' of module '2'", "parametrizations.weight_norm(module, 'weight')"],
    ),
    "activation": (
        lambda layer: setattr(layer, "kept", layer(noise(4, 8))),
        ["'kept' of module '2'", "activation", "no_grad"],
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_what_is_computed_with_gradients(state: str) -> None:
    change, words = STATES[state]
    assert_refused(with_part(change), *words)


def _permanent(model: nn.Module, state: str) -> None:
    """What the refusal says to do."""
    layer: Any = model.get_submodule("2")
    if state == "pruned":
        prune.remove(layer, "weight")
    elif state == "weight norm":
        nn.utils.remove_weight_norm(layer)
        nn.utils.parametrizations.weight_norm(layer)
    else:
        layer.kept = None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["the advice", "no_grad"])
def test_the_way_out(state: str, how: str) -> None:
    """Also a run without gradients: what was computed by it can be copied."""
    model = with_part(STATES[state][0])
    if how == "the advice":
        _permanent(model, state)
    else:
        with torch.no_grad():
            model(X)
            model[2].kept = model[2](noise(4, 8)) if state == "activation" else None  # type: ignore
    growth = widen(model, 2.0, X)
    assert [(row.old, row.new) for row in growth.report.rows] == [(8, 16), (5, 10)]
    student: Callable[[Tensor], Tensor] = growth.model
    student(X).sum().backward()
