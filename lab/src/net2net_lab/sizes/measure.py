"""One pair: ``python -m net2net_lab.sizes.measure FAMILY SMALL LARGE``.

Prints one JSON object, the fields of ``Found``, as the last line.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

import net2net
from net2net.errors import Net2NetError
from net2net.finish import count_parameters
from net2net_lab.sizes.pairs import Pair
from net2net_lab.zoo.environment import prepare
from net2net_lab.zoo.randomise import randomise

EDGES = (64, 96, 128, 192, 224, 256, 288, 384)
"""Sizes of pictures that are tried."""


@dataclass(frozen=True)
class Found:
    """What came of a pair.

    Attributes:
        parameters: of both.
        difference: the largest relative difference of an exact transfer, in float64; None: refused.
        why: why it was refused, or why it could not be tried.
        closest: the same with ``exact=False``, where it was refused.
    """

    family: str
    small: str
    large: str
    parameters: tuple[int, int] = (0, 0)
    difference: float | None = None
    why: str = ""
    closest: float | None = None

    @property
    def pair(self) -> Pair:
        """Of what."""
        return Pair(self.family, self.small, self.large)

    def __str__(self) -> str:
        outcome = f"{self.difference:.1e}" if self.difference is not None else self.why
        return f"{self.small} → {self.large}: {outcome}"


def measure(pair: Pair, teacher: nn.Module, student: nn.Module, picture: Tensor) -> Found:
    """Transfer, and if that is refused come close."""
    counts = count_parameters(teacher), count_parameters(student)
    names = pair.family, pair.small, pair.large
    try:
        return Found(*names, counts, _difference(teacher, student, picture, exact=True))
    except Net2NetError as error:
        why = str(error)
    try:
        return Found(*names, counts, None, why, _difference(teacher, student, picture, exact=False))
    except Net2NetError:
        return Found(*names, counts, None, why)


def _difference(teacher: nn.Module, student: nn.Module, picture: Tensor, *, exact: bool) -> float:
    parity = net2net.transfer(
        teacher, student, picture, method="replicate", exact=exact
    ).report.parity
    return float("nan") if parity is None else parity.max_rel


def built(pair: Pair) -> tuple[nn.Module, nn.Module, Tensor]:
    """Both in float64, the small one with values that hide nothing, and a picture for both."""
    import timm

    teacher, student = (
        timm.create_model(name, pretrained=False, num_classes=7).double().eval()
        for name in (pair.small, pair.large)
    )
    configs: list[dict[str, Any]] = [vars(model)["pretrained_cfg"] for model in (teacher, student)]
    own = max(config["input_size"][-1] for config in configs)
    fixed = any(config.get("fixed_input_size") for config in configs)
    for edge in (own,) if fixed else (*EDGES, own):
        picture = torch.randn(1, 3, edge, edge, dtype=torch.float64)
        try:
            with torch.no_grad():
                teacher(picture)
                student(picture)
        except Exception as error:  # too small for a window, a stride or a pooled map
            last = error
        else:
            return randomise(teacher), student, picture
    raise last


def main(family: str, small: str, large: str) -> None:
    """Measure, and write what was found."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    prepare()
    pair = Pair(family, small, large)
    with redirect_stdout(sys.stderr):
        found = measure(pair, *built(pair))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
