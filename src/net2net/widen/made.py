"""Students with their weights: made, measured, and made again where they are something else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from net2net.apply.edits import Edit
from net2net.apply.exported_graph import Export
from net2net.apply.fingerprint import fingerprint
from net2net.errors import Net2NetError, StudentRunError, VerificationError, WidthError
from net2net.finish import check, check_memory, has_noise
from net2net.maps.methods import name_of
from net2net.plan.calibrated import calibrated
from net2net.plan.initial import initial, perturbed
from net2net.plan.outputs import OutputMaps
from net2net.plan.plan import Plan
from net2net.plan.runnable import not_runnable, stops
from net2net.plan.steepest import steepest
from net2net.plan.widening import widening
from net2net.plan.widths import SpaceGrowth
from net2net.recipe.axis_map import NEW
from net2net.stages import stage
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs
from net2net.verify import NEARLY, Parity
from net2net.widen.attempt import Wider
from net2net.widen.blamed import without_blamed
from net2net.widen.request import Request


@dataclass(frozen=True, eq=False)
class Made:
    """A student with its weights, and what was measured of it, if anything was."""

    wider: Wider
    plan: Plan
    student: nn.Module
    parity: Parity | None


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes students of one request."""

    model: nn.Module
    inputs: Inputs
    request: Request
    export: Export | None

    def whole(self, wider: Wider) -> Made:
        """The student, or under one factor for all that without the spaces to blame, if it computes
        something else; one that stops is told of with the widths at which it runs."""
        if not self.request.verify:
            return self._made(wider)
        try:
            made = self.measured(wider)
            return made if self.request.exact else self._closer(made)
        except StudentRunError as error:
            found = stops(wider.grown, partial(self._runs, wider))
            raise not_runnable(wider.grown, found, error.__cause__) from error
        except VerificationError as error:
            if error.parity is None:
                self._check(self.model)  # what says the same of the teacher is no news of a student
            return self.measured(without_blamed(wider, self.request, error, self.measured))

    def _made(self, wider: Wider) -> Made:
        plan = plan_of(self.model, wider, self.request, self.export)
        check_memory(plan, self.model, WidthError)
        with stage("made the student"):
            student = plan.apply(self.model)
        if self.request.loss is not None:
            with stage("looked for the largest gradient"):
                plan = steepest(plan, student, wider.student, self.request.loss)
                student = plan.apply(self.model)
        if self.request.calibrate is not None:
            with stage("calibrated"):
                plan = calibrated(plan, student, self.request.calibrate)
                student = plan.apply(self.model)
        return Made(wider, plan, student, None)

    def measured(self, wider: Wider) -> Made:
        """The student, and how far it is off.

        Raises:
            VerificationError: it computes something else, and should not.
        """
        made = self._made(wider)
        keeps = self.request.keeps_before_noise and not has_noise(made.plan)
        must_match = self.request.exact and keeps
        with stage("verified"):
            parity = self._check(
                made.student, wider.outputs, must_match=must_match,
                within=NEARLY if wider.left else 0.0,
            )  # fmt: skip
        return replace(made, parity=parity)

    def _closer(self, made: Made) -> Made:
        """It, or what copies make where no new units keep what is computed, if that is closer."""
        first = made.parity
        if first is None or first.exact or not self.request.keeps:
            return made
        other = self.measured(made.wider.by_copies())
        return other if other.parity and other.parity.max_rel < first.max_rel else made

    def _runs(self, wider: Wider, grown: list[SpaceGrowth]) -> bool:
        try:
            other = wider.at(grown)
            self._check(self._made(other).student, other.outputs, must_match=False)
        except Net2NetError:
            return False
        return True

    def _check(
        self, student: nn.Module, outputs: OutputMaps | None = None, *, must_match: bool = True,
        within: float = 0.0,
    ) -> Parity:  # fmt: skip
        return check(
            self.model, student, self.inputs, must_match=must_match, outputs=outputs,
            also=self.request.also, within=within,
        )  # fmt: skip


def plan_of(
    model: nn.Module, wider: Wider, request: Request, export: Export | None, *,
    measured: bool = True,
) -> Plan:  # fmt: skip
    """The plan of a student. ``measured``: deviations and means that it needs are the teacher's;
    without, they are measured when it is applied."""
    source = model if measured else meta_copy(model)
    with stage("planned"):
        new = {axis.name for axis, one in wider.maps.items() if (one.index == NEW).any()}
        drawn = initial(wider.on_meta(), new) if request.way.incoming == "initial" else {}
        known, recipes = widening(
            source, wider.maps, wider.teacher.units.norms, request.all_noise, request.way.pair,
            drawn, wider.buffers,
        )  # fmt: skip
        if request.way.perturbs:
            way = request.way
            recipes = perturbed(recipes, wider.on_meta(), way.shrink, way.perturb)
    edits: tuple[Edit, ...] = (export,) if export else ()
    return Plan(
        "widen", name_of(request.method), request.seed, fingerprint(model), known, recipes,
        (*edits, *wider.edits),
    )  # fmt: skip
