"""Numbers that modules keep for their children by name, which no code reads: they stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from net2net.trace.meta_copy import named_tensors


def kept_numbers(model: nn.Module, shapes: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """A note, if a number such as ``ranks["default"]`` is the width of ``down["default"]``, which
    grows.

    Args:
        shapes: the tensors that grow, and their new shapes.
    """
    found = list(_stale(model, shapes))
    if not found:
        return ()
    path, attribute, key, old, new = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"'{path}.{attribute}' still says {old} for '{key}', which is {new} wide now{more}: no "
        "code reads these numbers, so they stay as they are",
    )


def _stale(
    model: nn.Module, shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, str, str, int, int]]:
    """Module, attribute, key, the number, and what the rows of the key's weight become."""
    names = {id(tensor): name for name, tensor in named_tensors(model)}
    for path, part in model.named_modules():
        named = [
            (key, weight)
            for holder in part.children()
            if isinstance(holder, nn.ModuleDict)
            for key, child in holder.items()
            if (weight := child._parameters.get("weight")) is not None
        ]
        for attribute, numbers in vars(part).items():
            if not isinstance(numbers, dict) or attribute.startswith("_"):
                continue
            for key, weight in named:
                old, now = numbers.get(key), weight.shape[0]
                new = shapes.get(names[id(weight)], weight.shape)[0]
                if type(old) is int and old == now != new:
                    yield path, attribute, key, old, new
