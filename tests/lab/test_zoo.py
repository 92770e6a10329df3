"""The coverage command: what is measured of a model, limits, resuming, tables."""

import json
import os
import signal
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

import net2net
from net2net.errors import VerificationError
from net2net_lab import cli
from net2net_lab.zoo import families, run
from net2net_lab.zoo import measure as measuring
from net2net_lab.zoo.environment import sources_hash, versions
from net2net_lab.zoo.families import MissingLibraryError, family
from net2net_lab.zoo.measure import describe, measure
from net2net_lab.zoo.randomise import randomise
from net2net_lab.zoo.records import Key, Measurement, Record, append, read
from net2net_lab.zoo.render import counts, render
from net2net_lab.zoo.run import Limits, run_zoo
from net2net_lab.zoo.subject import Entry, NotBuiltError, Readin, Readout, Subject

NOW = {"net2net": "0", "torch": "0"}


def mlp(*extra: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), *extra, nn.Linear(8, 2))


def images() -> Tensor:
    return torch.randn(2, 3)


def record(name: str, group: str = "", **fields: object) -> Record:
    return Record(Key("timm", group, name), Measurement(**fields), NOW)  # type: ignore[arg-type]


# measuring


@pytest.mark.parametrize(
    ("name", "model"), [("torchvision", "squeezenet1_1"), ("transformers", "llama")]
)
def test_a_model_that_counts(name: str, model: str) -> None:
    if name == "transformers":
        pytest.importorskip("transformers")
    found = measure(family(name).build(model))
    assert (found.status, found.reason) == ("ok", None)
    assert found.dtype == "float64"
    assert found.difference is not None and found.difference < 1e-12
    assert found.parameters is not None and found.parameters[1] > 2 * found.parameters[0]
    assert found.spaces and found.seconds and found.export_seconds and found.operations
    assert any("model's output" in fixed for fixed in found.fixed)
    assert found.deepened


class Chooses(nn.Module):
    """Its code branches on hidden values."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return x if x.amax() > 0 else -x


def test_a_model_that_runs_with_values_only() -> None:
    found = measure(Subject(Chooses(), images()))
    assert (found.status, found.reason, found.deepened) == ("ok", None, "layers.0")


def test_a_layer_that_an_activation_follows_is_deepened_first() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU())
    assert measure(Subject(nn.Sequential(model, nn.Linear(8, 2)), images())).deepened == "0.3"


def test_no_layer_is_put_in_that_is_larger_than_the_model() -> None:
    patches = nn.Conv2d(3, 32, 16, stride=16), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*patches, nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 2))
    assert measure(Subject(model, torch.randn(4, 3, 16, 16))).deepened == "3"


def test_where_no_identity_layer_can_stand_a_branch_does() -> None:
    layers = nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2), nn.Tanh()
    assert measure(Subject(nn.Sequential(*layers), images())).deepened == "0, a branch"


class Times(nn.Module):
    """Linear, by a weight that is no layer's."""

    def __init__(self, wide: int, width: int, *, adds: bool) -> None:
        super().__init__()
        self.weight, self.adds = nn.Parameter(torch.randn(wide, width)), adds

    def forward(self, x: Tensor) -> Tensor:
        made = x @ self.weight
        return x + made if self.adds else made.tanh()


def test_a_model_without_layers_gets_a_block_if_its_blocks_admit_it() -> None:
    for adds, deeper in ((True, "1, a block"), (False, "")):
        blocks = nn.Sequential(*(Times(8, 8, adds=adds) for _ in range(2)))
        ends = Times(3, 8, adds=False), Times(8, 2, adds=False)
        found = measure(Subject(nn.Sequential(ends[0], blocks, ends[1]), images()))
        assert found.deepened == deeper and bool(found.not_deeper) is not adds, found


def test_a_deeper_student_that_differs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise VerificationError("it differs.", SimpleNamespace(exact=False))  # type: ignore[arg-type]

    monkeypatch.setattr(import_module("net2net.deepen.deepen"), "check", refuse)
    subject = Subject(mlp(nn.Linear(8, 8), nn.ReLU()), images())
    assert measure(subject).verdict.startswith("failed, depth: ")


def test_what_does_not_grow_wider_may_grow_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_check_size", never)
    found = measure(Subject(mlp(nn.Linear(8, 8), nn.ReLU()), images()))
    assert (found.verdict, found.deepened) == ("failed, size: never", "0")


def never(*args: object) -> None:
    raise measuring._Failure("size", "never")


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no such axis")


def test_a_model_that_does_not_run_was_not_measured() -> None:
    found = measure(Subject(mlp(Raises()), images()))
    assert (found.status, found.stage) == ("not run", "build")
    assert found.reason == "it does not run: ValueError: no such axis"


class Overwriting(nn.Module):
    """Autograd needs what the sigmoid put out, and finds something else there."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.layers[:3](x))
        return self.layers[4:](x.mul_(2.0))  # type: ignore[no-any-return]


def test_a_teacher_that_cannot_be_trained_was_not_measured() -> None:
    found = measure(Subject(Overwriting(), images()))
    assert (found.status, found.stage) == ("not run", "build")
    assert (found.reason or "").startswith("the teacher itself cannot be trained: RuntimeError")


def test_a_model_that_computes_nothing_was_not_measured() -> None:
    nothing = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2), nn.Threshold(1e9, 0.0))
    found = measure(Subject(nothing, images()))
    assert (found.status, found.reason) == (
        "not run", "with random weights its outputs are all zero",
    )  # fmt: skip


def test_a_student_that_differs_fails_with_what_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widen = net2net.widen

    @torch.no_grad()
    def doubling(*args: Any, **options: Any) -> net2net.Growth:
        grown = widen(*args, **options)
        for parameter in grown.model[-1].parameters():  # type: ignore[index, union-attr]
            parameter *= 2
        return grown

    monkeypatch.setattr(net2net, "widen", doubling)
    found = measure(Subject(mlp(), images()))
    assert (found.status, found.stage) == ("failed", "function")
    assert found.difference == pytest.approx(1.0)
    assert found.parameters == (50, 98)
    assert "differs: largest difference" in (found.reason or "")


@pytest.mark.parametrize(
    ("what", "differ"), [(lambda x, h: h.float().to(h.dtype), False), (lambda x, h: h, True)]
)
def test_what_the_code_rounds_to_float32_may_differ_by_that(
    what: Any, differ: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = x * x.sum().float().exp().isfinite()  # inputs, not units
            return self.last(what(x, self.first(x)))

    monkeypatch.setattr(
        "net2net_lab.zoo.measure.verify",
        lambda *_: SimpleNamespace(max_rel=1e-6, dtype=torch.float64, worst=""),
    )
    found = measure(Subject(Casts(), images()))
    assert (found.stage == "function") is differ, found.reason


def test_a_model_that_runs_in_float32_alone_is_compared_without_its_weights_rounding() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(3, 8), nn.LayerNorm(8)
            self.last = nn.Sequential(nn.Linear(8, 9), nn.GELU(), nn.Linear(9, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(self.first(x @ torch.eye(3, dtype=torch.float32))))

    found = measure(Subject(Narrow(), images()), 1.37, "fresh")  # the stream is multiplied
    assert (found.status, found.reason, found.dtype) == ("ok", None, "float64")
    assert found.difference is not None and found.difference < 1e-12


def test_a_student_that_hardly_grows_fails_and_names_the_constraint() -> None:
    fixed = nn.Sequential(nn.Linear(30, 8), nn.LogSoftmax(-1), nn.Linear(8, 4), nn.Linear(4, 2))
    found = measure(Subject(fixed, torch.randn(2, 30)))
    assert (found.status, found.stage) == ("failed", "size")
    assert found.reason is not None
    assert found.reason.startswith("parameters × 1.")
    assert "(8): log_softmax in '1'" in found.reason


def test_parameters_that_the_inputs_do_not_reach_are_counted_apart() -> None:
    """Nothing is known of a part that does not run: not that it could grow."""
    body = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)))
    teacher = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), body, nn.Linear(16, 2))
    teacher[1].other = nn.Linear(50, 50)
    found = measure(Subject(teacher, images()))
    assert (found.status, found.reason) == ("ok", None)
    assert found.parameters is not None and found.reached is not None
    assert [whole - read for whole, read in zip(found.parameters, found.reached, strict=True)] == [
        50 * 50 + 50
    ] * 2


def test_another_factor_and_method() -> None:
    found = measure(Subject(mlp(nn.Linear(8, 8), nn.ReLU()), images()), 1.5, "fresh")
    assert (found.status, found.reason, found.rounded) == ("ok", None, [])
    assert found.parameters == (122, 230)
    assert found.difference is not None and found.difference < 1e-15


def test_spaces_without_a_size_near_the_factor_are_no_failure() -> None:
    """Groups of two are normalised together, so there are whole ones more."""
    layers = nn.Linear(3, 8), nn.GroupNorm(4, 8), nn.Linear(8, 2)
    found = measure(Subject(nn.Sequential(*layers), images()), 1.1, "fresh")
    assert (found.status, found.reason, found.rounded) == ("ok", None, ["0"])


def test_an_error_of_the_library_is_the_reason_and_a_crash_says_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measure(Subject(nn.Linear(3, 2), images()))
    assert found.stage == "widen"
    assert (found.reason or "").startswith("NotGrowableError: no space of this model can grow")

    def crash(*args: object, **options: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(net2net, "widen", crash)
    found = measure(Subject(mlp(), images()))
    assert (found.status, found.stage) == ("failed", "widen")
    assert (found.reason or "").startswith("crash: KeyError: 'x' (")
    assert "test_zoo.py:" in (found.reason or "")


def test_reasons_do_not_say_where_libraries_lie() -> None:
    error = ValueError("neither in <module 'a.b' from '/home/me/site-packages/a/b.py'> nor a/src/b")
    assert describe(error) == "ValueError: neither in <module 'a.b' from 'a/b.py'> nor a/src/b"


def test_randomising_leaves_no_constant_and_is_repeatable() -> None:
    def model() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))

    first, second = randomise(model()), randomise(model())
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for name, tensor in first.state_dict().items():
        if tensor.is_floating_point():
            assert tensor.unique().numel() == tensor.numel(), name
    assert torch.equal(first[0].weight, model()[0].weight)  # weights are random already
    faint = nn.Linear(9, 9)
    nn.init.normal_(faint.weight, std=1e-9)
    assert randomise(faint).weight.std() > 0.01


def test_a_readout_reads_what_it_is_told() -> None:
    class Body(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"maps": x, "logits": x.mean((2, 3))}

    reads = Readout(Body(), [("maps", 1, 5), ("logits", -1, 0)])
    maps, logits = reads(torch.randn(2, 5, 4, 4))
    assert maps.shape == (2, 4, 4, 3)
    assert logits.shape == (2, 5)


def test_a_readin_feeds_what_it_is_told() -> None:
    class Body(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return x * mask

    feeds = Readin(Body(), {"x": 5})
    inputs = feeds.of({"x": torch.randn(2, 4, 5), "mask": torch.zeros(4, 1)})
    assert inputs["x"].shape == (2, 4, 3)
    assert torch.equal(feeds(**inputs), torch.zeros(2, 4, 5))


# families


def test_entries_match_by_name_or_by_group_and_name() -> None:
    entry = Entry("beit", "vit_tiny")
    assert entry.matches("vit*") and entry.matches("[a-m]*/*")
    assert not entry.matches("beit*") and not entry.matches("[n-z]*/*")


def test_torchvision_entries() -> None:
    entries = family("torchvision").entries()
    assert len([entry for entry in entries if entry.group == "classification"]) >= 80
    assert not [entry for entry in entries if "quantized" in entry.name]
    assert Entry("segmentation", "fcn_resnet50") in entries


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "find_spec", lambda name: None)
    with pytest.raises(MissingLibraryError) as error:
        family("timm")
    assert str(error.value) == (
        "The timm models need timm, torchvision. Install them: pip install timm torchvision"
    )


# processes and records


def test_a_worker_past_its_time_is_recorded_as_such(tmp_path: Path) -> None:
    key = Key("torchvision", "classification", "resnet18")
    begin = time.monotonic()
    records = run_zoo(
        [(key, NOW)], tmp_path / "zoo.jsonl", lambda *_: None, limits=Limits(seconds=0.2)
    )
    assert time.monotonic() - begin < 5
    measured = records[key].measured
    assert (measured.status, measured.stage) == ("failed", "limit")
    assert measured.reason == "takes more than 0.2 s"


def test_a_worker_without_memory_is_recorded_as_such(tmp_path: Path) -> None:
    key = Key("torchvision", "classification", "vgg11")
    limits = Limits(memory=400 * 2**20)
    records = run_zoo([(key, NOW)], tmp_path / "zoo.jsonl", lambda *_: None, limits=limits)
    assert records[key].measured.status == "failed"
    assert records[key].measured.stage == "limit"
    assert "can't allocate memory" in (records[key].measured.reason or "")


def test_a_model_that_cannot_be_built_stays_in_the_records(tmp_path: Path) -> None:
    key = Key("torchvision", "classification", "no_such_model")
    records = run_zoo([(key, NOW)], tmp_path / "zoo.jsonl", lambda *_: None)
    assert records[key].measured.stage == "build"
    assert read(tmp_path / "zoo.jsonl")[key].line() == records[key].line()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models that were measured, without a process."""
    names: list[str] = []

    def pool(keys: list[Key], limits: Limits) -> object:
        for key in keys:
            if key.name == "interrupted" and not names.count("interrupted"):
                names.append(key.name)
                raise KeyboardInterrupt
            names.append(key.name)
            bad = key.name == "bad"
            yield key, Measurement("failed", "widen", "no rule") if bad else Measurement("ok")

    monkeypatch.setattr(run, "_pool", pool)
    return names


def wanted(*names: str, versions: dict[str, str] = NOW) -> list[tuple[Key, dict[str, str]]]:
    return [(Key("timm", "", name), versions) for name in names]


def test_what_has_a_record_of_the_same_versions_is_not_measured_again(
    tmp_path: Path, measured: list[str]
) -> None:
    path = tmp_path / "deep" / "zoo.jsonl"
    seen: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        run_zoo(wanted("bad", "a", "interrupted", "z"), path, lambda *_: None)
    assert [key.name for key in read(path)] == ["bad", "a"]
    run_zoo(
        wanted("bad", "a", "interrupted", "z"),
        path,
        lambda done, total, _: seen.append((done, total)),
    )
    assert measured == ["bad", "a", "interrupted", "interrupted", "z"]
    assert seen == [(2, 4), (3, 4), (4, 4)]
    names = [json.loads(line)["name"] for line in path.read_text().splitlines()]
    assert names == ["a", "bad", "interrupted", "z"]  # in order, each once

    other = record("other", status="ok")
    run_zoo(wanted("y"), path, lambda *_: other.key in read(path) or append(path, other))
    assert other.key in read(path)  # another run added it meanwhile

    del measured[:]
    run_zoo(wanted("a", "bad"), path, lambda *_: None, again="failed")
    assert measured == ["bad"]
    run_zoo(wanted("a"), path, lambda *_: None, again="all")
    assert measured == ["bad", "a"]
    assert len(read(path)) == 6


def test_records_of_other_versions_are_replaced_or_kept_on_demand(
    tmp_path: Path, measured: list[str]
) -> None:
    path, newer = tmp_path / "zoo.jsonl", {"torch": "1"}
    run_zoo(wanted("a", "bad"), path, lambda *_: None)
    del measured[:]
    run_zoo(wanted("a", "bad", "new", versions=newer), path, lambda *_: None, again="missing")
    assert measured == ["new"]
    run_zoo(wanted("a", "bad", versions=newer), path, lambda *_: None, again="failed")
    assert measured == ["new", "bad"]
    run_zoo(wanted("a", "bad", versions=newer), path, lambda *_: None)
    assert measured == ["new", "bad", "a"]
    assert {record.key.name: record.versions for record in read(path).values()} == dict.fromkeys(
        ("a", "bad", "new"), newer
    )


def test_changed_sources_are_another_version(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "part" / "b.py").write_text("")
    first = sources_hash(tmp_path)
    (tmp_path / "notes.txt").write_text("not a source")
    assert sources_hash(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "c.py")
    moved = sources_hash(tmp_path)
    (tmp_path / "part" / "b.py").write_text("y = 2")
    assert len({first, moved, sources_hash(tmp_path)}) == 3

    now = versions(("torchvision",))
    assert list(now) == ["net2net", "net2net-lab", "torch", "torchvision"]
    assert now["net2net"].endswith("+" + sources_hash(Path(net2net.__file__).parent))
    assert now["net2net-lab"].endswith("+" + sources_hash(Path(run.__file__).parent))


def test_runs_of_other_factors_and_methods_lie_beside_each_other(
    tmp_path: Path, measured: list[str]
) -> None:
    path = tmp_path / "zoo.jsonl"
    usual = Key("timm", "", "a")
    fresh = Key("timm", "", "a", 1.37, "fresh")
    run_zoo([(fresh, NOW), (usual, NOW)], path, lambda *_: None)
    assert list(read(path)) == [fresh, usual]
    old = [json.loads(line) for line in path.read_text().splitlines()]
    for line in old:
        assert (line.pop("factor"), line.pop("method")) in {(2.0, "replicate"), (1.37, "fresh")}
    path.write_text(json.dumps(old[1]) + "\n")  # from before there was a choice
    assert list(read(path)) == [usual]
    text = render([record("a", status="ok"), Record(fresh, Measurement("ok"), NOW)])
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## timm", "## timm × 1.37, fresh",
    ]  # fmt: skip


def test_a_line_that_was_cut_off_does_not_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "zoo.jsonl"
    append(path, record("a", status="ok"))
    with path.open("a") as file:
        file.write('{"family": "timm", "gro')
    append(path, record("b", status="ok"))
    assert [key.name for key in read(path)] == ["a", "b"]
    assert "line 2 is not a record" in caplog.text


# the table


def test_tables() -> None:
    text = render([
        record("b", status="failed", stage="widen", reason="no rule for a|b " + "x" * 400),
        record(
            "a", status="ok", spaces=3, parameters=(1000, 4000), reached=(900, 3900),
            difference=2e-16, dtype="float32", seconds=0.5, export_seconds=0.25,
            note="first 2 of 9 blocks",
        ),
        record("c", status="not run", stage="build", reason="needs natten"),
    ])  # fmt: skip
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1] == (
        "| a | 3 | 1,000 → 4,000 (read: 900 → 3,900) | 2.0e-16 (float32) | 0.50 (0.25) "
        "|  | ok (first 2 of 9 blocks) |"
    )
    assert rows[2].startswith("| b |  |  |  |  |  | **failed**, widen: no rule for a\\|b xxx")
    assert rows[2].endswith("…" + " |") and len(rows[2]) < 400
    assert rows[3].endswith("| **not run**, build: needs natten |")
    assert "3 models: 1 ok (33.3 %), 1 failed (33.3 %), 1 not run (33.3 %)." in text
    assert "2.00 × the time of `torch.export`" in text
    assert "Measured with net2net 0, torch 0." in text


def test_parts_of_a_library_are_counted() -> None:
    found = [record(f"m{i}", "vision", status="ok") for i in range(3)]
    found += [record(f"n{i}", "video", status="failed", stage="size", reason="r") for i in range(2)]
    text = render(found)
    assert "- vision: 3 models: 3 ok (100.0 %)" in text
    assert "- video: 2 models: 2 failed (100.0 %)" in text
    assert counts(found) == "5 models: 3 ok (60.0 %), 2 failed (40.0 %)"


# the command


def zoo(path: Path, *options: str) -> Result:
    files = ("--json", str(path / "zoo.jsonl"), "--out", str(path / "zoo.md"))
    return CliRunner().invoke(cli.main, ["zoo", *files, *options], catch_exceptions=False)


def test_the_command_measures_and_renders(tmp_path: Path, measured: list[str]) -> None:
    result = zoo(tmp_path, "--family", "torchvision", "--only", "segmentation/fcn*")
    assert result.exit_code == 0
    assert measured == ["fcn_resnet101", "fcn_resnet50"]
    assert result.stdout.splitlines() == [
        "torchvision: 2 models: 2 ok (100.0 %)", str(tmp_path / "zoo.md"),
    ]  # fmt: skip
    table = (tmp_path / "zoo.md").read_text()
    (tmp_path / "zoo.md").unlink()
    assert zoo(tmp_path, "--render-only").stdout == result.stdout
    assert (tmp_path / "zoo.md").read_text() == table
    assert len(measured) == 2


def test_files_are_called_by_factor_and_method(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for options in ((), ("--factor", "1.37", "--method", "fresh")):
        command = ["zoo", "--family", "torchvision", "--only", "fcn_resnet50", *options]
        assert CliRunner().invoke(cli.main, command, catch_exceptions=False).exit_code == 0
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "zoo.jsonl", "zoo.md", "zoo-1.37-fresh.jsonl", "zoo-1.37-fresh.md",
    }  # fmt: skip
    [key] = read(tmp_path / "docs" / "zoo-1.37-fresh.jsonl")
    assert (key.factor, key.method) == (1.37, "fresh")


def test_a_request_to_end_ends_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Started(run._Process):
        def __init__(self, key: Key, limits: Limits) -> None:
            super().__init__(key, limits)
            started.append(self)

    def terminate(_: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "_Process", Started)
    monkeypatch.setattr(run, "time", SimpleNamespace(sleep=terminate, monotonic=time.monotonic))
    result = zoo(tmp_path, "--family", "torchvision", "--only", "resnet18")
    assert result.exit_code == cli.INTERRUPTED
    assert [worker.process.poll() for worker in started] == [-signal.SIGKILL]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--render-only",), "Error: There are no records in"),
        (("--family", "torchvision", "--only", "nope*"), "Error: No model matches nope*."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = zoo(tmp_path, *options)
    assert result.exit_code == 1
    assert result.output.startswith(message)
    assert not (tmp_path / "zoo.md").exists()


def test_what_cannot_be_built_is_no_failure_to_grow() -> None:
    assert Measurement().fail("build", "x").status == "not run"
    assert Measurement().fail("limit", " a\n b").verdict == "failed, limit: a b"
    assert issubclass(NotBuiltError, net2net.Net2NetError)
