"""plan: everything a growth does, as plain data.

A plan is a header (what teacher, what student, how), a recipe for every tensor of the student, and
edits of structure. It prints, saves to and loads from JSON, and applies to any copy of the teacher
or its state dict, with the same bits every time: random choices are stored as maps, what is drawn
as a seed. Growths in a row are one plan.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from net2net.apply import edits, fingerprint
from net2net.apply.edits import Edit
from net2net.apply.extend_list import ExtendList
from net2net.apply.fingerprint import Fingerprint, shapes_of
from net2net.apply.module import grown_module
from net2net.apply.split_layer import SplitLayer
from net2net.apply.state_dict import checked_state, grown_state
from net2net.errors import PlanError
from net2net.files import write_whole
from net2net.identity.insertion import Insertion
from net2net.plan import document, format_1
from net2net.plan.deepening import deepening
from net2net.recipe.axis_map import Index
from net2net.recipe.measured import measured
from net2net.recipe.recipe import Recipe
from net2net.recipe.run import Executor, Read, reader
from net2net.tables import html_table
from net2net.trace.meta_copy import copied, named_tensors

Model = TypeVar("Model", bound=nn.Module)

FORMAT = "net2net-plan-2"

OF_ANOTHER = "Apply it to a copy of its own teacher, or grow this model anew."
BUILD_ANEW = "Build the student from the same configuration."


@dataclass(frozen=True)
class Summary:
    """What a plan makes of a teacher.

    Attributes:
        elements: of all parameters and buffers, before and after.
        bytes: that they take, before and after.
        largest: the student's largest tensor.
        largest_bytes: its size.
    """

    elements: tuple[int, int]
    bytes: tuple[int, int]
    largest: str
    largest_bytes: int

    def __str__(self) -> str:
        (elements, more), (size, larger) = self.elements, self.bytes
        return (
            f"elements: {elements:,} → {more:,}\nbytes: {size:,} → {larger:,}\n"
            f"largest tensor: {self.largest}, {self.largest_bytes:,} bytes"
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A growth as data.

    Attributes:
        kind: the verb: ``widen``, ``deepen``, ``factorize``, ``transfer``.
        method: how new units are made.
        seed: of what is drawn.
        teacher: the tensors of the model that it applies to.
        student: those of the model that it makes.
        recipes: for every tensor of the student how it is made.
        edits: what changes in the structure, in order.
        built: the student is one that the user built, and not a copy of the teacher.
        previous: the growth before this one, whose student is this one's teacher.
    """

    kind: str
    method: str
    seed: int
    teacher: Fingerprint
    student: Fingerprint
    recipes: Mapping[str, Recipe]
    edits: tuple[Edit, ...] = ()
    built: bool = False
    previous: Plan | None = None

    @overload
    def apply(self, teacher: nn.Module, *, student: nn.Module | None = None) -> nn.Module: ...

    @overload
    def apply(
        self, teacher: Mapping[str, Tensor], *, student: nn.Module | None = None
    ) -> dict[str, Tensor]: ...

    def apply(
        self, teacher: nn.Module | Mapping[str, Tensor], *, student: nn.Module | None = None
    ) -> nn.Module | dict[str, Tensor]:
        """A new student, bit for bit as the first time.

        Args:
            teacher: a copy of the model that the plan was made for, or its state dict; an
                ``AveragedModel`` is grown inside. Not changed.
            student: after ``transfer``, which builds no modules: a model of the student's shapes,
                in any state. Not changed.

        Returns:
            A model; of a state dict, the student's state dict.

        Raises:
            PlanError: it is not of the shapes that the plan was made for.
        """
        if self._needs_student and student is None:
            raise PlanError(
                "a transfer's plan holds no modules. "
                "Call plan.apply(teacher, student=...) with a model of the student's shapes."
            )
        if isinstance(teacher, AveragedModel) and not self._is_of(teacher):
            inside = self.apply(teacher.module, student=student)
            return copied(teacher, {id(teacher.module): inside})
        if isinstance(teacher, nn.Module):
            return self._module(teacher, student)
        if isinstance(teacher, Mapping) and all(isinstance(t, Tensor) for t in teacher.values()):
            return grown_state(self.student, self.reader(teacher, student=student))
        raise PlanError(
            f"a plan does not apply to a {type(teacher).__name__}. Give a copy of the teacher (a "
            "torch.nn.Module), or its state dict."
        )

    def _is_of(self, model: nn.Module) -> bool:
        """Whether the plan was made for a model with tensors of these names."""
        return self.first.teacher.tensors.keys() == dict(named_tensors(model)).keys()

    def then(self, other: Plan) -> Plan:
        """This growth and another of its student in one plan, with the same bits.

        Raises:
            PlanError: the other is not of this one's student.
        """
        first = other.first
        first.teacher.check(self.student.shapes, "teacher", "Put plans behind each other in order.")
        if self._needs_student and other._needs_student:
            raise PlanError(
                "both plans need a student that the user builds, and one can be given. "
                "Apply them one after the other."
            )
        before = self if other.previous is None else self.then(other.previous)
        return replace(other, previous=before)

    @property
    def first(self) -> Plan:
        """The first of the growths in a row."""
        return self if self.previous is None else self.previous.first

    @property
    def _needs_student(self) -> bool:
        return self.built or (self.previous is not None and self.previous._needs_student)

    def _module(self, teacher: nn.Module, student: nn.Module | None) -> nn.Module:
        if self.previous is not None:
            teacher = self.previous.apply(teacher, student=student)
        old = dict(named_tensors(teacher))
        self.teacher.check(shapes_of(old), "teacher", OF_ANOTHER)
        if self._open:
            insertions = [edit for edit in self.edits if isinstance(edit, Insertion)]
            known, recipes = deepening(teacher, insertions)
            return replace(self, student=known, recipes=recipes)._module(teacher, None)
        make = self._executor(reader(old), self._like(old), student).make
        base = student if self.built and student is not None else teacher
        result = grown_module(base, list(self.recipes), make, self.edits)
        return result.train(teacher.training) if self.built else result

    @property
    def _open(self) -> bool:
        """Read from format 1, which does not say what tensors inserted layers have."""
        return bool(self.edits) and not self.recipes

    def reader(self, teacher: Mapping[str, Tensor], *, student: nn.Module | None = None) -> Read:
        """The student's tensors one by one: a function from a name, and None or numbers of rows, to
        the whole tensor or those rows of it, with the same bits.

        Args:
            teacher: the teacher's state dict.
            student: as for ``apply``.

        Raises:
            PlanError: it is not of the shapes that the plan was made for.
        """
        self._check_known()
        if self.previous is not None:
            read, like = self.previous.reader(teacher, student=student), self._like(teacher)
        else:
            found = checked_state(teacher, self.teacher, "teacher", OF_ANOTHER)
            read, like = reader(found), self._like(found)
        return self._executor(read, like, student).make

    def reader_from(self, read: Read, like: Tensor) -> Read:
        """As ``reader``, where the teacher's tensors are nowhere as a whole. What ``read`` gives is
        not checked.

        Args:
            read: gives a tensor of the (first) teacher's by name, whole or some rows of it.
            like: an empty tensor of the type and on the device that are to be worked in.

        Raises:
            PlanError: a tensor stays what it is in a student that the user built.
        """
        self._check_known()
        before = read if self.previous is None else self.previous.reader_from(read, like)
        return self._executed(before, _left_alone, like).make

    def measured(self, read: Read, like: Tensor) -> Plan:
        """The same plan, with what it takes of whole tensors (deviations, means) measured once.

        Args:
            read, like: as for ``reader_from``.
        """
        before = self.previous
        if before is not None:
            before = before.measured(read, like)
            read = before.reader_from(read, like)
        recipes = measured(self.recipes, self.teacher.shapes, read)
        return replace(self, recipes=recipes, previous=before)

    def sources(self, name: str) -> frozenset[str]:
        """The tensors of the (first) teacher's that one of the student's is made from."""
        recipe = self.recipes[name]
        here = recipe.reads
        if recipe.norm is not None:
            here |= self.recipes[recipe.norm.direction].reads
        if self.previous is None:
            return here
        return frozenset().union(*map(self.previous.sources, here))

    def _check_known(self) -> None:
        if self._open:
            raise PlanError(
                "a plan of format 1 that inserts layers does not say what tensors they have. "
                "Apply it to the model, or make it again."
            )

    def _executor(self, read: Read, like: Tensor, student: nn.Module | None) -> Executor:
        if self.built and not isinstance(student, nn.Module | None):
            raise PlanError(f"student is a {type(student).__name__}. {BUILD_ANEW}")
        own = dict(named_tensors(student)) if self.built and student is not None else {}
        if self.built:
            self.student.check(shapes_of(own), "student", BUILD_ANEW)
        return self._executed(read, reader(own), like, torch.get_num_threads())

    def _executed(self, teacher: Read, student: Read, like: Tensor, threads: int = 1) -> Executor:
        usual = self.student.dtype
        types = {
            name: spec.dtype
            for name, spec in self.student.tensors.items()
            if spec.dtype not in {None, usual}
        }
        shapes = self.student.shapes
        return Executor(self.recipes, shapes, types, self.seed, teacher, student, like, threads)

    def _like(self, tensors: Mapping[str, Tensor]) -> Tensor:
        floats = (tensor for tensor in tensors.values() if tensor.is_floating_point())
        first = next(floats, torch.empty(0))
        return torch.empty(0, dtype=first.dtype, device=first.device)

    # -- as a document --------------------------------------------------------------------------

    def to_json(self) -> str:
        """The plan as a JSON document, with a checksum; ``Plan.from_json`` reads it."""
        data = {"format": FORMAT, **self._data()}
        return json.dumps({**data, "sha256": _digest(data)})

    def _data(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "method": self.method,
            "seed": self.seed,
            "teacher": fingerprint.to_data(self.teacher),
            "student": fingerprint.to_data(self.student),
            **document.to_data(self.recipes),
            "edits": [edits.to_data(edit) for edit in self.edits],
            "built": self.built,
            "previous": None if self.previous is None else self.previous._data(),
        }

    @staticmethod
    def from_json(text: str, *, checked: bool = True) -> Plan:
        """Read a plan, also one that version 0.1 wrote.

        Args:
            checked: refuse a plan whose checksum is not its own. ``False`` reads one that was
                edited by hand; ``save`` signs it again.

        Raises:
            PlanError: not JSON, not a plan, of another version, or malformed.
        """
        try:
            data = json.loads(text)
            known = data["format"]
            if known not in {FORMAT, format_1.FORMAT}:
                raise PlanError(
                    f"the plan's format is {known!r:.80}, and this version reads {FORMAT!r} and "
                    f"{format_1.FORMAT!r}. Make the plan again with this version."
                )
            signature = data.pop("sha256") if checked else data.pop("sha256", None)
            if signature != _digest(data) and checked:
                raise PlanError(
                    "the plan's checksum is not its own: it is damaged, or was edited by hand. "
                    "Make it again, or sign what you edited: "
                    "Plan.load(path, checked=False).save(path)."
                )
            return Plan._read(format_1.upgraded(data) if known == format_1.FORMAT else data)
        except (
            ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError,
            RecursionError,
        ) as error:  # fmt: skip
            if isinstance(error, PlanError):
                raise
            raise PlanError(
                f"this is not a plan: {type(error).__name__}: {error!s:.200}. "
                "Give a document that Plan.to_json wrote."
            ) from error

    @staticmethod
    def _read(data: dict[str, Any]) -> Plan:
        teacher, student = (fingerprint.from_data(data[whose]) for whose in ("teacher", "student"))
        kind, method, seed, built = (data[key] for key in ("kind", "method", "seed", "built"))
        if (type(kind), type(method), type(seed), type(built)) != (str, str, int, bool):
            raise PlanError(
                f"the plan's header is {kind!r:.40}, {method!r:.40}, seed {seed!r:.40}. "
                "The plan is damaged: make it again."
            )
        plan = Plan(
            kind, method, seed, teacher, student, document.from_data(data, teacher, student),
            tuple(edits.from_data(edit) for edit in data["edits"]), built,
        )  # fmt: skip
        return plan if data["previous"] is None else Plan._read(data["previous"]).then(plan)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, to a temporary name first."""
        write_whole(Path(path), self.to_json())

    @staticmethod
    def load(path: str | os.PathLike[str], *, checked: bool = True) -> Plan:
        """Read a plan from a JSON file; ``checked`` as for ``from_json``.

        Raises:
            PlanError: the file is not a plan.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise PlanError(
                f"'{path}' is no text: {error}. Give a file that Plan.save wrote."
            ) from error
        return Plan.from_json(text, checked=checked)

    # -- for people -----------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Elements of all tensors in the student, buffers included."""
        return sum(spec.count for spec in self.student.tensors.values())

    def elements(self, names: Collection[str]) -> tuple[int, int]:
        """Elements of these tensors, before and after."""
        old, new = (
            sum(spec.count for name, spec in one.tensors.items() if name in names)
            for one in (self.first.teacher, self.student)
        )
        return old, new

    def summary(self) -> Summary:
        """Sizes before and after; of growths in a row, before the first."""
        old, new = self.first.teacher.tensors, self.student.tensors
        largest = max(new, key=lambda name: new[name].bytes, default="")
        return Summary(
            (sum(spec.count for spec in old.values()), self.parameters),
            (sum(spec.bytes for spec in old.values()), sum(spec.bytes for spec in new.values())),
            largest,
            new[largest].bytes if largest else 0,
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """For every tensor that is no plain copy: its name, its source, and what is done."""
        return [
            (name, one.source or "", self._done(name, one))
            for name, one in self.recipes.items()
            if not (one.copies and one.source == name)
        ]

    def _done(self, name: str, one: Recipe) -> str:
        done = []
        if one.source is not None:
            old = self.teacher.tensors[one.source].shape
            done = [f"axis {a.dim} {old[a.dim]} → {a.size} ({a.role})" for a in one.axes]
        if one.factor is not None:
            done.append(f"the {'second' if one.factor.second else 'first'} of two factors")
        if one.noise is not None:
            done.append(f"noise {one.noise.fraction:g}")
        if one.norm is not None:
            done.append(f"follows the norm of {one.norm.direction}")
        if one.stacked is not None:
            done.append(f"{one.stacked.copies or 1} × {', '.join(one.stacked.parts)}")
        if one.fill is not None:
            done.append(f"filled: {type(one.fill).__name__.lower()}")
        return ", ".join(done) or ("kept" if one.kept else "copied")

    def _repr_html_(self) -> str:
        title = f"{self.kind} by {self.method}, seed {self.seed}"
        return html_table([("tensor", "from", "how"), *self.rows()], title=title)

    def __str__(self) -> str:
        found = self.rows()
        inserted = [edit for edit in self.edits if isinstance(edit, Insertion)]
        lines = [] if self.previous is None else [str(self.previous), ""]
        lines.append(
            f"{self.kind} by {self.method}, seed {self.seed}: {len(found)} of "
            f"{len(self.recipes)} tensors are not plain copies"
        )
        for edit in inserted:
            lines.append(f"  {edit.count} {edit.what} after {edit.at}")
        for one in self.edits:
            if isinstance(one, ExtendList):
                said = ", ".join(f"{new} like {old}" for new, old in one.added.items())
                lines.append(f"  new blocks in {one.at or 'the model'}: {said}")
            if isinstance(one, SplitLayer):
                lines.append(f"  {one.at} becomes two layers, with {one.inner} units between")
        lines += [
            f"  {name}: {done}" + (f", from {source}" if source not in ("", name) else "")
            for name, source, done in found
        ]
        return "\n".join(lines)


def _left_alone(name: str, rows: Index | None) -> Tensor:
    raise PlanError(
        f"'{name}' stays what it is in the student that the user built, which is not here. Apply "
        "such plans one after the other, each to whole models."
    )


def _digest(data: dict[str, Any]) -> str:
    """A piece that is lost may leave a plan that reads well and makes half a student."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
