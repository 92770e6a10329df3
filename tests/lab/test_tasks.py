"""Tasks and their networks: a user's own files, the GPT, and what does not go together."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from net2net_lab.experiments.commands import _experiment
from net2net_lab.experiments.data.data import DataError
from net2net_lab.experiments.data.folders import image_folder
from net2net_lab.experiments.figures import FIGURES
from net2net_lab.experiments.gpt import GPT
from net2net_lab.experiments.methods import Origin, Role, deeper, deepest
from net2net_lab.experiments.networks import NETWORKS
from net2net_lab.experiments.plan import Experiment
from net2net_lab.experiments.run.results import load_results
from net2net_lab.experiments.schedule import OPTIMISERS, Schedule
from net2net_lab.experiments.tasks import TASKS, load
from net2net_lab.models import STEMS
from tests.helpers import randomise
from tests.lab.runs import reproduce

RNG = np.random.default_rng(0)


def images(folder: Path, *shape: int) -> Path:
    for number in range(16):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(RNG.integers(0, 256, shape, np.uint8)).save(path)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "mine.txt"
    path.write_text("".join(random.Random(0).choices("abcdefg ", k=20_000)))
    return path


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((5, 9), 8), ((27, 40), 8), ((90, 28), 28), ((200, 100), 32), ((224, 224), 224)],
)
def test_images_have_the_largest_size_that_scales_none_up(
    tmp_path: Path, shape: tuple[int, ...], pixels: int
) -> None:
    data = image_folder(images(tmp_path, *shape), tuple(STEMS))
    assert data.pixels == pixels and data.example.shape[2:] == (pixels, pixels)


def run(figure: str, data: Path, out: Path, *options: str) -> None:
    result = reproduce(
        figure, "--data", str(data), "--out", str(out),
        *"--seeds 1 --steps 2 --batch-size 4 --workers 1".split(), *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.output


def test_a_folder_of_ones_own_images(tmp_path: Path) -> None:
    run("explore", images(tmp_path / "photos", 8, 8, 3), tmp_path / "out", "--model", "convnet")
    results = load_results(tmp_path / "out")
    assert not results.missing
    assert results.of("teacher")[0].start.config["examples"] == [14, 3, 8, 8]


def test_a_text_of_ones_own_is_drawn_again_without_it(tmp_path: Path, text: Path) -> None:
    run("explore", text, tmp_path / "out")
    text.unlink()
    load.cache_clear()
    result = reproduce("render", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "mine.txt" in (tmp_path / "out" / "report.html").read_text()
    results = load_results(tmp_path / "out")
    assert results.experiment.model == "gpt" and not results.missing
    assert results.experiment.schedule == Schedule(
        2, 1, 4, OPTIMISERS["adamw"].lr, "adamw", "cosine"
    )


@pytest.mark.parametrize("figure", ["wider", "deeper", "explore"])
def test_students_of_the_gpt_are_what_the_figure_says(figure: str, text: Path) -> None:
    experiment = Experiment(figure, str(text), "gpt")
    teacher = randomise(experiment.teacher(0)).float().eval()
    assert isinstance(teacher, GPT)
    heads, blocks = teacher.blocks[0].attention.heads, len(teacher.blocks)
    assert heads == (2 if figure == "wider" else 4)
    x = experiment.data.example
    distinct = {(arm.method, arm.target): arm for arm in FIGURES[figure].arms.values()}
    for (name, target), arm in distinct.items():
        student = arm.student(Origin(experiment.network, teacher, experiment.data, 0)).eval()
        assert isinstance(student, GPT)
        sizes = student.blocks[0].attention.heads, len(student.blocks)
        more = target in (deeper, deepest)
        wanted = (heads, 2 * blocks) if more else (2 * heads, blocks)
        assert sizes == ((heads, blocks) if arm.role is Role.TEACHER else wanted), name
        with torch.no_grad():
            gap = (student(x) - teacher(x)).abs().max() / teacher(x).abs().max()
        kept = arm.role in (Role.NET2NET, Role.TEACHER)
        assert gap < 0.05 if kept else gap > 0.05, name


@pytest.mark.parametrize(("data", "model"), [("digits", "gpt"), ("text", "convnet"),
                                             ("text", "inception-2")])  # fmt: skip
def test_a_network_for_other_data_is_refused(data: str, model: str, text: Path) -> None:
    experiment = Experiment("wider", str(text) if data == "text" else data, model)
    with pytest.raises(DataError, match=r"These data are no (texts|images)\. Give --model"):
        experiment.teacher(0)


def planned(task: str, **options: object) -> Schedule:
    usual = dict.fromkeys(
        "data_dir model steps epochs batch_size optimizer lr decay autocast".split()
    )
    return _experiment(
        "wider", task, **{**usual, "seeds": 1, "device": "cpu", "compile": False, **options}
    ).schedule


def test_what_no_option_says_the_task_does() -> None:
    for name, task in TASKS.items():
        assert planned(name) == task.schedule
        assert task.network in NETWORKS
    assert planned("stdlib-text", optimizer="sgd").lr == OPTIMISERS["sgd"].lr
    assert planned("stdlib-text", lr=0.5).lr == 0.5
    assert planned("digits", steps=600).every == 2 * TASKS["digits"].schedule.every
    assert planned("digits", steps=5).every == 1


def test_an_epoch_of_less_than_a_batch_is_one_step(tmp_path: Path) -> None:
    folder = str(images(tmp_path, 8, 8))  # 14 to train on
    assert planned(folder, epochs=3, batch_size=64).steps == 3
    assert planned(folder, epochs=3, batch_size=4).steps == 9
