"""Every error of the library: one sentence says what is wrong and where, one says what to do."""

from collections.abc import Collection, Iterable

import torch


class Net2NetError(Exception):
    """Base class of everything the library raises on purpose."""


class InputError(Net2NetError):
    """The model cannot be run, or not on these inputs. ``module``: where it stopped, or ""."""

    def __init__(self, message: str, module: str = "") -> None:
        super().__init__(message)
        self.module = module


class StudentRunError(InputError):
    """The student does not run, though the teacher does on the same inputs."""


class UnsupportedModelError(Net2NetError):
    """The model is of a kind that cannot be grown: lazy, quantised, on mixed devices or types."""


class UnknownModuleError(Net2NetError, KeyError):
    """A glob matches no module of the model."""

    __str__ = Exception.__str__  # KeyError would print the message's repr


class UnknownMethodError(Net2NetError, KeyError):
    """No growth method of this name is registered."""

    __str__ = Exception.__str__


class WidthError(Net2NetError, ValueError):
    """A width that cannot be had: smaller than now, or between the admissible ones."""


class NotGrowableError(WidthError):
    """The space is tied to an input, an output or a constant, so it has one width only."""


class DepthError(Net2NetError, ValueError):
    """No identity layer can stand where one was asked for."""


class TransferError(Net2NetError, ValueError):
    """The student cannot compute what the teacher does, or which weights go where is unclear."""


class UnknownOperationError(Net2NetError):
    """An operation of the graph has no rule."""


class GraphMismatchError(Net2NetError):
    """The student's graph does not correspond to the teacher's, so no weights can be mapped.

    ``axes``: the parameter axes where that shows, as ``name[dim]``; ``module``: the module in which
    the student stopped; ``why``: why units there can be no more, which in the teacher can.
    """

    def __init__(
        self, message: str, axes: Collection[str] = (), module: str = "", why: str = ""
    ) -> None:
        super().__init__(message)
        self.axes = frozenset(axes)
        self.module = module
        self.why = why

    def concerns(self, axes: Iterable[object]) -> bool:
        """Whether it shows on one of these axes, or in a module that owns one."""
        names = set(map(str, axes))
        inside = f"{self.module}."
        return bool(names & self.axes) or (
            self.module != "" and any(name.startswith(inside) for name in names)
        )


class PlanError(Net2NetError, ValueError):
    """A plan that is malformed, or is not of this teacher."""


class VerificationError(Net2NetError):
    """Teacher and student do not compute the same function. ``.parity`` holds what was measured."""

    def __init__(self, message: str, parity: object = None) -> None:
        super().__init__(message)
        self.parity = parity


class OptimizerError(Net2NetError, ValueError):
    """An optimiser that is not the teacher's, or whose state cannot be grown."""


class FolderError(Net2NetError, OSError):
    """A folder that holds no model which can be read, or a place where none can be written."""


class RecipeError(Net2NetError, ValueError):
    """A file that is no recipe of a growth, or asks for what there is not."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory: on the CPU, torch raises a RuntimeError."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or "DefaultCPUAllocator" in str(error)
