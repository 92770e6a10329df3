"""The race: equal FLOPs, the same batches, stages from records, and what is drawn of them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console
from torch import Tensor, nn

from net2net_lab import cli
from net2net_lab.experiments.data.data import InMemory
from net2net_lab.experiments.lessons import Lesson
from net2net_lab.experiments.run.train import flops_of_step
from net2net_lab.race import demo, plan, train
from net2net_lab.race.arms import ARMS, NEW, REFERENCE, SCRATCH, Arm, Size, family
from net2net_lab.race.choices import CHOICES, effect
from net2net_lab.race.command import run_stage
from net2net_lab.race.engine import EngineError, local, ray
from net2net_lab.race.grow import grown
from net2net_lab.race.plan import NotReadyError, Race, missing
from net2net_lab.race.ranks import mean_ranks
from net2net_lab.race.rates import SEEDS, settled, tuning
from net2net_lab.race.records import Record, Records, Spec, append, read
from net2net_lab.race.statistics import compared, holm
from net2net_lab.race.tables import tables
from net2net_lab.race.tasks import TASKS
from net2net_lab.race.train import Budget, carry_out, entry_of, steps_of
from net2net_lab.race.verdict import by_facts, to_reach, tried, verdict
from tests.helpers import assert_exact, randomise

FRESH = Arm("width", "fresh", "pad", "own", 0.4)
RATE = 0.002


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A task that takes no time, the only one."""
    rates = (0.001, 0.002, 0.004)
    task = replace(TASKS["mlp"], build=_small, depth=2, rates=rates, steps=32, batch_size=16)
    monkeypatch.setattr(plan, "TASKS", {"tiny": task})
    for name in list(TASKS):
        monkeypatch.delitem(TASKS, name)
    monkeypatch.setitem(TASKS, "tiny", task)
    return "tiny"


def _small(data: InMemory, width: float, depth: int) -> nn.Module:
    from net2net_lab.race.nets import MLP

    return MLP(data.example[0].numel(), data.classes, round(16 * width), depth)


def tuned(task: str, arms: Sequence[Arm], best: float = 0.002) -> Records:
    """Records of a tuning that nobody ran."""
    records: Records = {}
    for one in dict.fromkeys(map(family, arms)):
        for spec in tuning(task, one, 0.25, records):
            records[spec] = Record(spec, entry_of(task), loss=1 + abs(spec.rate - best))
    return records


def test_two_arms_race_with_equal_flops_resume_and_are_drawn(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FEW", (0, 1))
    arms = (SCRATCH, REFERENCE, FRESH)
    records = tuned(tiny, arms)
    for record in records.values():
        append(tmp_path, record)
    race = Race([tiny], records, arms)
    run_stage(race, "quarter", local, 1, tmp_path, Console(quiet=True))
    done = [one for one in race.records.values() if one.spec.seed not in SEEDS]
    assert {one.spec for one in done} == {
        Spec(tiny, arm.on(TASKS[tiny]), seed, 0.25, RATE) for arm in arms for seed in (0, 1)
    }
    step = train.cost(tiny, Size())[1]
    for one in done:
        assert one.fault is None and one.loss is not None
        assert one.allowed == 8 * step
        assert one.allowed - step < one.flops <= one.allowed
        assert one.flops == sum(phase.steps * phase.flops_per_step for phase in one.phases)

    # what is there is not run again; what was cut off is
    again = read(tmp_path, {tiny: entry_of(tiny)})
    assert again == race.records
    assert missing(replace(race, records=again), "quarter") == []
    path = tmp_path / f"{tiny}.jsonl"
    path.write_text(path.read_text()[:-20])
    cut = read(tmp_path, {tiny: entry_of(tiny)})
    [spec] = missing(replace(race, records=cut), "quarter")
    run_stage(replace(race, records=cut), "quarter", local, 1, tmp_path, Console(quiet=True))
    assert cut[spec].loss == race.records[spec].loss
    assert read(tmp_path, {tiny: entry_of(tiny)}).keys() == again.keys()

    result = CliRunner().invoke(cli.main, ["race", "--render", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    shown = (tmp_path / "tables.md").read_text()
    for word in ("width fresh own τ=0.4", "scratch", "mean rank", "Holm"):
        assert word in shown
    assert (tmp_path / "tiny-0.25.png").stat().st_size > 1000


def test_what_a_run_says_it_spent_is_what_its_steps_cost(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted step by step, on the networks that are there; and batches come in one order."""
    spent: list[int] = []
    seen: list[Tensor] = []

    def counted(model: nn.Module, lesson: Lesson, x: Tensor, y: Tensor, machine: Any) -> Tensor:
        spent.append(flops_of_step(model, lesson, x, y, machine))
        seen.append(x)
        return gradients(model, lesson, x, y, machine)

    gradients = train.gradients
    monkeypatch.setattr(train, "gradients", counted)
    train._begun.cache_clear()
    orders = []
    for arm in (FRESH, SCRATCH):
        spent.clear(), seen.clear()
        record = carry_out(Spec(tiny, arm.on(TASKS[tiny]) or arm, 3, 0.25, RATE))
        assert record.flops == sum(spent) and len(set(spent)) == len(record.phases)
        orders.append(list(seen))
    assert len(orders[0]) > len(orders[1])  # small steps are cheaper
    assert all(map(torch.equal, orders[0], orders[1]))


def test_a_run_that_cannot_be_is_recorded_with_its_reason(tiny: str) -> None:
    uneven = Arm("width", "uneven", "", "scale", 0.4)
    record = carry_out(Spec(tiny, uneven, 0, 0.25, RATE))
    assert record.loss is None and "uneven shares" in (record.fault or "")
    assert Record.of(json.loads(record.line())) == record


def test_the_rate_warms_up_stays_and_decays_once() -> None:
    budget = Budget(rate=1.0, flops=100, warm=4)
    assert [budget.at(0, since) for since in (1, 2, 4, 9)] == [0.25, 0.5, 1, 1]
    assert [budget.at(spent, 50) for spent in (80, 90, 100)] == pytest.approx([1, 0.5, 0])
    assert steps_of((0.2, 0.2, 0.6), [1, 2, 5], 1000) == [56, 56, 166]


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("resnet", "half-deeper zeroed-spread"), ("inception", "one-deeper identity"),
        ("mlp", "half-deeper identity"), ("vit", "both fresh pad"), ("mlp", "width gradmax"),
    ],
)  # fmt: skip
def test_the_full_network_is_reached(name: str, arm: str) -> None:
    """From any size, with the function kept; ``grown`` compares parameters."""
    path, method, *norms = arm.split()
    way, task = Arm(path, method, *norms), TASKS[name]  # type: ignore[arg-type]
    shape = (8, 64) if name == "mlp" else (8, 1, 28, 28)
    x, y = torch.randn(shape).double(), torch.zeros(8, dtype=torch.long)
    data = InMemory(x, y, x, y, 10)
    size = way.sizes[0]
    model = randomise(task.model(data, size.width, size.blocks(task.depth), 0))
    growth = grown(model, way, task, data, (way.sizes[0], way.sizes[1]), 0)
    assert_exact(model, growth.model, x)


def test_tuning_goes_on_at_the_edge_of_its_rates_and_settles() -> None:
    records: Records = {}
    tried = []
    while todo := [spec for spec in tuning("vit", NEW, 0.25, records) if spec not in records]:
        assert settled("vit", NEW, 0.25, records) is None
        tried.append(sorted({spec.rate for spec in todo}))
        for spec in todo:
            records[spec] = Record(spec, "", loss=abs(spec.rate - 0.008))
    assert tried == [[0.001, 0.002, 0.004], [0.008], [0.016]]
    assert settled("vit", NEW, 0.25, records) == 0.008


def fabricated(specs: Sequence[Spec], losses: dict[Arm, float]) -> Records:
    """Final losses that differ a little by seed."""
    return {
        spec: Record(spec, entry_of(spec.task), 1, 1, loss=losses[spec.arm] + 0.001 * spec.seed)
        for spec in specs
    }


def test_stages_follow_from_the_records_before(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ON", (tiny,))
    race = Race([tiny], {})
    with pytest.raises(NotReadyError, match="--stage tune"):
        missing(race, "quarter")
    race.records.update(tuned(tiny, ARMS))
    assert missing(race, "tune") == []
    with pytest.raises(NotReadyError, match="--stage quarter"):
        missing(race, "half")
    todo = missing(race, "quarter")
    seeds = [spec.seed for spec in todo]
    assert seeds == sorted(seeds) and set(seeds) == {0, 1, 2}
    losses = {spec.arm: 1.0 for spec in todo}
    best = Arm("width", "pair", "", "own", 0.4)
    losses[best] = 0.5
    race.records.update(fabricated(todo, losses))
    half = {spec.arm for spec in missing(race, "half")}
    assert best in half and SCRATCH in half
    assert len(half) < len(losses)
    race.records.update(fabricated(missing(race, "half"), losses))
    while todo := missing(race, "retune"):
        race.records.update(fabricated(todo, dict.fromkeys([spec.arm for spec in todo], 1.0)))
    full = missing(race, "full")
    assert {spec.seed for spec in full} == {0, 1, 2, 3, 4}
    race.records.update(fabricated(full, losses))
    held_out = missing(race, "split")
    assert {(spec.arm, spec.seed) for spec in held_out} == {
        (arm, seed) for arm in (best, REFERENCE) for seed in (5, 6, 7, 8, 9)
    }
    race.records.update(fabricated(held_out, losses))
    assert {spec.seed for spec in missing(race, "again")} == {*range(10, 20)}
    frontier = missing(race, "frontier")
    assert {spec.budget for spec in frontier} == {0.5, 1.0, 2.5}
    assert {replace(best, tau=tau) for tau in (0.1, 0.8)} <= {spec.arm for spec in frontier}
    assert replace(best, path="width-1.37") in {spec.arm for spec in frontier}
    shown = tables(race.records)
    assert "By the rule: `width pair own τ=0.4`" in shown
    assert "Seeds 5 to 9" in shown and "does not win" in shown
    assert "| width pair own τ=0.4 | 5 |" in shown  # what is held out is not in with the others


@pytest.mark.parametrize(("tasks", "wins"), [(3, True), (2, False)])
def test_a_split_by_facts_is_tried_on_seeds_that_did_not_suggest_it(tasks: int, wins: bool) -> None:
    judges = [name for name, task in TASKS.items() if task.halving]
    records: Records = {}
    for number, task in enumerate(judges):
        better = 0.2 if number < tasks else 0.0
        for arm, less in ((FRESH, better), (REFERENCE, 0.0)):
            there = arm.on(TASKS[task])
            assert there is not None
            for seed in (5, 6, 7, 8, 9):
                jitter = 0.01 * ((seed * (3 if less else 7)) % 5)
                spec = Spec(task, there, seed, 1.0, RATE)
                records[spec] = Record(spec, "", loss=1 - less + jitter)
    tests, won = tried(records, judges, by_facts(judges), FRESH)
    assert [test.task for test in tests] == ["text", "inception", "resnet", "vit"]
    assert [test.sign for test in tests] == [-1] * tasks + [0] * (4 - tasks)
    assert won is wins
    strict, _ = tried(records, judges, by_facts(judges), FRESH, alpha=1e-12)
    assert not any(test.sign for test in strict)


def test_the_default_is_the_first_if_it_beats_the_reference_and_is_worse_nowhere(
    tiny: str,
) -> None:
    def race(fresh: Sequence[float]) -> Records:
        records = {}
        for arm, losses in ((FRESH, fresh), (REFERENCE, [1.0, 1.01, 1.02, 1.03])):
            for seed, loss in enumerate(losses):
                spec = Spec(tiny, replace(arm, norms=""), seed, 1.0, RATE)
                records[spec] = Record(spec, "", loss=loss)
        return records

    clear = race([0.901, 0.909, 0.921, 0.93])
    assert verdict(clear, [tiny], 1.0, [FRESH, REFERENCE]).default == FRESH
    lucky = race([0.5, 1.1, 1.05, 0.99])
    found = verdict(lucky, [tiny], 1.0, [FRESH, REFERENCE])
    assert found.first == FRESH and found.default is None
    scratch = {replace(spec, arm=SCRATCH): one for spec, one in lucky.items() if spec.arm.method}
    against = verdict({**lucky, **scratch}, [tiny], 1.0, [FRESH], SCRATCH)
    assert against.default == FRESH  # it is enough not to be worse
    assert mean_ranks(clear, [tiny], 1.0, [REFERENCE, FRESH, SCRATCH]) == {
        FRESH: 1, REFERENCE: 2, SCRATCH: 3,
    }  # fmt: skip


def test_pairs_are_compared_and_corrected(tiny: str) -> None:
    def runs(losses: Sequence[float | None]) -> dict[int, Record]:
        spec = Spec(tiny, SCRATCH, 0, 1.0, RATE)
        return {seed: Record(spec, "", loss=loss) for seed, loss in enumerate(losses)}

    found = compared(runs([1.0, 2.0, 3.0, None]), runs([1.5, 2.4, 3.6, 4.0]))
    assert found.seeds == 3
    assert found.difference == pytest.approx(-0.5)
    assert found.effect == pytest.approx(-5)
    assert found.wilcoxon == pytest.approx(0.25)
    assert found.t is not None and 0.01 < found.t < 0.02
    assert compared(runs([]), runs([1.0])).difference is None
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert to_reach([(0.5, 4.0), (2.0, 1.0)], 2.0) == pytest.approx(1.0)
    assert to_reach([(0.5, 4.0), (2.0, 1.0)], 0.5) is None


def test_what_is_saved_at_each_budget(tiny: str) -> None:
    losses = {
        SCRATCH: {0.5: 4.0, 1.0: 2.0, 2.5: 1.0},
        REFERENCE: {0.5: 2.0, 1.0: 1.5, 2.5: 1.2},
        FRESH.on(TASKS[tiny]): {0.25: 4.0, 1.0: 1.0},
    }
    records: Records = {}
    for arm, found in losses.items():
        assert arm is not None
        for budget, loss in found.items():
            spec = Spec(tiny, arm, 0, budget, RATE)
            records[spec] = Record(spec, "", loss=loss)
    rows = [row for row in tables(records).splitlines() if "| ×" in row]
    saved = {cells[1]: cells[3:] for row in rows if (cells := row.strip("| ").split(" | "))}
    assert saved["scratch"] == ["0 %", "0 %", "0 %"]
    assert saved[str(REFERENCE)] == ["–", "50 %", "not reached"]
    assert saved[str(FRESH.on(TASKS[tiny]))] == ["50 %", "50 %", "60 %"]


def test_what_one_choice_does(tiny: str) -> None:
    records = {}
    losses = {"own": (1.0, 2.0, 3.0), "drop": (1.1, 2.4, 3.0), "own-1.3": (1.0, 2.0, None)}
    arms = [replace(REFERENCE, state=state) for state in losses]
    for arm, found in zip(arms, losses.values(), strict=True):
        for seed, loss in enumerate(found):
            spec = Spec(tiny, arm, seed, 1.0, RATE)
            records[spec] = Record(spec, "", loss=loss)
    found_of = {name: effect(records, [tiny], 1.0, arms, other) for name, other in CHOICES.items()}
    shown = {name: one for name, one in found_of.items() if one is not None}
    assert list(shown) == ["state `own`, not `drop`", "state `own`, re-warmed to 1.3"]
    own, rewarmed = shown.values()
    assert own.pairs == 1 and own.mean == own.tasks[tiny]
    assert own.mean == pytest.approx((1 / 1.1 * 2 / 2.4) ** (1 / 3) - 1)
    assert rewarmed.mean == 0 and rewarmed.p == 1
    assert "| state `own`, not `drop` | 1 | -8.8 | 1.000 | -8.8 |" in tables(records)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_arms_that_race(name: str) -> None:
    pairs = [(arm, CHOICES[name](arm)) for arm in ARMS]
    assert any(other in ARMS and other != arm for arm, other in pairs)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    def told(*options: str) -> str:
        result = CliRunner().invoke(cli.main, ["race", "--out", str(tmp_path), *options])
        assert result.exit_code in (1, 2) and "Traceback" not in result.output
        return result.output

    assert "There are no records" in told("--render")
    assert "There is no task 'chess'" in told("--task", "chess")


def test_one_way_to_grow_beside_what_does_not(tmp_path: Path) -> None:
    def called(*options: str) -> Result:
        fixed = ["progressive", "--task", "mlp", "--budget", "0.05", "--out", str(tmp_path)]
        return CliRunner().invoke(cli.main, [*fixed, *options])

    first = called("--seeds", "2", "--tau", "0.4", "--tau", "0.8")
    assert first.exit_code == 0, first.output
    assert first.stderr.count("seed ") == 8
    for told in ("width fresh own τ=0.8", "small", "scratch", "mlp-0.05.png"):
        assert told in first.stdout
    again = called("--seeds", "2", "--path", "half-deeper")
    assert again.stderr.count("seed ") == 4  # from scratch is there already
    assert "half-deeper identity own τ=0.8" in again.stdout and "shallow" in again.stdout
    assert "There is no path 'small'" in called("--path", "small").output
    assert "There is no method 'gpt'" in called("--method", "gpt").output
    refused = called("--path", "both")
    assert refused.exit_code and "cannot grow along" in refused.output


@pytest.fixture
def cluster() -> Iterator[None]:
    ray_ = pytest.importorskip("ray")
    yield
    ray_.shutdown()


def test_ray_carries_runs_out(cluster: None) -> None:
    spec = Spec("mlp", SCRATCH, 0, 0.02, RATE)
    [record] = ray([spec], 1)
    assert record.loss == carry_out(spec).loss


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_there_is_a_sentence() -> None:
    with pytest.raises(EngineError, match="--engine local"):
        list(ray([], 1))


def test_the_demo_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "RATES", {0.05: 0.008, 0.1: 0.004})
    for seeds in ("1", "2"):
        result = CliRunner().invoke(cli.main, ["demo", "--out", str(tmp_path), "--seeds", seeds])
        assert result.exit_code == 0, result.output
        assert result.stderr.count("seed ") == 6
    assert "three, grown to five" in result.stdout and "±" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"mlp.jsonl", "demo.png"}
    empty = CliRunner().invoke(cli.main, ["demo", "--out", str(tmp_path / "none"), "--render"])
    assert empty.exit_code == 1 and "There are no records" in empty.stderr
