"""Calls from several threads at once do what they do one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

import net2net
from net2net import Growth
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace

from ..helpers import image_model, noise, randomise, tensors


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return randomise(nn.Sequential(nn.Linear(3, 8), layer, nn.Linear(8, 2)))


class Drawing(nn.Module):
    """Its outputs depend on random numbers that ``forward`` draws."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x) * torch.rand(()).to(x))


IMAGES = noise(2, 3, 8, 8)

CALLS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Growth]]] = {
    "images": (image_model, lambda model: net2net.widen(model, 2.0, IMAGES)),
    "attention": (attention, lambda model: net2net.widen(model, 1.5, noise(2, 5, 3))),
    "drawing": (
        lambda: randomise(Drawing()),
        lambda model: net2net.widen(model, {"a": 12}, noise(4, 3)),
    ),
    "deepen": (image_model, lambda model: net2net.deepen(model, {"3": 1}, IMAGES)),
    "calibrate": (
        image_model,
        lambda model: net2net.deepen(model, {"3": 1}, IMAGES, calibrate=[noise(4, 3, 8, 8)]),
    ),
}


def outcome(name: str, model: nn.Module) -> tuple[Any, ...]:
    growth = CALLS[name][1](model)
    bits = {name: tensor.tolist() for name, tensor in tensors(growth.model).items()}
    return str(growth.report), growth.plan.to_json(), bits


def test_many_threads_do_what_one_does() -> None:
    """On models that were made before: torch draws for all threads from one generator."""
    alone = {name: outcome(name, build()) for name, (build, _) in CALLS.items()}
    asked = [(name, build()) for _ in range(3) for name, (build, _) in CALLS.items()]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: outcome(*one), asked))
    for (name, _), one in zip(asked, found, strict=True):
        assert one == alone[name], name


class Meanwhile(nn.Module):
    """While its first layer runs, a model in another thread begins; that ends in its second."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        begun, end = threading.Event(), threading.Event()
        other = nn.Sequential(nn.Linear(3, 3), nn.Identity())

        def wait(*_: Any) -> None:
            begun.set()
            end.wait(10)

        other[0].register_forward_pre_hook(wait)
        thread = threading.Thread(target=other, args=(torch.ones(1, 3),))

        def start(*_: Any) -> None:
            thread.start()
            begun.wait(10)

        def finish(*_: Any) -> None:
            end.set()
            thread.join()

        handles = [
            self.a.register_forward_pre_hook(start),
            self.b.register_forward_pre_hook(finish),
        ]
        h = self.b(self.a(x).relu())
        for handle in handles:
            handle.remove()
        return self.head(h.relu())


def test_models_of_other_threads_are_not_taken_for_parts() -> None:
    found = trace(meta_copy(randomise(Meanwhile())), noise(4, 3))
    calls = [(one.path, [found.shapes[tensor] for tensor in one.outputs]) for one in found.calls]
    assert calls == [("a", [(4, 8)]), ("b", [(4, 8)]), ("head", [(4, 2)]), ("", [(4, 2)])]
