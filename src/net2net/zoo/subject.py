"""What a family hands over to be measured: a model, an input, and a read-out where it needs one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from net2net.apply import with_tensors
from net2net.errors import Net2NetError
from net2net.trace import Inputs, split_inputs


class NotBuiltError(Net2NetError):
    """The model, or an input that it runs on, cannot be made here. Says nothing about growing."""


@dataclass(frozen=True)
class Entry:
    """One model of a family; ``group`` is the part of the library it comes from, or empty."""

    group: str
    name: str

    def matches(self, pattern: str) -> bool:
        """Whether a glob is its name, or ``group/name`` where the glob has a slash."""
        return fnmatchcase(f"{self.group}/{self.name}" if "/" in pattern else self.name, pattern)


@dataclass(eq=False)
class Subject:
    """A model that is ready to be measured; ``note`` says what was changed to make it fit."""

    model: nn.Module
    inputs: Inputs
    note: str = ""


class Readout(nn.Module):
    """A linear read-out on some outputs of a body, so that the stream it puts out may grow.

    Args:
        reads: which outputs (a key or index each, or None for a body that returns one tensor),
            along which axis, and how wide that is. A width of 0 hands the output on as it is.
    """

    def __init__(
        self, body: nn.Module, reads: Sequence[tuple[str | int | None, int, int]], classes: int = 3
    ) -> None:
        super().__init__()
        self.body = body
        self.picks = [(key, axis) for key, axis, _ in reads]
        self.heads = nn.ModuleList(
            nn.Linear(width, classes) if width else nn.Identity() for _, _, width in reads
        )

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        output = self.body(*args, **kwargs)
        found = [output if key is None else output[key] for key, _ in self.picks]
        return [
            head(tensor if isinstance(head, nn.Identity) else tensor.movedim(axis, -1))
            for head, tensor, (_, axis) in zip(self.heads, found, self.picks, strict=True)
        ]


def first_output(output: Any) -> tuple[str | int | None, Tensor]:
    """Where the first floating-point tensor of an output is, and that tensor."""
    if isinstance(output, Tensor):
        return None, output
    if isinstance(output, Mapping):
        items: list[tuple[str | int, Any]] = list(output.items())
    elif isinstance(output, (list, tuple)):
        items = list(enumerate(output))
    else:
        raise NotBuiltError(f"the model returns a {type(output).__name__}, which is not read here")
    for key, value in items:
        if isinstance(value, Tensor) and value.is_floating_point():
            return key, value
    raise NotBuiltError("none of the model's outputs is a floating-point tensor")


def run(model: nn.Module, inputs: Inputs) -> Any:
    """The outputs in evaluation mode."""
    args, kwargs = split_inputs(inputs)
    with torch.no_grad():
        return model.eval()(*args, **kwargs)


def private(model: nn.Module) -> nn.Module:
    """A copy that shares the parameters: models keep caches from one run to the next."""
    parameters = dict(model.named_parameters())
    return with_tensors(model, {name: tensor.detach() for name, tensor in parameters.items()})


def shorten(model: nn.Module, stacks: Sequence[str], keep: int) -> str:
    """Keep the first blocks of each stack, for memory, and say so: depth only repeats blocks."""
    before = after = 0
    for path in stacks:
        stack = model.get_submodule(path)
        assert isinstance(stack, (nn.Sequential, nn.ModuleList))
        before += len(stack)
        del stack[keep:]
        after += len(stack)
    return f"first {after} of {before} blocks, for memory"
