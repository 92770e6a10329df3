"""A student at given widths: built without weights, traced, and matched with the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from net2net.apply import attributes
from net2net.apply.attributes import SetAttribute, set_attributes
from net2net.apply.config_numbers import Anew
from net2net.apply.configs import config_edits
from net2net.apply.exported_graph import GraphModel
from net2net.apply.kept_numbers import kept_numbers
from net2net.errors import GraphMismatchError, InputError, Net2NetError
from net2net.infer.infer import infer
from net2net.infer.inference import Inference
from net2net.infer.shown_once import shown_alike
from net2net.infer.spaces import Spaces
from net2net.infer.units import Axis
from net2net.plan.blame import left_out, moved, to_blame
from net2net.plan.choose import Closest
from net2net.plan.compensate import compensated
from net2net.plan.match import Matched, match
from net2net.plan.numbers import Change, changes
from net2net.plan.outputs import OutputMaps, output_maps
from net2net.plan.rescale import rescaled
from net2net.plan.runnable import not_runnable, stops
from net2net.plan.value_proxy import value_proxy
from net2net.plan.widths import (
    ALL,
    SpaceGrowth,
    new_integers,
    new_shapes,
    told,
)
from net2net.recipe.axis_map import AxisMap
from net2net.stages import stage
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, Trace, trace
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
        loads: its class builds it from its configuration.
        taken: what new units are where they are not those of the method: the axes, and why.
        buffers: of one number each that get another, which the class makes of the configuration.
        left: an ε stays that would have to change.
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
    loads: bool
    taken: tuple[tuple[frozenset[Axis], str], ...]
    buffers: Mapping[str, float]
    left: bool
    attempt: Attempt

    def at(self, grown: list[SpaceGrowth]) -> Wider:
        """A student of other widths; its configuration stays.

        Raises:
            GraphMismatchError: there is none at these widths.
        """
        found = self.attempt.match(grown)
        student, maps = found.student, found.maps
        outputs = output_maps(self.teacher, student, maps) if self.outputs else {}
        return replace(
            self, grown=grown, student=student, maps=maps, edits=found.edits, outputs=outputs,
            taken=found.taken, buffers=found.anew.values, left=found.left,
        )  # fmt: skip

    def on_meta(self) -> nn.Module:
        """The student without values."""
        made = meta_copy(self.attempt.base, new_shapes(self.teacher, self.grown))
        set_attributes(made, self.edits)
        return made

    def by_copies(self) -> Wider:
        """The same widths, with copies where no new units keep what is computed."""
        attempt = replace(self.attempt, closest="copies")
        found = attempt.match(self.grown)
        return replace(self, maps=found.maps, taken=found.taken, left=found.left, attempt=attempt)

    def settled(self, grown: list[SpaceGrowth]) -> Wider:
        """A student of other widths, with its configuration.

        Raises:
            GraphMismatchError: there is none at these widths.
        """
        return self.attempt.settled(grown, self.attempt.match(grown))


@dataclass(frozen=True, eq=False)
class Match:
    """What is known of a student, the maps of its axes, and the integers to set. ``change``: a
    number of the code that its widths change, and that nothing makes up for. ``anew``: numbers that
    it has of its configuration. ``sets``: numbers that modules keep change; ``left``: an ε
    stays that would have to."""

    student: Inference
    maps: dict[Axis, AxisMap]
    edits: list[SetAttribute]
    change: Change | None
    taken: tuple[tuple[frozenset[Axis], str], ...]
    anew: Anew
    sets: bool
    left: bool


@dataclass(frozen=True, eq=False)
class Attempt:
    """Tries of one request. ``asked``: the new size of every space that is to grow. ``closest``:
    new units where none keep what is computed, if that is allowed. ``sets``: numbers that modules
    keep (ε) may change."""

    base: nn.Module
    inputs: Inputs
    request: Request
    teacher: Inference
    spaces: Spaces
    asked: list[SpaceGrowth]
    closest: Closest = "pads"
    sets: bool = True

    @property
    def _by_name(self) -> str:
        """What else may help where a size is written into the code, which a graph has not."""
        return "" if isinstance(self.base, GraphModel) else BY_NAME

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

    def settled(
        self, grown: list[SpaceGrowth], matched: Match,
        numbers: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Wider:  # fmt: skip
        """The student that was found possible, with its outputs and its configuration. ``numbers``:
        of configurations, by path, if they are known."""
        base, teacher = self.base, self.teacher
        tried: list[Match] = []

        def renumbered(anew: Anew) -> tuple[nn.Module, Trace] | None:
            try:
                found = self.match(grown, anew)
            except Net2NetError:
                return None
            tried.append(found)
            if found.change is not None:
                return None
            return self.build(grown, found.edits), found.student.traces[0]

        with stage("set the configuration"):
            settings, anew, notes = config_edits(
                base, partial(self.build, grown, matched.edits), self.inputs,
                matched.student.traces[0], renumbered, numbers,
            )  # fmt: skip
        matched = next((one for one in tried if one.anew == anew), matched)
        student, maps, edits = matched.student, matched.maps, matched.edits
        outputs = output_maps(teacher, student, maps) if self.request.grow_outputs else {}
        loads = not notes
        kept, stale = kept_numbers(base, new_shapes(teacher, grown))
        notes += stale
        edits = [*edits, *(one for one in [*settings, *kept] if one not in edits)]
        return Wider(
            teacher, self.spaces, grown, student, maps, edits, outputs, notes, loads,
            matched.taken, anew.values, matched.left, self,
        )  # fmt: skip

    def build(self, grown: list[SpaceGrowth], edits: Sequence[SetAttribute]) -> nn.Module:
        """The student: on ``meta``, or with values where its code branches on them."""
        if self.teacher.traced_with_values:
            made = value_proxy(self.base, self.teacher, grown)
        else:
            made = meta_copy(self.base, new_shapes(self.teacher, grown))
        set_attributes(made, edits)
        return made

    def match(self, grown: list[SpaceGrowth], anew: Anew = Anew()) -> Match:  # noqa: B008
        """The student of these widths. ``anew``: numbers that it has of its configuration.

        Raises:
            GraphMismatchError: there is no student at these widths.
        """
        edits = [*self.integers(grown), *anew.edits]
        student = self._infer(self.build(grown, edits), told(grown), anew)
        request = self.request
        how = partial(
            match, self.teacher, student, method=request.way, balanced=request.balanced,
            seed=request.seed, closest=None if request.exact else self.closest,
            leaves=request.measures_eps or (not request.exact and self.closest == "pads"),
        )  # fmt: skip
        found = how(sets=self.sets)
        if found.kept:
            numbers = [SetAttribute(path, name, x) for (path, name), x in found.kept.items()]
            other = self._with_numbers(grown, found, [*edits, *numbers], anew)
            found = how(sets=False) if other is None else found
            student, edits = (other, edits + numbers) if other else (student, edits)
        if request.grow_outputs:
            output_maps(self.teacher, student, found.maps)
        maps, change = compensated(
            self.teacher, student, rescaled(self.teacher, student, found.maps),
            found.numbers, found.multiplied,
        )  # fmt: skip
        return Match(student, maps, edits, change, found.taken, anew, bool(found.kept), found.left)

    def _with_numbers(
        self, grown: list[SpaceGrowth], found: Matched, edits: list[SetAttribute], anew: Anew
    ) -> Inference | None:  # fmt: skip
        """The student whose modules keep these numbers; None if its code computes with others."""
        student = self._infer(self.build(grown, edits), told(grown), anew)
        for old, new in zip(self.teacher.traces, student.traces, strict=True):
            for before, after in zip(old.ops, new.ops, strict=True):
                for name, attribute in before.kept.items():
                    wanted = found.kept.get((before.path, attribute), before.numbers[name])
                    if after.numbers.get(name) != wanted:
                        return None
        return student

    def integers(self, grown: list[SpaceGrowth]) -> list[SetAttribute]:
        """The integers to set."""
        integers = new_integers(self.spaces, self.teacher, grown)
        return attributes.edits(self.base, new_shapes(self.teacher, grown), integers)

    def without_stopping(self, grown: list[SpaceGrowth]) -> list[SpaceGrowth] | None:
        """With the spaces at whose widths there is no student at others, or without them, even if
        these are all; None if spaces were asked for by name."""
        if any(one.asked != ALL for one in grown):
            return None

        def why_not(some: list[SpaceGrowth]) -> str | None:
            try:
                self.match(some)
            except GraphMismatchError as error:
                return self._other_way(some) or error.why or str(error).partition(". ")[0]
            return None

        return moved(grown, to_blame(grown, why_not), why_not)

    def _other_way(self, grown: list[SpaceGrowth]) -> str | None:
        """The first operation that the code does in another's place at these widths."""
        made = self.build(grown, self.integers(grown))
        for one in self.teacher.traces:
            try:
                other = trace(made, one.inputs, training=one.training)
            except InputError:
                return None
            found = (str(x) for x in changes(one, other) if x.old.name != x.new.name)
            if (first := next(found, None)) is not None:
                return first
            if more := other.ops[len(one.ops) :]:
                return f"the code does {more[0].kind} as well"
            if less := one.ops[len(other.ops) :]:
                return f"the code no longer does {less[0].kind}"
        return None

    def without_changes(
        self, grown: list[SpaceGrowth], matched: Match
    ) -> tuple[list[SpaceGrowth], Match]:
        """Without the spaces whose growth changes a number that the code computes with.

        Raises:
            GraphMismatchError: they were asked for by name.
        """
        if (change := matched.change) is None:
            return grown, matched

        def why_not(some: list[SpaceGrowth]) -> str | None:
            try:
                found = self.match(some).change
            except GraphMismatchError as error:
                return str(error)
            return None if found is None else str(found)

        blamed = to_blame(grown, why_not)
        if any(one.space.name in blamed and one.asked != ALL for one in grown):
            raise GraphMismatchError(
                f"{change}, and no weight can make up for it: a size is written into the model's "
                f"code ({told([one for one in grown if one.space.name in blamed])}). Leave those "
                f"spaces as they are.{self._by_name}",
                module=change.new.path,
            )
        grown = left_out(grown, blamed)
        return grown, self.match(grown)

    def _infer(self, wider: nn.Module, widths: str, anew: Anew) -> Inference:
        advice = (
            "Leave the spaces that meet there as they are, or read the size from a tensor's shape "
            f"in forward.{self._by_name}"
        )
        try:
            found = [trace(wider, one.inputs, training=one.training) for one in self.teacher.traces]
            for one in found:
                one.multiples = anew.ratios
            _, found = shown_alike(self.teacher.traces, found)
            student = infer(
                found, on_unknown="fix", grow_outputs=self.request.grow_outputs,
                inside=self.teacher.inside,
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
