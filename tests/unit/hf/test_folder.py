"""Folders in, larger folders out: whole or not at all."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import net2net
from net2net import FolderError, InputError, WidthError, hf
from net2net.hf import folder, stream
from net2net.hf.wish import Wish
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


def test_new_words_are_drawn_in_blocks_as_in_memory(saved, tmp_path):
    model = transformers.GPT2LMHeadModel.from_pretrained(saved, dtype=torch.float64)
    asked = {"vocab_size": model.config.vocab_size + 4, "new_outputs": "random"}
    grown = hf.grow_folder(saved, tmp_path / "more", verify="blocks", **asked)
    assert grown.report.parity.exact and "are new" in " ".join(grown.report.notes)
    assert torch.equal(logits(tmp_path / "more")[..., :-4], logits(saved))
    rows = load_file(tmp_path / "more" / "model.safetensors")["transformer.wte.weight"]
    assert torch.equal(rows, net2net.grow(model, words(), **asked).model.transformer.wte.weight)
    for useless in ({"widths": 1.5}, {"wish": Wish(widths=1.5)}):
        with pytest.raises(InputError, match="new_outputs"):
            hf.grow_folder(saved, tmp_path / "none", new_outputs="zero", **useless)


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
        "tokenizer.json", "README.md",
    }  # fmt: skip
    told = json.loads((tmp_path / "large" / "net2net.json").read_text())
    assert told["source"] == "small" and told["report"]["parameters"]
    assert told["parity"]["exact"] and told["parity"]["max_rel"] == grown.report.parity.max_rel
    assert told["plan"]["format"] and told["plan"]["seed"] == 0 and told["versions"]["torch"]
    weights = hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()
    assert told["files"]["model.safetensors"] == weights
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
        from safetensors.torch import save_file

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
    assert next(there.model.parameters()).is_meta  # what was written is not in memory
    made = folder.load(tmp_path / "large")
    for one, other in zip(here.model.parameters(), made.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_tensor_by_tensor_has_the_bits_of_in_memory(name, tmp_path, caplog, monkeypatch):
    """In many small blocks of rows, without any weight in memory before."""
    monkeypatch.setattr(stream, "BLOCK", 512)
    DECODERS[name].model().save_pretrained(tmp_path / "small")
    with caplog.at_level("INFO", "net2net"):
        written = hf.grow_folder(
            tmp_path / "small", tmp_path / "streamed", widths=2.0, method="fresh", verify="sampled"
        )
    assert not any("in memory" in line for line in caplog.messages)
    assert "as planned" in written.report.notes[-1]
    whole = net2net.widen(
        folder.load(tmp_path / "small"), 2.0, hf.example_inputs(folder.load(tmp_path / "small")),
        method="fresh",
    ).model  # fmt: skip
    whole.save_pretrained(tmp_path / "memory")
    there = load_file(tmp_path / "streamed" / "model.safetensors")
    wanted = load_file(tmp_path / "memory" / "model.safetensors")
    assert there.keys() == wanted.keys()
    assert all(torch.equal(there[key], wanted[key]) for key in wanted)


def test_shards_have_an_index_and_a_killed_run_goes_on(saved, tmp_path, monkeypatch):
    target, plain = tmp_path / "large", stream.Writer._file
    left = iter(range(2))

    def stopped(self, path, names):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return plain(self, path, names)

    monkeypatch.setattr(stream.Writer, "_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        hf.grow_folder(saved, target, n_inner=60, max_shard_size="20KB")
    assert not target.exists()
    again = []
    monkeypatch.setattr(
        stream.Writer, "_file",
        lambda self, path, names: again.append(path.name) or plain(self, path, names),
    )  # fmt: skip
    hf.grow_folder(saved, target, n_inner=60, max_shard_size="20KB")
    index = json.loads((target / "model.safetensors.index.json").read_text("utf-8"))
    files = sorted({*index["weight_map"].values()})
    assert len(files) > 3 and again == files[2:]
    told = json.loads((target / "net2net.json").read_text("utf-8"))
    assert told["files"].keys() >= {"config.json", "model.safetensors"}
    assert folder.load(target).config.n_inner == 60


@pytest.mark.parametrize(
    "damage", ["truncated", "longer", "overlapping", "a huge header", "no JSON"]
)
def test_damaged_weights_are_refused_before_anything_is_made(saved, tmp_path, damage):
    source = tmp_path / "source"
    shutil.copytree(saved, source)
    path = source / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    if damage == "overlapping":
        first, second = [name for name in header if name != "__metadata__"][:2]
        header[second]["data_offsets"] = header[first]["data_offsets"]
        text = json.dumps(header).encode()
        whole = len(text).to_bytes(8, "little") + text + whole[8 + size :]
    path.write_bytes({
        "truncated": whole[:-5], "longer": whole + b"more", "overlapping": whole,
        "a huge header": (2**60).to_bytes(8, "little") + whole[8:],
        "no JSON": whole[:8] + b"x" * size + whole[8 + size :],
    }[damage])  # fmt: skip
    with pytest.raises(FolderError, match=r"model\.safetensors"):
        hf.grow_folder(source, tmp_path / "large", n_inner=60)
    assert [one.name for one in tmp_path.iterdir()] == ["source"]


def test_an_index_that_leads_out_of_the_folder(saved, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(saved, source)
    (source / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"transformer.wte.weight": "../elsewhere.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FolderError, match="none in that folder"):
        hf.grow_folder(source, tmp_path / "large", n_inner=60)
    assert not (tmp_path / "large").exists()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_models_on_disk_are_compared_block_by_block(name, tmp_path, caplog):
    DECODERS[name].model().to(torch.bfloat16).save_pretrained(tmp_path / "small")
    with caplog.at_level("INFO", "net2net"):
        grown = hf.grow_folder(
            tmp_path / "small", tmp_path / "large", widths=2.0, method="replicate", verify="blocks"
        )
    assert any("block by block" in line for line in caplog.messages)
    parity = grown.report.parity
    assert parity.dtype == torch.float64 and parity.max_rel < 1e-9  # halves are exact in bfloat16
    whole = net2net.verify(
        folder.load(tmp_path / "small"), folder.load(tmp_path / "large"),
        hf.example_inputs(folder.load(tmp_path / "small")) | {"use_cache": False},
    )  # fmt: skip
    assert whole.max_abs == pytest.approx(parity.max_abs, abs=1e-12)


def test_what_is_wrong_on_disk_is_found_block_by_block(saved, tmp_path, monkeypatch):
    plain = stream.Writer._bytes
    monkeypatch.setattr(
        stream.Writer, "_bytes",
        lambda self, name, rows: plain(self, name, rows) if "c_proj" not in name else
        memoryview(bytes(len(plain(self, name, rows)))),
    )  # fmt: skip
    with pytest.raises(FolderError, match="the student differs"):
        hf.grow_folder(saved, tmp_path / "large", n_inner=60, verify="blocks")
    assert not (tmp_path / "large").exists()
