"""Heads that code shows to several queries in one model, and leaves alone in another.

Code often shows each head of keys to its queries only if these are several (``if repeats == 1:
return x``), so of two models that differ in their number one does operations which the other does
not. What is shown once stays what it is. So these operations can be added to what the other does:
then both do the same, and their units can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from net2net.trace.trace import Op, Ref, Trace
from net2net.trace.traced_ints import TracedInt

_MERGES = {"reshape": "shape", "view": "size"}
"""What joins an expanded axis with the one before it → the argument with the sizes."""


def shown_alike(first: Sequence[Trace], second: Sequence[Trace]) -> tuple[list[Trace], list[Trace]]:
    """The traces of two models, with heads shown in the same places: once, where code does not.
    Traces that differ in something else are as they were."""
    pairs = [_alike(a, b) for a, b in zip(first, second, strict=True)]
    return [a for a, _ in pairs], [b for _, b in pairs]


@dataclass(frozen=True)
class _Shown:
    """Operations that show what lies along an axis several times, one after the other:
    ``repeat_interleave``, or a new axis that is expanded, and joined with the one before it."""

    ops: tuple[Op, ...]

    @property
    def source(self) -> int:
        return self.ops[0].inputs[0].id

    @property
    def result(self) -> int:
        return self.ops[-1].outputs[0].id


def _shown(one: Trace, place: int) -> _Shown | None:
    """What the operations from this place on show."""
    op, *after = one.ops[place : place + 3]
    if op.kind == "repeat_interleave":
        plain = isinstance(op.args["repeats"], int) and op.args["dim"] is not None
        return _Shown((op,)) if plain else None
    if op.kind != "unsqueeze" or [x.kind for x in after[:1]] != ["expand"] or len(after) < 2:
        return None
    before = one.shapes[op.inputs[0].id]
    axis = op.args["dim"] % (len(before) + 1)
    chain = all(b.inputs == a.outputs for a, b in ((op, after[0]), after))
    if axis == 0 or after[1].kind not in _MERGES or not chain:
        return None
    longer, joined = (one.shapes[x.outputs[0].id] for x in after)
    times = longer[axis] if len(longer) > axis else 0
    each_after_the_other = (
        longer == (*before[:axis], times, *before[axis:])
        and joined == (*before[: axis - 1], before[axis - 1] * times, *before[axis:])
    )  # fmt: skip
    return _Shown((op, *after)) if each_after_the_other else None


def _alike(a: Trace, b: Trace) -> tuple[Trace, Trace]:
    if [op.name for op in a.ops] == [op.name for op in b.ops]:
        return a, b
    left, right = _Written(a), _Written(b)
    while left.rest and right.rest:
        mine, theirs = (_shown(one.old, one.place) for one in (left, right))
        if mine and not theirs:
            done = _show_once(mine, left, right)
        elif theirs and not mine:
            done = _show_once(theirs, right, left)
        else:
            done = _go_on(left, right)
        if not done:
            return a, b
    return (a, b) if left.rest or right.rest else (left.written(), right.written())


class _Written:
    """A trace, as it is written anew beside another."""

    def __init__(self, old: Trace) -> None:
        self.old = old
        self.new = replace(old, ops=[], shapes=list(old.shapes), bases=dict(old.bases))
        self.moved: list[int] = []
        """The new places of the operations that there were."""
        self.like: dict[int, int] = {}
        """Tensors of the other → those that they are here."""
        self.once: dict[tuple[int, int], int] = {}
        """A tensor of the other that is shown, and what it is here if it is not → what it is since
        it is."""

    @property
    def place(self) -> int:
        return len(self.moved)

    @property
    def rest(self) -> list[Op]:
        return self.old.ops[self.place :]

    def take(self, op: Op) -> None:
        self.moved.append(len(self.new.ops))
        self.new.ops.append(op)

    def written(self) -> Trace:
        places = [*self.moved, len(self.new.ops)]
        self.new.calls = [
            replace(call, begin=places[call.begin], end=places[call.end]) for call in self.old.calls
        ]
        return self.new


def _show_once(shown: _Shown, there: _Written, here: _Written) -> bool:
    """Go on behind what is shown ``there``, and show it once ``here``; whether it is found."""
    if (source := here.like.get(shown.source)) is None:
        return False
    new, tensor = here.new, source
    for op in shown.ops:
        there.take(op)
        shape = new.shapes[tensor]
        given: dict[str, Any] = {"self": Ref(tensor)}
        if op.kind == "unsqueeze":
            axis = op.args["dim"] % (len(shape) + 1)
            shape = (*shape[:axis], 1, *shape[axis:])
        elif op.kind == "expand":
            given["size"] = list(shape)
        elif op.kind == "repeat_interleave":
            given |= {"repeats": 1, "output_size": None}
        else:
            shape = new.shapes[source]
            given[_MERGES[op.kind]] = list(shape)
        made = len(new.shapes)
        new.shapes.append(shape)
        new.bases[made] = tensor
        args = {**op.args, **given}
        new.ops.append(replace(op, args=args, result=Ref(made), traced_ints=_counted(op)))
        tensor = made
    here.once[shown.result, source] = here.like[shown.result] = tensor
    there.like[tensor] = shown.result
    return True


def _counted(op: Op) -> dict[tuple[str, int], TracedInt]:
    """That code says how often heads are shown."""
    if op.kind not in {"expand", "repeat_interleave"}:
        return {}
    origins = {key: size.attribute_alone for key, size in op.traced_ints.items()}
    return {key: TracedInt.attribute(1, origin) for key, origin in origins.items() if origin}


def _go_on(left: _Written, right: _Written) -> bool:
    """Take the next operation of both; whether it is the same."""
    a, b = left.old.ops[left.place], right.old.ops[right.place]
    if a.name != b.name:
        return False
    for one, op, other in ((left, a, b), (right, b, a)):
        inputs = list(zip(other.inputs, op.inputs, strict=False))
        found = {(o.id, x.id): one.once.get((o.id, x.id)) for o, x in inputs}
        new = {x: made for (_, x), made in found.items() if made is not None}
        if new:
            args = {name: _instead(item, new) for name, item in op.args.items()}
            op = replace(op, args=args)
        one.take(op)
        outputs = zip(other.outputs, op.outputs, strict=False)
        one.like.update(
            (o.id, x.id) for o, x in [*outputs, *inputs] if (o.id, x.id) not in one.once
        )
    return True


def _instead(item: Any, new: Mapping[int, int]) -> Any:
    """An argument with other tensors."""
    if isinstance(item, Ref):
        return Ref(new.get(item.id, item.id))
    return [_instead(x, new) for x in item] if isinstance(item, list) else item
