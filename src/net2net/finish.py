"""The shared end of every verb: measure, count, warn."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from net2net.errors import Net2NetError, VerificationError
from net2net.infer.inference import Inference
from net2net.plan.outputs import OutputMaps
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import AxisMap
from net2net.trace.trace import Inputs, Op
from net2net.verify import Parity, verify


def check(
    teacher: nn.Module, student: nn.Module, inputs: Inputs, *, must_match: bool,
    outputs: OutputMaps | None = None, also: Sequence[Inputs] = (),
    places: Mapping[str, str] | None = None, within: float = 0.0,
) -> Parity:  # fmt: skip
    """Measure parity, on every input; a student that should be exact and is not never gets out.
    Returns the worst. ``within``: so large a relative difference passes, rounding or not."""
    measured = [
        verify(teacher, student, one, outputs=outputs, places=places) for one in (inputs, *also)
    ]
    parity = max(measured, key=lambda one: one.max_rel)
    if must_match and not (parity.exact or parity.max_rel <= within):
        raise VerificationError(
            f"the student does not compute the teacher's function: {parity}. "
            "This is a defect of a rule: please report the model; verify=False returns it anyway.",
            parity,
        )
    return parity


def check_memory(plan: Plan, model: nn.Module, error: type[Net2NetError]) -> None:
    """Raises:
    Net2NetError: of this type, if the student would not fit into the machine's memory.
    """
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return
    _, needed = plan.summary().bytes
    if needed > memory:
        raise error(
            f"the student would take {needed:,} bytes, and the memory is {memory:,}. "
            "Grow it less; net2net.estimate tells the sizes of wider ones without making them."
        )


def count_parameters(model: nn.Module) -> int:
    """Elements of all parameters, each counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def returned_numbers(teacher: Inference, student: Inference) -> tuple[str, ...]:
    """What a report says of numbers that the model returns beside tensors, if they change."""
    old, new = teacher.traces[0].returned, student.traces[0].returned
    return tuple(
        f"the model returns a number that is not kept: output{place} is {old[place]:g} in the "
        f"teacher and {number:g} in the student"
        for place, number in new.items()
        if place in old and number != old[place]
    )


def has_noise(plan: Plan) -> bool:
    """Whether noise is on anything, or all is perturbed."""
    return any(
        one.noise is not None
        or one.perturbed is not None
        or (one.stacked is not None and one.stacked.noise > 0)
        for one in plan.recipes.values()
    )


def noise_note(amount: float, plan: Plan, parity: Parity | None) -> str:
    """What a report says of noise that was asked for."""
    if not has_noise(plan):
        return f"noise of {amount:g} is on nothing: it is for weights of copies, and there are none"
    if parity is not None and parity.exact:
        return f"noise of {amount:g} is on copies, and what was measured is the function as it was"
    return f"noise of {amount:g} breaks symmetry, so the function is kept only roughly"


def has_even_copies(maps: Iterable[AxisMap]) -> bool:
    """Whether some weight is divided evenly among copies, and nothing sets them apart."""
    return any(one.divisor is not None and one.twin is None for one in maps)


def never_separate(teacher: Inference) -> tuple[str, ...]:
    """The warning that even shares deserve, unless the model has dropout."""
    if any(_drops(op) for trace in teacher.traces for op in trace.ops):
        return ()
    return (
        "copies that share evenly receive equal gradients and stay equal for ever, so the student "
        'learns no more than the teacher could: pass method="fresh", whose new units differ from '
        "the first, or noise=0.01 or so, or train it with dropout",
    )


def _drops(op: Op) -> bool:
    return "dropout" in op.kind and bool(op.args.get("p", 0))
