"""From two models to a plan and what it makes: paired, matched, made, verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from net2net.apply.fingerprint import fingerprint
from net2net.errors import GraphMismatchError, TransferError, VerificationError
from net2net.finish import check, has_noise
from net2net.infer.units import Axis
from net2net.maps.methods import name_of
from net2net.plan.calibrated import calibrated
from net2net.plan.compensate import compensated
from net2net.plan.initial import initial, perturbed
from net2net.plan.match import Matched, match
from net2net.plan.outputs import OutputMaps, output_maps
from net2net.plan.plan import Plan
from net2net.plan.rescale import rescaled
from net2net.plan.steepest import steepest
from net2net.recipe.axis_map import AxisMap
from net2net.recipe.recipe import Recipe
from net2net.stages import stage
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs
from net2net.transfer.checks import other_numbers
from net2net.transfer.pair import Pair, paired
from net2net.transfer.recipes import recipes_for
from net2net.transfer.request import Request
from net2net.transfer.weighed import weighed
from net2net.verify import NEARLY, Parity

UNLIKE = (
    "Copies of experts may weigh otherwise than what they copy: let there be twice as many (or "
    "three times), and the router take as many times more. "
)


@dataclass(frozen=True, eq=False)
class Made:
    """A student, the plan that makes it, and all that is known of it.

    Attributes:
        ends: where the teacher's outputs are among the student's.
        notes: what to say of it.
        left: an ε stays that would have to change.
    """

    pair: Pair
    maps: Mapping[Axis, AxisMap]
    plan: Plan
    student: nn.Module
    ends: OutputMaps
    parity: Parity | None
    notes: tuple[str, ...]
    left: bool = False


def _or_pass(pair: Pair, request: Request) -> str:
    """The options that may help where units do not match."""
    old, new = (
        {place: one.shapes[tensor] for place, tensor in one.outputs.items()}
        for one in (pair.teacher.traces[0], pair.student.traces[0])
    )
    options = []
    if old != new and not request.grow_outputs and request.new_outputs is None:
        options = ['outputs="grow", if what it returns is to grow with it']
    if old != new and request.new_outputs is None:
        options.append("new_outputs, if they are outputs that are new")
    return "; or ".join([*options, "exact=False"])


class Maker:
    """Makes a student of what the user built."""

    def __init__(
        self, teacher: nn.Module, student: nn.Module, inputs: Inputs, request: Request
    ) -> None:
        self.teacher, self.student, self.request = teacher, student, request
        self.inputs = [inputs, *request.also]

    def whole(self) -> Made:
        """All of it.

        Raises:
            TransferError: the student cannot be exact.
        """
        request = self.request
        with stage("traced and inferred both"):
            pair = paired(
                self.teacher, self.student, self.inputs[0], request.depth, exact=request.exact,
                grow_outputs=request.grow_outputs, also=request.also,
                new_outputs=request.new_outputs,
            )  # fmt: skip
        with stage("matched their units"):
            found = self._matched(pair)
        recipes, notes = self._recipes(pair, found.maps)
        notes += [f"'{min(map(str, axes))}': {why}" for axes, why in found.taken]
        plan, result = self._made(pair, recipes)
        ends = pair.ends
        if request.grow_outputs:
            ends = output_maps(pair.teacher, pair.student, found.maps)
        made = Made(pair, found.maps, plan, result, ends, None, tuple(notes), found.left)
        return self._verified(made) if request.verify else made

    def _matched(self, pair: Pair) -> Matched:
        """The maps of the axes that grow.

        Raises:
            TransferError: units have no counterpart, or a number of the student's code is another,
                and nothing makes up for it.
        """
        old, new, request, strict = pair.teacher, pair.student, self.request, self.request.exact
        try:
            found = match(
                old, new, method=request.way, balanced=request.balanced, seed=request.seed,
                strict=strict, closest=None if strict else "pads", sets=False,
                leaves=request.leaves_eps,
            )  # fmt: skip
            maps = rescaled(old, new, found.maps, strict=strict)
            if strict:
                maps, _ = compensated(old, new, maps, found.numbers, found.multiplied)
            return replace(found, maps=maps)
        except GraphMismatchError as error:
            raise TransferError(f"{error} Or pass {_or_pass(pair, request)}.") from error

    def _recipes(
        self, pair: Pair, maps: Mapping[Axis, AxisMap]
    ) -> tuple[dict[str, Recipe], list[str]]:
        request, way, noise = self.request, self.request.way, self.request.all_noise
        names = [name for name, _ in self.student.named_parameters()]
        recipes, notes = recipes_for(
            self.teacher, self.student, pair, maps, exact=request.exact, noise=noise,
            opposite=way.pair, new_rows=request.new_rows,
            initial=initial(meta_copy(self.student), names) if way.incoming == "initial" else {},
        )  # fmt: skip
        if way.perturbs:
            recipes = perturbed(recipes, meta_copy(self.student), way.shrink, way.perturb)
        return recipes, notes

    def _made(self, pair: Pair, recipes: dict[str, Recipe]) -> tuple[Plan, nn.Module]:
        plan = Plan(
            "transfer",
            name_of(self.request.method),
            self.request.seed,
            fingerprint(self.teacher),
            fingerprint(self.student),
            recipes,
            built=True,
        )
        with stage("made the student"):
            result = plan.apply(self.teacher, student=self.student)
        if self.request.loss is not None:
            with stage("looked for the largest gradient"):
                ours = {key: name for name, (key, _) in pair.sources.items()}
                plan = steepest(plan, result, pair.student, self.request.loss, ours)
                result = plan.apply(self.teacher, student=self.student)
        if self.request.calibrate is not None:
            with stage("calibrated"):
                plan = calibrated(plan, result, self.request.calibrate)
                result = plan.apply(self.teacher, student=self.student)
        return plan, result

    def _verified(self, made: Made) -> Made:
        """With the difference that was measured, and experts weighed such that there is none.

        Raises:
            TransferError: the student has to be exact, and is not.
        """
        if self.request.must_match and made.pair.has_more_experts:
            with stage("weighed experts"):
                plan, result, more = weighed(
                    made.plan, made.student, self.teacher, self.student, made.pair, made.ends,
                    self.inputs[0],
                )  # fmt: skip
            made = replace(made, plan=plan, student=result, notes=(*made.notes, *more))
        with stage("verified"):
            return self._measured(made)

    def _measured(self, made: Made) -> Made:
        """With the worst parity of all inputs."""
        first, *also = self.inputs
        must_match = self.request.keeps_before_noise and not has_noise(made.plan)
        pair = made.pair
        try:
            parity = check(
                self.teacher, made.student, first, must_match=False, outputs=made.ends, also=also
            )
        except VerificationError as error:
            if must_match:
                raise TransferError(
                    f"the student's outputs cannot be the teacher's: {error} "
                    "(Caches of attention count as outputs: turn them off.)"
                ) from error
            return replace(made, notes=(*made.notes, f"not measured: {error}"))
        near = made.left and parity.max_rel <= NEARLY
        if must_match and not (parity.exact or near):
            raise TransferError(
                f"the student does not compute the teacher's function: {parity}. "
                f"{UNLIKE if pair.has_more_experts else ''}"
                f"{other_numbers(pair.teacher.traces[0], pair.student.traces[0])}"
                "Remove the difference, or pass exact=False."
            )
        return replace(made, parity=parity)
