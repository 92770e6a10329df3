"""Plans of format 1, as version 0.1 wrote them: their documents as they are written now."""

from __future__ import annotations

import math
from typing import Any

from net2net.errors import PlanError

FORMAT = "net2net-plan-1"

ROLES = {"make": "produces", "follow": "aligns", "share": "consumes"}


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The document of any of the three kinds as one of format 2. What format 1 does not say,
    deviations and means, is measured when the plan is applied; of inserted layers it does not say
    which tensors they have, which is known once the plan sees the teacher's modules.

    Raises:
        PlanError: it is damaged.
    """
    known = {"widen": _widen, "deepen": _deepen, "transfer": _transfer}
    return {
        "kind": data["kind"], "seed": 0, "teacher": _fingerprint(data["teacher"]), "maps": [],
        "recipes": {}, "edits": [], "built": False, "previous": None, **known[data["kind"]](data),
    }  # fmt: skip


def _fingerprint(shapes: dict[str, list[int]]) -> dict[str, Any]:
    return {"tensors": {name: [shape, None] for name, shape in shapes.items()}, "ties": {}}


def _widen(data: dict[str, Any]) -> dict[str, Any]:
    shapes = {name: list(shape) for name, shape in data["teacher"].items()}
    maps: list[dict[str, Any]] = []
    scales = {(name, dim): by for name, dim, by in data["factors"]}
    recipes = {}
    for name, axes in data["tensors"].items():
        recipes[name] = _recipe(data, maps, name, axes, scales, float(data["noise"]))
        for dim, _, number in axes:
            shapes[name][dim] = len(data["maps"][number])
    for scale, direction, dim in data["norms"]:
        recipes.setdefault(scale, {"source": scale})["norm"] = [direction, dim]
    edits = [{"edit": "set_attribute", "path": p, "name": n, "value": v}
             for p, n, v in data["attributes"]]  # fmt: skip
    if data.get("exported"):
        inputs, code = data["exported"]
        edits.insert(0, {"edit": "export", "inputs": inputs, "code": code})
    return {
        "method": data["method"], "seed": data["seed"], "student": _fingerprint(shapes),
        "maps": maps, "recipes": recipes, "edits": edits,
    }  # fmt: skip


def _recipe(
    data: dict[str, Any], maps: list[dict[str, Any]], source: str, axes: list[Any],
    scales: dict[tuple[str, int], list[float]], noise: float,
) -> dict[str, Any]:  # fmt: skip
    if not 0 <= noise < math.inf:
        raise PlanError(f"the plan's noise is {noise!r}. The plan is damaged: make it again.")
    found, fresh = [], False
    for dim, role, number in axes:
        index = data["maps"][number]
        one: dict[str, Any] = {"index": index}
        if ROLES[role] == "consumes":
            copies = [index.count(x) if x >= 0 else 1 for x in index]
            one |= {"divisor": copies} if max(copies, default=1) > 1 else {}
        if (source, dim) in scales:
            one["scale"] = scales[source, dim]
        fresh |= -1 in index
        found.append([dim, ROLES[role], len(maps)])
        maps.append(one)
    weight = len(data["teacher"][source]) > 1 and any(role != "follow" for _, role, _ in axes)
    recipe: dict[str, Any] = {"source": source, "axes": found}
    if fresh:
        recipe["new"] = ["spread", 1.0, None] if weight else ["mean", None]
    if noise and weight:
        recipe["noise"] = [noise, None]
    return recipe


def _transfer(data: dict[str, Any]) -> dict[str, Any]:
    maps: list[dict[str, Any]] = []
    recipes: dict[str, dict[str, Any]] = {name: {"source": None} for name in data["student"]}
    for name, (source, axes, overwritten, factors) in data["tensors"].items():
        if overwritten is None:
            scales = {(source, dim): by for dim, by in factors}
            recipes[name] = _recipe(data, maps, source, axes, scales, 0.0)
        elif isinstance(overwritten, str):
            recipes[name] = {"source": None, "fill": ["eye", None, None]}
        else:
            recipes[name] = {"source": None, "fill": ["constant", overwritten]}
    for scale, direction, dim in data["norms"]:
        if "fill" not in recipes[scale]:
            recipes[scale]["norm"] = [direction, dim]
    return {
        "method": data["method"], "seed": data["seed"], "student": _fingerprint(data["student"]),
        "maps": maps, "recipes": recipes, "built": True,
    }  # fmt: skip


def _deepen(data: dict[str, Any]) -> dict[str, Any]:
    edits = [{"edit": "insert", **one} for one in data["insertions"]]
    return {"method": "identity", "student": {"tensors": {}, "ties": {}}, "edits": edits}
