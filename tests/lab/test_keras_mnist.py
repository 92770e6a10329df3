"""The example of Keras: its network grows exactly, and its baselines keep what they should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from net2net_lab.experiments import keras_mnist
from net2net_lab.experiments.data.data import InMemory, mnist5k
from net2net_lab.experiments.figures import FIGURES
from net2net_lab.experiments.methods import Origin, Role
from net2net_lab.experiments.models import seeded
from net2net_lab.experiments.plan import Experiment
from net2net_lab.experiments.run.results import load_results
from net2net_lab.experiments.tasks import TASKS, load
from tests.helpers import deepen, noise, randomise, widen
from tests.lab.runs import reproduce


@pytest.fixture
def teacher() -> nn.Module:
    return randomise(keras_mnist.network())


def shapes(model: nn.Module) -> list[torch.Size]:
    return [tensor.shape for tensor in model.state_dict().values()]


def test_the_students_of_net2net_are_those_of_the_example(teacher: nn.Module) -> None:
    inputs = noise(2, 1, 28, 28)
    wider = widen(teacher, keras_mnist.WIDER, inputs).model
    assert repr(wider) == repr(keras_mnist.network(128))
    deeper = deepen(teacher, keras_mnist.DEEPER, inputs).model
    assert shapes(deeper) == shapes(keras_mnist.network(deeper=True))


def test_a_random_pad_keeps_the_teacher_beside_new_units() -> None:
    teacher = seeded(keras_mnist.network, 0)
    student = keras_mnist.random_pad(teacher, 1)
    assert shapes(student) == shapes(keras_mnist.network(128))
    old, new = teacher.state_dict(), student.state_dict()
    assert torch.equal(new["conv1.weight"][:64], old["conv1.weight"])
    assert torch.equal(new["conv2.weight"][:, :64], old["conv2.weight"])
    assert torch.equal(new["conv2.bias"], old["conv2.bias"])
    assert (new["conv1.bias"][64:] == 0.1).all() and (new["fc1.bias"][64:] == 0.1).all()
    for name, pad in {
        "conv1.weight": new["conv1.weight"][64:], "conv2.weight": new["conv2.weight"][:, 64:],
        "fc1.weight": new["fc1.weight"][64:], "fc2.weight": new["fc2.weight"][:, 64:],
    }.items():  # fmt: skip
        assert pad.std() == pytest.approx(0.1, rel=0.15), name
        assert pad.mean().abs() < 0.02, name
    again, other = (keras_mnist.random_pad(teacher, seed).state_dict() for seed in (1, 2))
    assert torch.equal(again["conv1.weight"], new["conv1.weight"])
    assert not torch.equal(other["conv1.weight"], new["conv1.weight"])


def test_new_layers_at_random_stand_between_the_teachers() -> None:
    teacher = seeded(keras_mnist.network, 0)
    student = keras_mnist.random_init(teacher, 1)
    old, new = teacher.state_dict(), student.state_dict()
    assert all(torch.equal(new[name], old[name]) for name in old)
    assert new.keys() - old.keys() == {
        f"{layer}.{kind}" for layer in ("conv2_deeper", "fc1_deeper") for kind in ("weight", "bias")
    }
    x = torch.randn(2, 1, 28, 28)
    assert not torch.allclose(student(x), teacher(x), atol=0.1)


def test_pixels_lie_between_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (30, 1, 28, 28)).float()
    pixels[0, 0, 0, :2] = torch.tensor([0.0, 255.0])
    y = torch.arange(30) % 10
    x = (pixels - 33) / 78
    monkeypatch.setattr(
        keras_mnist, "mnist5k", lambda: InMemory(x[:20], y[:20], x[20:], y[20:], 10)
    )
    data = keras_mnist.data()
    assert torch.allclose(data.train_x, pixels[:20] / 255, atol=1e-6)
    assert torch.allclose(data.val_x, pixels[20:] / 255, atol=1e-6)
    assert torch.equal(data.train_y, y[:20]) and data.classes == 10


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its data, with fewer images to validate on."""
    data = replace(mnist5k(), val_x=mnist5k().val_x[:50], val_y=mnist5k().val_y[:50])
    monkeypatch.setattr(keras_mnist, "mnist5k", lambda: data)
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.mark.usefixtures("few")
def test_its_figure_has_its_settings(tmp_path: Path) -> None:
    refused = reproduce("keras", "--data", "digits")
    assert refused.exit_code == 2 and "No such option" in refused.output
    result = reproduce("keras", *f"--seeds 1 --steps 2 --workers 1 --out {tmp_path}".split())
    assert result.exit_code == 0, result.output
    results = load_results(tmp_path)
    assert results.experiment.network.noise == 0.05
    usual = TASKS["keras-mnist"].schedule
    assert usual.batch_size == 32 and usual.steps * 32 == 3 * results.experiment.data.size
    assert results.experiment.schedule == replace(usual, steps=2, every=1)
    rates = {key.arm: {one.lr for one in run.evaluations} for key, run in results.runs.items()}
    assert rates.pop("teacher") == {0.01}
    assert len(rates) == 4 and all(found == {0.001} for found in rates.values())


def test_its_figures_students_start_as_they_say(teacher: nn.Module) -> None:
    teacher = teacher.float().eval()
    experiment = Experiment("keras", "keras-mnist", "keras")
    origin = Origin(experiment.network, teacher, experiment.data, 0)
    x = experiment.data.val_x[:50]
    for name, arm in FIGURES["keras"].arms.items():
        student = arm.student(origin).eval()
        wider = arm.question == "wider"
        larger = keras_mnist.network(128 if wider else 64, deeper=not wider)
        assert shapes(student) == shapes(larger), name
        with torch.no_grad():
            gap = (student(x) - teacher(x)).abs().max() / teacher(x).abs().max()
        assert gap < 0.1 if arm.role is Role.NET2NET else gap > 0.1, name
