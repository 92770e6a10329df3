"""The harness: data, models, arms, training, resuming, and the numbers it reports."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from net2net.errors import UnsupportedModelError
from net2net_lab.experiments.data.data import InMemory, digits
from net2net_lab.experiments.figures import FIGURES
from net2net_lab.experiments.methods import Origin, Role
from net2net_lab.experiments.models import ConvNet, reinitialised, seeded
from net2net_lab.experiments.plan import TEACHER, Key
from net2net_lab.experiments.run.records import (
    BrokenRunError,
    Evaluation,
    Run,
    Start,
    read_run,
    write_run,
)
from net2net_lab.experiments.run.results import (
    NoResultsError,
    Results,
    load_results,
    save_experiment,
)
from net2net_lab.experiments.run.run import run_experiment
from net2net_lab.experiments.run.train import Training
from net2net_lab.experiments.schedule import Schedule
from net2net_lab.experiments.show import plots
from net2net_lab.experiments.show.findings import findings
from net2net_lab.experiments.show.formats import percent, steps
from net2net_lab.experiments.show.markdown import tables
from net2net_lab.experiments.show.report import render
from net2net_lab.experiments.show.summary import Stat, StepsTo, checkpoints, summarise
from net2net_lab.experiments.show.tables import print_tables
from tests.lab.runs import STARTS, ignore, measured

ARMS = STARTS.arms
TINY = replace(STARTS, seeds=(0, 1), schedule=Schedule(steps=4, every=2, batch_size=16))


def run_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "runs").glob("*.jsonl")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run_experiment(TINY, out, ignore)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished experiment, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


# -- data, models, arms -------------------------------------------------------------------------


def test_digits_are_split_evenly_and_standardised() -> None:
    data = digits()
    assert data.train_x.shape == (1198, 1, 8, 8)
    assert data.val_x.shape == (599, 1, 8, 8)
    shares = [torch.bincount(y, minlength=10) / len(y) for y in (data.train_y, data.val_y)]
    assert torch.allclose(*shares, atol=0.005)
    assert data.train_x.mean().abs() < 1e-5
    assert abs(data.train_x.std() - 1) < 1e-5
    assert torch.equal(data.val_x, digits().val_x)


def test_an_epoch_shows_every_image_at_most_once_in_an_order_of_the_seed() -> None:
    data = digits()
    data = replace(data, train_x=torch.arange(10), train_y=torch.arange(10))

    def batches(seed: int) -> list[list[int]]:
        stream = data.epochs(4, seed)
        return [next(stream)[0].tolist() for _ in range(4)]

    first = batches(0)
    assert first == batches(0) != batches(1)
    assert len(set(first[0] + first[1])) == 8
    assert len(set(first[2] + first[3])) == 8


def test_a_text_is_evaluated_at_every_position() -> None:
    """Against a computation by hand, over validation batches of different sizes."""
    torch.manual_seed(1)
    x, y = torch.randint(0, 5, (2, 300, 4))
    data = InMemory(x[:3], y[:3], x, y, classes=5)
    model = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 5))
    found = next(Training(model, data, Schedule(steps=1), lr=0.1, seed=0).evaluations())
    chances = model(x).softmax(-1).detach().double()
    assert found.val_accuracy == (chances.max(-1).indices == y).sum().item() / 1200
    loss = -chances.gather(-1, y[..., None]).log().mean().item()
    assert found.val_loss == pytest.approx(loss, rel=1e-5)


def test_reinitialised_models_differ_by_seed_only() -> None:
    model = seeded(lambda: ConvNet((2, 3)), 0)
    with torch.no_grad():
        model.blocks[0].norm.running_mean.fill_(5)
    state = torch.get_rng_state()
    one, same, other = (reinitialised(model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert not torch.equal(one.head.weight, model.head.weight)
    assert one.blocks[0].norm.running_mean.eq(0).all()
    assert model.blocks[0].norm.running_mean.eq(5).all()


def test_reinitialising_needs_a_way_to() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    with pytest.raises(UnsupportedModelError, match=r"'1' \(Scale\) has parameters"):
        reinitialised(nn.Sequential(nn.Linear(2, 3), Scale()), 0)


def test_arms_of_a_question_train_one_architecture_and_start_as_they_say() -> None:
    data = digits()
    teacher = STARTS.teacher(0)
    list(Training(teacher, data, Schedule(steps=20, every=20), lr=0.1, seed=0).evaluations())
    teacher.eval()
    origin = Origin(STARTS.network, teacher, data, 0)
    students = {name: arm.student(origin).eval() for name, arm in ARMS.items()}
    shapes: dict[str, set[tuple[torch.Size, ...]]] = {}
    for name, student in students.items():
        shapes.setdefault(ARMS[name].question, set()).add(
            tuple(tensor.shape for tensor in student.state_dict().values())
        )
    assert {question: len(found) for question, found in shapes.items()} == {"wider": 1, "deeper": 1}

    with torch.no_grad():
        wanted = teacher(data.val_x)
        gaps = {
            name: float((student(data.val_x) - wanted).abs().max() / wanted.abs().max())
            for name, student in students.items()
        }
    assert max(gaps["net2deeper"], gaps["fresh"]) < 1e-4
    assert 0 < gaps["net2wider"] < 0.1  # the noise
    assert min(gaps[name] for name in ARMS if ARMS[name].role is not Role.NET2NET) > 0.2


# -- training and records -----------------------------------------------------------------------


def test_training_is_measured_from_step_0_and_repeats_exactly() -> None:
    data, schedule = digits(), Schedule(steps=5, every=2, batch_size=16)

    def once() -> list[Evaluation]:
        model = seeded(lambda: ConvNet((2, 3)), 3)
        return list(Training(model, data, schedule, lr=0.1, seed=3).evaluations())

    found = once()
    assert [one.step for one in found] == [0, 2, 4, 5]
    assert [one.train_loss is None for one in found] == [True, False, False, False]
    assert found == once()


def make_run(arm: str, seed: int, accuracies: dict[int, float], lr: float = 0.1) -> Run:
    config = {"schedule": {}, "machine": {}, "versions": {}, "teacher": "Teacher()"}
    start = Start(arm=arm, seed=seed, lr=lr, parameters=7, config=config, flops_per_step=1000)
    found = tuple(Evaluation(step, value, 1.0, None, lr) for step, value in accuracies.items())
    return Run(start, found, 1.0)


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = make_run("net2wider", 0, {0: 0.5, 10: 0.75})
    write_run(tmp_path / "run.jsonl", run)
    assert read_run(tmp_path / "run.jsonl") == run
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: [*lines[:2], lines[2][:20], *lines[3:]], "Line 3 of run.jsonl"),
        (lambda lines: [*lines, "[]"], "Line 5 of run.jsonl"),
        (lambda lines: [*lines, '{"kind": "other"}'], "Line 5 of run.jsonl"),
        (lambda lines: lines[:-1], "lost some of its lines"),
        (lambda lines: [*lines[:2], *lines[3:]], "lost some of its lines"),
        (lambda lines: [], "lost some of its lines"),
    ],
)
def test_a_broken_file_is_not_a_run(
    tmp_path: Path, spoil: Callable[[list[str]], list[str]], message: str
) -> None:
    path = tmp_path / "run.jsonl"
    write_run(path, make_run("net2wider", 0, {0: 0.5, 10: 0.75}))
    path.write_text("\n".join(spoil(path.read_text().splitlines())))
    with pytest.raises(BrokenRunError, match=message):
        read_run(path)


# -- running and resuming -----------------------------------------------------------------------


def test_every_run_is_recorded_with_what_it_depends_on(finished: Path) -> None:
    results = load_results(finished)
    assert list(results.runs) == TINY.keys
    assert not results.missing
    for key, run in results.runs.items():
        assert [one.step for one in run.evaluations] == [0, 2, 4]
        assert json.loads(json.dumps(TINY.config(key))) == run.start.config
        assert run.start.lr == (0.1 if key.arm == TEACHER or "scratch" in key.arm else 0.1 * 0.3)


def test_students_begin_with_the_trained_teacher_of_their_seed(finished: Path) -> None:
    runs = load_results(finished).runs
    ends = [runs[Key(TEACHER, seed)].evaluations[-1].val_loss for seed in (0, 1)]
    starts = [runs[Key("net2deeper", seed)].evaluations[0].val_loss for seed in (0, 1)]
    assert starts == pytest.approx(ends, rel=1e-5)
    assert ends[0] != pytest.approx(ends[1], rel=1e-4)


def test_an_interrupted_experiment_goes_on_where_it_was(finished: Path, tmp_path: Path) -> None:
    done = 0

    def interrupting(key: Key, steps: int) -> None:
        nonlocal done
        done += steps
        if done >= 10:  # in the middle of the third of the twelve runs
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(TINY, tmp_path, interrupting)
    before = run_files(tmp_path)
    assert len(before) == 2
    assert len(load_results(tmp_path).missing) == 12

    run_experiment(TINY, tmp_path, ignore)
    after = run_files(tmp_path)
    assert before.items() <= after.items()
    assert measured(tmp_path) == measured(finished)
    assert not list(tmp_path.rglob("*.part.pt"))


def test_a_complete_experiment_is_not_run_again_but_a_changed_one_is(out: Path) -> None:
    before = run_files(out)
    total = 0

    def count(key: Key, steps: int) -> None:
        nonlocal total
        total += steps

    run_experiment(TINY, out, count)
    assert run_files(out) == before
    assert total == TINY.steps

    fewer = replace(TINY, seeds=(0,))
    run_experiment(fewer, out, ignore)
    assert run_files(out) == before
    assert list(load_results(out).runs) == fewer.keys

    changed = replace(TINY, seeds=(0,), schedule=replace(TINY.schedule, lr=0.05))
    run_experiment(changed, out, ignore)
    assert before.items() <= run_files(out).items()
    assert len(run_files(out)) == len(before) + len(changed.keys)


def test_a_broken_run_is_told_and_done_again(
    out: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = next((out / "runs").glob("random_pad-seed1-*.jsonl"))
    broken.write_text(broken.read_text()[:-30])
    before = run_files(out)
    assert load_results(out).missing == [Key("random_pad", 1)]

    caplog.clear()
    run_experiment(TINY, out, ignore)
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [
        f"Line 5 of {broken.name} is not a record. The run does not count and must be done again."
    ]
    assert measured(out) == measured(finished)
    after = run_files(out)
    assert {name for name in after if after[name] != before[name]} == {broken.name}


def test_a_teacher_without_its_weights_is_trained_again(
    out: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = next((out / "runs").glob("teacher-seed0-*.pt"))
    wanted = torch.load(weights)
    weights.write_bytes(weights.read_bytes()[:100])
    run_experiment(TINY, out, ignore)
    assert "weights of teacher-seed0 cannot be read" in caplog.text
    assert measured(out) == measured(finished)
    found = torch.load(weights)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_is_no_experiment_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NoResultsError, match="There is no experiment in"):
        load_results(tmp_path)
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(NoResultsError, match="cannot be read as an experiment"):
        load_results(tmp_path)
    save_experiment(TINY, tmp_path)
    with pytest.raises(NoResultsError, match="No teacher"):
        summarise(load_results(tmp_path))


# -- numbers ------------------------------------------------------------------------------------


def test_the_summary_is_what_the_records_say(finished: Path) -> None:
    """Recomputed from the JSON lines, without the library's own reading."""
    accuracy: dict[tuple[str, int], dict[int, float]] = {}
    losses: dict[tuple[str, int], dict[int, float]] = {}
    for path in (finished / "runs").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for found, what in ((accuracy, "val_accuracy"), (losses, "val_loss")):
            found[lines[0]["arm"], lines[0]["seed"]] = {
                line["step"]: line[what] for line in lines if line["kind"] == "evaluation"
            }
    summary = summarise(load_results(finished))
    assert summary.checkpoints == [0, 4]
    teachers = [accuracy["teacher", seed][4] for seed in (0, 1)]
    assert (summary.teacher.mean, summary.teacher.deviation) == (fmean(teachers), stdev(teachers))
    for step in (0, 4):
        wanted = [losses["teacher", seed][step] for seed in (0, 1)]
        assert summary.teacher_loss[step] == Stat.of(wanted)
    rows = {row.arm: row for question in summary.questions for row in question.rows}
    assert list(rows) == list(ARMS)
    for arm, row in rows.items():
        for step in summary.checkpoints:
            values = [accuracy[arm, seed][step] for seed in (0, 1)]
            assert (row.accuracy[step].mean, row.accuracy[step].deviation) == (
                fmean(values),
                stdev(values),
            )
            assert row.loss[step] == Stat.of([losses[arm, seed][step] for seed in (0, 1)])
        reached = [
            min(
                (step for step, value in accuracy[arm, seed].items() if value >= wanted), default=-1
            )
            for seed, wanted in enumerate(teachers)
        ]
        reached = [step for step in reached if step >= 0]
        assert (row.to_teacher.reached, row.to_teacher.seeds) == (len(reached), 2)
        assert (row.to_teacher.steps and row.to_teacher.steps.mean) == (
            fmean(reached) if reached else None
        )
    assert summary.questions[1].final_leads["net2deeper"]["scratch_deep"] == [
        accuracy["net2deeper", seed][4] - accuracy["scratch_deep", seed][4] for seed in (0, 1)
    ]


def small_results(net2net: list[dict[int, float]], scratch: list[dict[int, float]]) -> Results:
    """The wider question, with teachers that end at 80 %."""
    seeds = tuple(range(len(net2net)))
    plan = replace(TINY, seeds=seeds, schedule=Schedule(steps=20, every=10))
    runs = {}
    for seed in seeds:
        runs[Key(TEACHER, seed)] = make_run(TEACHER, seed, {0: 0.1, 10: 0.9, 20: 0.8})
        runs[Key("net2wider", seed)] = make_run("net2wider", seed, net2net[seed])
        runs[Key("scratch_wide", seed)] = make_run("scratch_wide", seed, scratch[seed])
    return Results(plan, runs)


def test_findings_name_wins_losses_and_what_is_neither() -> None:
    high, low = {0: 0.8, 10: 0.85, 20: 0.95}, {0: 0.1, 10: 0.5, 20: 0.75}

    def said(first: list[dict[int, float]], second: list[dict[int, float]]) -> list[str]:
        return findings(summarise(small_results(first, second)))["wider"]

    won = said([high, high], [low, low])
    assert won[0] == (
        "Before training: Net2WiderNet 80.0 ± 0.0 %, from scratch 10.0 ± 0.0 %. "
        "The teacher had reached 80.0 ± 0.0 %."
    )
    assert won[1] == "Steps to the teacher's accuracy: Net2WiderNet 0 ± 0, from scratch never."
    assert won[2] == "Net2WiderNet ended 15.0 points above its teacher, in every seed."
    assert won[3] == "Net2WiderNet ended 20.0 points above the student from scratch, in every seed."

    lost = said([low, low], [high, high])
    assert lost[2] == "Net2WiderNet ended 5.0 points below its teacher, in every seed."
    assert (
        lost[3] == "Net2WiderNet ended 20.0 points below the student from scratch, in every seed."
    )

    mixed = said([high, low], [low, high])
    assert mixed[1].startswith("Steps to the teacher's accuracy: Net2WiderNet 0 (1/2), from")
    assert mixed[3] == (
        "Net2WiderNet ended 0.0 points above the student from scratch, on average: "
        "above it in 1 of 2 seeds, below it in 1."
    )

    single = said([high], [low])
    assert "Net2WiderNet 80.0 %" in single[0]
    assert single[3].endswith("in the only seed.")


def test_steps_and_percent_are_written_with_what_is_known() -> None:
    assert steps(None) == "–"
    assert steps(StepsTo.of([None, None])) == "never"
    assert steps(StepsTo.of([10])) == "10"
    assert steps(StepsTo.of([10, None, 30])) == "20 ± 14 (2/3)"
    level = dict.fromkeys((0, 10, 20), 0.5)
    assert percent(summarise(small_results([level], [level])).teacher) == "80.0"


def test_checkpoints_are_evaluated_steps() -> None:
    assert checkpoints(Schedule(), (0.05, 0.2)) == [0, 20, 60, 300]
    for count in (1, 7, 45, 300, 1234):
        schedule = Schedule(steps=count)
        found = checkpoints(schedule, (0.05, 0.2))
        assert found[0] == 0
        assert found[-1] == count
        assert all(schedule.evaluates(step) for step in found)


ROOT = Path(__file__).parents[2]
RESULTS = sorted(path.parent for path in (ROOT / "results").glob("*/experiment.json"))


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_the_results_of_the_repository_can_be_read(folder: Path) -> None:
    """All of them: a change of the figures or of the records must not lose any."""
    results = load_results(folder)
    assert not results.missing
    summary = summarise(results)
    print_tables(summary)
    assert len(summary.seeds) >= 3


def test_the_tables_of_the_documents_are_those_of_the_results() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text("utf-8")
    shown = re.findall(r"^\| student \|.*\n(?:\|.*\n)+", page, re.M)
    drawn = [tables(summarise(load_results(folder))) for folder in RESULTS]
    assert [one for one in shown if one not in drawn] == []
    known = {folder.name for folder, one in zip(RESULTS, drawn, strict=True) if one in shown}
    assert known == {folder.name for folder in RESULTS} - {
        "digits-starts",
        "keras",
    }  # a plot, losses


# -- drawing ------------------------------------------------------------------------------------


def test_the_report_is_one_file_that_is_drawn_from_the_records_alone(out: Path) -> None:
    first = render(load_results(out), out)
    html = first.report.read_text()
    for path in (first.report, *first.plots, *(out / "runs").glob("*.pt")):
        path.unlink()
    again = render(load_results(out), out)
    assert again.report.read_text() == html
    assert asdict(again.summary) == asdict(first.summary)

    assert not re.search(r"(src|href)=\"(?!data:)", html)
    images = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)
    assert [base64.b64decode(one) for one in images] == [p.read_bytes() for p in again.plots]
    assert [path.name for path in again.plots] == ["wider.png", "deeper.png"]
    for question in again.summary.questions:
        for row in question.rows:
            assert percent(row.final) in html


def test_the_report_says_what_is_missing(out: Path) -> None:
    for path in (out / "runs").glob("net2deeper-seed1-*.jsonl"):
        path.unlink()
    rendered = render(load_results(out), out)
    assert rendered.summary.missing == ["net2deeper-seed1"]
    assert "not in the numbers: net2deeper-seed1" in rendered.report.read_text()
    assert rendered.summary.questions[1].rows[0].final.seeds == 1


def test_the_plot_around_the_teachers_accuracy_stands_upright_where_nobody_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            figures.append(self)

    monkeypatch.setattr(plots, "Figure", Kept)
    low = dict.fromkeys((0, 10, 20), 0.1)
    render(small_results([low], [low]), tmp_path)
    limits = [axes.get_ylim() for figure in figures for axes in figure.axes]
    assert len(limits) >= 6 and all(bottom < top for bottom, top in limits)
    assert any(bottom < 0.8 < top < 0.9 for bottom, top in limits)


def test_records_from_before_a_figure_had_an_arm_are_drawn(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, demo = load_results(out).runs, FIGURES["starts"]
    added = replace(demo.arms["scratch_wide"], label="new")
    monkeypatch.setitem(FIGURES, "starts", replace(demo, arms={"new": added, **demo.arms}))
    results = load_results(out)
    assert results.runs == before and results.missing == [Key("new", 0), Key("new", 1)]
    assert "new-seed1" in render(results, out).report.read_text()


def test_a_report_of_a_single_seed_claims_no_deviation(tmp_path: Path) -> None:
    curve = {0: 0.5, 10: 0.75, 20: 0.85}
    html = render(small_results([curve], [curve]), tmp_path).report.read_text()
    assert "There is a single seed" in html
    assert "±" not in html
