"""Set-up shared by all tests: torchvision's operators, one thread, Hypothesis profiles."""

import importlib.util
from pathlib import Path

import hypothesis
import pytest
import torch

from net2net.infer import rules

pytest.register_assert_rewrite("tests.helpers")

_LIBRARIES: list[torch.library.Library] = []  # definitions last as long as their library object


def _torchvision_operators_load() -> bool:
    """Load torchvision's compiled operators as it would itself, without importing it: its import
    fails where they are missing, or were built for another torch."""
    spec = importlib.util.find_spec("torchvision")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in [*Path(folder).glob("_C*.so"), *Path(folder).glob("_C*.pyd")]:
            try:
                torch.ops.load_library(path)
            except OSError:
                continue
    return hasattr(torch.ops.torchvision, "nms")


if importlib.util.find_spec("torchvision") and not _torchvision_operators_load():
    lib = torch.library.Library("torchvision", "DEF")
    lib.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    lib.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(lib)

torch.set_num_threads(1)  # the networks here are tiny

# The suite draws the same examples every time, so that a change is judged by what it changed; new
# ones are hunted with --hypothesis-profile=hunt --hypothesis-seed=N.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("hunt", deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules registered in a test are gone after it."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test's own random numbers do not depend on which tests ran before."""
    torch.manual_seed(0)
