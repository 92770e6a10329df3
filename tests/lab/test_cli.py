"""The command line: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import net2net_lab
from net2net_lab import cli
from net2net_lab.experiments.run.train import Training


def starts(out: Path, *options: str) -> Result:
    words = ["reproduce", "starts", "--workers", "1", "--out", str(out)]
    return CliRunner().invoke(cli.main, [*words, *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "starts"
    assert starts(out, "--seeds", "1", "--steps", "12").exit_code == 0
    return out


def test_it_trains_prints_a_table_and_writes_its_files(tmp_path: Path) -> None:
    result = starts(tmp_path / "new" / "starts", "--seeds", "2", "--steps", "3")
    assert result.exit_code == 0, result.output
    for word in ("Net2WiderNet", "random pad", "from scratch", "Net2DeeperNet", "±", "step 3"):
        assert word in result.stdout
    assert "net2deeper-seed1" in result.stderr  # no bar without a terminal, but a line for each run
    names = {path.name for path in (tmp_path / "new" / "starts").iterdir()}
    plots = {f"{name}.{kind}" for name in ("wider", "deeper") for kind in ("png", "svg")}
    assert names == {"experiment.json", "runs", *plots, "tables.md", "report.html"}


def test_json_is_all_that_goes_to_stdout_and_renders_again(finished: Path) -> None:
    report = (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    result = starts(finished, "--render-only", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["seeds"] == [0]
    assert summary["checkpoints"] == [0, 1, 2, 12]
    assert [row["arm"] for row in summary["questions"][1]["rows"]] == ["net2deeper", "scratch_deep"]
    assert (finished / "report.html").read_text() == report


def test_rendering_what_was_never_run_is_one_sentence(tmp_path: Path) -> None:
    result = starts(tmp_path, "--render-only")
    assert result.exit_code == 1
    assert result.output.startswith("Error: There is no experiment in")
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations, calls = Training.evaluations, 0

    def interrupted(self: Training, measured: bool = False) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return evaluations(self, measured)

    options = ("--seeds", "1", "--steps", "12")
    monkeypatch.setattr(Training, "evaluations", interrupted)
    result = starts(tmp_path, *options)
    assert result.exit_code == 130
    assert result.stderr.endswith("Interrupted. The same command goes on from here.\n")
    assert len(list((tmp_path / "runs").glob("*.jsonl"))) == 2

    result = starts(tmp_path, *options, "--json")
    assert result.exit_code == 0
    assert result.stdout == starts(finished, "--render-only", "--json").stdout
    assert calls == 3 + 5  # seven runs: two were complete, five were done now


def test_version_and_help() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])
    assert result.exit_code == 0
    assert result.output.endswith(f", version {net2net_lab.__version__}\n")
    output = CliRunner().invoke(cli.main, ["--help"]).output
    assert all(
        f"\n  {name} " in output for name in ("demo", "race", "reproduce", "symmetry", "zoo")
    )


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "net2net_lab", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == f"python -m net2net_lab, version {net2net_lab.__version__}\n"
