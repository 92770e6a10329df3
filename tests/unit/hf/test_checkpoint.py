"""A Trainer's checkpoint grows, and a larger Trainer goes on from it at the next step."""

import json
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

import net2net
from net2net import FolderError, OptimizerError, hf
from net2net.hf.checkpoint import carried
from tests.any_width import DECODERS

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

STEPS, MORE = 6, 4
LARGER = {"n_embd": 48, "n_head": 6, "n_layer": 3, "n_inner": 52}


class Words(torch.utils.data.Dataset):
    def __len__(self):
        return 200

    def __getitem__(self, place):
        rng = torch.Generator().manual_seed(place)
        words = torch.randint(2, 40, (9,), generator=rng)
        return {"input_ids": words, "labels": words}


class Trainer(transformers.Trainer):
    """In order, and every loss kept."""

    def get_train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=2)

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.losses = [*getattr(self, "losses", []), loss.item()]
        return loss


def trainer(model, folder, steps, callbacks=()):
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, save_steps=STEPS, learning_rate=1e-3,
        lr_scheduler_type="constant_with_warmup", warmup_steps=3, weight_decay=0.1, use_cpu=True,
        report_to=[], disable_tqdm=True, logging_steps=1, per_device_train_batch_size=2,
        dataloader_pin_memory=False,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=Words(), callbacks=list(callbacks))


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and the Trainer about each other
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    model = DECODERS["gpt2"].model().float()
    model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(transformers.GPT2LMHeadModel(model.config), folder, STEPS).train()
    return folder / f"checkpoint-{STEPS}"


def model_in(folder):
    return transformers.GPT2LMHeadModel.from_pretrained(folder)


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


@pytest.mark.parametrize("damage", ["groups", "shapes", "sharded", "state"])
def test_checkpoints_that_cannot_be_grown(checkpoint, tmp_path, damage):
    source = tmp_path / "source"
    source.mkdir()
    for path in checkpoint.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    saved = torch.load(source / "optimizer.pt", weights_only=True)
    if damage == "groups":
        saved["param_groups"].pop()
    elif damage == "shapes":
        saved["state"][0]["exp_avg"] = torch.zeros(3, 3)
    torch.save(saved, source / "optimizer.pt")
    if damage == "sharded":
        (source / "optimizer_0").mkdir()
    state = "half" if damage == "state" else "own"
    with pytest.raises((FolderError, OptimizerError)) as caught:
        hf.grow_checkpoint(source, tmp_path / "grown", state=state, **LARGER)
    assert caught.value.args[0].count(".") >= 2
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
