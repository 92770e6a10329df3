"""A stack of blocks gets more of them: from what is asked to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from net2net.apply.extend_list import ExtendList
from net2net.apply.fingerprint import fingerprint
from net2net.deepen.counted import Counted, Counting
from net2net.deepen.how import WHOLE, How
from net2net.deepen.longer import longer
from net2net.deepen.made import Made
from net2net.deepen.returned import axes, places
from net2net.errors import DepthError
from net2net.finish import check_memory
from net2net.identity.blocks import LAYERS
from net2net.identity.fills import TracedBlock, identity_of
from net2net.infer.inference import Inference
from net2net.plan.globs import matching
from net2net.plan.lengthening import lengthening
from net2net.plan.plan import Plan
from net2net.recipe.fill import Fill
from net2net.report import Row
from net2net.trace.graph import Graph
from net2net.trace.trace import Inputs


def stacks_of(model: nn.Module, found: Inference, glob: str) -> list[str]:
    """The stacks that a glob means: lists, or blocks in a row of which some add to what they are
    given; of nested ones the outermost. None if it matches a layer."""
    matched = set(matching(model, glob))
    modules = {path: part for path, part in model.named_modules() if path in matched}
    if any(isinstance(part, LAYERS) for part in modules.values()):
        return []
    rows = [path for path, part in modules.items() if isinstance(part, nn.Sequential)]
    graph = found.graph_of(found.traces[0]) if rows else None
    stacks = [
        path
        for path, part in modules.items()
        if isinstance(part, nn.ModuleList)
        or (graph is not None and path in rows and _adds(graph, path, part))
    ]
    return [path for path in stacks if not any(path.startswith(f"{one}.") for one in stacks)]


def _adds(graph: Graph, path: str, stack: nn.Module) -> bool:
    """Whether some block adds branches to what it is given."""
    blocks = [TracedBlock(graph, f"{path}.{name}") for name in stack._modules]
    return any(block.fills() and block.adds for block in blocks)


def with_stacks(
    model: nn.Module, teacher: Inference, asked: Mapping[str, int | float], how: How,
    inputs: Sequence[Inputs], seed: int,
) -> Made:  # fmt: skip
    """The student with longer stacks.

    Args:
        asked: stacks → how many blocks each gets (a float: how many times as many it has).

    Raises:
        DepthError: one cannot have them, or the student would not fit into memory.
    """
    for path in asked:
        _check_stack(model, path, list(asked))
    found = {path: longer(model, path, n, how, teacher.traces) for path, n in asked.items()}
    edits = tuple(edit for edit in found.values() if edit is not None)
    counted = Counting(model, teacher, edits, inputs).found()
    fills, notes = _fills(counted, edits, how)
    known, recipes = lengthening(model, counted.student, edits, fills, drawn=how.copy == "own")
    plan = Plan(
        "deepen", how.copy, seed, fingerprint(model), known, recipes, (*edits, *counted.settings)
    )
    check_memory(plan, model, DepthError)
    before, after = teacher.traces[0], counted.traces[0]
    same = places(before, after, edits)
    return Made(
        plan.apply(model),
        plan,
        tuple(map(_row, edits)),
        after,
        tuple(
            Row(path, size, size, f"a factor of {asked[path]:g} adds no whole block or period")
            for path, edit in found.items()
            if edit is None and asked[path] and (size := len(model.get_submodule(path)._modules))
        ),
        (*notes, *counted.notes),
        same,
        axes(before, after, same, edits),
    )


def _check_stack(model: nn.Module, path: str, paths: Sequence[str]) -> None:
    """Raises:
    DepthError: no blocks of their own are in a row there, or it is in another stack.
    """
    blocks = list(model.get_submodule(path)._modules.values())
    if not blocks or None in blocks or len(set(blocks)) < len(blocks):
        raise DepthError(
            f"'{path}' holds {'no blocks' if not blocks else 'a block twice, or gaps'}, so it is "
            "not known what another one would be. Choose another stack."
        )
    around = next((one for one in paths if path.startswith(f"{one}.")), None)
    if around is not None:
        raise DepthError(
            f"'{path}' is inside '{around}'. Make one longer after the other: "
            "the plans compose by plan.then."
        )


def _fills(
    counted: Counted, edits: Sequence[ExtendList], how: How
) -> tuple[dict[str, Fill], tuple[str, ...]]:
    """What makes new blocks return their inputs, and what to say of those that do not.

    Raises:
        DepthError: one cannot, and has to.
    """
    if how.copy in WHOLE:
        return {}, (f'copy="{how.copy}" repeats whole blocks, so the function is not kept',)
    graph, fills, notes = Graph(counted.traces[0]), dict[str, Fill](), []
    for edit in edits:
        for name, like in edit.added.items():
            path = f"{edit.at}.{name}"
            found, why = identity_of(graph, path)
            if why and how.exact:
                raise DepthError(
                    f"a new block like '{edit.at}.{like}' cannot return what it is given: {why} (a "
                    "post-norm block, or an activation that is not idempotent). Widen the model "
                    "instead, or pass exact=False for copies that change what it computes."
                )
            if why:
                notes.append(f"new block '{path}' is no exact identity: {why}")
            fills |= found
    return fills, tuple(notes)


def _row(edit: ExtendList) -> Row:
    added = ", ".join(f"{name} like {like}" for name, like in edit.added.items())
    return Row(edit.at, len(edit.moved), len(edit.blocks), f"blocks; added: {added}")
