"""Carry out recipes: select, divide, draw, follow, fill.

Any block of rows can be made alone, with the same bits as in the whole: every step works on each
element for itself, and numbers are drawn by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from net2net.errors import PlanError
from net2net.infer.units import Role
from net2net.recipe.axis_map import MIXED, NEW, AxisMap, Index
from net2net.recipe.draw import Law, drawn, normal, runs, uniform
from net2net.recipe.factor import Factors, decomposed
from net2net.recipe.grown import along, averaged, fill, grown, is_block, put_at
from net2net.recipe.layout import laid_out_like
from net2net.recipe.memory import as_array, empty_like, selected
from net2net.recipe.recipe import Mean, Recipe, Spread, Uniform, deviation, mean

Mask = NDArray[np.bool_]

Read = Callable[[str, Index | None], Tensor]
"""A tensor by name: whole (which may be the original), or a copy of these rows of it."""


def reader(tensors: Mapping[str, Tensor]) -> Read:
    """Read from tensors in memory."""

    def read(name: str, rows: Index | None) -> Tensor:
        tensor = tensors[name].detach()
        return tensor if rows is None else selected(tensor, 0, rows)

    return read


@dataclass(frozen=True, eq=False)
class Executor:
    """Carries out the recipes of one growth.

    Attributes:
        recipes: the student's tensor → how it is made.
        shapes: the student's tensor → its shape.
        types: the tensors made anew that are not of the type of the teacher's weights.
        seed: of what is drawn.
        teacher: reads the teacher's tensors.
        student: reads those of the student that the user built.
        like: an empty tensor of the type and on the device of the teacher's weights.
        threads: how many draw.
    """

    recipes: Mapping[str, Recipe]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, torch.dtype]
    seed: int
    teacher: Read
    student: Read
    like: Tensor
    threads: int = 1
    _last: dict[tuple[str, int], Factors] = field(default_factory=dict, repr=False)
    """The last weight that was decomposed: two tensors, and every block of their rows, need it."""

    def make(self, name: str, rows: Index | None = None) -> Tensor:
        """One tensor of the student, in new memory, or these rows of it.

        Raises:
            PlanError: the recipe does not make a tensor of the student's shape.
        """
        # what is made in inference mode could not be trained
        with torch.inference_mode(False), torch.no_grad():
            try:
                made = self._made(name, rows)
            except (IndexError, RuntimeError) as error:
                if "memory" in str(error):  # torch has no type of its own for that on the CPU
                    raise
                raise PlanError(
                    f"the recipe of '{name}' does not fit: {error}. "
                    "The plan is damaged: make it again."
                ) from error
        wanted = self.shapes[name] if rows is None else (len(rows), *self.shapes[name][1:])
        if tuple(made.shape) != wanted:
            raise PlanError(
                f"the plan makes '{name}' of shape {tuple(made.shape)}, and the student's is "
                f"{wanted}. The plan is damaged: make it again."
            )
        return made

    def _made(self, name: str, rows: Index | None) -> Tensor:
        recipe, shape = self.recipes[name], self.shapes[name]
        if recipe.kept:
            kept = self.student(name, rows).to(self.like.device, copy=True)
            return kept.to(self.like.dtype) if kept.is_floating_point() else kept
        every = np.arange(shape[0] if shape else 0) if rows is None else rows
        if recipe.stacked is not None:
            return recipe.stacked.made(lambda one: self.teacher(one, None), name, self.seed, every)
        if recipe.source is None:
            size = shape if rows is None else (len(rows), *shape[1:])
            made = empty_like(self.like, size, self.types.get(name))
        elif recipe.factor is not None:
            made = self._factored(name, recipe, every)
        else:
            made = self._grown(name, recipe, rows, every)
            self._perturb(made, name, every)
        if recipe.norm is not None:
            made = self._followed(recipe, made, rows)
        if recipe.fill is not None:
            recipe.fill.write(made, every.tolist())
        return made

    def _grown(self, name: str, recipe: Recipe, rows: Index | None, every: Index) -> Tensor:
        assert recipe.source is not None
        first = next((axis for axis in recipe.axes if axis.dim == 0), None)
        if rows is None:
            tensor = self.teacher(recipe.source, None)
        else:
            at = rows if first is None else first.index[rows]
            tensor = self.teacher(recipe.source, np.maximum(at, 0))
        result = grown(tensor, recipe.axes, rows, self._vector)
        if rows is not None and first is not None:
            self._put_mixtures(result, recipe, first, rows)
        for axis in recipe.axes:
            random = recipe.new is not None and axis.values is None
            if random and (new := axis.index == NEW).any():
                self._put_new(result, name, axis, every, new)
        for axis in recipe.axes:
            if axis.scale is not None:
                scale = axis.scale[every] if axis.dim == 0 else axis.scale
                result *= along(torch.from_numpy(scale).to(result), axis.dim, result.ndim)
            if axis.offset is not None:
                offset = axis.offset[every] if axis.dim == 0 else axis.offset
                result += along(torch.from_numpy(offset).to(result), axis.dim, result.ndim)
        if result.is_meta:  # nothing to put into it
            return laid_out_like(result, tensor)
        for axis in recipe.axes:
            if axis.values is not None:
                _put_values(result, axis, axis.values, every)
        for axis in recipe.axes:
            if recipe.noise is not None and axis.role is Role.PRODUCES:
                later = axis.later_copies
                self._put(result, name, axis, every, later, recipe.noise, "noise")
            if recipe.pair is not None and axis.role is Role.CONSUMES and axis.twin is not None:
                paired = (axis.signs != 0) & (axis.index >= 0)
                self._put(result, name, axis, every, paired, recipe.pair, "pair")
        return laid_out_like(result, tensor)

    def _factored(self, name: str, recipe: Recipe, rows: Index) -> Tensor:
        assert recipe.source is not None and recipe.factor is not None
        tensor, groups = self.teacher(recipe.source, None), recipe.factor.groups
        if (key := (recipe.source, groups)) not in self._last:
            self._last.clear()
            self._last[key] = decomposed(tensor, groups)
        made, new = recipe.factor.made(self._last[key], self.shapes[name])
        result = made[torch.from_numpy(rows)].to(self.like.device, tensor.dtype)
        if new[rows].any() and isinstance(recipe.new, Spread | Uniform):
            axis = AxisMap(0, np.where(new, NEW, 0), Role.PRODUCES)
            self._put(result, name, axis, rows, new, recipe.new, "new")
        return laid_out_like(result, tensor)

    def _perturb(self, tensor: Tensor, name: str, rows: Index) -> None:
        """Shrink it, and add what is drawn for these rows of it."""
        if (how := self.recipes[name].perturbed) is None or tensor.is_meta:
            return
        tensor *= how.shrink
        if isinstance(how.law, Mean):
            tensor += how.amount * (how.law.value or 0.0)
        elif how.law is not None:
            law, shape, names = self._law(how.law), self.shapes[name], ("perturb", name)
            rows = rows if shape else np.arange(1)
            size = how.amount * self._size(name, how.law)
            values = drawn(law, self.seed, names, rows, shape[1:], self.threads, size=size)
            tensor += torch.from_numpy(values).to(tensor).reshape(tensor.shape)

    def _vector(self, name: str) -> Tensor:
        return self.teacher(name, None).double().reshape(-1)

    def _put_mixtures(self, result: Tensor, recipe: Recipe, axis: AxisMap, rows: Index) -> None:
        """The mixed ones among these rows: of the teacher's, with columns as the student's."""
        assert recipe.source is not None
        others = [one for one in recipe.axes if one is not axis]
        for number, mixture in enumerate(axis.mixtures):
            here = axis.index[rows] == MIXED - number
            if here.any():
                whole = self.teacher(recipe.source, mixture.positions)
                whole = grown(whole, others, None, self._vector)
                put_at(result, 0, np.flatnonzero(here), averaged(whole, 0, mixture, self._vector))

    def _put_new(self, result: Tensor, name: str, axis: AxisMap, rows: Index, new: Mask) -> None:
        if result.is_meta:  # nothing to put it into
            return
        recipe = self.recipes[name]
        if isinstance(recipe.new, Spread | Uniform):
            self._put(result, name, axis, rows, new, recipe.new, "new")
        elif recipe.new is not None and recipe.source is not None:
            value = recipe.new.value
            value = mean(self.teacher(recipe.source, None)) if value is None else value
            second = axis.signs < 0
            for there, number in ((new & ~second, value or 0), (new & second, -(value or 0))):
                at = np.flatnonzero(there[rows] if axis.dim == 0 else there)
                fill(result, axis.dim, at, number)

    def _put(
        self, result: Tensor, name: str, axis: AxisMap, rows: Index, mask: Mask,
        spread: Spread | Uniform, kind: str,
    ) -> None:  # fmt: skip
        """Draw what positions on an axis hold ("new"), or what is added to them.
        ``rows``: those of the whole tensor that ``result`` has."""
        shape, law, size = self.shapes[name], self._law(spread), self._size(name, spread)
        at = np.flatnonzero(mask[rows] if axis.dim == 0 else mask)
        places = rows[at] if axis.dim == 0 else at
        whose = places if axis.twin is None else axis.twin[places]
        again = signs = None
        if axis.twin is not None:
            wide = [-1 if dim == axis.dim else 1 for dim in range(len(shape))]
            signs = axis.signs[places].reshape(wide).astype(np.float32)
            signs = np.where(signs == 0, 1, signs) if kind == "new" else signs
        chosen, row = whose, list(shape[1:])
        if axis.dim != 0:
            columns, again = np.unique(whose, return_inverse=True)
            chosen, row[axis.dim - 1] = rows, len(columns)
        names = (kind, name, str(axis.dim))
        direct = kind == "new" and axis.twin is None and is_block(at)
        if direct and (out := as_array(result)) is not None:
            out = np.moveaxis(np.moveaxis(out, axis.dim, 0)[at[0] : at[-1] + 1], 0, axis.dim)
            drawn(law, self.seed, names, chosen, row, self.threads, size=size, out=out)
            return
        for part in runs(chosen, row) if axis.twin is None else [slice(len(chosen))]:
            values = drawn(law, self.seed, names, chosen[part], row, self.threads, size=size)
            if again is not None and row[axis.dim - 1] < len(again):
                values = values.take(again, axis.dim)
            if signs is not None:
                values = values * signs
            if axis.dim == 0:
                _write(result, 0, at[part], values, kind)
            else:
                _write(result[part], axis.dim, at, values, kind)

    @staticmethod
    def _law(spread: Spread | Uniform) -> Law:
        return uniform if isinstance(spread, Uniform) else normal

    def _size(self, name: str, spread: Spread | Uniform) -> float:
        """What drawn numbers are multiplied by."""
        if isinstance(spread, Uniform):
            return spread.bound
        std, source = spread.deviation, self.recipes[name].source
        if std is None and source is not None:
            std = deviation(self.teacher(source, None))
        return spread.fraction * (std or 0.0)

    def _followed(self, recipe: Recipe, scale: Tensor, rows: Index | None) -> Tensor:
        """The scale for which ``scale · v / ‖v‖`` changes only as ``v`` does."""
        assert recipe.norm is not None
        direction, dim = recipe.norm.direction, recipe.norm.dim
        source = self.recipes[direction].source
        assert source is not None
        norms = torch.norm_except_dim(self.teacher(source, None).double(), 2, dim)
        before = grown(norms, recipe.axes, None) if recipe.axes else norms
        # new ones have one in common, so that two of a pair stay alike though new columns differ
        before = torch.where(before == 0, norms.mean(), before)
        ratio = torch.norm_except_dim(self._made(direction, None).double(), 2, dim) / before
        if rows is not None and ratio.ndim and dim != -1:
            ratio = selected(ratio, 0, rows)
        return (scale * ratio.reshape(scale.shape)).to(scale.dtype)


def _put_values(result: Tensor, axis: AxisMap, values: NDArray[np.float32], rows: Index) -> None:
    """``rows``: those of the whole tensor that ``result`` has."""
    new = axis.index == NEW
    if axis.dim == 0:
        values = values[(np.cumsum(new) - 1)[rows[new[rows]]]]
        new = new[rows]
    else:
        values = values[rows]
    _write(result, axis.dim, np.flatnonzero(new), values, "new")


def _write(result: Tensor, dim: int, at: Index, values: NDArray[np.float32], kind: str) -> None:
    """Put what was drawn at these positions of an axis, or add it to what is there."""
    made = torch.from_numpy(values).to(result)
    if kind == "new":
        put_at(result, dim, at, made)
    else:
        result.index_add_(dim, torch.from_numpy(at).to(result.device), made)
