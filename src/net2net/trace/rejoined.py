"""Pieces along an axis that are put side by side again, as what that is: the axis at another place.

Code merges heads by ``cat(y.unbind(1), -1)``, or by a list of ``y[:, i]``, in as many operations as
there are heads; others move the axis and flatten it. Both are written down alike, in as many
operations whatever the number of heads. Where pieces go other ways too, they are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from net2net.ops import traits
from net2net.trace.recorded import Op, Ref, Trace
from net2net.trace.traced_ints import axis_of


@dataclass(frozen=True)
class _Pieces:
    """All positions along an axis of a tensor, one by one, in order; by which operations (by
    position in the trace)."""

    whole: Ref
    axis: int
    places: frozenset[int]


def rejoined(trace: Trace) -> Trace:
    """The trace with such operations exchanged for others."""
    cuts = _cuts(trace)
    if not cuts:
        return trace
    elsewhere = _elsewhere(trace)
    instead: dict[int, list[Op]] = {}
    shapes = list(trace.shapes)
    for place, op in enumerate(trace.ops):
        known = traits(op.kind)
        if not (known.joins and known.moves and "dim" in op.args) or op.args.get("out"):
            continue
        pieces = op.args["tensors"]
        found = _whole(trace, pieces, cuts)
        alone = all(elsewhere[one.id] == [place] for one in pieces)
        if found is not None and alone and len({one.id for one in pieces}) == len(pieces):
            instead |= {cut: [] for cut in found.places}
            instead[place] = list(_moved(op, found, shapes))
    if not instead:
        return trace
    ops: list[Op] = []
    begins = []
    for place, op in enumerate(trace.ops):
        begins.append(len(ops))
        ops += instead.get(place, [op])
    begins.append(len(ops))
    calls = [replace(one, begin=begins[one.begin], end=begins[one.end]) for one in trace.calls]
    return replace(trace, ops=ops, shapes=shapes, calls=calls)


def _cuts(trace: Trace) -> dict[int, tuple[Ref, int, int, int]]:
    """Pieces, by number: of which tensor, along which axis, at which position of it, and by which
    operation."""
    found = {}
    for place, op in enumerate(trace.ops):
        if op.kind not in {"select", "unbind"}:
            continue
        whole = op.args["self"]
        shape = trace.shapes[whole.id]
        axis = op.args["dim"] % len(shape)
        first = op.args["index"] % shape[axis] if op.kind == "select" else 0
        for number, one in enumerate(op.outputs):
            found[one.id] = whole, axis, first + number, place
    return found


def _whole(
    trace: Trace, pieces: list[Ref], cuts: Mapping[int, tuple[Ref, int, int, int]]
) -> _Pieces | None:
    """What these are all positions of, in order."""
    known = [cuts[one.id] for one in pieces if one.id in cuts]
    if not known or len(known) < len(pieces):
        return None
    whole, axis, *_ = known[0]
    size = trace.shapes[whole.id][axis]
    if [one[:3] for one in known] != [(whole, axis, number) for number in range(size)]:
        return None
    return _Pieces(whole, axis, frozenset(place for *_, place in known))


def _elsewhere(trace: Trace) -> dict[int, list[int]]:
    """For every tensor the operations (by position) that read it, and ``_TOLD`` where it is known
    by its number otherwise: to who calls a module, or the code asks for its size."""
    found: dict[int, list[int]] = {}
    for place, op in enumerate(trace.ops):
        for tensor in {ref.id for ref in op.inputs}:
            found.setdefault(tensor, []).append(place)
        for size in (*op.traced_ints.values(), *op.traced_sizes.values()):
            for tensor, _ in filter(None, map(axis_of, size.values)):
                found.setdefault(tensor, []).append(_TOLD)
    told = [*trace.outputs.values(), *(tensor for tensor, *_ in trace.full_slices)]
    for call in trace.calls:
        told += [*call.inputs, *call.outputs]
    for tensor in told:
        found.setdefault(tensor, []).append(_TOLD)
    return found


_TOLD = -1


def _moved(join: Op, found: _Pieces, shapes: list[tuple[int, ...]]) -> Iterator[Op]:
    """The operations that make of the whole what ``join`` makes of its pieces; a tensor between
    them gets a number of its own."""
    sizes = shapes[found.whole.id]
    order = [axis for axis in range(len(sizes)) if axis != found.axis]
    stacks = len(shapes[join.result.id]) == len(sizes)
    order.insert(join.args["dim"] % (len(order) + stacks), found.axis)
    moved = join.result if stacks else Ref(len(shapes))
    plain = replace(join, traced_ints={}, traced_sizes={}, numbers={}, kept={})
    args = {"self": found.whole, "dims": order}
    yield replace(plain, name="aten::permute", args=args, result=moved)
    if not stacks:
        shapes.append(tuple(sizes[axis] for axis in order))
        flat = {"self": moved, "shape": list(shapes[join.result.id])}
        yield replace(plain, name="aten::reshape", args=flat)
