"""Numbers that modules keep and were set on a student (ε), in the configuration that said them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from net2net.apply.builds import build, fields
from net2net.apply.config_numbers import Remade


def config_floats(teacher: Any, student: nn.Module) -> dict[str, float]:
    """Fields of the teacher's configuration → what they have to say for the class to make the
    numbers that the student's modules keep otherwise than the teacher's: where one field alone
    makes all of them."""
    changed, found = _floats(teacher, student), dict[str, float]()
    for old, new in sorted(set(changed.values())):
        wanted = {where for where, pair in changed.items() if pair == (old, new)}
        before = build(type(teacher), teacher.config, {})
        for name in fields(teacher.config, partial(_is, old)):
            after = build(type(teacher), teacher.config, {name: new})
            if before is not None and after is not None:
                made = Remade.of(before, after).attributes
                if {where for where, (_, x) in made.items() if x == new} == wanted:
                    found[name] = new
                    break
    return found


def _floats(teacher: nn.Module, student: nn.Module) -> dict[tuple[str, str], tuple[float, float]]:
    """Module and name of numbers that differ: the teacher's, and the student's."""
    ours = dict(student.named_modules())
    return {
        (path, name): (old, new)
        for path, part in teacher.named_modules()
        for name, old in vars(part).items()
        if _is(None, old) and _is(None, new := vars(ours.get(path, part)).get(name)) and new != old
    }


def _is(number: float | None, value: Any) -> bool:
    return type(value) is float and number in (None, value)
