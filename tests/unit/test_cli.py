"""The library's command line: what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
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
    told = json.loads((target / "net2net.json").read_text("utf-8"))
    assert told["command"].startswith(f"net2net grow {small} {target} --set n_embd=48")
    assert told["command"] in (target / "README.md").read_text("utf-8")
    same = run("verify", str(small), str(target))
    assert same.exit_code == 0 and "largest difference" in same.output
    assert "transformer.wte" in run("inspect", str(target)).output
    again = run("grow", str(small), str(target), *arguments)
    assert again.exit_code == 1 and "is there already" in again.output


def test_a_folder_grows_by_widths(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "large"
    asked = "--width", "transformer.h.*.mlp.c_fc=60"
    result = run("grow", str(small), str(target), *asked, "--json", "--no-verify", "--jobs", "3")
    assert result.exit_code == 0, result.output
    report = json.loads(result.output[result.output.index("{") :])
    assert {row["new"] for row in report["rows"]} == {60} and report["parity"] is None
    sampled = run("grow", str(small), str(tmp_path / "more"), *asked, "--verify", "sampled")
    assert sampled.exit_code == 0 and "are as planned" in sampled.output
    assert "verified: no" in sampled.output  # nothing ran


def test_what_growing_would_cost(small: Path) -> None:
    result = run("estimate", str(small), "--set", "n_embd=48", "--set", "n_head=6")
    assert result.exit_code == 0, result.output
    assert "FLOPs for each token" in result.output and "cache" in result.output


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


def test_a_budget_is_reached_and_a_dry_run_writes_nothing(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    before = sum(one.numel() for one in DECODERS["gpt2"].model().parameters())
    asked = "--params", str(2 * before), "--multiple-of", "8"
    result = run("grow", str(small), str(target), *asked, "--dry-run", "--json")
    assert result.exit_code == 0 and not target.exists(), result.output
    found = json.loads(result.stdout)
    grown = run("grow", str(small), str(target), *asked)
    assert grown.exit_code == 0, grown.output
    tensors = load_file(target / "model.safetensors").values()
    after = sum(one.numel() for one in tensors)
    assert found["report"]["parameters"] == [before, after] and after >= 2 * before
    assert found["numbers"]["n_embd"] % 8 == 0


def test_a_stack_grows_and_a_page_shows_it(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "grown.html"
    asked = "--depth", "transformer.h=1", "--report", str(page)
    result = run("grow", str(small), str(tmp_path / "deep"), *asked)
    assert result.exit_code == 0, result.output
    assert "transformer.h" in page.read_text("utf-8")
    config = json.loads((tmp_path / "deep" / "config.json").read_text("utf-8"))
    assert config["n_layer"] == DECODERS["gpt2"].model().config.n_layer + 1
    drawn = run("inspect", str(small), "--html", str(tmp_path / "spaces.html"))
    assert drawn.exit_code == 0
    assert "transformer.h.0.mlp.c_fc" in (tmp_path / "spaces.html").read_text("utf-8")


def test_a_growth_as_a_file(small: Path, tmp_path: Path) -> None:
    recipe, target = tmp_path / "recipe.yaml", tmp_path / "target"
    recipe.write_text(f"preset: lemon\nsource: {small}\ngrowth:\n  widths: 2.0\n")
    result = run("grow", "--recipe", str(recipe), str(target))
    assert result.exit_code == 0, result.output
    assert "by uneven" in result.output and (target / "recipe.yaml").exists()

    recipe.write_text("preset: lemon\ngrowth:\n  width: 2.0\n")
    wrong = run("grow", "--recipe", str(recipe), str(small), str(tmp_path / "other"))
    assert wrong.exit_code == 1 and not (tmp_path / "other").exists()
    assert "line 3" in wrong.output and "'growth.width'" in wrong.output


def test_new_words_are_what_was_said(small: Path, tmp_path: Path) -> None:
    before = load_file(small / "model.safetensors")["transformer.wte.weight"]
    words = len(before)
    asked = "--set", f"vocab_size={words + 4}", "--set", "n_embd=48", "--set", "n_head=6"
    result = run("grow", str(small), str(tmp_path / "more"), *asked, "--new-outputs", "mean")
    assert result.exit_code == 0, result.output
    assert f"positions {words} to {words + 3} of axis 2 are new" in result.output
    rows = load_file(tmp_path / "more" / "model.safetensors")["transformer.wte.weight"]
    torch.testing.assert_close(rows[words:], rows[:words].mean(0).expand(4, -1))

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"new_outputs: zero\ngrowth:\n  config: {{vocab_size: {words + 4}}}\n")
    by_file = run(
        "grow", "--recipe", str(recipe), str(small), str(tmp_path / "file"), "--no-verify"
    )
    assert by_file.exit_code == 0, by_file.output
    rows = load_file(tmp_path / "file" / "model.safetensors")["transformer.wte.weight"]
    assert torch.equal(rows[:words], before) and not rows[words:].any()

    unsaid = run("grow", str(small), str(tmp_path / "none"), *asked[:2])
    assert unsaid.exit_code == 1 and 'new_outputs="zero"' in unsaid.output
    useless = "--width", "1.5", "--new-outputs", "mean"
    none = run("grow", str(small), str(tmp_path / "none"), *useless)
    assert none.exit_code == 1 and "--set vocab_size" in none.output


def test_a_state_dict_grows_with_its_class_and_by_a_plan(tmp_path: Path) -> None:
    model, inputs = linear_model(), torch.randn(2, 3)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    grown = net2net.widen(model, 2.0, inputs)
    grown.plan.save(tmp_path / "plan.json")
    words = (str(tmp_path / name) for name in ("plan.json", "model.safetensors", "out.safetensors"))
    assert run("plan", "apply", *words).exit_code == 0
    made = load_file(tmp_path / "out.safetensors")
    for name, tensor in grown.model.state_dict().items():
        assert torch.equal(made[name], tensor)

    text = (tmp_path / "plan.json").read_text("utf-8")
    (tmp_path / "plan.json").write_text(text.replace('"seed": 0', '"seed": 1'), "utf-8")
    refused = run("plan", "show", str(tmp_path / "plan.json"))
    assert refused.exit_code == 1
    assert run("plan", "sign", str(tmp_path / "plan.json")).exit_code == 0
    assert run("plan", "show", str(tmp_path / "plan.json")).exit_code == 0

    save_file({"x": inputs}, tmp_path / "inputs.safetensors")
    one = str(tmp_path / "model.safetensors"), str(tmp_path / "wide.safetensors")
    how = "--class", f"{__name__}:linear_model", "--inputs", str(tmp_path / "inputs.safetensors")
    result = run("grow", *one, *how, "--width", "2.0")
    assert result.exit_code == 0, result.output
    card = (tmp_path / "wide.safetensors" / "README.md").read_text("utf-8")
    assert "base_model: model.safetensors" in card and "library_name" not in card
    assert '`net2net.Plan.load("plan.json").apply(model)`' in card


def test_a_timm_folder_grows_and_keeps_its_card(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    small = tmp_path / "small"
    small.mkdir()
    save_file(timm.create_model("test_vit", num_classes=3).state_dict(),
              small / "model.safetensors")  # fmt: skip
    config = {"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": {}}
    (small / "config.json").write_text(json.dumps(config), "utf-8")
    (small / "README.md").write_text("---\nlicense: mit\n---\nOf tests.\n", "utf-8")
    result = run("grow", str(small), str(tmp_path / "large"), "--width", "2.0")
    assert result.exit_code == 0, result.output
    card = (tmp_path / "large" / "README.md").read_text("utf-8")
    assert "library_name: timm" in card and "license: mit" in card
    assert card.index("## How it is read") < card.index("Of tests.")


class Linears(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = super().forward(x)
        return result


def linear_model() -> nn.Module:
    torch.manual_seed(0)
    return Linears(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_checkpoint_grows_with_its_class(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    model, inputs = linear_model(), torch.randn(2, 3)
    dcp.save({"model": model.state_dict()}, checkpoint_id=tmp_path / "small", no_dist=True)
    save_file({"x": inputs}, tmp_path / "inputs.safetensors")
    how = "--class", f"{__name__}:linear_model", "--inputs", str(tmp_path / "inputs.safetensors")
    small, large = str(tmp_path / "small"), str(tmp_path / "large")
    assert "nothing says of which model" in run("grow", small, large, "--width", "2.0").output
    result = run("grow", small, large, *how, "--width", "2.0")
    assert result.exit_code == 0, result.output
    same = run("verify", small, large, *how)  # the target's plan makes its model
    assert same.exit_code == 0, same.output
    again = run("grow", large, str(tmp_path / "larger"), *how, "--width", "1.5", "--no-verify")
    assert again.exit_code == 0, again.output
    assert run("verify", small, str(tmp_path / "larger"), *how).exit_code == 0
    told = json.loads((tmp_path / "larger" / "net2net.json").read_text("utf-8"))
    assert ".metadata" in told["files"] and told["plan"]["kind"] == "widen"


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_distributed_target_is_not_there_without_its_lineage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.distributed.checkpoint as dcp

    from net2net.hf import source

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    model = linear_model()
    dcp.save({"model": model.state_dict()}, checkpoint_id=tmp_path / "small", no_dist=True)
    save_file({"x": torch.randn(2, 3)}, tmp_path / "inputs.safetensors")
    how = "--class", f"{__name__}:linear_model", "--inputs", str(tmp_path / "inputs.safetensors")
    monkeypatch.setattr(source, "write_lineage", stopped)
    run("grow", str(tmp_path / "small"), str(tmp_path / "large"), *how, "--width", "2.0")
    assert not (tmp_path / "large").exists()


def test_shells_complete_options() -> None:
    from click.shell_completion import BashComplete

    shell = BashComplete(cli.main, {}, "net2net", "_NET2NET_COMPLETE")
    assert "grow" in {one.value for one in shell.get_completions([], "gr")}
    found = {one.value for one in shell.get_completions(["grow"], "--ver")}
    assert found == {"--verify"}
    kinds = {one.value for one in shell.get_completions(["grow", "--verify"], "")}
    assert kinds == {"whole", "blocks", "sampled"}
