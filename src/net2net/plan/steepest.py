"""What reads units that are zero, chosen so that they learn fastest: GradMax (Evci et al., 2022).

While what comes into a unit is zero, its output is, and nobody notices what reads it: so the
gradient of a loss with respect to what comes in is linear in what reads it, g = uᵀM. Of all sets of
orthonormal u, the left singular vectors of M for its largest singular values make the gradient
largest. They are found by orthogonal iteration: u ← M(Mᵀu), made orthonormal. Both products are
gradients of the loss, so M, which is as large as both sides of a unit together, is never made, and
whatever lies between (convolutions, norms, gates, attention) is taken as it is.

M has no more singular vectors with a gradient than its rank, which is small where few examples are
seen, or outputs sum to one (softmax). More units than that have gradients in what others have
already: theirs are mixtures of it, no two alike, since units that begin alike stay alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from net2net.errors import InputError
from net2net.infer.inference import Group, Inference
from net2net.infer.units import Axis, Role
from net2net.maps.methods import Method
from net2net.plan.plan import Plan
from net2net.recipe.axis_map import NEW, AxisMap, Index
from net2net.trace.alone import ALONE
from net2net.trace.meta_copy import copied, named_tensors

Loss = Callable[[nn.Module], Tensor]
"""A loss of a model, on batches that the function knows."""

ROUNDS = 30
"""At most so many times is the loss computed."""
GAIN = 1e-4
"""Less than this fraction more of the squared gradient is not worth another round."""

NULL = 1e-6
"""Less than this fraction of the largest squared gradient counts as none: such a unit would learn a
thousand times slower than the first."""
LEAST = 0.1
"""So much of what was drawn is left in every reader."""
ROUNDINGS = 10
"""And so many roundings of the numbers' type, which squares are not known better than."""

EXAMPLE = "Give a function of a model: loss=lambda model: cross_entropy(model(x), labels)."


@dataclass(frozen=True, eq=False)
class _Side:
    """Positions of new units on one axis of a tensor: ``[units, positions of each]``, flat.
    ``old``: which elements of the tensor lie on no other new unit; None: no matter."""

    name: str
    dim: int
    positions: Tensor
    units: int
    old: Tensor | None = None

    def of(self, tensor: Tensor) -> Tensor:
        """``[units, elements of each]``."""
        chosen = tensor if self.old is None else tensor * self.old
        return chosen.index_select(self.dim, self.positions).movedim(self.dim, 0).reshape(
            self.units, -1
        )  # fmt: skip

    def put(self, tensor: Tensor, rows: Tensor) -> None:
        """The other way round, in place."""
        wide = tensor.movedim(self.dim, 0)
        wide[self.positions] = rows.reshape(len(self.positions), *wide.shape[1:]).to(tensor)


@dataclass(frozen=True, eq=False)
class _NewUnits:
    """The zero units of one group: where they are read, and where they are made."""

    read: list[_Side]
    made: list[_Side]

    def outgoing(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([side.of(tensors[side.name]) for side in self.read], 1)

    def everywhere(
        self, tensors: Mapping[str, Tensor], rows: Tensor, size: float, drawn: Tensor
    ) -> Tensor:
        """The rows, with at least ``LEAST`` of what was drawn in all that reads them: what makes
        them for one reader alone would get no gradient elsewhere."""
        parts = []
        for mine, first in zip(*(self._split(tensors, one) for one in (rows, drawn)), strict=True):
            least = LEAST * first
            short = mine.norm(dim=1, keepdim=True) < least.norm(dim=1, keepdim=True)
            parts.append(torch.where(short, least, mine))
        whole = torch.cat(parts, 1)
        same = (whole == rows).all(1, keepdim=True)
        return torch.where(same, rows, F.normalize(whole) * size)

    def put(self, tensors: Mapping[str, Tensor], rows: Tensor) -> None:
        for side, part in zip(self.read, self._split(tensors, rows), strict=True):
            side.put(tensors[side.name], part)

    def _split(self, tensors: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, ...]:
        """What each reader has of them."""
        sizes = [side.of(tensors[side.name]).shape[1] for side in self.read]
        return torch.split(rows, sizes, 1)


def check_loss(loss: Loss | None, method: Method) -> None:
    """Raises:
    InputError: the method needs a loss and there is none, or the other way round.
    """
    if method.needs_loss and not callable(loss):
        given = "none was given" if loss is None else f"loss is a {type(loss).__name__}"
        raise InputError(f"the method looks at the gradient of a loss, and {given}. {EXAMPLE}")
    if not method.needs_loss and loss is not None:
        raise InputError(
            "a loss was given, and the method looks at no gradient. Leave it out, or choose "
            'method="gradmax".'
        )


def steepest(
    plan: Plan, student: nn.Module, inference: Inference, loss: Loss,
    names: Mapping[str, str] | None = None,
) -> Plan:  # fmt: skip
    """The plan, with what reads zero units such that the loss's gradient on them is largest.

    Args:
        student: as the plan makes it.
        inference: of the student.
        names: what the inference calls a tensor → its name in the student, where they differ.

    Raises:
        InputError: the loss is no number, or cannot be differentiated twice.
    """
    model = copied(student).eval().requires_grad_(True)
    tensors = {name: one for name, one in named_tensors(model) if one.requires_grad}
    found = [
        units
        for group in inference.groups.values()
        if (units := _new_units(plan, inference, group, tensors, names or {})) is not None
    ]
    if not found:
        return plan
    with ALONE, torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(plan.seed)
        _iterate(model, found, tensors, loss)
    recipes = dict(plan.recipes)
    for name in {side.name for units in found for side in units.read}:
        axes = (_with_values(one, tensors[name]) for one in recipes[name].axes)
        recipes[name] = replace(recipes[name], axes=tuple(axes))
    return replace(plan, recipes=recipes)


def _new_units(
    plan: Plan, inference: Inference, group: Group, tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> _NewUnits | None:  # fmt: skip
    def maps(role: Callable[[Role], bool]) -> Iterator[tuple[Axis, str, AxisMap]]:
        for axis in group.places:
            name = names.get(axis.name, axis.name)
            known = plan.recipes[name].axes if name in tensors else ()
            for one in known:
                if one.dim == axis.dim and role(one.role):
                    yield axis, name, one

    units = group.components
    read = []
    for axis, name, one in maps(lambda role: role.reads):
        ids = inference.ids(inference.numbers[axis])
        if (new := np.unique(ids[(one.index == NEW) & np.isin(ids, units)])).size:
            units = new
            old = _old(plan.recipes[name].axes, one, tensors[name])
            read.append(_side(inference, axis, name, units, old))
    if not read:
        return None
    made = [
        _side(inference, axis, name, units, None)
        for axis, name, one in maps(lambda role: not role.reads)
    ]
    return _NewUnits(read, made)


def _side(
    inference: Inference, axis: Axis, name: str, units: Index, old: Tensor | None
) -> _Side:  # fmt: skip
    number = inference.numbers[axis]
    ids, slots = inference.ids(number), inference.slots(number)
    here = np.flatnonzero(np.isin(ids, units))
    order = here[np.lexsort((slots[here], ids[here]))]
    return _Side(name, axis.dim, torch.from_numpy(order), len(units), old)


def _old(axes: tuple[AxisMap, ...], mine: AxisMap, tensor: Tensor) -> Tensor:
    """Ones, and zeros where another axis has new units: what reads theirs of ours stays zero, so
    that the gradient is linear in all."""
    result = torch.ones_like(tensor, requires_grad=False)
    for one in axes:
        if one is not mine:
            new = torch.from_numpy(np.flatnonzero(one.index < 0)).to(tensor.device)
            result.index_fill_(one.dim, new, 0)
    return result


def _iterate(
    model: nn.Module, found: list[_NewUnits], tensors: Mapping[str, Tensor], loss: Loss
) -> None:
    """In place: the tensors that read new units."""
    drawn = []
    with torch.no_grad():
        for units in found:
            rows = units.outgoing(tensors)
            drawn.append(rows)
            units.put(tensors, rows)  # without what other new units read of these
    made = sorted({side.name for units in found for side in units.made})
    read = sorted({side.name for units in found for side in units.read})
    before = [0.0] * len(found)
    for left in reversed(range(ROUNDS)):
        outgoing, squares = _gradients(model, found, tensors, loss, made, read)
        done = all(new <= old * (1 + GAIN) for old, new in zip(before, squares, strict=True))
        before = squares
        with torch.no_grad():
            for units, first in zip(found, drawn, strict=True):
                rows = units.outgoing(outgoing)
                if not rows.any():  # no gradient comes to them
                    continue
                size = float(first.norm()) / len(first) ** 0.5
                if left and not done:
                    units.put(tensors, _orthonormal(rows, size, first))
                else:
                    rows = _alive(rows, units.outgoing(tensors), size, first)
                    units.put(tensors, units.everywhere(tensors, rows, size, first))
        if done:
            return


def _gradients(
    model: nn.Module, found: list[_NewUnits], tensors: Mapping[str, Tensor], loss: Loss,
    made: list[str], read: list[str],
) -> tuple[dict[str, Tensor], list[float]]:  # fmt: skip
    """M(Mᵀu) on what reads new units; and for each group the square of Mᵀu, which is on what makes
    them."""
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the others are differentiated once only
            value = loss(model)
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise InputError(f"the loss is {_told(value)}, and no number. {EXAMPLE}")
            first = _grad([value], [tensors[name] for name in made], None, create_graph=True)
            incoming = dict(zip(made, first, strict=True))
            wanted = {name: torch.zeros_like(one) for name, one in incoming.items()}
            for side in (side for units in found for side in units.made):
                mine = incoming[side.name].detach().index_select(side.dim, side.positions)
                wanted[side.name].index_copy_(side.dim, side.positions, mine)
            live = [name for name in made if incoming[name].requires_grad]
            second = [torch.zeros_like(tensors[name]) for name in read]
            if live:
                second = _grad(
                    [incoming[name] for name in live], [tensors[name] for name in read],
                    [wanted[name] for name in live], create_graph=False,
                )  # fmt: skip
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the loss of the student cannot be computed and differentiated twice: "
            f"{type(error).__name__}: {error}. {EXAMPLE} Or choose another method."
        ) from error
    squares = [
        sum(float(side.of(wanted[side.name]).double().square().sum()) for side in units.made)
        for units in found
    ]
    if not all(map(math.isfinite, squares)) or not all(one.isfinite().all() for one in second):
        raise InputError(
            f"the gradient of the loss is not finite. {EXAMPLE} Or choose another method."
        )
    return dict(zip(read, second, strict=True)), squares


def _grad(
    of: list[Tensor], by: list[Tensor], weights: list[Tensor] | None, *, create_graph: bool
) -> list[Tensor]:
    found = torch.autograd.grad(of, by, weights, create_graph=create_graph, allow_unused=True)
    return [torch.zeros_like(b) if g is None else g for g, b in zip(found, by, strict=True)]


def _orthonormal(rows: Tensor, size: float, drawn: Tensor) -> Tensor:
    """Rows of this size, at right angles; those beyond their number of elements as they were
    drawn."""
    result, some = drawn.clone(), rows[: rows.shape[1]].double()
    basis, _ = torch.linalg.qr(some.T)
    result[: len(some)] = (basis.T * size).to(result)
    return result


def _alive(rows: Tensor, now: Tensor, size: float, drawn: Tensor) -> Tensor:
    """The rows that there are, ``now``, if all have a gradient; else those which have, and for the
    rest what was drawn, with its part in the span of those made longer than that at right angles.

    Args:
        rows: M(Mᵀu), of ``now``'s u times ``size``.
    """
    many = min(rows.shape)
    basis = now[:many].double() / size
    product = rows[:many].double() @ basis.T / size
    squares, mixed = torch.linalg.eigh(product + product.T)
    least = max(NULL, ROUNDINGS * torch.finfo(rows.dtype).eps)
    some = squares > least * squares[-1]
    rank = int(some.sum())
    if rank in {0, many}:
        return now
    basis = mixed.T[some].flip(0) @ basis
    rest = drawn[rank:].double()
    inside = rest @ basis.T @ basis
    outside = rest - inside
    short, long = (one.norm(dim=1, keepdim=True) for one in (inside, outside))
    mixture = F.normalize(outside + inside * (1 + long / short.clamp_min(1e-12)))
    return (torch.cat([basis, mixture]) * size).to(now)


def _with_values(one: AxisMap, tensor: Tensor) -> AxisMap:
    new = np.flatnonzero(one.index == NEW)
    if not (one.role.reads and new.size):
        return one
    chosen = tensor.detach().index_select(one.dim, torch.from_numpy(new).to(tensor.device))
    values: NDArray[np.float32] = chosen.cpu().float().numpy()
    return replace(one, values=values)


def _told(value: object) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.40}"
