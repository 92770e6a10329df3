"""A Trainer's run of a tiny model: what checkpoints are grown of."""

import torch
import transformers
from torch.utils.data import DataLoader

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


def model_in(folder):
    return transformers.GPT2LMHeadModel.from_pretrained(folder)
