"""Recipes for a student that the user built: what is matched is grown, added blocks copy a
neighbour and are made to return what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from net2net.apply.fingerprint import fingerprint
from net2net.errors import TransferError
from net2net.identity.fills import Fills, identity_of
from net2net.infer.units import Axis, Role
from net2net.plan.widening import by_tensor
from net2net.recipe.axis_map import AxisMap, axis_map
from net2net.recipe.fill import Constant
from net2net.recipe.recipe import (
    FollowedNorm,
    New,
    Perturbed,
    Recipe,
    Spread,
    deviation,
    recipe,
)
from net2net.trace.graph import Graph
from net2net.trace.meta_copy import named_tensors
from net2net.transfer.experts import within
from net2net.transfer.longer import NewOutputs, new_rows
from net2net.transfer.pair import Pair
from net2net.transfer.stacks import join


def recipes_for(
    teacher: nn.Module, student: nn.Module, pair: Pair, maps: Mapping[Axis, AxisMap], *,
    exact: bool, noise: float = 0.0, opposite: float = 0.0,
    initial: Mapping[str, New] | None = None, new_rows: NewOutputs = "random",
) -> tuple[dict[str, Recipe], list[str]]:  # fmt: skip
    """A recipe for every tensor of the student, and what to say of them. ``noise``, ``opposite``:
    as ``noise`` and ``pair`` of ``recipe``; ``initial``: for tensors of the student's, what new
    positions hold where that is not measured on the teacher; ``new_rows``: rows of tables and
    outputs.

    Raises:
        TransferError: shapes do not fit, or (``exact``) an added block cannot be an identity.
    """
    found = _Recipes(
        pair,
        Graph(pair.whole),
        dict(named_tensors(teacher)),
        dict(named_tensors(student)),
        exact,
        noise,
        opposite,
        initial or {},
        new_rows,
        {},
        [],
    )
    found.matched(maps)
    found.differ()
    found.norms()
    found.unread()
    found.repeat()
    for stack in pair.stacks:
        for name, like in stack.added.items():
            found.add(
                join(stack.student, name), None if like is None else join(stack.student, like)
            )
    order = fingerprint(student).tensors
    return {name: found.recipes.get(name, Recipe(None)) for name in order}, found.notes


@dataclass(frozen=True, eq=False)
class _Recipes:
    """The recipes found so far. What gets none (indices, masks, blocks that are like no other)
    stays as the student has it."""

    pair: Pair
    whole: Graph
    """What the student does."""
    old: Mapping[str, Tensor]
    new: Mapping[str, Tensor]
    exact: bool
    noise: float
    opposite: float
    initial: Mapping[str, New]
    new_rows: NewOutputs
    recipes: dict[str, Recipe]
    notes: list[str]

    def matched(self, maps: Mapping[Axis, AxisMap]) -> None:
        """What the teacher has too."""
        grown = by_tensor(maps)
        known = dict(self.pair.sources.values())
        for name, (key, source) in self.pair.sources.items():
            tensor = self.new[name]
            if name in self.pair.own:
                continue
            index = not tensor.is_floating_point() and not isinstance(tensor, nn.Parameter)
            made = index and tensor.ndim > 0  # positions and masks of the student's own code
            if made and not tensor.is_meta:
                continue
            longer = self.pair.longer.get(name, {})
            if longer and not isinstance(tensor, nn.Parameter) and not made:
                if not tensor.is_meta:
                    continue  # the student's own code makes it longer
                raise TransferError(
                    f"'{name}' is longer in the student, whose own code fills it, and it is on "
                    "meta, without values. Build the student on a real device."
                )
            axes = [] if made else [_of(one, known) for one in grown.get(key, [])]
            axes += [] if made else new_rows(longer, self.new_rows)
            axes += [] if made else self._repeated(name, key)
            axes += [axis for one in self.pair.differences for axis in one.axes.get(name, ())]
            axes = self.pair.beside.axes(name, axes)
            axes.sort(key=lambda one: one.dim)
            sizes = dict(enumerate(self.old[source].shape)) | {a.dim: a.size for a in axes}
            if tuple(sizes.values()) != tuple(tensor.shape):
                raise TransferError(
                    f"'{name}' is {tuple(tensor.shape)} in the student, and the teacher's weights "
                    f"make {tuple(sizes.values())}. Give it the teacher's shape"
                    f"{', or build the student on a real device' if made else ''}."
                )
            self.recipes[name] = recipe(
                source, self.old[source], axes, noise=self.noise, pair=self.opposite,
                initial=None if longer else self.initial.get(name),  # new rows are like the others
            )  # fmt: skip

    def differ(self) -> None:
        """What the student has otherwise."""
        for one in self.pair.differences:
            for name, fill in one.fills.items():
                self.recipes[name] = replace(self.recipes.get(name, Recipe(None)), fill=fill)
        said = [(one.what, one.tensors) for one in self.pair.differences]
        aside = "blocks that put what they make beside the rest, unread yet"
        for what, names in (*said, (aside, sorted(self.pair.beside.blocks))):
            if names:
                self.notes.append(f"{what}: {', '.join(names)}")

    def _repeated(self, name: str, key: str) -> list[AxisMap]:
        """The maps of axes on which all experts come again."""
        known = self.pair.teacher
        return [
            axis_map(
                dim,
                np.arange(new) % old,
                known.role(axis) if (axis := Axis(key, dim)) in known.numbers else Role.PRODUCES,
            )
            for dim, (old, new) in self.pair.repeated.get(name, {}).items()
        ]

    def repeat(self) -> None:
        """Experts that copy others, but for those in added blocks."""
        for name in self.new:
            path, rest = within(name, self.pair.copies)
            copied = self.recipes.get(f"{self.pair.copies[path]}{rest}") if path else None
            if copied is None:
                continue
            self.recipes[name] = one = _alike(copied, f"{self.pair.copies[path]}.", f"{path}.")
            if self.noise and self.new[name].ndim > 1 and one.source is not None:
                law = Spread(1.0, deviation(self.old[one.source]))
                self.recipes[name] = replace(one, perturbed=Perturbed(1.0, self.noise, law))

    def norms(self) -> None:
        """Scales follow the norm of the weights that grow."""
        ours = {key: name for name, (key, _) in self.pair.sources.items()}
        for norm in self.pair.teacher.units.norms:
            scale, direction = ours[norm.scale], ours[norm.direction]
            if self.recipes[direction].axes:
                follows = FollowedNorm(direction, norm.dim)
                self.recipes[scale] = replace(self.recipes[scale], norm=follows)

    def unread(self) -> None:
        """What no output depends on stays; on ``meta``, where there is nothing, it is zero."""
        for name in self.pair.unread:
            if self.new[name].is_meta:
                self.recipes[name] = Recipe(None, fill=Constant(0.0))
        if self.pair.unread:
            self.notes.append(
                "no output depends on these, and they are of other sizes, so they stay what they "
                f"are in the student: {', '.join(self.pair.unread)}"
            )

    def add(self, path: str, like: str | None) -> None:
        """An added block: its neighbour's recipes, and what makes it an identity."""
        fills = {} if path in self.pair.beside.blocks else self._identity(path)
        own: list[str] = []
        for name in [name for name in self.new if name.startswith(f"{path}.")]:
            copied = self.recipes.get(f"{like}{name.removeprefix(path)}") if like else None
            if name in fills:
                self.recipes[name] = Recipe(None, fill=fills[name])
            elif copied is not None:
                self.recipes[name] = _alike(copied, f"{like}.", f"{path}.")
            elif self.new[name].is_meta:
                raise TransferError(
                    f"the added block '{path}' is like no block that the teacher has, and "
                    f"'{name}' is on meta, without values to start from. Build the student on a "
                    "real device."
                )
            elif self.new[name].is_floating_point():
                own.append(name)
        if own:
            self.notes.append(
                f"added block '{path}' is like no other: it starts from the student's own values "
                f"({len(own)} tensors), so the plan's bits depend on them"
            )

    def _identity(self, path: str) -> Fills:
        fills, why = identity_of(self.whole, path)
        if why and self.exact:
            raise TransferError(
                f"the added block '{path}' cannot be an identity: {why} "
                "(a post-norm block, or an activation that is not idempotent). "
                "Keep the teacher's depth there, or pass exact=False."
            )
        if why:
            self.notes.append(f"added block '{path}' is no exact identity: {why}")
        return fills


def _of(one: AxisMap, names: Mapping[str, str]) -> AxisMap:
    """The map, with the teacher's names of what its mixtures are weighted by."""
    mixtures = (
        replace(mixture, by=tuple((names[name], places) for name, places in mixture.by))
        for mixture in one.mixtures
    )
    return replace(one, mixtures=tuple(mixtures))


def _alike(copied: Recipe, like: str, path: str) -> Recipe:
    """The recipe of a block for another that copies it: a scale follows the norm in its own."""
    copied = replace(copied, added=True)
    if copied.norm is None or not copied.norm.direction.startswith(like):
        return copied
    direction = f"{path}{copied.norm.direction.removeprefix(like)}"
    return replace(copied, norm=replace(copied.norm, direction=direction))
