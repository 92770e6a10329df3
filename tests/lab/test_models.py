"""InceptionBN: the paper's depth, and all of its growths, inferred."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from net2net.errors import UnsupportedModelError
from net2net_lab.models import STEMS, InceptionBN, inception_bn
from tests.helpers import deepen, noise, randomise, widen


def depths(model: InceptionBN) -> tuple[int, int]:
    """Layers with weights on the shortest and on the longest path, without the classifier."""

    def convolutions(part: nn.Module) -> int:
        return sum(isinstance(inner, nn.Conv2d) for inner in part.modules())

    modules = [module for stage in model.stages for module in stage]
    paths = [[convolutions(p) for p in (m.short, m.middle, m.long)] for m in modules]
    stem = convolutions(model.stem)
    return stem + sum(1 + min(p) for p in paths), stem + sum(1 + max(p) for p in paths)


def test_the_standard_net_is_as_deep_as_the_papers() -> None:
    assert depths(inception_bn()) == (25, 47)


@pytest.mark.parametrize("size", STEMS)
def test_images_of_every_size(size: int) -> None:
    model = inception_bn(size=size, in_channels=3, classes=5, modules=4, stem=4).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, 5)


def test_a_factor_leaves_the_stem_as_it_is() -> None:
    narrow, standard = inception_bn(widths=0.3**0.5), inception_bn()
    assert narrow.stem[2][0].out_channels == standard.stem[2][0].out_channels
    inside = [part.stages[0][0].entry[0].out_channels for part in (narrow, standard)]
    assert inside[0] == pytest.approx(0.3**0.5 * inside[1], rel=0.03)


@pytest.mark.parametrize(
    "wrong", [{"size": 64}, {"modules": 1}, {"widths": [8]}, {"widths": 0.001}, {"pairs": 0}]
)
def test_what_builds_no_net_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UnsupportedModelError):
        inception_bn(**wrong)  # type: ignore[arg-type]


def small() -> nn.Module:
    return randomise(inception_bn(size=8, modules=2, stem=4, widths=[6, 8]))


def test_the_narrow_teacher_becomes_the_standard_student() -> None:
    growth = widen(small(), {"stages.*": 1.8}, noise(2, 1, 8, 8))
    grown = {row.name for row in growth.report.rows}
    assert grown and not any(name.startswith("stem") for name in grown)


def test_two_more_pairs_wherever_one_stands() -> None:
    growth = deepen(small(), {"stages.*.middle.0": 2, "stages.*.long.1": 2}, noise(2, 1, 8, 8))
    assert len(growth.report.rows) == 4
    assert depths(growth.model)[1] == depths(small())[1] + 2 * 4
