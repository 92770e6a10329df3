"""From size to size of timm's families: what is measured, kept and drawn."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

from net2net_lab import cli
from net2net_lab.sizes import run
from net2net_lab.sizes.measure import Found, measure
from net2net_lab.sizes.pairs import Pair, pairs
from net2net_lab.sizes.table import table
from tests.helpers import noise, randomise

PAIR = Pair("vit, wider", "vit_tiny", "vit_small")


def normed(width: int) -> nn.Module:
    """A norm behind a norm, which bears whole multiples only."""
    layers = nn.Linear(3, width), nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(width, 2)
    return randomise(nn.Sequential(*layers))


def test_what_comes_of_a_pair() -> None:
    twice = measure(PAIR, normed(4), normed(8), noise(5, 3))
    assert twice.difference is not None and twice.difference < 1e-12 and not twice.why
    assert twice.parameters == (42, 82) and twice.pair == PAIR
    between = measure(PAIR, normed(4), normed(6), noise(5, 3))
    assert between.difference is None and between.closest and "8 units would do" in between.why
    other = measure(PAIR, normed(4), nn.Linear(3, 2).double(), noise(5, 3))
    assert other.why and other.closest is None


def test_the_table() -> None:
    exact = Found("vit, wider", "a", "b", (10, 2000), 2e-16)
    text = table([exact, Found("vit", "a", "c", (1, 2), None, "x|y")])
    assert "2 pairs of 1 families: 1 exact." in text
    assert "| vit | a | b | 10 → 2,000 | 2.0e-16 |  |  |" in text and "x\\|y" in text


def test_what_is_measured_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Pair] = []

    def found(wanted: list[Pair], seconds: float) -> Any:
        asked.extend(wanted)
        return (Found(one.family, one.small, one.large, (1, 2), 0.0) for one in wanted)

    monkeypatch.setattr(run, "measured", found)
    page = tmp_path / "sizes.md"
    for more in ((), (), ("--again",)):
        result = CliRunner().invoke(cli.main, ["sizes", "--only", "vg?", "--out", str(page), *more])
        assert result.exit_code == 0, result.output
    mine = [one for one in pairs() if one.family == "vgg"]
    assert asked == mine * 2 and list(run.read(page.with_suffix(".jsonl"))) == mine
    assert f"{len(mine)} pairs of 1 families: {len(mine)} exact." in page.read_text(
        encoding="utf-8"
    )


def test_a_process_that_fails_is_a_record() -> None:
    [late] = run.measured([PAIR], 0.01)
    assert late.why == "not measured: it takes more than 0.01 s"
