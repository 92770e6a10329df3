"""Hostile folders, and machines that fail: each ends in a sentence, and in a target that is whole
or not there."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks.folders import FOLDERS, ran
from attacks.machines import files_of_at_most, full_at, killed_at

from net2net import FolderError
from net2net.cookbook.read import recipe_in
from net2net.errors import Net2NetError, RecipeError
from net2net.files import written
from net2net.hf import folder, grow_folder
from net2net.hf.source import open_source
from net2net.hf.wish import Wish

transformers = pytest.importorskip("transformers")

EVERY = bool(os.environ.get("NET2NET_EVERY_TYPE"))
SHARDS = "4KB"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2."""
    path = tmp_path_factory.mktemp("gpt2") / "small"
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=20, n_positions=16)
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    return path


@pytest.fixture
def source(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "source")
    return tmp_path / "source"


@pytest.mark.parametrize("what", FOLDERS)
def test_hostile_folders(source: Path, tmp_path: Path, what: str) -> None:
    FOLDERS[what](source)
    with pytest.raises(Net2NetError) as caught:
        found = open_source(str(source))
        found.grow(tmp_path / "target", Wish(numbers={"n_inner": 40}), None, folder_options())
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "target").exists() and not ran(source).exists()
    assert not list(tmp_path.glob(".*"))


def folder_options() -> Any:
    from net2net.hf.source import Options

    return Options(verify=False)


def test_files_beside_are_copied_and_never_opened(source: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (source / "training_args.bin").write_bytes(b"not a pickle")
    (source / "vocab.txt").symlink_to("../secret")
    (source / "README.md").symlink_to("../secret")
    (source / "merges.txt").symlink_to("merges.txt")
    (source / "sub").mkdir()
    os.mkfifo(source / "pipe")
    grow_folder(source, tmp_path / "target", n_inner=40, verify=False)
    names = {path.name for path in (tmp_path / "target").iterdir()}
    assert "training_args.bin" in names and not names & {"vocab.txt", "merges.txt", "sub", "pipe"}
    assert "mine" not in (tmp_path / "target" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("text", [
    "a: &a [x, x]\nb: [*a, *a, *a]\n", "[" * 5000, "growth: " + "{a: " * 1000,
    "a: !!python/name:os.system",
    "seed: 1\nseed: 2\n", "\0", "growth:\n  widths: .inf\n  widths: 3",
])  # fmt: skip
def test_hostile_recipes(tmp_path: Path, text: str) -> None:
    pytest.importorskip("pydantic")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        recipe_in(tmp_path / "recipe.yaml")


def grower(source: Path, target: Path) -> Callable[[], object]:
    return lambda: grow_folder(source, target, n_inner=40, verify=False, max_shard_size=SHARDS)


def check_whole(source: Path, target: Path) -> None:
    one, other = folder.load(source), folder.load(target)
    words = torch.arange(8)[None]
    torch.testing.assert_close(one(words).logits, other(words).logits)
    assert not (target / "model.safetensors").exists() and not list(target.glob(".*"))


@pytest.mark.parametrize("size", range(100, 9000, 300) if EVERY else [300, 3000])
def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path, size: int) -> None:
    target = tmp_path / "target"
    with files_of_at_most(size), pytest.raises(FolderError, match="cannot be written"):
        grower(source, target)()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


FILES = 60
"""More than are made."""


@pytest.mark.parametrize("fail", [full_at, killed_at])
def test_whichever_file_it_stops_at(source: Path, tmp_path: Path, fail: Any) -> None:
    """What is left of one run meets the next."""
    grower(source, tmp_path / "first")()  # all is imported
    target = tmp_path / "target"
    for number in range(1, FILES) if EVERY else (7,):
        failed = fail(number, tmp_path, grower(source, target))
        assert failed != target.exists()
        if not failed:
            break
    else:
        assert not EVERY
        grower(source, target)()
    check_whole(source, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "source", "target"]


def test_two_runs_on_one_target(source: Path, tmp_path: Path) -> None:
    with written(tmp_path / "target") as part:
        (part / "mine").touch()
        with pytest.raises(FolderError, match="another run is writing"):
            grower(source, tmp_path / "target")()
        assert (part / "mine").exists()


def test_a_source_that_changes_meanwhile(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="changed while it was read"):
        grow_folder(
            source, tmp_path / "target", n_inner=40, verify=False,
            progress=lambda done: (source / "config.json").touch(),
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("where", ["source/config.json/target", "locked/target"])
def test_no_permission(source: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(FolderError, match="cannot be written"), bound_by_permissions():
        grower(source, tmp_path / where)()


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Also root is, in this thread: its right to write anywhere rests (capabilities 1 and 2)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    effective = held[0]
    try:
        held[0] = effective & ~0b110
        assert libc.capset(header, held) == 0
        yield
    finally:
        held[0] = effective
        assert libc.capset(header, held) == 0
