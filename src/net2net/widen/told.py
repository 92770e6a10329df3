"""What the report of ``widen`` tells: what grew, what did not, what to know of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from net2net.finish import has_even_copies, never_separate, noise_note, returned_numbers
from net2net.infer.branches import branch_notes, unread_note
from net2net.infer.spaces import Space
from net2net.maps.methods import name_of
from net2net.ops import traits
from net2net.plan.plan import Plan
from net2net.plan.widths import ALL, SpaceGrowth
from net2net.report import Row
from net2net.verify import Parity
from net2net.widen.attempt import Wider
from net2net.widen.request import Request


def rows(wider: Wider) -> tuple[Row, ...]:
    """The spaces that grew."""
    return tuple(_row(one, wider) for one in wider.grown if one.new != one.space.size)


def stayed(wider: Wider, request: Request) -> tuple[Row, ...]:
    """The spaces that were asked to grow and did not; under one factor for all also those that
    cannot, if weights make them."""
    still = [
        (one.space, one.note or one.space.reason or f"grows in steps of {one.space.step}")
        for one in wider.grown
        if one.new == one.space.size and (one.asked != ALL or one.note)
    ]
    if not isinstance(request.widths, Mapping):
        still += [(s, s.reason) for s in wider.spaces if s.reason is not None and s.modules]
    return tuple(Row(space.name, space.size, space.size, why) for space, why in still)


def notes(
    wider: Wider, request: Request, plan: Plan, parity: Parity | None = None
) -> tuple[str, ...]:
    """Whether the function is kept, and where; and parameters that nothing reads. ``parity``: what
    was measured."""
    found = []
    if not request.way.exact_before_noise:
        found.append(
            f"{name_of(request.method)} does not preserve the function; new units are random"
        )
    elif request.way.perturbs:
        found.append(
            f"{name_of(request.method)} does not preserve the function; every parameter changes"
        )
    elif request.all_noise:
        found.append(noise_note(request.all_noise, plan, parity))
    teacher = wider.teacher
    if request.on_unknown == "raise":
        found += _without_rules(stayed(wider, request), teacher.units.unknown)
    found += [*unread_note(teacher), *branch_notes(teacher)]
    return (*found, *returned_numbers(teacher, wider.student), *wider.notes)


def warnings(wider: Wider, request: Request) -> tuple[str, ...]:
    """What keeps the student from learning more than the teacher."""
    even = request.keeps and has_even_copies(wider.maps.values())
    return never_separate(wider.teacher) if even else ()


def _without_rules(rows: Sequence[Row], unknown: Mapping[str, str]) -> list[str]:
    """What to do about operations without a rule for which spaces stay, once for each operation."""
    messages = [unknown[row.note] for row in rows if row.note in unknown]
    return list({message.partition("\n")[2]: message for message in messages}.values())


def _row(one: SpaceGrowth, wider: Wider) -> Row:
    others = [module for module in one.space.modules if module != one.space.name]
    found = [one.note] if one.note else []
    found += dict.fromkeys(why for axes, why in wider.taken if not axes.isdisjoint(one.space.axes))
    if others and one.space.ties:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        found.append(f"with {shown}, tied by {' and '.join(_joins(one.space)[:2])}")
    return Row(one.space.name, one.space.size, one.new, "; ".join(found), admissible(one))


def admissible(one: SpaceGrowth) -> tuple[int, ...]:
    """The sizes around the new one; where code cuts channels by position, only a trial shows."""
    if one.space.split_by_position:
        return ()
    around = (one.new - one.space.step, one.new + one.space.step)
    return tuple(size for size in around if size >= one.space.size)


def _joins(space: Space) -> tuple[str, ...]:
    """What brings modules together, rather than handing units on."""
    joins = tuple(tie for tie in space.ties if not traits(tie.split(" in ")[0]).hands_on)
    return joins or space.ties
