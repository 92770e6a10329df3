"""The student that is possible: at the widths asked for, or the nearest that have one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from torch import nn

from net2net.analysis import analyse
from net2net.errors import (
    GraphMismatchError,
    NotGrowableError,
    UnknownOperationError,
    WidthError,
)
from net2net.infer.inference import Inference
from net2net.infer.spaces import Spaces, spaces_of
from net2net.plan.feasible import nearest_feasible
from net2net.plan.globs import counted, named
from net2net.plan.inside_asked import staying
from net2net.plan.widths import (
    SpaceGrowth,
    Widths,
    new_integers,
    resolve,
    told,
)
from net2net.stages import stage
from net2net.trace.trace import Inputs
from net2net.widen.attempt import Attempt, Match, Wider
from net2net.widen.loadable import check_loads, configured, sayable
from net2net.widen.request import Request


def attempted(base: nn.Module, inputs: Inputs, request: Request) -> Attempt:
    """Infer the teacher, and resolve the widths."""
    widths = request.widths if isinstance(request.widths, Mapping) else None
    with stage("traced and inferred the teacher"):
        teacher = analyse(
            base, inputs, on_unknown="fix", grow_outputs=request.grow_outputs, widths=widths,
            also=request.also,
        )  # fmt: skip
        spaces = spaces_of(teacher, exact=request.exact, measured=request.measures_eps)
    if request.on_unknown == "raise":
        _check_known(spaces, teacher, base, request.widths)
    asked = resolve(spaces, teacher, base, request.widths, request.multiple_of)
    return Attempt(base, inputs, request, teacher, spaces, asked)


def find_student(attempt: Attempt) -> Wider:
    """Move widths that have no student, or none that loads, to the nearest that have one."""
    builders = configured(attempt) if attempt.request.loadable else []
    with stage("found the student's widths, and matched its units with the teacher's"):
        counts = partial(counted, attempt.spaces, attempt.teacher)

        def nearest(grown: list[SpaceGrowth]) -> tuple[list[SpaceGrowth], Match]:
            return nearest_feasible(
                grown, attempt.match, lambda: [[s for _, s in one] for one in counts().values()]
            )

        try:
            grown, matched = nearest(attempt.asked)
        except GraphMismatchError as error:
            if (fewer := attempt.without_stopping(attempt.asked)) is None:
                raise
            if all(one.new == one.space.size for one in fewer):
                attempt.check_runnable(error)
                raise _nothing_grows(fewer) from error
            grown, matched = nearest(fewer)
        grown, matched = attempt.without_changes(grown, matched)
    _check_staying(attempt, grown)
    wider = attempt.settled(grown, matched)
    if attempt.request.loadable and not wider.loads:
        if matched.sets:  # to what the configuration does not say
            with suppress(GraphMismatchError):
                return find_student(replace(attempt, sets=False))
        with stage("found the nearest widths that the configuration can say"):
            grown, numbers = sayable(attempt, builders, grown)
        wider = check_loads(attempt.settled(grown, attempt.match(grown), numbers))
    return wider


def _nothing_grows(left: list[SpaceGrowth]) -> NotGrowableError:
    """What to say where one factor for all spaces leaves all as they are."""
    whys = {one.space.name: one.note for one in left if one.note}
    return NotGrowableError(
        f"no space of this model can grow at these widths: {whys}. Give another factor, or name a "
        "space in widths: where a size is written into the code, that makes the student a graph "
        "module."
    )


def _check_staying(attempt: Attempt, grown: list[SpaceGrowth]) -> None:
    """Raises:
    WidthError: an attribute that was asked to stay would change, as it divides one that grows.
    """
    if not isinstance(widths := attempt.request.widths, Mapping):
        return
    stay = staying(attempt.teacher, attempt.base, widths)
    for path, name, old, new in (
        new_integers(attempt.spaces, attempt.teacher, grown) if stay else ()
    ):
        if (path, name) in stay:
            whole = ".".join(filter(None, (path, name)))
            raise WidthError(
                f"'{whole}' is to stay {old}, and would be {new} with {told(grown)}: the code "
                "divides by it, and what it makes of that stays. Leave it out of widths."
            )


def _check_known(
    spaces: Spaces, teacher: Inference, base: nn.Module, widths: Widths
) -> None:  # fmt: skip
    """Raises:
    UnknownOperationError: an operation without a rule touches what was asked for by name, or under
        one factor for all it is why nothing grows.
    """
    if isinstance(widths, Mapping):
        found = [one for glob in widths for _, one in named(spaces, teacher, base, glob)]
        asked = [space for made in found for _, space in made]
    else:
        asked = [] if spaces.growable else list(spaces)
    for space in asked:
        if space.reason in teacher.units.unknown:
            raise UnknownOperationError(teacher.units.unknown[space.reason])
