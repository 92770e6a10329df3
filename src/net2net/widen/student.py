"""The student at its new widths: built without weights, traced, and matched with the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from net2net.analysis import analyse
from net2net.apply import attributes
from net2net.apply.attributes import SetAttribute, set_attributes
from net2net.apply.configs import config_edits
from net2net.apply.kept_numbers import kept_numbers
from net2net.errors import GraphMismatchError, InputError, Net2NetError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.spaces import Spaces, spaces_of
from net2net.infer.units import Axis
from net2net.plan.feasible import nearest_feasible
from net2net.plan.globs import counted
from net2net.plan.match import match
from net2net.plan.outputs import OutputMaps, output_maps
from net2net.plan.rescale import rescaled
from net2net.plan.runnable import not_runnable, stops
from net2net.plan.value_proxy import value_proxy
from net2net.plan.widths import SpaceGrowth, new_integers, new_shapes, resolve, told
from net2net.recipe.axis_map import AxisMap
from net2net.stages import stage
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, trace
from net2net.widen.request import Request

BY_NAME = " Or name the spaces in widths: that makes the student a graph module."


@dataclass(frozen=True, eq=False)
class Wider:
    """A student that was found possible.

    Attributes:
        teacher: what is known of the teacher.
        spaces: the teacher's.
        grown: the new size of every space that was asked to grow.
        student: what is known of the student.
        maps: the axes that grow.
        edits: the integers to set, also in configurations.
        outputs: the model's outputs that grew.
        notes: on configurations.
        attempt: how it was built.
    """

    teacher: Inference
    spaces: Spaces
    grown: list[SpaceGrowth]
    student: Inference
    maps: dict[Axis, AxisMap]
    edits: list[SetAttribute]
    outputs: OutputMaps
    notes: tuple[str, ...]
    attempt: Attempt

    def at(self, grown: list[SpaceGrowth]) -> Wider:
        """A student of other widths; its configuration stays.

        Raises:
            GraphMismatchError: there is none at these widths.
        """
        student, maps, edits = self.attempt.match(grown)
        outputs = output_maps(self.teacher, student, maps) if self.outputs else {}
        return replace(self, grown=grown, student=student, maps=maps, edits=edits, outputs=outputs)


def attempted(base: nn.Module, inputs: Inputs, request: Request) -> Attempt:
    """Infer the teacher, and resolve the widths."""
    globs = request.widths if isinstance(request.widths, Mapping) else ()
    with stage("traced and inferred the teacher"):
        teacher = analyse(
            base, inputs, on_unknown=request.on_unknown, grow_outputs=request.grow_outputs,
            globs=globs, also=request.also,
        )  # fmt: skip
        spaces = spaces_of(teacher)
    return Attempt(base, request, teacher, spaces, resolve(spaces, teacher, base, request.widths))


def find_student(attempt: Attempt, inputs: Inputs) -> Wider:
    """Move widths that have no student to the nearest that have one."""
    base, teacher, spaces = attempt.base, attempt.teacher, attempt.spaces
    with stage("found the student's widths, and matched its units with the teacher's"):
        grown, (student, maps, edits) = nearest_feasible(
            attempt.asked,
            attempt.match,
            lambda: [found for _, found in counted(spaces, teacher).values()],
        )
        grows = attempt.request.grow_outputs
        outputs = output_maps(teacher, student, maps) if grows else {}
    with stage("set the configuration"):
        settings, notes = config_edits(
            base, partial(attempt.build, grown, edits), inputs, student.traces[0]
        )
    notes += kept_numbers(base, new_shapes(teacher, grown))
    return Wider(teacher, spaces, grown, student, maps, edits + settings, outputs, notes, attempt)


@dataclass(frozen=True, eq=False)
class Attempt:
    """Tries of one request. ``asked``: the new size of every space that is to grow."""

    base: nn.Module
    request: Request
    teacher: Inference
    spaces: Spaces
    asked: list[SpaceGrowth]

    def check_runnable(self, error: GraphMismatchError) -> None:
        """What to say where no student was found: if it stopped, and would not at other widths,
        which.

        Raises:
            WidthError: it names them.
        """

        def runs(grown: list[SpaceGrowth]) -> bool:
            try:
                self.match(grown)
            except Net2NetError:
                return False
            return True

        if isinstance(error.__cause__, InputError):
            found = stops(self.asked, runs)
            if any(stop.grows for stop in found):
                cause = error.__cause__.__cause__ or error.__cause__
                raise not_runnable(self.asked, found, cause) from error

    def build(self, grown: list[SpaceGrowth], edits: Sequence[SetAttribute]) -> nn.Module:
        """The student: on ``meta``, or with values where its code branches on them."""
        if self.teacher.traced_with_values:
            made = value_proxy(self.base, self.teacher, grown)
        else:
            made = meta_copy(self.base, new_shapes(self.teacher, grown))
        set_attributes(made, edits)
        return made

    def match(
        self, grown: list[SpaceGrowth]
    ) -> tuple[Inference, dict[Axis, AxisMap], list[SetAttribute]]:
        """What is known of the student, the maps of its axes, and the integers to set.

        Raises:
            GraphMismatchError: there is no student at these widths.
        """
        integers = new_integers(self.spaces, self.teacher, grown)
        edits = attributes.edits(self.base, new_shapes(self.teacher, grown), integers)
        student = self._infer(self.build(grown, edits), told(grown))
        request = self.request
        maps = match(
            self.teacher, student, method=request.method, balanced=request.balanced,
            seed=request.seed,
        )  # fmt: skip
        if request.grow_outputs:
            output_maps(self.teacher, student, maps)
        return student, rescaled(self.teacher, student, maps), edits

    def _infer(self, wider: nn.Module, widths: str) -> Inference:
        advice = (
            "Leave the spaces that meet there as they are, or read the size from a tensor's shape "
            f"in forward.{BY_NAME}"
        )
        try:
            found = [trace(wider, one.inputs, training=one.training) for one in self.teacher.traces]
            student = infer(
                found, on_unknown=self.request.on_unknown, grow_outputs=self.request.grow_outputs,
                head_size_axes=self.teacher.head_size_axes,
            )  # fmt: skip
        except InputError as error:
            raise GraphMismatchError(
                f"the wider student ({widths}) does not run: a size is written into the model's "
                f"code. ({error.__cause__ or error}) {advice}",
                module=error.module,
            ) from error
        for pair in zip(self.teacher.traces, found, strict=True):
            old, new = (
                [(where, one.shapes[tensor]) for where, tensor in one.outputs.items()]
                for one in pair
            )
            if old != new and not pair[0].training and not self.request.grow_outputs:
                raise GraphMismatchError(
                    f"the wider student returns {new}, and the teacher {old}: a size is written "
                    f"into the model's code. {advice}"
                )
        return student
