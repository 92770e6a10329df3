"""The longer student without values: its blocks, and all that its code counts them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from torch import Tensor, nn

from net2net.apply.attributes import SetAttribute, set_attributes
from net2net.apply.builds import facts, fields, rebuilt, same_model
from net2net.apply.configs import configured
from net2net.apply.depth_configs import depth_settings
from net2net.apply.extend_list import ExtendList, extend
from net2net.apply.module import with_tensors
from net2net.apply.progressions import progressions
from net2net.errors import DepthError, InputError
from net2net.infer.inference import Inference
from net2net.trace.meta_copy import copied, meta_copy, named_tensors
from net2net.trace.trace import Inputs, Trace, trace

_WAYS = 20
"""How many ways to set configurations are tried."""

Done = dict[str, list[tuple[str, str]]]
"""Blocks → what they do."""


@dataclass(frozen=True, eq=False)
class Counted:
    """A longer student.

    Attributes:
        student: without values.
        settings: what was set in it, besides its blocks.
        traces: what it does, on all inputs.
        notes: what could not be set.
    """

    student: nn.Module
    settings: list[SetAttribute]
    traces: list[Trace]
    notes: tuple[str, ...] = ()


class Counting:
    """Looks for what to set."""

    def __init__(
        self, model: nn.Module, teacher: Inference, edits: Sequence[ExtendList],
        inputs: Sequence[Inputs],
    ) -> None:  # fmt: skip
        self.model, self.teacher, self.edits, self.inputs = model, teacher, edits, inputs
        self.bare = meta_copy(model)
        for edit in edits:
            extend(self.bare, edit)
        ran = _run(teacher.traces)
        self.must_run = {
            f"{edit.at}.{new}" for edit in edits for new, old in edit.blocks
            if new in edit.added or f"{edit.at}.{old}" in ran
        }  # fmt: skip
        self.error: InputError | None = None
        self.places: dict[str, list[SetAttribute]] = {}
        for edit in edits:
            for name, settings in progressions(model, edit).items():
                self.places.setdefault(name, []).extend(settings)

    def found(self) -> Counted:
        """The student that runs all its blocks.

        Raises:
            DepthError: it does not run, or runs them in no way that was tried.
        """
        where = [path for path, _ in configured(self.model) if self._inside(path)]
        best: Counted | None = None
        for settings in islice(self._of_configs(where), _WAYS):
            one = self._counted(settings)
            if one is None:
                continue
            if all(self._is_built(one, path) for path in where):
                return one
            best = best or one
        best = best or self._counted([]) or self._by_numbers()
        if not where:
            return best
        note = (
            "no change of the config builds the student: a saved student loads by its state dict "
            "only"
        )
        return replace(best, notes=(note,))

    def _inside(self, path: str) -> bool:
        """Whether a stack is in the module."""
        return any(not path or edit.at.startswith(f"{path}.") for edit in self.edits)

    def _of_configs(self, paths: Sequence[str]) -> Iterator[list[SetAttribute]]:
        if not paths:
            yield []
            return
        for settings in self._of_config(paths[0]):
            for more in self._of_configs(paths[1:]):
                yield [*settings, *more]

    def _of_config(self, path: str) -> Iterator[list[SetAttribute]]:
        edits = [
            replace(edit, at=edit.at.removeprefix(f"{path}." if path else ""))
            for edit in self.edits
            if not path or edit.at.startswith(f"{path}.")
        ]
        return depth_settings(
            self.model.get_submodule(path), self.bare.get_submodule(path), path, edits
        )

    def _is_built(self, one: Counted, path: str) -> bool:
        """Whether the class builds, from the configuration that was set, what does the same."""
        part = one.student.get_submodule(path)
        floats = (p.dtype for p in part.parameters() if p.is_floating_point())
        built = rebuilt(part, {}, next(floats, None))
        whole = self._with_values(one.student)
        return built is not None and same_model(whole, one.traces[0], path, built, self.inputs[0])

    def _counted(self, settings: list[SetAttribute]) -> Counted | None:
        """The student with these, and with the places of its blocks, as far as those that were
        there do the same as before; None if it does not run every block."""
        every = [one for places in self.places.values() for one in places]
        found = self._tried([*every, *settings])
        if found is not None and every and not self._undisturbed(found.traces[0]):
            kept: list[SetAttribute] = []
            for places in self.places.values():
                one = self._tried([*kept, *places, *settings])
                if one is not None and self._undisturbed(one.traces[0]):
                    kept += places
            found = self._tried([*kept, *settings])
        return found

    def _tried(self, settings: list[SetAttribute]) -> Counted | None:
        once = {(one.path, one.name): one for one in settings}
        student = copied(self.bare)
        set_attributes(student, list(once.values()))
        try:
            traces = self._traces(student)
        except InputError as error:
            self.error = error
            return None
        if not _run(traces) >= self.must_run:
            return None
        return Counted(student, list(once.values()), traces)

    def _traces(self, student: nn.Module) -> list[Trace]:
        whole = self._with_values(student)
        return [trace(copied(whole), one) for one in self.inputs]

    def _with_values(self, student: nn.Module) -> nn.Module:
        """The student with the teacher's values, where its code branches on them."""
        if not self.teacher.traced_with_values:
            return student
        old: dict[str, Tensor] = dict(self.model.named_parameters(remove_duplicate=False))
        old |= dict(self.model.named_buffers(remove_duplicate=False))
        tensors = {name: old[self.origin(name)].detach() for name, _ in named_tensors(student)}
        return with_tensors(student, tensors)

    def origin(self, name: str) -> str:
        """The teacher's name of what has this name in the student, or of what it is like."""
        for edit in self.edits:
            name = edit.origin(name)
        return name

    def _undisturbed(self, student: Trace) -> bool:
        """Whether the teacher's blocks do what they did."""
        before = _done(self.teacher.traces[0], self._blocks({}))
        after = _done(student, self._blocks({edit.at: edit.moved for edit in self.edits}))
        return list(before.values()) == list(after.values())

    def _blocks(self, moved: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The teacher's blocks, by the names that they have now."""
        return [
            f"{edit.at}.{moved.get(edit.at, {}).get(old, old)}"
            for edit in self.edits
            for old in edit.moved
        ]

    def _by_numbers(self) -> Counted:
        """The student in which some number that is as large as the stack, in the modules around it
        or their configurations, is set as well.

        Raises:
            DepthError: no such number makes all blocks run.
        """
        for settings in self._numbers():
            if (one := self._counted(settings)) is not None:
                return one
        if self.error is not None:
            raise DepthError(
                f"the longer student does not run: {self.error.__cause__}. The blocks may change "
                "the shape of what they get, or code may count them in a way of its own. Build "
                "the longer model yourself, and net2net.transfer into it."
            ) from self.error
        raise DepthError(
            f"not all blocks of the longer {' and '.join(repr(one.at) for one in self.edits)} "
            "run: the code counts them in a way of its own. Build the longer model yourself, and "
            "net2net.transfer into it."
        )

    def _numbers(self) -> Iterator[list[SetAttribute]]:
        for edit in self.edits:
            old, new = len(edit.moved), len(edit.blocks)
            for path, part in self.model.named_modules():
                if path and not f"{edit.at}.".startswith(f"{path}."):
                    continue
                names = [n for n, x in vars(part).items() if type(x) is int and x == old]
                names += _said(part, old)
                for name in names:
                    yield [SetAttribute(path, name, new)]


def _run(traces: Sequence[Trace]) -> set[str]:
    """Modules that were called, or of which a part was."""
    paths = {call.path for one in traces for call in one.calls}
    return {path[:end] for path in paths for end in (*_dots(path), len(path))}


def _dots(path: str) -> list[int]:
    return [place for place, one in enumerate(path) if one == "."]


def _said(part: Any, number: int) -> list[str]:
    """Fields of a module's configuration that say this number."""
    if not hasattr(getattr(part, "config", None), "__dict__"):
        return []
    found = fields(part.config, lambda value: type(value) is int and value == number)
    return [f"config.{name}" for name in found]


def _done(one: Trace, blocks: Sequence[str]) -> Done:
    """What blocks do, in order."""
    found: Done = {path: [] for path in blocks}
    for op in one.ops:
        for path in blocks:
            if op.path == path or op.path.startswith(f"{path}."):
                found[path].append(facts(op.name, op.args))
    return found
