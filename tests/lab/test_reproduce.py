"""The paper's figures as commands: what is run and measured, and how it goes on after faults."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from torch import nn

from net2net_lab.experiments import commands
from net2net_lab.experiments.data.data import InMemory, digits
from net2net_lab.experiments.figures import FIGURES, Figure
from net2net_lab.experiments.gpt import GPT
from net2net_lab.experiments.machine import DeviceError, Machine
from net2net_lab.experiments.methods import Origin, Role, deeper, deepest
from net2net_lab.experiments.networks import (
    NETWORKS,
    Network,
    UnknownNetworkError,
    identities,
    network,
    widths_towards,
)
from net2net_lab.experiments.plan import TEACHER, Experiment, Key
from net2net_lab.experiments.run import workers
from net2net_lab.experiments.run.checkpoint import load_progress
from net2net_lab.experiments.run.estimate import Estimate
from net2net_lab.experiments.run.faults import DiskFullError, OutOfMemoryError, memory_told
from net2net_lab.experiments.run.records import Evaluation, Run, Start
from net2net_lab.experiments.run.results import Results, load_results
from net2net_lab.experiments.run.run import run_experiment
from net2net_lab.experiments.run.train import Training
from net2net_lab.experiments.run.workers import WorkerError, _portable
from net2net_lab.experiments.schedule import DECAYS, OPTIMISERS, Schedule
from net2net_lab.experiments.show.formats import flops, loss, probability, saved
from net2net_lab.experiments.show.summary import Stat, paired_p, summarise
from net2net_lab.experiments.show.tables import print_tables
from net2net_lab.experiments.tasks import TASKS
from net2net_lab.models import inception_bn
from tests.helpers import randomise
from tests.lab.runs import STARTS, Killed, ignore, measured, reproduce, with_dropout

TINY = replace(STARTS, seeds=(0, 1), schedule=Schedule(steps=6, every=2, batch_size=16))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run_experiment(TINY, out, ignore)
    return out


# -- figures and networks -----------------------------------------------------------------------


def shapes(model: nn.Module) -> list[torch.Size]:
    return [tensor.shape for tensor in model.state_dict().values()]


def convolutions(model: nn.Module) -> int:
    return sum(isinstance(one, nn.Conv2d) for one in model.modules())


def origin_of(figure: str) -> Origin:
    experiment = Experiment(figure, "digits", "inception-2")
    teacher = randomise(experiment.teacher(0)).float().eval()
    return Origin(experiment.network, teacher, experiment.data, 0)


@pytest.mark.parametrize("figure", sorted({*commands.FIGURES} - {"starts", "lifelong", "keras"}))
def test_students_of_a_figure_have_its_architecture_and_start_as_they_say(figure: str) -> None:
    origin, x = origin_of(figure), digits().val_x[:64]
    widths = {"wider": 1.0, "prediction": 1.0, "related": 1.0, "explore": 2**0.5}
    distinct = {(arm.method, arm.target): arm for arm in FIGURES[figure].arms.values()}
    for (name, _), arm in distinct.items():
        student = arm.student(origin).eval()
        if arm.target in (deeper, deepest):
            more = convolutions(student) - convolutions(origin.teacher)
            # modules × places × two pairs, or modules × four pairs
            assert more == (2 * 2 * 4 if arm.target is deeper else 2 * 8), name
        elif arm.role is not Role.TEACHER:
            wanted = inception_bn(size=8, modules=2, stem=4, widths=widths[figure])
            assert shapes(student) == shapes(wanted), name
        with torch.no_grad():
            gap = (student(x) - origin.teacher(x)).abs().max() / origin.teacher(x).abs().max()
        kept = arm.role in (Role.NET2NET, Role.TEACHER)
        assert gap < 0.05 if kept else gap > 0.05, name


def test_the_commands_are_the_figures() -> None:
    assert set(commands.FIGURES) == set(FIGURES)
    assert {*commands.FIGURES, "render"} == set(commands.reproduce.commands)


def test_widths_towards_names_what_differs() -> None:
    def model(middle: int) -> nn.Module:
        return nn.Sequential(OrderedDict(a=nn.Linear(3, middle), b=nn.Linear(middle, 2)))

    assert widths_towards(model(4), model(7)) == {"a": 7}


def test_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text(
        "from net2net_lab.experiments.networks import NETWORKS\n"
        "mine = NETWORKS['convnet']\n"
        "other = 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert network("my_nets:mine") is NETWORKS["convnet"]
    for name in ("my_nets:other", "my_nets:none", "no_such_module:mine", "resnet"):
        with pytest.raises(UnknownNetworkError, match=f"There is no network '{name}'"):
            network(name)


# -- numbers ------------------------------------------------------------------------------------


def test_flops_of_a_step_are_counted_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    training = Training(model, digits(), Schedule(batch_size=8), 0.1, 0)
    first, second = 2 * 8 * 64 * 5, 2 * 8 * 5 * 10
    # The first layer needs no gradient of its input.
    assert training.flops_per_step() == 2 * first + 3 * second
    assert all(parameter.grad is None for parameter in model.parameters())


def test_flops_of_attention_are_counted_by_hand() -> None:
    texts = torch.zeros(4, 6, dtype=torch.long)  # N, T
    model = GPT(classes=7, context=6, width=16, heads=2, blocks=1)
    data = InMemory(texts, texts, texts, texts, 7)
    positions, width = 4 * 6, 16
    layers = 2 * positions * (width * 3 * width + width * width + 2 * width * 4 * width + width * 7)
    attention = 2 * positions * 6 * width * 2  # queries by keys, and chances by values
    counted = Training(model, data, Schedule(batch_size=4), 0.1, 0).flops_per_step()
    assert counted == 3 * (layers + attention)


def run_of(arm: str, seed: int, accuracies: list[float], flops: int, fault: str = "") -> Run:
    config = {"schedule": {}, "machine": {}, "teacher": "Teacher()"}
    start = Start(arm, seed, 0.1, 7, config, flops, {"commit": "abc"})
    found = tuple(Evaluation(10 * i, value, 1.0, None, 0.1) for i, value in enumerate(accuracies))
    return Run(start, found, 1.0, fault or None)


def results_of(curves: dict[str, list[list[float]]], costs: dict[str, int]) -> Results:
    seeds = len(curves[TEACHER])
    experiment = replace(STARTS, seeds=tuple(range(seeds)), schedule=Schedule(steps=20, every=10))
    runs = {
        Key(arm, seed): run_of(arm, seed, curve, costs[arm])
        for arm, of_seeds in curves.items()
        for seed, curve in enumerate(of_seeds)
    }
    return Results(experiment, runs)


def test_area_saving_and_tests_are_what_they_say() -> None:
    results = results_of(
        {
            TEACHER: [[0.1, 0.6, 0.5], [0.1, 0.4, 0.5]],
            "net2wider": [[0.5, 0.7, 0.8], [0.5, 0.9, 0.8]],
            "scratch_wide": [[0.1, 0.7, 0.6], [0.1, 0.3, 0.8]],
        },
        {TEACHER: 100, "net2wider": 1000, "scratch_wide": 1000},
    )
    net2wider, scratch = summarise(results).questions[0].rows
    assert net2wider.area.mean == pytest.approx((0.675 + 0.775) / 2)
    assert net2wider.to_scratch is not None and net2wider.to_scratch.steps is not None
    assert net2wider.to_scratch.steps.mean == 10  # 0.7 and 0.8, the best, both at step 10
    assert net2wider.saving is not None and scratch.saving is None
    # Scratch needs 10 and 20 steps to its best, of 1,000 each; the teacher took 2,000 before.
    assert net2wider.saving.without_teacher == Stat.of([1 - 10 / 10, 1 - 10 / 20])
    assert net2wider.saving.with_teacher == Stat.of([1 - 12 / 10, 1 - 12 / 20])
    test = net2wider.tests["scratch_wide"]
    assert test.final == paired_p([0.8, 0.8], [0.6, 0.8])
    assert test.area == pytest.approx(paired_p([0.675, 0.775], [0.525, 0.375]))
    assert not scratch.tests


def test_the_ways_to_keep_the_function_are_compared_with_those_before_them() -> None:
    curves = {
        TEACHER: [[0.1, 0.6, 0.5]] * 2,
        "net2wider": [[0.5, 0.7, 0.8], [0.5, 0.9, 0.7]],
        "fresh": [[0.5, 0.7, 0.9], [0.5, 0.9, 0.9]],
    }
    copies, fresh = summarise(results_of(curves, dict.fromkeys(curves, 10))).questions[0].rows
    assert not copies.tests and fresh.tests.keys() == {"net2wider"}


def test_what_nobody_reached_saves_nothing() -> None:
    low, high = [0.1, 0.2, 0.3], [0.1, 0.5, 0.9]
    curves = {TEACHER: [low], "net2wider": [low], "scratch_wide": [high]}
    row = summarise(results_of(curves, dict.fromkeys(curves, 10))).questions[0].rows[0]
    assert row.saving is not None and row.saving.without_teacher is None
    assert row.tests["scratch_wide"].final is None  # one seed


def test_the_paired_test() -> None:
    """Two differences d, so one degree of freedom, where the distribution of t is Cauchy's."""
    one, other = [0.9, 0.8], [0.7, 0.75]
    differences = [a - b for a, b in zip(one, other, strict=True)]
    t = fmean(differences) / (stdev(differences) / sqrt(2))
    wanted = 2 * (0.5 - torch.atan(torch.tensor(t, dtype=torch.float64)).item() / torch.pi)
    assert paired_p(one, other) == pytest.approx(wanted)
    assert paired_p([0.5], [0.4]) is None
    assert paired_p([0.5, 0.6], [0.4, 0.5]) is None


def test_numbers_are_written_short() -> None:
    assert [flops(x) for x in (12, 1234, 5.67e9, 8e13)] == ["12", "1.23e+03", "5.67 G", "80 T"]
    assert [probability(p) for p in (None, 0.0002, 0.04)] == ["–", "< 0.001", "0.040"]
    assert [loss(x) for x in (None, Stat.of([0.25]), Stat.of([1.0, 2.0]))] == [
        "–", "0.250", "1.500 ± 0.707",
    ]  # fmt: skip
    assert saved(Stat.of([0.5])) == "50 %" and saved(Stat.of([0.5, 0.3])) == "40 ± 14 %"


def test_the_time_left_is_by_the_seconds_of_each_arm() -> None:
    now = 0.0
    slow, fast = Key("slow", 0), Key("fast", 0)
    keys = [slow, fast, Key("slow", 1), Key("new", 0)]
    estimate = Estimate(dict.fromkeys(keys, 10), workers=2, clock=lambda: now)
    assert estimate.seconds_left() is None and str(estimate) == ""
    for key in (slow, fast):
        estimate.update(key, 0)
    now = 20.0
    estimate.update(slow, 5)  # 4 s a step
    estimate.update(fast, 10)  # 2 s a step
    assert estimate.is_done(fast) and estimate.runs() == (1, 4)
    # 5 and 10 slow steps, 10 of which nothing is known (40 s for 15 steps), by two workers
    assert estimate.seconds_left() == pytest.approx((5 * 4 + 10 * 4 + 10 * 40 / 15) / 2)
    assert str(estimate) == "about 43 s left"


# -- going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_killed_run_goes_on_from_its_last_evaluation_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, at: int
) -> None:
    """Random numbers, running statistics, the order of batches, the optimiser: all go on."""
    monkeypatch.setitem(NETWORKS, "dropout", Network(with_dropout, identities({"1": 1})))
    monkeypatch.setitem(FIGURES, "starts", Figure("only a teacher", 1.0, {}))
    schedule = Schedule(steps=7, every=2, batch_size=400, optimizer=optimizer, lr=0.01)
    experiment = Experiment("starts", "digits", "dropout", (3,), schedule)
    run_experiment(experiment, tmp_path / "whole", ignore)

    gradients, calls = Training._gradients, 0

    def counted(self: Training, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 * at:
            raise Killed
        return gradients(self, *args)

    out = tmp_path / "killed"
    monkeypatch.setattr(Training, "_gradients", counted)
    with pytest.raises(Killed):
        run_experiment(experiment, out, ignore)
    assert not load_results(out).runs
    (out / "runs" / "half.tmp").write_text("what a kill leaves of a file")
    torch.rand(5)  # the global generator is elsewhere by now
    steps: list[int] = []
    calls = -100
    run_experiment(experiment, out, lambda _, done: steps.append(done))
    assert measured(out) == measured(tmp_path / "whole")
    assert steps[0] == 2 * (at - 1) and sum(steps) == 7
    assert calls == -100 + 7 - 2 * (at - 1)
    kinds = sorted(path.suffixes[-1] for path in (out / "runs").iterdir())
    assert kinds == [".jsonl", ".pt"]  # records and weights, no checkpoint, nothing half-written


def test_a_checkpoint_that_is_cut_off_is_told_and_the_run_begins_again(
    tmp_path: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupting(key: Key, steps: int) -> None:
        if steps and key.arm == "net2wider":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(TINY, tmp_path, interrupting)
    (kept,) = (tmp_path / "runs").glob("net2wider-*.part.pt")
    kept.write_bytes(kept.read_bytes()[:200])
    run_experiment(TINY, tmp_path, ignore)
    assert f"{kept.name} cannot be read" in caplog.text
    assert measured(tmp_path) == measured(finished)


def test_several_processes_find_the_same_numbers(tmp_path: Path, finished: Path) -> None:
    steps: dict[Key, int] = {}

    def count(key: Key, done: int) -> None:
        steps[key] = steps.get(key, 0) + done

    run_experiment(TINY, tmp_path, count, workers=2)
    assert measured(tmp_path) == measured(finished)
    assert steps == dict.fromkeys(TINY.keys, 6)
    assert not multiprocessing.active_children()


ARGUMENTS = [
    *"reproduce deeper --data digits --model convnet --seeds 2 --steps 300".split(),
    *"--workers 2 --lr 0.01 --batch-size 32 --out".split(),
]


def started(out: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it, in the midst of its work."""
    # Who runs the tests in the background lets them ignore Ctrl-C, and what they start as well.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from net2net_lab.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *ARGUMENTS, str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(list(out.glob("runs/*.part.pt"))) >= 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def in_group(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_end_all_processes_and_keep_what_was_measured(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = started(tmp_path)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as the terminal does
    else:
        os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert errors.endswith("Interrupted. The same command goes on from here.\n")
        assert "Traceback" not in errors
        assert not list(tmp_path.glob("runs/*.tmp"))
    # Python's own tracker of resources ends after the program; killed, so do the workers.
    wait_for(lambda: not in_group(process.pid), seconds=30)
    kept = list(tmp_path.glob("runs/*.part.pt"))
    assert len(kept) == 2 and all(map(load_progress, kept))


@pytest.fixture
def untouched() -> Iterator[None]:
    """SIGTERM is ignored, so that one which the command leaves alone ends no tests."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    assert signal.signal(signal.SIGTERM, before) is signal.SIG_IGN, "the command left its own"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("at", [1, 4, 5])
def test_a_run_ended_by_sigterm_loses_at_most_the_steps_since_its_last_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Evaluated every second step; the signal comes within a step of the second run."""
    schedule = Schedule(steps=8, every=2, batch_size=16)
    entry = replace(TASKS["digits"], network="convnet", schedule=schedule)
    monkeypatch.setitem(TASKS, "digits", entry)
    monkeypatch.setattr(commands, "_show", lambda *_: None)
    command = "explore --data digits --seeds 1 --workers 1 --out".split()
    assert reproduce(*command, str(tmp_path / "whole")).exit_code == 0
    gradients, done, last = Training._gradients, 0, schedule.steps + at

    def counted(self: Training, *args: Any) -> Any:
        nonlocal done
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGTERM)
        return gradients(self, *args)

    monkeypatch.setattr(Training, "_gradients", counted)
    out = tmp_path / "ended"
    ended = reproduce(*command, str(out))
    assert ended.exit_code == 130 and done == last
    assert ended.stderr.endswith("Interrupted. The same command goes on from here.\n")
    (kept,) = map(load_progress, out.glob("runs/*.part.pt"))
    assert kept is not None
    assert kept[1][-1].step == (at - 1) // 2 * 2  # at its beginning, the step was not done yet

    done, last = 0, -1
    assert reproduce(*command, str(out)).exit_code == 0
    assert done == 3 * schedule.steps - kept[1][-1].step
    assert measured(out) == measured(tmp_path / "whole")


# -- faults -------------------------------------------------------------------------------------


def diverging(name: str) -> Figure:
    """The demo's figure, one arm of which has a learning rate that nothing survives."""
    demo = FIGURES["starts"]
    return replace(demo, arms={**demo.arms, name: replace(demo.arms[name], lr_scale=float("1e30"))})


def test_a_loss_that_is_no_number_stops_its_run_only(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(FIGURES, "starts", diverging("random_pad"))
    total = 0

    def count(key: Key, steps: int) -> None:
        nonlocal total
        total += steps

    results = run_experiment(TINY, tmp_path, count)
    assert total == TINY.steps
    assert {key.arm for key in results.faults} == {"random_pad"} and not results.missing
    fault = results.faults[Key("random_pad", 0)]
    assert fault == "the loss is nan at step 2"
    assert f"random_pad-seed0 was stopped: {fault}. The other runs go on." in caplog.text
    others = {key: run for key, run in measured(tmp_path).items() if key.arm != "random_pad"}
    assert others.items() <= measured(finished).items()

    summary = summarise(results)
    assert [row.arm for row in summary.questions[0].rows] == ["net2wider", "fresh", "scratch_wide"]
    print_tables(summary)
    assert f"Stopped: random_pad-seed1, {fault}" in capsys.readouterr().out
    assert reproduce("render", str(tmp_path)).exit_code == 0
    assert f"random_pad-seed0 ({fault})" in (tmp_path / "report.html").read_text()

    def never(self: Training) -> int:
        raise AssertionError("what was stopped is not run again")

    monkeypatch.setattr(Training, "flops_per_step", never)
    run_experiment(TINY, tmp_path, ignore)


def test_students_of_a_teacher_that_was_stopped_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = replace(TINY, schedule=replace(TINY.schedule, lr=1e30))
    results = run_experiment(wild, tmp_path, ignore)
    assert set(results.faults) == {Key(TEACHER, 0), Key(TEACHER, 1)}
    assert len(results.missing) == 12
    assert "net2deeper-seed1 is left out: its teacher was stopped." in caplog.text
    result = reproduce("render", str(tmp_path))
    assert result.exit_code == 1
    assert "No teacher" in result.output and "the loss is nan" in result.output


class FullDisk(io.BytesIO):
    def write(self, content: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def full_after(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """Let so many files be written, and no more."""
    real, left = Path.open, files

    def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        nonlocal left
        if mode != "wb":
            return real(path, mode, *args, **options)
        left -= 1
        if left >= 0:
            return real(path, mode)
        path.touch()
        return FullDisk()

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize("after", [0, 1, 2, 9])
def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as patch:
        full_after(patch, after)
        with pytest.raises(DiskFullError, match=r"The disk is full.*goes on from here"):
            run_experiment(TINY, tmp_path, ignore)
    assert not list(tmp_path.rglob("*.tmp"))
    run_experiment(TINY, tmp_path, ignore)
    assert measured(tmp_path) == measured(finished)


def test_a_full_disk_while_drawing_is_one_sentence(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(monkeypatch, 0)
    result = reproduce("render", str(finished))
    assert result.exit_code == 1
    assert result.output.startswith("Error: The disk is full")
    assert not list(finished.rglob("*.tmp"))


@pytest.mark.parametrize("device", ["tpu9", "meta", "cuda:99"])
def test_an_unknown_device_is_refused_before_anything_is_done(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device '{device}'.*Give one of: cpu"):
        Machine(device).check()
    result = reproduce(
        "wider", "--data", "digits", "--device", device, "--out", str(tmp_path / "out")
    )
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_memory_that_ran_out_names_a_batch_size_to_try() -> None:
    with (
        pytest.raises(
            OutOfMemoryError, match=r"in run x with batches of 128\. Try --batch-size 64"
        ),
        memory_told("run x", 128),
    ):
        torch.empty(2**50)
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory")):
        with pytest.raises(OutOfMemoryError), memory_told("run x", 1):
            raise error
    with pytest.raises(RuntimeError, match="something else"), memory_told("run x", 1):
        raise RuntimeError("something else")


def test_a_worker_that_the_system_killed_ran_out_of_memory(tmp_path: Path) -> None:
    def kill(key: Key, steps: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(OutOfMemoryError, match="Try --batch-size 8, or fewer --workers"):
        run_experiment(TINY, tmp_path, kill, workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("moment", ["_started", "_give"])
def test_a_worker_killed_before_it_began_ran_out_of_memory_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before it is given a run, and before it has read which: the pipe breaks in another way."""
    real = getattr(workers, moment)

    def killed(*arguments: Any) -> Any:
        found = real(*arguments)
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        return found

    monkeypatch.setattr(workers, moment, killed)
    with pytest.raises(OutOfMemoryError, match=r"in run teacher-seed0.* or fewer --workers"):
        run_experiment(TINY, tmp_path, ignore, workers=2)


def test_an_error_of_a_worker_is_the_one_that_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NETWORKS, "known here", NETWORKS["convnet"])  # but not in a new process
    with pytest.raises(UnknownNetworkError, match="There is no network 'known here'"):
        run_experiment(replace(TINY, model="known here"), tmp_path, ignore, workers=2)
    assert not multiprocessing.active_children()
    try:
        raise ValueError("unforeseen")
    except ValueError as error:
        told = _portable(error)
    assert isinstance(told, WorkerError) and "test_reproduce.py" in str(told)


# -- the command line ---------------------------------------------------------------------------


def planned(out: Path) -> dict[str, Any]:
    return json.loads((out / "experiment.json").read_text())["experiment"]


def test_options_say_what_is_run_and_render_draws_the_same_again(tmp_path: Path) -> None:
    result = reproduce(
        *"deeper --data digits --model convnet --seeds 1 --epochs 0.2 --batch-size 64".split(),
        *"--optimizer adamw --schedule constant --autocast bf16 --workers 1 --out".split(),
        str(tmp_path),
    )
    assert result.exit_code == 0, result.output
    plan = planned(tmp_path)
    assert plan["schedule"] == {
        "steps": 4, "every": 1, "batch_size": 64, "lr": OPTIMISERS["adamw"].lr,
        "optimizer": "adamw", "decay": "constant", "threads": 1,
    }  # fmt: skip
    assert plan["machine"] == {"device": "cpu", "autocast": True, "compile": False}
    assert "5 of 5 runs" in result.stderr
    for word in ("Net2DeeperNet, rate × 0.1", "from scratch", "p of area", "with teacher's"):
        assert word in result.stdout
    run = load_results(tmp_path).runs[Key("net2deeper-0.1", 0)]
    assert run.start.lr == pytest.approx(0.1 * OPTIMISERS["adamw"].lr)
    assert run.start.flops_per_step > 0
    assert {e.lr for e in run.evaluations} == {run.start.lr}
    assert run.start.environment["torch"] == torch.__version__ and run.start.environment["commit"]
    assert run.evaluations[1].train_accuracy is not None

    drawn = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    files = {"deeper.png", "deeper.svg", "tables.md", "report.html"}
    assert set(drawn) == {"experiment.json", *files}
    for name in files:
        (tmp_path / name).unlink()
    again = reproduce("render", str(tmp_path))
    assert again.exit_code == 0 and again.stdout == result.stdout
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data digits --steps 1 --epochs 1", "Give --steps or --epochs, not both."),
        ("--data none", "There are no data 'none'. Give one of digits,"),
        ("--data digits --model none", "There is no network 'none'. Give one of"),
        ("--data fashion-mnist --data-dir /nowhere", "apt-get install"),
        ("--data digits --data-dir .", "'digits' takes no folder. Leave out --data-dir."),
        ("--data pyproject.toml --data-dir .", "'pyproject.toml' takes no folder. Leave out"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path: Path, arguments: str, message: str) -> None:
    result = reproduce("wider", *arguments.split(), "--out", str(tmp_path / "out"))
    assert result.exit_code in (1, 2)
    assert message in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_decays_begin_at_the_whole_rate_and_autocast_computes_in_bfloat16() -> None:
    assert all(decay(0.0) == 1 for decay in DECAYS.values())
    assert Schedule(steps=4, decay="cosine").rate(0.5, 3) == pytest.approx(0.25)
    with Machine(autocast=True).arithmetic():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.bfloat16
