"""Widths that a configuration can say: factors go to them, and other integers are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import net2net
from net2net.errors import WidthError
from tests.helpers import assert_exact, noise, randomise, refused, tokens, widen
from tests.unit.apply.test_configs import Config, Configured, configured


def sizes(growth: net2net.Growth) -> dict[str, int]:
    return {row.name: row.new for row in growth.report.rows}


def test_a_factor_goes_to_the_nearest_that_the_config_can_say() -> None:
    """The width of 8 is two heads of 4, so it can be 12 or 16, and one number says it and ``mix``;
    as does another two inner widths at once."""
    teacher, x = configured(), noise(4, 6)
    growth = widen(teacher, {"embed": 1.37, "mix": 1.5, "layers.1": 1.3}, x, loadable=True)
    assert sizes(growth) == {"embed": 12, "mix": 12, "layers.1": 16}
