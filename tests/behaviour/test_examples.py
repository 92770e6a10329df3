"""The scripts in examples/ run, print what they did, and stay short."""

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


def run(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    return capsys.readouterr().out


def test_there_are_eight_and_they_fit_on_a_page():
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in FOLDER.iterdir()}
    assert lines.keys() == {
        "accelerate_loop.py", "cnn.py", "fsdp2_grow.py", "gpt2.py", "lightning_style.py", "loop.py",
        "own_operation.py", "trainer.py",
    }  # fmt: skip
    assert max(lines.values()) <= 60


def test_a_cnn_grows_while_it_trains(capsys):
    pytest.importorskip("sklearn")
    printed = run("cnn.py", capsys)
    found = dict(re.findall(r"^([\w ]+): (0\.\d+)$", printed, re.MULTILINE))
    assert list(found) == ["teacher", "wider", "deeper", "trained on"]
    teacher, wider, deeper, later = map(float, found.values())
    assert teacher > 0.5
    assert abs(wider - teacher) < 0.02 and abs(deeper - wider) < 0.02
    assert later > teacher


def test_a_gpt2_gets_wider_and_deeper(capsys):
    pytest.importorskip("transformers")
    printed = run("gpt2.py", capsys)
    assert "config: 64 wide, 8 heads" in printed
    assert printed.count("verified: largest difference") == 2
    assert printed.splitlines()[-1].startswith("largest difference")


@pytest.mark.filterwarnings("ignore")  # the Trainer's own
def test_a_trainer_goes_on_with_a_larger_model(capsys):
    pytest.importorskip("accelerate")
    printed = run("trainer.py", capsys)
    assert "verified: largest difference" in printed
    assert printed.splitlines()[-1] == "trained on to step 20"


def losses(printed: str) -> list[float]:
    assert "verified: largest difference" in printed
    return [float(one) for one in re.findall(r"loss (\d\S+)", printed)]


def test_a_plain_loop_grows_and_resumes(capsys):
    first, before, after, last = losses(run("loop.py", capsys))
    assert last < after < 1.1 * before < first


def test_a_loop_with_accelerate_grows_and_resumes(capsys):
    pytest.importorskip("accelerate")
    printed = run("accelerate_loop.py", capsys)
    before, after = losses(printed)[:2]
    assert after < before and printed.endswith("the same loss True\n")


def test_a_callback_in_the_form_of_lightning(capsys):
    printed = run("lightning_style.py", capsys)
    assert losses(printed)[0] < 0.1 and "what of 3 parameters is new" in printed


def test_an_operation_of_ones_own(capsys, registry):
    printed = run("own_operation.py", capsys)
    assert "without a rule: operation example::scaled_square" in printed
    assert "0      8 → 12" in printed and "verified" in printed
