"""Symmetry: how far new units separate from the units that they are like.

Units that compute the same and get the same gradients stay the same for ever, and a student of
such units learns what its teacher could. A perceptron on digits is trained, widened by every
method, and trained on; the rows of its weights tell.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import net2net
from net2net.files import write_whole
from net2net_lab.experiments.data.data import Data, digits
from net2net_lab.experiments.models import seeded

STEPS = (1, 10, 100)
PIXELS, WIDTH, CLASSES, BATCH = 64, 32, 10, 64
TEACHER_STEPS = 300
ROWS = "0.weight"
"""The weight of the first hidden layer: what it reads does not grow, so that rows of copies are
equal."""

Optimiser = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

OPTIMISERS: dict[str, Optimiser] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, 0.1),
    "Adam": lambda parameters: torch.optim.Adam(parameters, 1e-3),
}

HEAD = f"""# Symmetry: which new units become units of their own

Made by `net2net-lab symmetry`. A perceptron of two hidden layers (GELU, {WIDTH} units each) learns
scikit-learn's digits in {TEACHER_STEPS} steps, is widened by two by every method of
`net2net.METHODS`, without noise, and learns on, in float64. Of every new unit of the first hidden
layer, the table tells how far the row of weights that makes it is from the row that is nearest at
the start (that of a copy's original; of a twin, where new units are alike two by two), relative to
the root mean square of all rows' norms: at the start, and after so many steps. It is the median
over the units, and of that over the seeds.

A zero that stays means that nothing the student learns can tell these units apart: of even copies
noise, dropout or another method has to do that.

"""


@dataclass(frozen=True)
class Separation:
    """How far the new units of one student are, the median; ``distances`` by step, with 0."""

    method: str
    optimiser: str
    seed: int
    distances: Mapping[int, float]


def measure(seeds: int) -> Iterator[Separation]:
    """Every method, optimiser and seed."""
    data = digits()
    for seed in range(seeds):
        teacher = _perceptron(seed)
        list(_trained(teacher, OPTIMISERS["SGD"], data, seed, [TEACHER_STEPS]))
        for method, way in net2net.METHODS.items():
            growth = net2net.widen(
                teacher, 2.0, _inputs(data.example), method=method, seed=seed,
                loss=_loss(data, seed) if way.needs_loss else None,
            )  # fmt: skip
            for name, optimiser in OPTIMISERS.items():
                yield Separation(method, name, seed, _distances(growth, optimiser, data, seed))


def _loss(data: Data, seed: int) -> Callable[[nn.Module], Tensor]:
    """On the first batch that the student will learn from."""
    images, classes = next(iter(data.epochs(BATCH, seed)))
    return lambda model: F.cross_entropy(model(_inputs(images)), classes)


def _perceptron(seed: int) -> nn.Module:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(PIXELS, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(),
            nn.Linear(WIDTH, CLASSES),
        )  # fmt: skip

    return seeded(build, seed).double()


def _inputs(images: Tensor) -> Tensor:
    return images.flatten(1).double()


def _trained(
    model: nn.Module, make: Optimiser, data: Data, seed: int, steps: Sequence[int]
) -> Iterator[int]:
    """Train, and stop at these steps."""
    optimiser = make(model.parameters())
    for step, (images, classes) in enumerate(data.epochs(BATCH, seed), start=1):
        optimiser.zero_grad()
        F.cross_entropy(model(_inputs(images)), classes).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step in steps:
            yield step
        if step >= max(steps):
            return


def _distances(growth: net2net.Growth, make: Optimiser, data: Data, seed: int) -> dict[int, float]:
    """By step, of a copy of the student."""
    model = copy.deepcopy(growth.model)
    weight = model.get_parameter(ROWS)
    new = _new_rows(growth)
    nearest = _nearest(weight.detach(), new)
    found = {0: _apart(weight.detach(), new, nearest)}
    for step in _trained(model, make, data, seed, STEPS):
        found[step] = _apart(weight.detach(), new, nearest)
    return found


def _new_rows(growth: net2net.Growth) -> Tensor:
    """The rows that are not the teacher's."""
    [made] = (axis for axis in growth.plan.recipes[ROWS].axes if axis.dim == 0)
    return torch.tensor((made.later_copies | (made.index < 0)).nonzero()[0])


def _nearest(weight: Tensor, new: Tensor) -> Tensor:
    """For every new row, which other row is nearest."""
    apart = (weight[new, None] - weight[None]).norm(dim=-1)  # cdist rounds what is equal
    apart[torch.arange(len(new)), new] = torch.inf
    nearest: Tensor = apart.argmin(1)
    return nearest


def _apart(weight: Tensor, new: Tensor, others: Tensor) -> float:
    """The median distance, relative to how long rows are."""
    apart = (weight[new] - weight[others]).norm(dim=1)
    return float(apart.median() / weight.norm(dim=1).square().mean().sqrt())


def table(found: Sequence[Separation]) -> str:
    """A row a method: the start, then every optimiser's steps; over the seeds, the median."""
    steps = sorted(found[0].distances)[1:]
    optimisers = list(dict.fromkeys(one.optimiser for one in found))
    names = [f"{name}, {step}" for name in optimisers for step in steps]
    lines = [["method", "start", *names], ["---"] * (2 + len(names))]
    for method in dict.fromkeys(one.method for one in found):
        cells = [method, _shown(found, method, optimisers[0], 0)]
        cells += [_shown(found, method, name, step) for name in optimisers for step in steps]
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _shown(found: Sequence[Separation], method: str, optimiser: str, step: int) -> str:
    values = [
        one.distances[step] for one in found if (one.method, one.optimiser) == (method, optimiser)
    ]
    value = median(values)
    return f"{value:.2g}" if value > ROUNDING else "0"


ROUNDING = 1e-9
"""What float64 leaves of a zero."""


def write(found: Sequence[Separation], records: Path, page: Path) -> None:
    """The records, one line each, and the page with the table."""
    for path in (records, page):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(records, "".join(json.dumps(asdict(one)) + "\n" for one in found))
    write_whole(page, HEAD + table(found))
