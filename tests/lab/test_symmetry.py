"""Symmetry: the table of how far new units separate, and what is known of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import net2net
from net2net_lab import cli
from net2net_lab.experiments import symmetry
from net2net_lab.experiments.symmetry import Separation, _apart, _nearest, table


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "TEACHER_STEPS", 3)
    monkeypatch.setattr(symmetry, "STEPS", (1, 4))


@pytest.mark.usefixtures("tiny")
def test_the_command_tables_every_method(tmp_path: Path) -> None:
    page = tmp_path / "new" / "symmetry.md"
    command = ["symmetry", "--seeds", "1", "--out", str(page)]
    result = CliRunner().invoke(cli.main, command, catch_exceptions=False)
    assert result.exit_code == 0
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["method", "start", "SGD, 1", "SGD, 4", "Adam, 1", "Adam, 4"]
    assert [row[0] for row in cells[2:]] == list(net2net.METHODS)
    assert {len(row) for row in cells} == {6}
    shown = {row[0]: [float(cell) for cell in row[1:]] for row in cells[2:]}
    assert shown["replicate"] == [0.0] * 5
    assert shown["one_sided"][0] == 0 and min(shown["one_sided"][1:]) > 0
    assert min(shown["fresh"]) > 0.1
    assert result.stdout.splitlines() == [*lines, str(page)]
    records = [json.loads(line) for line in page.with_suffix(".jsonl").read_text().splitlines()]
    assert len(records) == 2 * len(net2net.METHODS)
    assert {tuple(record["distances"]) for record in records} == {("0", "1", "4")}


def test_the_nearest_other_row_is_a_twin() -> None:
    rows = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 3.0], [3.0, 0.0]])
    new = torch.tensor([2, 3])
    nearest = _nearest(rows, new)
    assert nearest.tolist() == [1, 0]
    assert _apart(rows, new, nearest) == 0
    rows[2, 0] = rows[3, 1] = 4.0  # norms 3, 3, 5, 5
    assert _apart(rows, new, nearest) == pytest.approx(4 / 17**0.5)


def test_the_table_shows_the_median_of_the_seeds() -> None:
    found = [
        Separation("replicate", name, seed, {0: 1e-16, 5: float(seed)})
        for name in ("SGD", "Adam")
        for seed in range(3)
    ]
    assert table(found).splitlines()[2] == "| replicate | 0 | 1 | 1 |"


def test_the_page_of_the_documents_is_that_of_its_records() -> None:
    page = Path(__file__).parents[2] / "docs" / "symmetry.md"
    found = [
        Separation(**{**json.loads(line), "distances": distances})
        for line in page.with_suffix(".jsonl").read_text("utf-8").splitlines()
        for distances in [{int(k): v for k, v in json.loads(line)["distances"].items()}]
    ]
    assert page.read_text("utf-8") == symmetry.HEAD + table(found)
    assert {one.method for one in found} == {*net2net.METHODS}
