"""estimate: the report of a widening that is not carried out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from net2net.maps.methods import Method, name_of, resolve_auto
from net2net.plan.widths import MultipleOf, Widths
from net2net.report import Report
from net2net.trace.flops import flops
from net2net.trace.refused import check_model
from net2net.trace.trace import Inputs
from net2net.widen import told
from net2net.widen.made import plan_of
from net2net.widen.request import Request, check_request
from net2net.widen.widen import prepared


def estimate(
    model: nn.Module,
    widths: Widths,
    inputs: Inputs,
    *,
    multiple_of: MultipleOf = 1,
    method: str | Method = "auto",
    exact: bool = True,
    on_unknown: str = "raise",
    outputs: str = "keep",
    also: Sequence[Inputs] = (),
    loadable: bool = False,
) -> Report:
    """What ``widen`` would make: parameters, bytes, FLOPs and widths, without making it.

    No weight is read or copied, so the model may be on the ``meta`` device.

    Args:
        model: the teacher; never changed.
        widths, inputs, multiple_of, method, exact, on_unknown, outputs, also, loadable: as for
            ``widen``.

    Returns:
        A report without a measured difference; with ``exact=False`` it tells of pads also where
        ``widen`` measures copies to be closer. ``Row.admissible``: the nearest sizes that could be
        had instead.

    Raises:
        As ``widen``, but for ``VerificationError``.
    """
    check_model(model)
    method = resolve_auto(method, copies=outputs == "grow")
    request = Request(
        widths, method, on_unknown=on_unknown, grow_outputs=outputs == "grow", also=also,
        multiple_of=multiple_of, exact=exact, loadable=loadable,
    )  # fmt: skip
    check_request(request, outputs)
    wider, export, notes = prepared(model, inputs, request)
    plan = plan_of(model, wider, request, export, measured=False)
    names = [name for name, _ in model.named_parameters()]
    return Report(
        action=f"would widen {type(model).__name__} by {name_of(method)}",
        asked=str(request),
        rows=told.rows(wider),
        stayed=told.stayed(wider, request),
        parameters=plan.elements(names),
        bytes=plan.summary().bytes,
        flops=(flops(wider.teacher.traces[0]), flops(wider.student.traces[0])),
        parity=None,
        warnings=told.warnings(wider, request),
        notes=notes + told.notes(wider, request, plan),
    )
