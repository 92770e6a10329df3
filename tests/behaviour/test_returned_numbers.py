"""Numbers that a model returns beside its tensors are compared with nothing: the report tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

import net2net

from ..helpers import Written, noise, randomise, widen

X = noise(3, 3)

RETURNED: dict[str, tuple[Callable[[Tensor], Any], list[str]]] = {
    "width": (lambda h: h.shape[1], ["output[1] is 4 in the teacher and 8 in the student"]),
    "nested": (
        lambda h: {"width": h.shape[1], "scale": h.shape[1] ** -0.5, "batch": h.shape[0]},
        ["output[1]['width'] is 4", "output[1]['scale'] is 0.5"],
    ),
    "batch": (lambda h: h.shape[0], []),
}


def teacher(name: str, width: int = 4) -> nn.Module:
    def code(model: Any, x: Tensor) -> Any:
        h = model.a(x)
        return model.head(h), RETURNED[name][0](h)

    return randomise(Written(code, a=nn.Linear(3, width), head=nn.Linear(width, 2)))


@pytest.mark.parametrize("name", RETURNED)
def test_a_number_that_changes_is_named(name: str) -> None:
    wanted = RETURNED[name][1]
    growths = [
        widen(teacher(name), 2.0, X),
        net2net.transfer(teacher(name), teacher(name, 8), X),
    ]
    for growth in growths:
        notes = growth.report.notes
        assert len(notes) == len(wanted)
        assert all(want in note for want, note in zip(wanted, notes, strict=True))
