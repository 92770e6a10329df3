"""Two models on disk, compared while they are there: accelerate puts the weights of each part in
before it runs, and takes them out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from net2net.hf.memory import available
from net2net.hf.rows import whole
from net2net.hf.shards import Place
from net2net.hf.unloaded import Unloaded
from net2net.plan.outputs import OutputMaps
from net2net.trace.trace import Inputs
from net2net.verify import Parity, measure

SPARE = 4
"""How many times its largest tensor has to fit into memory for a model to run in float64."""


def verify_on_disk(
    teacher: Unloaded, student: Unloaded, inputs: Inputs, outputs: OutputMaps
) -> Parity:
    """As ``verify``, with no more in memory than one part of a model and what is between parts: in
    float64 if the largest tensors fit so, else in the type that is stored.

    Raises:
        InputError, VerificationError: as ``verify``.
    """
    largest = max(one.count for found in (teacher, student) for one in found.places.values())
    dtype = torch.float64 if SPARE * 8 * largest < available() else None
    with ThreadPoolExecutor(1) as reader:
        prepare = [_prepared(_OnDisk(found, reader)) for found in (teacher, student)]
        return measure(teacher.model, student.model, inputs, dtype, outputs, prepare=prepare)


class _OnDisk(Mapping[str, Tensor]):
    """Tensors by name, each read when it is asked for. Another thread reads: in this one a model
    runs, under modes that would make other types of what is read."""

    def __init__(self, found: Unloaded, reader: ThreadPoolExecutor) -> None:
        self.reader = reader
        first = {id(one): name for name, one in found.model.named_parameters()}
        self.places: dict[str, Place] = {
            name: found.places[first[id(one)]]
            for name, one in found.model.named_parameters(remove_duplicate=False)
        }

    def __getitem__(self, name: str) -> Tensor:
        return self.reader.submit(whole, self.places[name]).result()

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _prepared(weights: Mapping[str, Tensor]) -> Callable[[nn.Module], None]:
    """Lets the parts of a copy get their weights from here."""

    def prepare(model: nn.Module) -> None:
        from accelerate.hooks import attach_align_device_hook

        attach_align_device_hook(
            model, execution_device=torch.device("cpu"), offload=True, weights_map=weights
        )

    return prepare
