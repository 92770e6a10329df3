"""Lives in stages: which data and networks each has, how it is recorded, and how it goes on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from net2net_lab.experiments.data.data import digits
from net2net_lab.experiments.figures import FIGURES, SIZES
from net2net_lab.experiments.networks import NETWORKS
from net2net_lab.experiments.plan import TEACHER, Experiment, Key
from net2net_lab.experiments.run.records import BrokenRunError, Run, read_run, write_run
from net2net_lab.experiments.run.results import Results, load_results
from net2net_lab.experiments.run.run import run_experiment
from net2net_lab.experiments.run.train import Training
from net2net_lab.experiments.schedule import Schedule
from net2net_lab.experiments.show.findings import findings
from net2net_lab.experiments.show.summary import summarise
from tests.lab.runs import Killed, ignore, measured, reproduce, with_dropout

STEPS = 4
SHARES = FIGURES["lifelong"].shares
LIFE = Experiment(
    "lifelong", "digits", "convnet", (0,), Schedule(steps=STEPS, every=2, batch_size=16)
)
ARMS = list(LIFE.arms)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run_experiment(LIFE, out, ignore)
    return out


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return load_results(finished)


# -- data ---------------------------------------------------------------------------------------


def test_shares_of_the_data_are_nested_random_and_leave_validation_alone() -> None:
    whole = digits()
    numbered = replace(whole, train_x=torch.arange(whole.size), train_y=torch.arange(whole.size))
    parts = [numbered.part(share).train_x.tolist() for share in SHARES]
    assert [len(part) for part in parts] == [120, 300, 599, 1198]
    assert all(set(less) < set(more) for less, more in pairwise(parts))
    assert parts[-1] == list(range(whole.size))
    assert parts[0] != list(range(120)) and parts[0] == numbered.part(0.1).train_x.tolist()
    assert torch.equal(whole.part(0.1).val_x, whole.val_x)


def test_each_stage_sees_exactly_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An epoch in each stage: all of its images, and none besides."""
    whole = digits()
    whole = replace(whole, train_x=whole.train_x[:200], train_y=whole.train_y[:200])
    monkeypatch.setattr(Experiment, "data", whole)
    gradients = Training._gradients
    seen: list[tuple[int, Tensor]] = []

    def noted(self: Training, model: nn.Module, lesson: Any, x: Tensor, y: Tensor) -> Tensor:
        seen.append((self.data.size, x))
        return gradients(self, model, lesson, x, y)

    monkeypatch.setattr(Training, "_gradients", noted)
    schedule = replace(LIFE.schedule, steps=10, every=10, batch_size=20)
    run_experiment(replace(LIFE, schedule=schedule), tmp_path, ignore)
    assert [size for size, _ in seen] == [
        size
        for sizes in ([20], [50, 100, 200], [50, 100, 200], [50, 100, 200], [20, 50, 100, 200])
        for size in sizes
        for _ in range(10)
    ]
    for share in SHARES:
        wanted = {image.numpy().tobytes() for image in whole.part(share).train_x}
        found = [x for size, x in seen if size == round(200 * share)]
        for first in range(0, len(found), 10):
            shown = {image.numpy().tobytes() for x in found[first : first + 10] for image in x}
            assert shown == wanted


# -- stages ---------------------------------------------------------------------------------------


def test_networks_grow_with_the_data_or_do_not(results: Results) -> None:
    sizes = [
        sum(one.numel() for one in NETWORKS["convnet"].build(digits(), factor).parameters())
        for factor in SIZES
    ]
    found = {
        arm: [run.start.parameters, *(stage.parameters for stage in run.stages)]
        for arm in ARMS
        for run in results.of(arm)
    }
    assert found == {
        "net2wider": sizes, "retrained": sizes, "small": sizes[:1] * 4, "large": sizes[-1:] * 4,
    }  # fmt: skip
    for arm in ARMS:
        (run,) = results.of(arm)
        assert [stage.step for stage in run.stages] == [STEPS, 2 * STEPS, 3 * STEPS]
        assert [stage.examples for stage in run.stages] == [300, 599, 1198]
        ends = [one.step for one in run.evaluations]
        assert ends == [0, 2, 4, 4, 6, 8, 8, 10, 12, 12, 14, 16]


def test_a_life_begins_with_its_teachers_and_grows_from_what_was_trained(results: Results) -> None:
    (teacher,) = results.of(TEACHER)
    runs = {arm: results.of(arm)[0].evaluations for arm in ARMS}
    for arm in ("net2wider", "retrained", "small"):
        assert runs[arm][:3] == teacher.evaluations
    assert runs["large"][0] != teacher.evaluations[0]
    for end in (2, 5, 8):  # the last before a stage begins, and the first after
        for arm in ("small", "large"):
            before, after = runs[arm][end : end + 2]
            assert after == replace(before, train_loss=None, train_accuracy=None, lr=after.lr)
        before, after = runs["net2wider"][end : end + 2]
        assert 0 < abs(after.val_loss - before.val_loss) < 0.2 * before.val_loss  # the noise
        assert runs["retrained"][end + 1].val_loss != runs["retrained"][end].val_loss


def test_flops_add_up_over_the_stages(results: Results) -> None:
    (run,) = results.of("net2wider")
    costs = [run.start.flops_per_step, *(stage.flops_per_step for stage in run.stages)]
    assert costs == sorted(set(costs))
    assert run.flops == STEPS * sum(costs)
    assert run.flops_at(STEPS + 1) == STEPS * costs[0] + costs[1]
    assert results.of(TEACHER)[0].flops == STEPS * costs[0]


def test_a_lost_line_of_a_stage_is_noticed(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    (run,) = results.of("large")
    write_run(path, run)
    assert read_run(path) == run
    lines = path.read_text().splitlines()
    assert json.loads(lines[2])["kind"] == "stagestart"
    path.write_text("\n".join([*lines[:2], *lines[3:]]))
    with pytest.raises(BrokenRunError, match="lost some of its lines"):
        read_run(path)


# -- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_life_killed_in_any_stage_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """Also where a network has grown; random numbers (dropout) and the optimiser go on."""
    monkeypatch.setitem(NETWORKS, "dropout", replace(NETWORKS["convnet"], build=with_dropout))
    experiment = replace(
        LIFE, model="dropout", schedule=replace(LIFE.schedule, optimizer=optimizer, lr=0.01)
    )
    run_experiment(experiment, tmp_path / "whole", ignore)
    out, gradients, calls = tmp_path / "killed", Training._gradients, 0

    def counted(self: Training, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise Killed
        return gradients(self, *args)

    monkeypatch.setattr(Training, "_gradients", counted)
    steps: Counter[Key] = Counter()

    def count(key: Key, done: int) -> None:
        steps[key] += done

    kills = 0
    while True:
        calls = 0
        steps.clear()
        torch.rand(kills)  # the global generator is elsewhere by now
        try:
            run_experiment(experiment, out, count)
            break
        except Killed:
            kills += 1
    assert kills > 10
    assert measured(out) == measured(tmp_path / "whole")
    assert steps == {key: experiment.steps_of(key) for key in experiment.keys}


# -- what comes out -------------------------------------------------------------------------------


def test_the_table_has_the_ends_of_all_stages(results: Results, finished: Path) -> None:
    summary = summarise(results)
    assert summary.checkpoints == [STEPS, 2 * STEPS, 3 * STEPS, 4 * STEPS]
    rows = {row.arm: row for row in summary.questions[0].rows}
    assert list(rows) == ARMS
    for arm, row in rows.items():
        (run,) = results.of(arm)
        ends = [run.evaluations[number].val_accuracy for number in (2, 5, 8, 11)]
        assert [stat.mean for stat in row.accuracy.values()] == ends
        assert row.flops == run.flops
    assert set(rows["net2wider"].tests) == {"retrained", "small", "large"}
    found = findings(summary)["lifelong"]
    assert found[0].startswith("After the stage with 10 % of the data: Net2WiderNet at every stage")
    assert any("Compute of all stages" in sentence for sentence in found)
    assert TEACHER not in summary.questions[0].final_leads["net2wider"]


def test_savings_count_all_stages(results: Results) -> None:
    """With the teacher's training in them, and so not once more beside them."""

    def run(arm: str, accuracies: list[float]) -> Run:
        (old,) = results.of(arm)
        pairs = zip(old.evaluations, accuracies, strict=True)
        return replace(old, evaluations=tuple(replace(a, val_accuracy=b) for a, b in pairs))

    net2wider = run("net2wider", [0.1] * 4 + [0.9] * 8)
    retrained = run("retrained", [0.1] * 10 + [0.8, 0.8])
    changed = {**results.runs, Key("net2wider", 0): net2wider, Key("retrained", 0): retrained}
    row = summarise(Results(LIFE, changed)).questions[0].rows[0]
    assert row.saving is not None and row.saving.with_teacher is not None
    spent, budget = net2wider.flops_at(6), retrained.flops_at(14)
    assert row.saving.with_teacher == row.saving.without_teacher
    assert row.saving.with_teacher.mean == 1 - spent / budget
    assert row.to_scratch is not None and row.to_scratch.flops is not None
    assert row.to_scratch.flops.mean == spent


def test_a_life_is_drawn_from_its_records(finished: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    result = reproduce("render", str(out))
    assert result.exit_code == 0, result.output
    for word in ("10 % data", "100 % data", "large from the start", "FLOP"):
        assert word in result.output
    report = (out / "report.html").read_text()
    assert "The training data grow in stages." in report and "25 % data" in report
    assert (out / "lifelong.svg").exists() and (out / "lifelong.png").exists()
