"""Calls from several threads at once do what they do one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

import net2net
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


CALLS: dict[str, Callable[[], Any]] = {
    "images": lambda: net2net.widen(image_model(), 2.0, noise(2, 3, 8, 8)),
    "attention": lambda: net2net.widen(attention(), 1.5, noise(2, 5, 3)),
    "drawing": lambda: net2net.widen(randomise(Drawing()), {"a": 12}, noise(4, 3)),
    "deepen": lambda: net2net.deepen(image_model(), {"3": 1}, noise(2, 3, 8, 8)),
    "calibrate": lambda: net2net.deepen(
        image_model(), {"3": 1}, noise(2, 3, 8, 8), calibrate=[noise(4, 3, 8, 8)]
    ),
}


def outcome(name: str) -> tuple[Any, ...]:
    growth = CALLS[name]()
    bits = {name: tensor.tolist() for name, tensor in tensors(growth.model).items()}
    return str(growth.report), growth.plan.to_json(), bits


def test_many_threads_do_what_one_does() -> None:
    alone = {name: outcome(name) for name in CALLS}
    asked = [name for _ in range(3) for name in CALLS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(outcome, asked))
    for name, one in zip(asked, found, strict=True):
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
