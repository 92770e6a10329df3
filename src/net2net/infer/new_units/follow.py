"""Follow a group that gets new units through the traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress

from net2net.infer.inference import Inference
from net2net.infer.new_units.back import Back
from net2net.infer.new_units.group import GroupInTrace
from net2net.infer.new_units.holds import (
    Enlarged,
    Held,
    NotPossible,
    Scaled,
    same,
    set_or_scaled,
    whole_copies,
    with_eps_left,
)
from net2net.infer.new_units.learn import Learn
from net2net.infer.new_units.on import On
from net2net.infer.new_units.parameters import Parameters
from net2net.infer.units import Axis
from net2net.trace.graph import Node
from net2net.trace.trace import Trace

_ROUNDS = 16
"""How often factors are assumed: of weights that read and make, and of what meets scaled units."""


def follow(
    teacher: Inference, growing: Enlarged, student: Sequence[Trace] | None = None,
    claimed: Set[tuple[int, int]] = frozenset(),
) -> Held:  # fmt: skip
    """What every parameter axis that has units of the group holds.

    Args:
        student: traces of the student, whose code may compute other numbers than the teacher's.
            None, before there is one: it computes the same.
        claimed: operations (trace and place in it) whose numbers something else makes up for.

    Raises:
        NotPossible: new units would change what is computed; why.
    """
    assumed, scaled, zero = dict[Axis, float](), dict[Node, float](), dict[Axis, str]()
    for _ in range(_ROUNDS):
        found, made_up = Parameters(teacher), set[tuple[int, int]]()
        multiplied, kept = list[dict[str, float]](), list[dict[int, Number]]()
        left = list[str]()
        runs = list[On]()
        try:
            for number, trace in enumerate(teacher.traces):
                other = student[number] if student else None
                group = GroupInTrace(teacher, growing, number, trace, other, claimed)
                on = On(group, Back(group, assumed, scaled), found, zero)
                on.run()
                runs.append(on)
                multiplied.append(on.factors.multiplied)
                made_up |= group.made_up
                kept.append(group.kept)
                left += group.left
        except Scaled as error:
            scaled[error.node] = error.factor
            continue
        if again := [why for axis, why in found.zero.items() if axis in zero]:
            raise NotPossible(again[0])
        if found.zero:
            zero |= found.zero
            continue
        found.check_learns()
        if not _learn(runs):
            flat = "all that reads them is flat at zero, so that they would stay zero"
            raise NotPossible(next(iter(zero.values()), flat))
        if not found.apart:
            factors = _alike(teacher.traces, multiplied)
            return Held(
                found.positions, frozenset(made_up), factors, _kept(teacher.traces, kept),
                tuple(dict.fromkeys(left)),
            )  # fmt: skip
        assumed |= found.apart
    raise NotPossible("what makes these units and reads them would need two scales")


def _learn(runs: Sequence[On]) -> bool:
    """Whether training changes any of the new units that weights make, if all are zero."""
    made = [(on, on.zeros) for on in runs if on.zeros]
    copied = any(on.group.growing.copied for on, _ in made)
    return not made or copied or any(Learn(on.group, on.parameters).any(z) for on, z in made)


def _alike(traces: Sequence[Trace], multiplied: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What parameters are multiplied by.

    Raises:
        NotPossible: not in every trace that reads them, alike.
    """
    total = {name: factor for factors in multiplied for name, factor in factors.items()}
    for trace, factors in zip(traces, multiplied, strict=True) if total else ():
        for name in trace.read_names & total.keys():
            if not same(factors.get(name, 1.0), total[name]):
                raise NotPossible(f"'{name}' would have to be multiplied on some inputs only")
    return total


Number = tuple[tuple[str, str], float]
"""A number that a module keeps: the module's path, the attribute; and what it becomes."""


def _kept(
    traces: Sequence[Trace], changed: Sequence[Mapping[int, Number]]
) -> dict[tuple[str, str], float]:
    """What numbers that modules keep become.

    Raises:
        NotPossible: something else is done with one of them, or it would have to be two.
    """
    total = dict(one for places in changed for one in places.values())
    for trace, places in zip(traces, changed, strict=True) if total else ():
        for place, op in enumerate(trace.ops):
            for name in op.kept.values():
                one = (op.path, name)
                if one in total and places.get(place, (one, None))[1] != total[one]:
                    raise NotPossible(f"'{op.path}.{name}' would have to be two numbers")
    return total


def why_no_copies(teacher: Inference, key: int) -> str | None:
    """Why what equally many copies of a group change cannot be made up for, or None."""
    return _why_none(teacher, whole_copies(key, len(teacher.members[key]), 2))


def why_not(teacher: Inference, key: int, *, zero: bool = False) -> str | None:
    """Why a group can have no new units besides copies, or None. ``zero``: whose readers get
    zero."""
    return _why_none(teacher, set_or_scaled(_one_more(teacher, key, zero=zero)))


def what_stays(teacher: Inference, key: int) -> tuple[str, ...] | None:
    """Where an ε stays that would have to change, if a group can have new units besides copies;
    None: it can have none."""
    one = _one_more(teacher, key)
    for way in (*set_or_scaled(one), with_eps_left(one)):
        with suppress(NotPossible):
            return follow(teacher, way).left
    return None


def _one_more(teacher: Inference, key: int, *, zero: bool = False) -> Enlarged:
    size = len(teacher.members[key])
    return Enlarged(key, size, 1, size + 1, readers_get_zero=zero)


def _why_none(teacher: Inference, ways: Sequence[Enlarged]) -> str | None:
    """Why the first of these ways is not possible, if none is."""
    why: str | None = None
    for way in ways:
        try:
            follow(teacher, way)
        except NotPossible as error:
            why = why or str(error)
        else:
            return None
    return why
