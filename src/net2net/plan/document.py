"""A plan's recipes as JSON types: maps that axes share are written once, plain copies under the
same name not at all."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from net2net.apply.fingerprint import Fingerprint
from net2net.errors import PlanError
from net2net.infer.units import Role
from net2net.recipe import fill
from net2net.recipe.axis_map import ABSENT, NEW, AxisMap, Mixture
from net2net.recipe.factor import Factor
from net2net.recipe.recipe import FollowedNorm, Mean, New, Perturbed, Recipe, Spread, Uniform
from net2net.recipe.stacked import Stacked

DAMAGED = "The plan is damaged: make it again."

_OTHERWISE = {"factor", "stacked"}
"""What makes tensors of other shapes than maps do."""


def to_data(recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """``maps`` and ``recipes``."""
    maps = _Maps()
    found = {
        name: _recipe_data(one, maps)
        for name, one in recipes.items()
        if not (one.copies and one.source == name and not one.added)
    }
    return {"maps": maps.table, "recipes": found}


def from_data(
    data: Mapping[str, Any], teacher: Fingerprint, student: Fingerprint
) -> dict[str, Recipe]:
    """A recipe for every tensor of the student.

    Raises:
        PlanError: they are malformed, or not for these tensors.
    """
    written = data["recipes"]
    if odd := [name for name in written if name not in student.tensors]:
        raise PlanError(f"the plan makes '{odd[0]}', which the student has not. {DAMAGED}")
    return {
        name: _recipe(name, written.get(name, {"source": name}), data["maps"], teacher, student)
        for name in student.tensors
    }


class _Maps:
    """The table of maps that the axes of a plan share."""

    def __init__(self) -> None:
        self.table: list[dict[str, Any]] = []
        self._numbers: dict[tuple[bytes | None, ...], int] = {}

    def number(self, axis: AxisMap) -> int:
        arrays = {
            "index": axis.index, "divisor": axis.divisor, "scale": axis.scale,
            "offset": axis.offset, "twin": axis.twin,
        }  # fmt: skip
        data: dict[str, Any] = {k: a.tolist() for k, a in arrays.items() if a is not None}
        if axis.mixtures:
            data["mixtures"] = [
                [one.positions.tolist(), [[name, places.tolist()] for name, places in one.by]]
                for one in axis.mixtures
            ]
        if axis.values is not None:
            data["values"] = _values_data(axis.values)
        key = (
            *(None if array is None else array.tobytes() for array in arrays.values()),
            str([data.get("mixtures"), data.get("values")]).encode(),
        )
        if key not in self._numbers:
            self._numbers[key] = len(self.table)
            self.table.append(data)
        return self._numbers[key]


def _recipe_data(one: Recipe, maps: _Maps) -> dict[str, Any]:
    data: dict[str, Any] = {"source": one.source}
    if one.factor is not None:
        data["factor"] = [one.factor.second, one.factor.groups, one.factor.gain]
    if one.axes:
        data["axes"] = [[axis.dim, str(axis.role), maps.number(axis)] for axis in one.axes]
    if one.new is not None:
        data["new"] = _new_data(one.new)
    if one.noise is not None:
        data["noise"] = [one.noise.fraction, one.noise.deviation]
    if one.pair is not None:
        data["pair"] = [one.pair.fraction, one.pair.deviation]
    if one.perturbed is not None:
        law = one.perturbed.law
        data["perturbed"] = [
            one.perturbed.shrink, one.perturbed.amount, None if law is None else _new_data(law)
        ]  # fmt: skip
    if one.norm is not None:
        data["norm"] = [one.norm.direction, one.norm.dim]
    if one.stacked is not None:
        data["stacked"] = asdict(one.stacked)
    if one.fill is not None:
        data["fill"] = fill.to_data(one.fill)
    if one.added:
        data["added"] = True
    return data


def _recipe(
    name: str, data: dict[str, Any], maps: list[Any], teacher: Fingerprint,
    student: Fingerprint,
) -> Recipe:  # fmt: skip
    source = data["source"]
    if source is not None and source not in teacher.tensors:
        raise PlanError(
            f"'{name}' is made from {source!r:.80}, which the teacher has not. {DAMAGED}"
        )
    axes = tuple(
        _map(name, dim, role, maps[number], teacher, source)
        for dim, role, number in data.get("axes", [])
        if number >= 0
    )
    if source is not None and not data.keys() & _OTHERWISE:
        shape = list(teacher.shapes[source])
        for axis in axes:
            shape[axis.dim] = len(axis.index)
        if tuple(shape) != student.shapes[name]:
            raise PlanError(
                f"the plan makes '{name}' of shape {tuple(shape)}, and the student's is "
                f"{student.shapes[name]!s:.80}. {DAMAGED}"
            )
    norm = data.get("norm")
    if norm is not None and (norm[0] not in student.tensors or type(norm[1]) is not int):
        raise PlanError(f"'{name}' follows the norm of {norm[0]!r:.80}. {DAMAGED}")
    return Recipe(
        source, axes, _new(data.get("new")), _spread(data.get("noise")),
        None if norm is None else FollowedNorm(*norm),
        None if "fill" not in data else fill.from_data(data["fill"]), _spread(data.get("pair")),
        _perturbed(data.get("perturbed")), _factor(data.get("factor"), source),
        _stacked(name, data.get("stacked"), teacher), data.get("added") is True,
    )  # fmt: skip


def _stacked(name: str, data: dict[str, Any] | None, teacher: Fingerprint) -> Stacked | None:
    match data:
        case None:
            return None
        case {
            "parts": [str(), *_] as parts, "dim": 0 | 1, "mixed": bool(), "transposed": bool(),
            "copies": int() | None, "scale": float(), "noise": float() | int(), "first": bool(),
        } if len(data) == 8 and set(parts) <= teacher.tensors.keys():  # fmt: skip
            return Stacked(**{**data, "parts": tuple(parts)})
    raise PlanError(f"'{name}' is made of {data!r:.80}. {DAMAGED}")


def _map(
    name: str, dim: int, role: str, data: dict[str, Any], teacher: Fingerprint, source: str
) -> AxisMap:
    """The map of one axis of a tensor.

    Raises:
        PlanError: it names positions that the teacher has not, or numbers that do not fit.
    """
    shape = teacher.shapes[source]
    index, divisor = data["index"], data.get("divisor")
    scale, offset, mixtures = data.get("scale"), data.get("offset"), data.get("mixtures", [])
    twin = data.get("twin")
    sound = (
        type(dim) is int
        and 0 <= dim < len(shape)
        and _all_in(index, ABSENT - len(mixtures), shape[dim])
        and (divisor is None or _fits(divisor, index, int))
        and all(numbers is None or _fits(numbers, index, float) for numbers in (scale, offset))
        and (twin is None or (_fits(twin, index, int) and _all_in(twin, 0, len(index))))
        and all(_is_mixture(one, shape[dim], teacher) for one in mixtures)
    )
    if not sound or (divisor is not None and min(divisor, default=1) < 1):
        raise PlanError(
            f"the map of '{name}' names positions outside axis {dim!r:.20} of {list(shape)}, or "
            f"numbers that do not fit. {DAMAGED}"
        )
    return AxisMap(
        dim, np.array(index, dtype=np.int64), Role(role),
        None if divisor is None else np.array(divisor, dtype=np.int64),
        None if scale is None else np.array(scale, dtype=np.float64),
        None if offset is None else np.array(offset, dtype=np.float64),
        tuple(
            Mixture(np.array(at, dtype=np.int64), tuple((n, np.array(p)) for n, p in by))
            for at, by in mixtures
        ),
        None if twin is None else np.array(twin, dtype=np.int64),
        None if "values" not in data else _values(name, dim, data["values"], index),
    )  # fmt: skip


def _values_data(values: NDArray[np.float32]) -> list[Any]:
    """The shape, and the numbers in the order of its rows, four bytes each."""
    return [list(values.shape), base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")]


def _values(name: str, dim: int, data: Any, index: list[int]) -> NDArray[np.float32]:
    shape, text = data
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    new = index.count(NEW)
    if math.prod(shape) != found.size or shape[dim] != new or not np.isfinite(found).all():
        raise PlanError(
            f"the map of '{name}' has {found.size} values of shape {shape!r:.80} for {new} new "
            f"positions. {DAMAGED}"
        )
    return found.reshape(shape)


def _is_mixture(data: Any, size: int, teacher: Fingerprint) -> bool:
    """Whether it is a mean of positions of an axis of this size, by vectors of the teacher."""
    match data:
        case [[_, *_] as at, [*by]]:
            return _all_in(at, 0, size) and all(
                len(places) == len(at)
                and name in teacher.tensors
                and _all_in(places, 0, math.prod(teacher.shapes[name]))
                for name, places in by
            )
    return False


def _all_in(numbers: Any, low: int, high: int) -> bool:
    return all(type(x) is int and low <= x < high for x in numbers)


def _fits(numbers: list[Any], index: list[int], kind: type) -> bool:
    known = all(type(x) is kind for x in numbers)
    finite = known and all(math.isfinite(x) and abs(x) < 2**53 for x in numbers)
    return len(numbers) == len(index) and finite


def _new_data(new: New) -> list[Any]:
    match new:
        case Spread():
            return ["spread", new.fraction, new.deviation]
        case Uniform():
            return ["uniform", new.bound]
    return ["mean", new.value]


def _perturbed(data: list[Any] | None) -> Perturbed | None:
    match data:
        case None:
            return None
        case [float() | int() as shrink, float() | int() as amount, law] if math.isfinite(
            shrink
        ) and math.isfinite(amount):
            return Perturbed(float(shrink), float(amount), _new(law))
    raise PlanError(f"a tensor is perturbed by {data!r:.80}. {DAMAGED}")


def _factor(data: list[Any] | None, source: str | None) -> Factor | None:
    match data:
        case None:
            return None
        case [bool() as second, int() as groups, gain] if (
            source is not None and groups >= 1 and _measure(gain) and gain != 0
        ):
            return Factor(second, groups, gain)
    raise PlanError(f"a tensor is a factor by {data!r:.80}. {DAMAGED}")


def _new(data: list[Any] | None) -> New | None:
    match data:
        case None:
            return None
        case ["mean", value] if _measure(value):
            return Mean(value)
        case ["uniform", float() | int() as bound] if 0 <= bound < math.inf:
            return Uniform(float(bound))
        case ["spread", *numbers]:
            return _spread(numbers)
    raise PlanError(f"new units are {data!r:.80}. {DAMAGED}")


def _spread(data: list[Any] | None) -> Spread | None:
    match data:
        case None:
            return None
        case [float() | int() as fraction, deviation] if (
            0 <= fraction < math.inf and _measure(deviation) and (deviation or 0) >= 0
        ):
            return Spread(float(fraction), deviation)
    raise PlanError(f"numbers are drawn by {data!r:.80}. {DAMAGED}")


def _measure(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))
