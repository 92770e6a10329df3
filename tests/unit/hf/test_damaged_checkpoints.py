"""Checkpoints that cannot be grown, disks that are full and processes that are killed: a typed
error or a whole result, and the source as it was."""

import os
import resource
import shutil
import signal
import sys

import pytest
import torch

from net2net import FolderError, OptimizerError, hf

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tests.unit.hf.trained import LARGER, model_in

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of fork beside threads
]

EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(checkpoint, tmp_path):
    """A copy to damage."""
    return shutil.copytree(checkpoint, tmp_path / "source")


def changed(file, change):
    saved = torch.load(file, weights_only=True)
    change(saved)
    torch.save(saved, file)


def set_step(saved, step):
    for one in saved["state"].values():
        one["step"].fill_(step)


OPTIMIZER, SCHEDULE = "optimizer.pt", "scheduler.pt"
DAMAGES = {
    "groups": (OPTIMIZER, lambda saved: saved["param_groups"].pop(), "groups|in none"),
    "another model": (OPTIMIZER, lambda saved: saved["state"][0].update(exp_avg=torch.zeros(3, 3)),
                      r"'exp_avg' of '.*' is \(3, 3\)"),
    "missing": (OPTIMIZER, lambda saved: (saved["param_groups"][1]["params"].pop(),
                                          saved["state"].popitem()), "groups of"),
    "double": (OPTIMIZER, lambda saved: saved["param_groups"][0]["params"].__setitem__(1, 0),
               "in two groups"),
    "compressed": (OPTIMIZER, lambda saved: saved["state"][0].update(
        exp_avg=torch.zeros(saved["state"][0]["exp_avg"].shape, dtype=torch.uint8)), "compressed"),
    "a later optimiser": (OPTIMIZER, lambda saved: set_step(saved, 900), "made 900 steps"),
    "a later schedule": (SCHEDULE, lambda saved: saved.update(last_epoch=900), "made 900 steps"),
    "other rates": (SCHEDULE, lambda saved: saved["base_lrs"].append(0.1), "rates of 3 groups"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_do_not_agree(source, damage):
    file, change, message = DAMAGES[damage]
    changed(source / file, change)
    before = contents(source)
    with pytest.raises(OptimizerError, match=message) as caught:
        hf.grow_checkpoint(source, source.parent / "grown", verify=False, **LARGER)
    assert caught.value.args[0].count(".") >= 2
    assert contents(source) == before
    assert [path.name for path in source.parent.iterdir()] == ["source"]


@pytest.mark.parametrize("file", [OPTIMIZER, SCHEDULE])
@pytest.mark.parametrize("content", [b"", b"no pickle", None], ids=["empty", "words", "half"])
def test_files_that_are_damaged(source, file, content):
    whole = (source / file).read_bytes()
    (source / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(OptimizerError, match="is not the state of"):
        hf.grow_checkpoint(source, source.parent / "grown", verify=False, **LARGER)
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def test_a_state_that_there_is_not(source):
    with pytest.raises(OptimizerError, match="state is 'half'"):
        hf.grow_checkpoint(source, source.parent / "grown", state="half", **LARGER)


def in_a_process(function):
    """Its exit status, or the signal that ended it; what it prints is lost."""
    if (process := os.fork()) == 0:
        code = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors"])
def test_a_disk_that_is_full(source, file):
    """When half of a file is written."""
    if file != "optimizer.pt":
        (source / "optimizer.pt").unlink()
    before, size = contents(source), (source / file).stat().st_size // 2

    def grow():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            hf.grow_checkpoint(source, source.parent / "grown", verify=False, **LARGER)
        except FolderError as error:
            return 0 if "cannot be written" in str(error) else 2
        return 3

    assert in_a_process(grow) == 0
    assert contents(source) == before
    assert [path.name for path in source.parent.iterdir()] == ["source"]


def grown_and_killed(source, target, at):
    """Grow, and be killed when a file of the target is opened or renamed for the n-th time. How
    often that happens, if it is not."""
    count, place = 0, str(target.parent)

    def watch(event, args):
        nonlocal count
        there = event in {"open", "os.rename"} and str(args[0]).startswith(place)
        if there and not str(args[0]).startswith(str(source)):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    hf.grow_checkpoint(source, target, verify=False, **LARGER)
    return count


def test_a_process_that_is_killed(source):
    """At whatever file (with NET2NET_EVERY_TYPE, else at two of them): there is no target, the
    source is as it was, and the same call makes a whole one afterwards."""
    target, before = source.parent / "grown", contents(source)
    count = in_a_process(lambda: grown_and_killed(source, target, 0))
    assert 10 < count < 100
    shutil.rmtree(target)
    for at in range(1, count + 1) if EVERY else (count // 2, count):
        assert in_a_process(lambda at=at: grown_and_killed(source, target, at)) == -signal.SIGKILL
        assert not target.exists() and contents(source) == before, at
    hf.grow_checkpoint(source, target, verify=False, **LARGER)
    assert model_in(target).config.n_embd == 48
    assert sorted(path.name for path in source.parent.iterdir()) == ["grown", "source"]
