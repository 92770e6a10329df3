"""What a model returns block by block (caches, features of every layer), and where a longer one
returns it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from net2net.apply.extend_list import ExtendList
from net2net.trace.trace import Trace


def places(teacher: Trace, student: Trace, edits: Sequence[ExtendList]) -> dict[str, str]:
    """Where the teacher returns something → where the student returns the same."""
    moved = {
        f"{edit.at}.{old}": f"{edit.at}.{new}" for edit in edits for old, new in edit.moved.items()
    }
    before = _by_block(teacher, list(moved))
    after = _by_block(student, [f"{edit.at}.{name}" for edit in edits for name, _ in edit.blocks])
    found: dict[str, str] = {}
    for block, olds in before.items():
        news = after.get(moved.get(block, block), [])
        found |= dict(zip(olds, news if len(news) == len(olds) else olds, strict=True))
    return {place: found[place] for place in teacher.outputs}


def axes(
    teacher: Trace, student: Trace, places: Mapping[str, str], edits: Sequence[ExtendList]
) -> dict[str, dict[int, list[int]]]:
    """Axes with a position for every block (states of all layers in one tensor): where in the
    teacher's output → axis → for each of the student's positions the teacher's, or −1."""
    found: dict[str, dict[int, list[int]]] = {}
    for place, tensor in teacher.outputs.items():
        if (after := student.outputs.get(places[place])) is None:
            continue
        sizes = zip(teacher.shapes[tensor], student.shapes[after], strict=False)
        for axis, (old, new) in enumerate(sizes):
            for edit in edits if old != new else ():
                moved, sources = edit.moved, edit.sources
                if (old, new) == (len(moved), len(sources)):
                    found.setdefault(place, {})[axis] = [
                        place if moved[name] == block else -1
                        for (block, name), place in zip(edit.blocks, sources, strict=True)
                    ]
    return found


def _by_block(one: Trace, blocks: Sequence[str]) -> dict[str, list[str]]:
    """Blocks → the places of what each computed, in order; under ``""`` all else."""
    made = {ref.id: op.path for op in one.ops for ref in op.outputs}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for place, tensor in one.outputs.items():
        path = made.get(tensor, "")
        inside = (block for block in blocks if path == block or path.startswith(f"{block}."))
        found[next(inside, "")].append(place)
    return found
