"""Numbers that a class makes of its configuration and keeps (scales), in attributes or in buffers
that no state dict has: of a student's configuration it makes others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from net2net.apply.attributes import SetAttribute


@dataclass(frozen=True)
class Anew:
    """Numbers of a student that are not its teacher's.

    Attributes:
        edits: those that modules keep as attributes.
        buffers: names of buffers of one number → the teacher's, and the student's.
    """

    edits: tuple[SetAttribute, ...] = ()
    buffers: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __or__(self, other: Anew) -> Anew:
        return Anew(self.edits + other.edits, {**self.buffers, **other.buffers})

    @property
    def values(self) -> dict[str, float]:
        """Of buffers: the student's numbers."""
        return {name: new for name, (_, new) in self.buffers.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """Of buffers: the student's numbers over the teacher's."""
        return {name: new / old for name, (old, new) in self.buffers.items()}


class Valued(TorchFunctionMode):
    """Tensors that code makes of one number have their value, where others are on ``meta``."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.tensor and args and isinstance(args[0], (int, float)):
            given["device"] = "cpu"
        return func(*args, **given)


@dataclass(frozen=True)
class Remade:
    """The numbers of which a class makes others from a student's configuration than from the
    teacher's: both.

    Attributes:
        attributes: by module and name.
        buffers: by name.
    """

    attributes: Mapping[tuple[str, str], tuple[int | float, int | float]]
    buffers: Mapping[str, tuple[float, float]]

    @staticmethod
    def of(before: nn.Module, after: nn.Module) -> Remade:
        """Of what it builds of both."""
        return Remade(
            _changed(_attributes(before), _attributes(after)),
            _changed(numbers_in_buffers(before), numbers_in_buffers(after)),
        )

    def held(self, path: str, student: nn.Module, anew: Anew) -> bool:
        """Whether a student has the fractions among them.

        Args:
            path: where in the whole model.
            anew: what it gets besides those that its modules keep.
        """
        held = _attributes(student)
        return all(
            held.get(name) == new
            for name, (_, new) in self.attributes.items()
            if isinstance(new, float)
        ) and all(_joined(path, name) in anew.buffers for name in self.buffers)

    def anew(self, path: str, teacher: nn.Module, student: nn.Module) -> Anew | None:
        """What a student has to get to have all of them; None where the teacher has others."""
        theirs, held, own = _attributes(teacher), _attributes(student), numbers_in_buffers(teacher)
        missing = {key: one for key, one in self.attributes.items() if held.get(key) != one[1]}
        if any(theirs.get(key) != old for key, (old, _) in missing.items()):
            return None
        buffers = {name: (own.get(name, old), new) for name, (old, new) in self.buffers.items()}
        if any(
            not (now and new and isclose(now, self.buffers[name][0], rel_tol=1e-6))
            for name, (now, new) in buffers.items()
        ):
            return None
        return Anew(
            tuple(
                SetAttribute(_joined(path, module), name, new)
                for (module, name), (_, new) in missing.items()
            ),
            {_joined(path, name): one for name, one in buffers.items()},
        )


def _joined(path: str, name: str) -> str:
    return ".".join(filter(None, (path, name)))


def _changed(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    return {name: (old[name], x) for name, x in new.items() if name in old and old[name] != x}


def _attributes(model: nn.Module) -> dict[tuple[str, str], int | float]:
    """Module and name of attributes that are numbers."""
    return {
        (path, name): value
        for path, part in model.named_modules()
        for name, value in vars(part).items()
        if type(value) in (int, float)
    }


def numbers_in_buffers(model: nn.Module) -> dict[str, float]:
    """Buffers of one number, with a value, that the state dict leaves out."""
    return {
        _joined(path, name): float(tensor)
        for path, part in model.named_modules()
        for name in part._non_persistent_buffers_set
        if (tensor := part._buffers.get(name)) is not None
        and tensor.is_floating_point()
        and tensor.ndim == 0
        and not tensor.is_meta
    }
