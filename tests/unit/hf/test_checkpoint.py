"""A Trainer's checkpoint grows, and a larger Trainer goes on from it at the next step."""

import json

import pytest
import torch
from torch.utils.data import DataLoader

import net2net
from net2net import FolderError, hf
from net2net.hf.checkpoint import carried

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tests.unit.hf.trained import LARGER, MORE, STEPS, Words, model_in, trainer  # noqa: E402

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("state", ["own", "scale", "drop"])
def test_training_goes_on_as_it_would_in_memory(checkpoint, tmp_path, state):
    """Bit for bit, on one thread: the Trainer from the folder, and a loop over the student whose
    optimiser was carried."""
    target = tmp_path / f"checkpoint-{STEPS}"
    hf.grow_checkpoint(checkpoint, target, state=state, method="fresh", **LARGER)
    on = trainer(model_in(target), tmp_path / "on", STEPS + MORE, [hf.YoungCallback(target)])
    on.train(resume_from_checkpoint=str(target))
    assert len(on.losses) == MORE

    teacher = model_in(checkpoint)
    alone = trainer(teacher, tmp_path / "alone", STEPS)
    optimizer = alone.create_optimizer()
    optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", weights_only=True))
    grown = net2net.grow(teacher, method="fresh", **LARGER)
    grown.carry(optimizer, state=state)
    model = grown.model.train()
    batches = DataLoader(Words(), batch_size=2)
    losses = []
    for number, batch in enumerate(batches):
        if STEPS <= number < STEPS + MORE:
            loss = model(**batch, num_items_in_batch=batch["labels"].numel()).loss  # as the Trainer
            losses.append(loss.item())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    assert on.losses == losses


def test_what_the_checkpoint_holds(checkpoint, tmp_path):
    target = tmp_path / "grown"
    hf.grow_checkpoint(checkpoint, target, **LARGER)
    names = {path.name for path in checkpoint.iterdir()}
    assert {path.name for path in target.iterdir()} == names | {
        "net2net.json", "README.md", "net2net_carried.json"
    }  # fmt: skip
    old, new = (
        json.loads((one / "trainer_state.json").read_text()) for one in (checkpoint, target)
    )
    assert new["global_step"] == STEPS and new["total_flos"] == old["total_flos"]
    assert new["best_metric"] is None
    assert new["log_history"][-1]["net2net"].startswith("n_embd=48")
    saved = torch.load(target / "optimizer.pt", weights_only=True)
    shapes = [saved["state"][n]["exp_avg"].shape for n in saved["param_groups"][0]["params"]
              if n in saved["state"]]  # fmt: skip
    assert torch.Size([40, 48]) in shapes


def test_a_checkpoint_without_an_optimiser(checkpoint, tmp_path):
    source = tmp_path / "weights"
    model_in(checkpoint).save_pretrained(source)
    hf.grow_checkpoint(source, tmp_path / "grown", **LARGER)
    assert not (tmp_path / "grown" / "optimizer.pt").exists()
    with pytest.raises(FolderError, match="grow_checkpoint wrote"):
        carried(torch.optim.SGD(model_in(source).parameters()), model_in(source), source)


def test_a_whole_life(checkpoint, tmp_path):
    """Twice grown within one run: as one by one."""
    first = transformers.GPT2LMHeadModel(model_in(checkpoint).config)
    wider, deeper = {"n_inner": 52, "method": "fresh"}, {"n_layer": 3}

    def make(folder):
        return trainer(first if folder is None else model_in(folder), tmp_path / "life", 7)

    last = hf.train_growing(make, [(2, wider), (4, deeper)])
    assert last.state.global_step == 7
    config = last.model.config
    assert (config.n_inner, config.n_layer) == (52, 3)
    assert (tmp_path / "life" / "checkpoint-4-grown" / "config.json").is_file()
    with pytest.raises(FolderError, match="ended before step 9"):
        hf.train_growing(make, [(9, wider)])


def test_an_optimiser_of_all_parameters_in_one_group(checkpoint, tmp_path):
    """As Accelerate saves that of a plain loop, which goes on as in memory."""
    from accelerate import Accelerator

    def loop(accelerator, model, optimizer, steps):
        losses = []
        for number, batch in enumerate(DataLoader(Words(), batch_size=2)):
            if number in steps:
                loss = model(**batch).loss
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
        return losses

    def prepared(model):
        accelerator = Accelerator(cpu=True)
        return accelerator, *accelerator.prepare(
            model.train(), torch.optim.AdamW(model.parameters(), lr=1e-3)
        )

    accelerator, model, optimizer = prepared(model_in(checkpoint))
    loop(accelerator, model, optimizer, range(3))
    accelerator.save_state(tmp_path / "saved")
    model.config.save_pretrained(tmp_path / "saved")

    hf.grow_checkpoint(tmp_path / "saved", tmp_path / "grown", method="fresh", **LARGER)
    later = prepared(model_in(tmp_path / "grown"))
    later[0].load_state(tmp_path / "grown")
    handle = carried(later[2], later[1], tmp_path / "grown")
    assert handle.active
    grown = net2net.grow(model.eval(), method="fresh", **LARGER)
    grown.carry(optimizer)
    steps = range(3, 6)
    assert loop(*later, steps) == loop(accelerator, grown.model.train(), optimizer, steps)


def test_parameters_in_parts(checkpoint, tmp_path):
    """As a Trainer saves those of FSDP: what is loaded from it goes on as in memory."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    source, target = tmp_path / "saved", tmp_path / "grown"
    teacher = model_in(checkpoint)
    optimizer = trainer(teacher, tmp_path, STEPS).create_optimizer()
    optimizer.load_state_dict(torch.load(checkpoint / "optimizer.pt", weights_only=True))
    weights, states = get_state_dict(teacher, optimizer)
    parts = {"pytorch_model_fsdp_0": {"model": weights}, "optimizer_0": {"optimizer": states}}
    for name, part in parts.items():
        dcp.save(part, checkpoint_id=source / name, no_dist=True)
    for name in ("scheduler.pt", "trainer_state.json"):
        (source / name).write_bytes((checkpoint / name).read_bytes())
    with pytest.raises(FolderError, match=r"no config\.json says which"):
        hf.grow_checkpoint(source, target, method="fresh", **LARGER)
    (source / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    hf.grow_checkpoint(source, target, method="fresh", **LARGER)
    assert json.loads((target / "trainer_state.json").read_text())["global_step"] == STEPS

    config = transformers.AutoConfig.from_pretrained(target)
    again = transformers.GPT2LMHeadModel(config)
    resumed = trainer(again, tmp_path, STEPS).create_optimizer()
    weights, states = get_state_dict(again, resumed)
    dcp.load({"model": weights}, checkpoint_id=target / "pytorch_model_fsdp_0", no_dist=True)
    dcp.load({"optimizer": states}, checkpoint_id=target / "optimizer_0", no_dist=True)
    set_state_dict(again, resumed, model_state_dict=weights, optim_state_dict=states)
    carried(resumed, again, target)
    grown = net2net.grow(teacher, method="fresh", **LARGER)
    grown.carry(optimizer)
    for words in (Words()[place]["input_ids"][None] for place in range(3)):
        losses = []
        for model, its in ((again.train(), resumed), (grown.model.train(), optimizer)):
            loss = model(input_ids=words, labels=words).loss
            loss.backward()
            its.step()
            its.zero_grad()
            losses.append(loss.item())
        assert losses[0] == losses[1]
