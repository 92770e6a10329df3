"""What students are taught beside the classes: losses by hand, what is trained and what is not."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from net2net_lab.experiments.data.data import digits
from net2net_lab.experiments.figures import FIGURES
from net2net_lab.experiments.lessons import (
    TEMPERATURE,
    Distillation,
    Lesson,
    LessonError,
    Prediction,
)
from net2net_lab.experiments.methods import METHODS, Origin, deeper
from net2net_lab.experiments.models import ConvNet, seeded
from net2net_lab.experiments.plan import Experiment, Key
from net2net_lab.experiments.run.run import run_experiment
from net2net_lab.experiments.run.train import Training
from net2net_lab.experiments.schedule import OPTIMISERS, Schedule
from net2net_lab.experiments.show.summary import summarise
from tests.helpers import randomise
from tests.lab.runs import Killed, ignore, measured

SHORT = Schedule(steps=6, every=2, batch_size=32, lr=0.05)


def convnet(*channels: int, seed: int = 0) -> nn.Module:
    return randomise(seeded(lambda: ConvNet(channels), seed), seed=seed).float()


def mlp(hidden: int) -> nn.Module:
    layers = OrderedDict(flat=nn.Flatten(), a=nn.Linear(64, hidden), act=nn.Tanh())
    return nn.Sequential(OrderedDict(**layers, b=nn.Linear(hidden, 10)))


def trained(model: nn.Module, lesson: Lesson, schedule: Schedule = SHORT) -> list[float]:
    """The losses of a training."""
    training = Training(model, digits(), schedule, schedule.lr, 0, lesson=lesson)
    return [one.train_loss or 0.0 for one in training.evaluations()][1:]


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# -- predicting the teacher's hidden layers -------------------------------------------------------


def test_prediction_is_the_squared_error_of_a_linear_head_on_standardised_hidden_values() -> None:
    """By hand, on the one hidden layer of a network; the data themselves are not predicted."""
    teacher, student, data = mlp(5), mlp(7), digits()
    lesson = Prediction(teacher, student, data.example)
    assert [(head.in_features, head.out_features) for head in lesson.heads] == [(7, 5)]
    x, y = data.train_x[:50], data.train_y[:50]
    logits, loss = lesson(student, x, y)
    assert torch.equal(logits, student(x))
    wanted = torch.tanh(teacher.a(x.flatten(1)))
    found = lesson.heads[0](torch.tanh(student.a(x.flatten(1))))
    missed = (found - (wanted - wanted.mean()) / wanted.std()).square().mean()
    assert torch.allclose(loss, F.cross_entropy(logits, y) + missed)


def test_every_hidden_layer_is_predicted_once() -> None:
    experiment = Experiment("prediction", "digits", "inception-2")
    teacher = experiment.teacher(0)
    origin = Origin(experiment.network, teacher, experiment.data, 0)
    arm = FIGURES["prediction"].arms["prediction"]
    student = arm.student(origin)
    before = torch.get_rng_state()
    lesson = arm.lesson(origin, student)
    assert torch.equal(before, torch.get_rng_state()) and student.training
    assert isinstance(lesson, Prediction)
    # Three of the stem; of each module those behind its entry, inside of its paths (1 and 2), and
    # where the paths are joined.
    assert len(lesson.heads) == 3 + 2 * (1 + 1 + 2 + 1)
    again = arm.lesson(origin, student)
    assert all(map(torch.equal, lesson.parameters(), again.parameters()))


def test_prediction_trains_student_and_heads_and_leaves_the_teacher_and_no_heads() -> None:
    teacher, student = convnet(3, 4), convnet(5, 6, seed=1)
    names = list(student.state_dict())
    lesson = seeded(lambda: Prediction(teacher, student, digits().example), 0)
    of_teacher, of_student, heads = map(copied, (lesson.teacher, student, lesson.heads))
    losses = trained(student, lesson, replace(SHORT, steps=60, every=20))
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(a, of_teacher[n]) for n, a in lesson.teacher.state_dict().items())
    for model, old in ((student, of_student), (lesson.heads, heads)):
        assert all(not torch.equal(old[name], new) for name, new in model.named_parameters())
    assert list(student.state_dict()) == names
    with torch.no_grad():
        student.eval()(digits().example)
    assert not any(one._forward_pre_hooks for one in student.modules())


def test_layers_of_other_names_predict_nothing() -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(LessonError, match="no layer of the teacher's names"):
        Prediction(mlp(5), student, digits().example)


def test_flops_of_a_step_include_heads_and_teacher() -> None:
    teacher, student = mlp(5), mlp(7)

    def flops(lesson: Lesson) -> int:
        return Training(
            student, digits(), replace(SHORT, batch_size=8), 0.1, 0, lesson=lesson
        ).flops_per_step()

    heads, asked = 3 * 2 * 8 * 7 * 5, 2 * 8 * (64 * 5 + 5 * 10)
    prediction = Prediction(teacher, student, digits().example)
    assert flops(prediction) == flops(Lesson()) + heads + asked
    assert flops(Distillation(teacher)) == flops(Lesson()) + asked


# -- the related work ---------------------------------------------------------------------------


def test_distillation_is_half_classes_half_the_teachers_soft_predictions() -> None:
    teacher, student, data = convnet(3, 4), convnet(5, 6, seed=1), digits()
    lesson = Distillation(teacher)
    of_teacher = copied(lesson.teacher)
    x, y = data.train_x[:50], data.train_y[:50]
    with torch.no_grad():
        wanted = (teacher(x).double() / TEMPERATURE).softmax(-1)
        found = (student(x).double() / TEMPERATURE).softmax(-1)
        apart = (wanted * (wanted.log() - found.log())).sum(-1).mean()
        logits, loss = lesson(student, x, y)
        by_hand = F.cross_entropy(student(x), y) / 2 + TEMPERATURE**2 * apart / 2
    assert torch.equal(logits, student(x))
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    losses = trained(student, lesson, replace(SHORT, steps=60, every=20))
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(a, of_teacher[n]) for n, a in lesson.teacher.state_dict().items())


def related(network: str) -> tuple[nn.Module, nn.Module, Lesson]:
    """Teacher, student and lesson of the arm whose old weights are frozen."""
    experiment = Experiment("related", "digits", network)
    teacher = randomise(experiment.teacher(0)).float()
    origin = Origin(experiment.network, teacher, experiment.data, 0)
    arm = FIGURES["related"].arms["frozen"]
    student = arm.student(origin)
    return teacher, student, arm.lesson(origin, student)


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("network", ["convnet", "inception-2"])
def test_the_teachers_weights_are_frozen_bit_by_bit_and_all_others_move(
    optimizer: str, network: str
) -> None:
    """As many as the teacher has, with its very values; and each other one is trained."""
    teacher, student, lesson = related(network)
    before = {name: one.detach().clone() for name, one in student.named_parameters()}
    lr = OPTIMISERS[optimizer].lr
    schedule = Schedule(steps=5, every=5, batch_size=64, optimizer=optimizer, lr=lr)
    trained(student, lesson, schedule)
    for name, old in teacher.named_parameters():
        new = student.get_parameter(name)
        still = new.eq(before[name])
        assert int(still.sum()) == old.numel(), name
        assert torch.equal(new[still].sort().values, old.flatten().sort().values), name


def test_a_block_of_old_weights_is_frozen_where_old_units_meet() -> None:
    """Between two padded layers, of a weight's four blocks one is the teacher's."""
    teacher, student, lesson = related("convnet")
    rows, columns = teacher.blocks[1].conv.weight.shape[:2]
    before = student.blocks[1].conv.weight.detach().clone()
    trained(student, lesson)
    moved = student.blocks[1].conv.weight.ne(before)
    assert not moved[:rows, :columns].any()
    assert moved[rows:].all() and moved[:rows, columns:].all()


def test_frozen_layers_save_the_operations_of_their_gradients() -> None:
    _, student, lesson = related("inception-2")
    training = Training(student, digits(), SHORT, 0.1, 0, lesson=lesson)
    assert not any(one.requires_grad for one in student.stem.parameters())
    _, free, _ = related("inception-2")
    assert (
        training.flops_per_step()
        < Training(free.requires_grad_(), digits(), SHORT, 0.1, 0).flops_per_step()
    )


def test_only_wider_students_can_be_frozen() -> None:
    experiment = Experiment("related", "digits", "convnet")
    origin = Origin(experiment.network, experiment.teacher(0), experiment.data, 0)
    with pytest.raises(LessonError, match="Only a wider student"):
        METHODS["frozen"].lesson(origin, deeper, nn.Linear(2, 2))


# -- runs ---------------------------------------------------------------------------------------


def test_other_uses_of_the_teacher_are_rivals_and_their_compute_has_its_training(
    tmp_path: Path,
) -> None:
    experiment = Experiment("related", "digits", "convnet", (0, 1), SHORT)
    results = run_experiment(experiment, tmp_path, ignore)
    rows = {row.arm: row for row in summarise(results).questions[0].rows}
    assert set(rows["net2wider"].tests) == {"distillation", "frozen", "scratch_wide"}
    needed = [arm for arm in experiment.arms if results.adds_teacher(arm)]
    assert needed == ["net2wider", "distillation", "frozen"]


@pytest.mark.parametrize("figure", ["prediction", "related"])
def test_a_killed_run_with_a_lesson_goes_on_to_the_same_numbers(
    tmp_path: Path, figure: str
) -> None:
    experiment = Experiment(figure, "digits", "convnet", (0,), SHORT)
    whole = run_experiment(experiment, tmp_path / "whole", ignore)
    assert not whole.missing and not whole.faults

    def killing(key: Key, steps: int) -> None:
        if steps and key not in killed:
            killed.add(key)
            raise Killed

    killed: set[Key] = set()
    for _ in experiment.keys:
        with pytest.raises(Killed):
            run_experiment(experiment, tmp_path / "killed", killing)
    run_experiment(experiment, tmp_path / "killed", killing)
    assert killed == set(experiment.keys)
    assert measured(tmp_path / "killed") == measured(tmp_path / "whole")
