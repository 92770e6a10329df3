"""What a family hands over to be measured: a model, an input, and a read-out where it needs one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from net2net.apply.module import with_tensors
from net2net.errors import Net2NetError
from net2net.trace.trace import Inputs, split_inputs


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


Place = str | int | tuple[str | int, ...] | None
"""Where a tensor is in an output."""


def _at(output: Any, place: Place) -> Any:
    if place is None:
        return output
    for key in place if isinstance(place, tuple) else (place,):
        output = output[key]
    return output


class Readout(nn.Module):
    """A linear read-out on some outputs of a body, so that the stream it puts out may grow.

    Args:
        reads: which outputs (a key or index each, a path of them into what is nested, or None for
            a body that returns one tensor), along which axis, and how wide that is. A width of 0
            hands the output on as it is.
    """

    def __init__(
        self, body: nn.Module, reads: Sequence[tuple[Place, int, int]], classes: int = 3
    ) -> None:
        super().__init__()
        self.body = body
        self.picks = [(key, axis) for key, axis, _ in reads]
        self.heads = nn.ModuleList(
            nn.Linear(width, classes) if width else nn.Identity() for _, _, width in reads
        )

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        output = self.body(*args, **kwargs)
        found = [_at(output, key) for key, _ in self.picks]
        return [
            head(tensor if isinstance(head, nn.Identity) else tensor.movedim(axis, -1))
            for head, tensor, (_, axis) in zip(self.heads, found, self.picks, strict=True)
        ]


class Readin(nn.Module):
    """A linear layer before some inputs of a body that are features already, so that the stream
    that it is fed with may grow.

    Args:
        widths: of these inputs, by name.
    """

    def __init__(self, body: nn.Module, widths: Mapping[str, int], features: int = 3) -> None:
        super().__init__()
        self.body, self.features = body, features
        self.feet = nn.ModuleDict(
            {name: nn.Linear(features, width) for name, width in widths.items()}
        )

    def forward(self, **inputs: Any) -> Any:
        fed = {name: foot(inputs[name]) for name, foot in self.feet.items()}
        return self.body(**{**inputs, **fed})

    def of(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The body's inputs, with others in place of those that come out of the linear layers."""
        made = {name: torch.randn(*inputs[name].shape[:-1], self.features) for name in self.feet}
        return {**inputs, **made}


def first_output(output: Any) -> tuple[Place, Tensor]:
    """Where the first floating-point tensor of an output is, and that tensor."""
    if not isinstance(output, (Tensor, Mapping, list, tuple)):
        raise NotBuiltError(f"the model returns a {type(output).__name__}, which is not read here")
    for place, tensor in _tensors(output):
        if tensor.is_floating_point():
            return (place if len(place) > 1 else place[0] if place else None), tensor
    raise NotBuiltError("none of the model's outputs is a floating-point tensor")


def _tensors(value: Any) -> Iterator[tuple[tuple[str | int, ...], Tensor]]:
    """All tensors of an output; those that are not nested come first."""
    if isinstance(value, Tensor):
        yield (), value
        return
    items = list(value.items() if isinstance(value, Mapping) else enumerate(value))
    items.sort(key=lambda item: not isinstance(item[1], Tensor))
    for key, part in items:
        if isinstance(part, (Tensor, Mapping, list, tuple)):
            yield from (((key, *place), tensor) for place, tensor in _tensors(part))


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
