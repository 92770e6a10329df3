"""The library's command line: what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import net2net
from net2net import Plan, cli
from tests.any_width import DECODERS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def test_a_plan_is_shown(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    path = tmp_path / "plan.json"
    net2net.widen(model, {"0": 7}, torch.randn(2, 3)).plan.save(path)
    result = run("plan", "show", str(path))
    assert result.exit_code == 0
    assert result.output == f"{Plan.load(path)}\n"
    assert "4 → 7" in result.output


def test_what_is_no_plan_ends_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    result = run("plan", "show", str(path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: this is not a plan")
    assert "Traceback" not in result.output
    missing = run("plan", "show", str(tmp_path / "none.json"))
    assert missing.exit_code == 2
    assert "does not exist" in missing.output


@pytest.mark.parametrize(
    "line", ["demo", "demo --seeds 1", "reproduce wider --data digits", "zoo --render-only"]
)
def test_what_went_to_the_lab_says_so(line: str) -> None:
    result = run(*line.split())
    name = line.split()[0]
    assert result.exit_code == 1
    assert result.output == (
        f"Error: 'net2net {name}' is 'net2net-lab {name}' now, in a distribution of its own "
        "(from a copy of the repository: pip install ./lab).\n"
    )


def test_version_and_help() -> None:
    assert run("--version").output.endswith(f", version {net2net.__version__}\n")
    result = run("--help")
    assert result.exit_code == 0
    assert "\n  plan " in result.output


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "net2net", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == f"python -m net2net, version {net2net.__version__}\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models") / "small"
    DECODERS["gpt2"].model().save_pretrained(folder)
    return folder


def test_a_folder_grows(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "large"
    arguments = "--set", "n_embd=48", "--set", "n_head=6", "--set", "n_layer=3"
    result = run("grow", str(small), str(target), *arguments, "--method", "fresh")
    assert result.exit_code == 0, result.output
    assert "n_embd=48, n_head=6, n_layer=3" in result.output and "written to" in result.output
    same = run("verify", str(small), str(target))
    assert same.exit_code == 0 and "largest difference" in same.output
    assert "transformer.wte" in run("inspect", str(target)).output
    again = run("grow", str(small), str(target), *arguments)
    assert again.exit_code == 1 and "is there already" in again.output


def test_a_folder_grows_by_widths(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "large"
    asked = "--width", "transformer.h.*.mlp.c_fc=60"
    result = run("grow", str(small), str(target), *asked, "--json", "--no-verify")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output[result.output.index("{") :])
    assert {row["new"] for row in report["rows"]} == {60}


def test_folders_that_differ(small: Path, tmp_path: Path) -> None:
    other = DECODERS["gpt2"].model()
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    other.save_pretrained(tmp_path / "other")
    assert run("verify", str(small), str(tmp_path / "other")).exit_code == 1


@pytest.mark.parametrize("words", [
    ("--width", "a"), ("--width", "1.5", "--width", "2"), ("--set", "n_embd"),
    ("--method", "none"), (),
])  # fmt: skip
def test_what_cannot_be_asked_for(small: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run("grow", str(small), str(tmp_path / "large"), *words)
    assert result.exit_code in {1, 2} and "Error" in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())
