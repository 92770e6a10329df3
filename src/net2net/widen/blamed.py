"""A student that computes something else: made without the spaces to blame, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from net2net.errors import Net2NetError, VerificationError
from net2net.plan.blame import left_out, to_blame
from net2net.plan.widths import SpaceGrowth, told
from net2net.verify import Parity
from net2net.widen.attempt import Wider
from net2net.widen.loadable import check_loads
from net2net.widen.request import Request


def without_blamed(
    wider: Wider, request: Request, last: VerificationError, measured: Callable[[Wider], object]
) -> Wider:
    """Under one factor for all, the student in which the spaces to blame stay as they are.

    Args:
        last: what was said of the student as it is.
        measured: measures another one, and raises as ``check`` does.

    Raises:
        VerificationError: spaces that were asked for by name are to blame, or all that grow are.
    """

    def why_not(grown: list[SpaceGrowth]) -> str | None:
        try:
            measured(wider.at(grown))
        except Net2NetError as error:
            return _told(error)
        return None

    blamed = to_blame(wider.grown, why_not)
    at_fault = [one for one in wider.grown if one.space.name in blamed]
    every = all(one in at_fault for one in wider.grown if one.new != one.space.size)
    if every or isinstance(request.widths, Mapping):
        advice = (
            "This is a defect of a rule: please report the model;"
            if every
            else "Leave it out of widths, and the rest grows;"
        )
        raise VerificationError(
            f"the student does not compute the teacher's function: {last.parity or _told(last)}. "
            f"What is to blame is the growth of {told(at_fault)}. {advice} verify=False returns it "
            "anyway.",
            last.parity,
        ) from last
    fewer = wider.settled(left_out(wider.grown, blamed))
    return check_loads(fewer) if request.loadable else fewer


def _told(error: Net2NetError) -> str:
    """What is wrong, without advice."""
    parity = error.parity if isinstance(error, VerificationError) else None
    if isinstance(parity, Parity):
        return f"verification measured a relative difference of {parity.max_rel:.3g}"
    return str(error).partition(". ")[0]
