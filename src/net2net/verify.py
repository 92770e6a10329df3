"""verify: run teacher and student on the same inputs and measure the difference."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from net2net.apply.module import with_tensors
from net2net.errors import (
    InputError,
    StudentRunError,
    UnsupportedModelError,
    VerificationError,
    is_out_of_memory,
)
from net2net.plan.outputs import OutputMaps, counterparts
from net2net.rounding import RUNS, Jitter, tolerated
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import named_tensors
from net2net.trace.trace import Inputs, check_values, split_inputs, tensors_of

ROUNDING = {
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 5e-2,
    torch.float16: 1e-2,
}
"""Largest relative difference that rounding of weights of a type explains (a third of a weight is
not a float32); at the most ten times that where the computation is in that type as well, and no
more than the teacher's own rounding is measured to explain."""

NEARLY = 1e-6
"""Largest relative difference that an ε may make which is written into the code."""


@dataclass(frozen=True)
class Parity:
    """How far two models' outputs differ.

    Attributes:
        max_abs: largest absolute difference over all output tensors.
        max_rel: largest, over the output tensors, of its largest absolute difference divided by
            the teacher's largest absolute value.
        dtype: the type that was computed in, ``torch.float64`` where that was possible.
        tolerance: what rounding explains, given the weights' type and ``dtype``.
        outputs: how many tensors were compared.
        worst: where in the output the largest relative difference is.
    """

    max_abs: float
    max_rel: float
    dtype: torch.dtype
    tolerance: float
    outputs: int
    worst: str

    @property
    def exact(self) -> bool:
        """Whether rounding explains the difference."""
        return self.max_rel <= self.tolerance

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        return (
            f"largest difference {self.max_abs:.3g} absolute, {self.max_rel:.3g} relative, "
            f"over {self.outputs} output(s), computed in {kind}"
        )


def verify(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, *, outputs: OutputMaps | None = None,
    places: Mapping[str, str] | None = None,
) -> Parity:  # fmt: skip
    """Compare two models on the same inputs, in evaluation mode.

    Copies of both run, so neither is changed. They run in float64 where memory allows and every
    operation has that type, else in the model's own type; ``Parity.dtype`` says which. Random
    numbers drawn in ``forward`` are the same for both.

    Args:
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments.
        outputs: ``Growth.outputs`` of a student whose own outputs grew.
        places: where the teacher returns something → where the student returns the same, if it
            returns more than that (caches of more layers).

    Raises:
        UnsupportedModelError: one of the models is none.
        InputError: a model does not run on these inputs, or something is on ``meta``;
            ``StudentRunError``: the teacher does run.
        VerificationError: the outputs cannot be compared (different numbers or shapes, NaN).
        MemoryError: no copy of a model can run, though its inputs are fine.
    """
    for model in (teacher, student):
        if not isinstance(model, nn.Module):
            raise UnsupportedModelError(
                f"one of the models is a {type(model).__name__}. Give two torch.nn.Modules."
            )
    check_values(inputs)
    if any(tensor.is_meta for model in (teacher, student) for _, tensor in named_tensors(model)):
        raise InputError(
            "a model is on meta, without values, so nothing can be measured. "
            "Pass verify=False, or call net2net.estimate."
        )
    if _fits(teacher, student):
        try:
            return measure(teacher, student, inputs, torch.float64, outputs or {}, places=places)
        except (InputError, MemoryError, NothingComparedError):
            pass  # no float64 kernel, or a type written into the code
    return measure(teacher, student, inputs, None, outputs or {}, places=places)


def _fits(teacher: nn.Module, student: nn.Module) -> bool:
    """Whether float64 copies leave half of the free memory, on the CPU."""
    tensors = [tensor for model in (teacher, student) for _, tensor in named_tensors(model)]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return not any(tensor.device.type == "mps" for tensor in tensors)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return True
    return 16 * sum(tensor.numel() for tensor in tensors) < free


def measure(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, dtype: torch.dtype | None,
    outputs: OutputMaps, *, places: Mapping[str, str] | None = None,
    prepare: Sequence[Prepare] | None = None,
) -> Parity:  # fmt: skip
    """As ``verify``, in one type.

    Args:
        dtype: to compute in; None for the models' own.
        prepare: what is done with the copies of both before they run.
    """
    first, second = prepare or (_left, _left)
    before = _run(teacher, inputs, dtype, first)
    try:
        after = _run(student, inputs, dtype, second)
    except InputError as error:
        raise StudentRunError(
            f"the student does not run on these inputs, though the teacher does: {error.__cause__}."
            " Give it sizes at which its code runs."
        ) from error.__cause__
    if places is not None:
        theirs = dict(after)
        after = [(a, theirs[b]) for a, _ in before if (b := places.get(a, a)) in theirs]
    if [place for place, _ in before] != [place for place, _ in after]:
        raise VerificationError(
            f"the teacher returns {len(before)} tensors and the student {len(after)}, "
            "at different places. The student's forward takes another way: report this model."
        )
    largest = _largest(before, after, outputs)
    found = largest.dtype
    if not largest.compared:
        raise NothingComparedError(
            f"the teacher returned {len(before)} tensors without one finite number, so nothing was "
            "compared. Give inputs on which the model computes something."
        )
    weights = next((p.dtype for p in student.parameters() if p.is_floating_point()), found)
    tolerance = ROUNDING.get(weights, 1e-9) * (1 if found == torch.float64 else 10)
    if dtype is None and found != torch.float64 and largest.relative:
        tolerance = min(tolerance, tolerated(_rounding(teacher, inputs, before, first), found))
    return Parity(largest.absolute, largest.relative, found, tolerance, len(before), largest.worst)


class NothingComparedError(VerificationError):
    """There was no finite number."""


@dataclass
class _Largest:
    """The largest differences between two models' outputs."""

    absolute: float = 0.0
    relative: float = 0.0
    worst: str = ""
    dtype: torch.dtype = torch.float32
    compared: int = 0


def _largest(
    before: Sequence[tuple[str, Tensor]], after: Sequence[tuple[str, Tensor]], outputs: OutputMaps
) -> _Largest:
    """Of outputs at the same places.

    Raises:
        VerificationError: they cannot be compared.
    """
    result = _Largest()
    for (place, old), (_, new) in zip(before, after, strict=True):
        old, new = counterparts(old, new, outputs.get(place, {}))
        if old.shape != new.shape:
            raise VerificationError(
                f"output {place or '0'} is {tuple(old.shape)} for the teacher and "
                f"{tuple(new.shape)} for the student. Leave the model's output axes as they are."
            )
        if old.numel() == 0:
            continue
        if old.is_floating_point() or old.is_complex():
            result.dtype = old.dtype
        wide = torch.complex128 if old.is_complex() else torch.float64
        old, new = old.to(wide), new.to(wide)
        result.compared += int(old.isfinite().sum())
        same = (old == new) | (old.isnan() & new.isnan())
        gap = torch.where(same, torch.zeros_like(old), old - new).abs()
        if gap.isnan().any() or gap.isinf().any():
            raise VerificationError(
                f"output {place or '0'} is not finite in one model where it is in the other. "
                "Check the teacher's outputs on these inputs for NaN and infinity."
            )
        largest = float(gap.max())
        finite = old.abs()[old.abs().isfinite()]
        scale = float(finite.max()) if finite.numel() else 0.0
        relative = largest / scale if scale else (0.0 if largest == 0 else float("inf"))
        if relative >= result.relative:
            result.worst, result.relative = place, relative
        result.absolute = max(result.absolute, largest)
    return result


def _rounding(
    teacher: nn.Module, inputs: Inputs, before: Sequence[tuple[str, Tensor]], prepare: Prepare
) -> float:
    """How far other roundings take the teacher's outputs, relative to them; no bound where it does
    not run with them."""
    noise = 0.0
    for seed in range(RUNS):
        jitter = Jitter(seed)

        def moved(model: nn.Module, jitter: Jitter = jitter) -> None:
            prepare(model)
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.copy_(jitter.moved(tensor))

        try:
            with jitter:
                after = _run(teacher, inputs, None, moved)
            noise = max(noise, _largest(before, after, {}).relative)
        except (InputError, MemoryError, VerificationError):
            return float("inf")
    return noise


class _Wide(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes in float64 where code asks for a narrower type (norms and softmax in float32)."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*tree_map(_widened, args), **tree_map(_widened, kwargs or {}))


def _widened(item: Any) -> Any:
    narrow = isinstance(item, torch.dtype) and item.is_floating_point
    return torch.float64 if narrow else item


def _double(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """A copy to run, in evaluation mode; forward may write to it."""
    tensors = {}
    for name, tensor in named_tensors(model):
        wanted = dtype if dtype and tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.detach().to(wanted, copy=True)
    return with_tensors(model, tensors).eval()


Prepare = Callable[[nn.Module], object]


def _left(model: nn.Module) -> None:
    """As it is."""


def _run(
    model: nn.Module, inputs: Inputs, dtype: torch.dtype | None, prepare: Prepare
) -> list[tuple[str, Tensor]]:
    """Tensors that a copy of the model puts out, each with its place."""
    return tensors_of(run_copy(model, inputs, dtype, prepare))


def run_copy(
    model: nn.Module, inputs: Inputs, dtype: torch.dtype | None,
    prepare: Prepare = _left,
) -> Any:  # fmt: skip
    """What a copy of the model puts out in evaluation mode, with a fixed random state.

    Args:
        dtype: to compute in, whatever the code asks for; None for the model's own.
        prepare: gets the copy before it runs.

    Raises:
        InputError: it does not run.
        MemoryError: the memory of the device or of the machine does not suffice.
    """
    args, kwargs = split_inputs(inputs)

    def cast(item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        return item.to(dtype if dtype and item.is_floating_point() else item.dtype, copy=True)

    try:
        double = _double(model, dtype)
        args, kwargs = tree_map(cast, (args, kwargs))
        wide = _Wide() if dtype else nullcontext()  # type: ignore[no-untyped-call]
        with ALONE, torch.no_grad(), torch.random.fork_rng(), wide:
            torch.manual_seed(0)
            prepare(double)
            return double(*args, **kwargs)
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryError(
                "Memory ran out as a copy of the model ran. "
                "Give smaller inputs, or pass verify=False if this was to verify a student."
            ) from error
        raise InputError(
            f"the model does not run on these inputs: {type(error).__name__}: {error}. "
            "Check that model(*inputs) works in evaluation mode."
        ) from error
