"""Folders in, larger folders out: whole or not at all."""

import json
import shutil

import pytest
import torch

import net2net
from net2net import FolderError, InputError, WidthError, hf
from tests.any_width import DECODERS

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny GPT-2, with files beside it."""
    folder = tmp_path_factory.mktemp("gpt2") / "small"
    DECODERS["gpt2"].model().save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "notes").mkdir()
    return folder


def words():
    return {"input_ids": torch.arange(1, 9)[None]}


def logits(folder):
    model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float64)
    with torch.no_grad():
        return model.eval()(**words()).logits


@pytest.mark.parametrize("asked", [
    {"n_embd": 48, "n_head": 6, "n_layer": 3}, {"widths": {"transformer.h.*.mlp.c_fc": 1.5}},
])  # fmt: skip
def test_a_larger_folder_of_the_same_function(saved, tmp_path, asked):
    before = sorted((p.name, p.stat().st_mtime_ns) for p in saved.iterdir())
    grown = hf.grow_folder(saved, tmp_path / "large", **asked)
    assert grown.report.parity.max_rel < 1e-12
    torch.testing.assert_close(logits(tmp_path / "large"), logits(saved), rtol=1e-9, atol=1e-9)
    names = {path.name for path in (tmp_path / "large").iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "net2net.json",
        "tokenizer.json",
    }  # fmt: skip
    told = json.loads((tmp_path / "large" / "net2net.json").read_text())
    assert told["source"] == "small" and told["report"]["parameters"]
    assert sorted((p.name, p.stat().st_mtime_ns) for p in saved.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_half_precision_and_pickled_weights_keep_their_type(saved, tmp_path):
    model = transformers.GPT2LMHeadModel.from_pretrained(saved, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "small")
    (tmp_path / "small" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "small" / "pytorch_model.bin")
    grown = hf.grow_folder(tmp_path / "small", tmp_path / "large", n_inner=60, method="fresh")
    assert {one.dtype for one in grown.model.parameters()} == {torch.bfloat16}
    assert not (tmp_path / "large" / "pytorch_model.bin").exists()


@pytest.mark.parametrize("asked", [{}, {"widths": 2.0, "n_embd": 64}])
def test_widths_or_numbers(saved, tmp_path, asked):
    with pytest.raises(InputError, match="by widths or by numbers"):
        hf.grow_folder(saved, tmp_path / "large", **asked)
    assert not list(tmp_path.iterdir())


def test_an_occupied_target_is_left_alone(saved, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "mine").touch()
    with pytest.raises(FolderError, match="is there already"):
        hf.grow_folder(saved, tmp_path / "large", n_inner=60)
    assert [path.name for path in (tmp_path / "large").iterdir()] == ["mine"]


def test_what_fails_leaves_nothing(saved, tmp_path):
    with pytest.raises(WidthError):
        hf.grow_folder(saved, tmp_path / "large", n_embd=33)
    assert not list(tmp_path.iterdir())


def test_widths_that_no_configuration_says(saved, tmp_path):
    with pytest.raises(FolderError, match="no configuration of GPT2LMHeadModel says this student"):
        hf.grow_folder(saved, tmp_path / "large", widths={"transformer.h.0.mlp.c_fc": 1.5})
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(FolderError, match=r"no config\.json"):
        hf.grow_folder(tmp_path, tmp_path / "large", n_embd=48)


@pytest.mark.parametrize("damage", ["no weights", "truncated", "another class", "a piece"])
def test_a_model_that_cannot_be_read(saved, tmp_path, damage):
    source = tmp_path / "small"
    shutil.copytree(saved, source)
    weights = source / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "another class":
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "architectures": ["Mine"]}))
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        tensors.pop("transformer.h.0.mlp.c_fc.weight")
        save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(
        FolderError, match=r"cannot be read|is damaged|lacks 1 of the model's tensors"
    ):
        hf.grow_folder(source, tmp_path / "large", n_inner=60)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_code_in_a_folder_is_not_run(saved, tmp_path):
    source, ran = tmp_path / "small", tmp_path / "ran"
    shutil.copytree(saved, source)
    config = json.loads((source / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (source / "config.json").write_text(json.dumps(config))
    (source / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: pass\n")
    with pytest.raises(FolderError, match="cannot be read"):
        hf.grow_folder(source, tmp_path / "large", n_inner=60)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_links_that_lead_outside_are_not_followed(saved, tmp_path):
    source = tmp_path / "small"
    shutil.copytree(saved, source)
    (tmp_path / "secret").write_text("mine")
    (source / "vocab.txt").symlink_to(tmp_path / "secret")
    hf.grow_folder(source, tmp_path / "large", n_inner=60, verify=False)
    assert not (tmp_path / "large" / "vocab.txt").exists()


def test_the_growth_is_the_same_as_in_memory(saved, tmp_path):
    model = transformers.GPT2LMHeadModel.from_pretrained(saved, dtype=torch.float64)
    here = net2net.grow(model, n_inner=60, seed=3, method="fresh")
    there = hf.grow_folder(saved, tmp_path / "large", n_inner=60, seed=3, method="fresh")
    for one, other in zip(here.model.parameters(), there.model.parameters(), strict=True):
        assert torch.equal(one, other)
