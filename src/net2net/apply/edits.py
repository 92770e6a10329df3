"""Edits of structure: what a plan changes in a copy of the teacher besides its tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from net2net.apply.attributes import SetAttribute
from net2net.apply.exported_graph import Export
from net2net.apply.extend_list import ExtendList
from net2net.apply.split_layer import SplitLayer
from net2net.errors import PlanError
from net2net.identity.insertion import Insertion

Edit = SetAttribute | Insertion | ExtendList | SplitLayer | Export


def renamed(edits: Iterable[Edit], names: Iterable[str]) -> dict[str, str]:
    """The student's names of tensors, by their names before the edits."""
    found = {name: name for name in names}
    for edit in edits:
        if isinstance(edit, (Insertion, ExtendList, SplitLayer)):
            found = {name: edit.renamed(now) for name, now in found.items()}
    return found


def to_data(edit: Edit) -> dict[str, Any]:
    """An edit as JSON types."""
    return {"edit": _NAMES[type(edit)], **asdict(edit)}


def from_data(data: dict[str, Any]) -> Edit:
    """An edit from JSON types.

    Raises:
        PlanError: there is no such edit.
    """
    match data:
        case {
            "edit": "set_attribute",
            "path": str() as path,
            "name": str() as name,
            "value": value,
        }:
            return SetAttribute(path, name, value)
        case {"edit": "insert", "at": str(), "layers": dict(), "new": dict(), **rest}:
            fields = {key: data[key] for key in ("at", "layers", "new")} | rest
            kind = fields["activation"]
            fields["activation"] = kind if isinstance(kind, str) else (str(kind[0]), dict(kind[1]))
            mean, variance = (tuple(map(float, fields[key])) for key in ("mean", "variance"))
            return Insertion(**{**fields, "mean": mean, "variance": variance})
        case {"edit": "extend_list", "at": str() as at, "blocks": list() as blocks}:
            pairs = tuple((new, old) for new, old in blocks)
            if all(isinstance(name, str) for pair in pairs for name in pair):
                return ExtendList(at, pairs)
        case {
            "edit": "split_layer", "at": str() as at, "inner": int() as inner,
            "activation": str() as activation,
        }:  # fmt: skip
            return SplitLayer(at, inner, activation)
        case {"edit": "export", "inputs": inputs, "code": str() as code}:
            return Export(inputs, code)
    raise PlanError(f"{data!r:.80} is no edit of structure. The plan is damaged: make it again.")


_NAMES = {
    SetAttribute: "set_attribute", Insertion: "insert", ExtendList: "extend_list",
    SplitLayer: "split_layer", Export: "export",
}  # fmt: skip
