"""Apply to a module: a copy of it with the student's structure and tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from net2net.apply.attributes import SetAttribute, set_attributes
from net2net.apply.edits import Edit, renamed
from net2net.apply.exported_graph import Export
from net2net.apply.extend_list import ExtendList, extend
from net2net.apply.split_layer import SplitLayer, split
from net2net.errors import PlanError
from net2net.identity.insertion import Insertion, insert
from net2net.recipe.layout import laid_out_like
from net2net.recipe.memory import cloned
from net2net.trace.meta_copy import copied, named_tensors


@torch.inference_mode(False)
def grown_module(
    base: nn.Module, names: Sequence[str], make: Callable[[str], Tensor], edits: Sequence[Edit]
) -> nn.Module:
    """The student.

    Args:
        base: what is copied: the teacher, or the student that the user built.
        names: of the student's tensors.
        make: makes one.

    Raises:
        PlanError: the edits do not fit the model.
    """
    for edit in edits:
        if isinstance(edit, Export):
            base = edit.of(base)
    tensors = {name: make(name) for name in names}
    ours = renamed(edits, [name for name, _ in named_tensors(base)])
    kept = {name: tensors.pop(new) for name, new in ours.items() if new in tensors}
    result = with_tensors(base, kept)
    for edit in edits:
        if isinstance(edit, (Insertion, ExtendList, SplitLayer)):
            _put_in(result, base, edit)
    if odd := {name for name, _ in named_tensors(result)} ^ set(names):
        raise PlanError(
            f"'{min(odd)}' is made by the plan or by its edits of structure, and not by both. "
            "The plan is damaged: make it again."
        )
    put_tensors(result, tensors)
    set_attributes(result, [edit for edit in edits if isinstance(edit, SetAttribute)])
    return result


def _put_in(
    student: nn.Module, teacher: nn.Module, edit: Insertion | ExtendList | SplitLayer
) -> None:
    try:
        if isinstance(edit, Insertion):
            insert(student, teacher, edit)
        elif isinstance(edit, SplitLayer):
            split(student, edit)
        else:
            extend(student, edit)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise PlanError(
            f"the plan's layers do not fit at '{edit.at}': {error}. "
            "The plan is damaged: make it again."
        ) from error


def with_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model, of the same class, with these tensors; the others are cloned."""
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model):
        new = tensors[name] if name in tensors else cloned(tensor.detach())
        if isinstance(tensor, nn.Parameter):
            new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = new
    return copied(model, memo)


def put_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give parameters and buffers values, wherever in the model they are, in place."""
    new: dict[int, Tensor] = {}
    for name, tensor in named_tensors(model):
        if name in tensors:
            one = laid_out_like(tensors[name], tensor)
            if isinstance(tensor, nn.Parameter):
                one = nn.Parameter(one, requires_grad=tensor.requires_grad)
            new[id(tensor)] = one
    for part in model.modules():
        held: dict[str, Any]
        for held in (part._parameters, part._buffers):
            held |= {name: new[id(t)] for name, t in held.items() if id(t) in new}
