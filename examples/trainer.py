"""Grow a GPT-2 in the middle of a Trainer's run, with its optimiser. Needs net2net[hf].

The model is tiny and the text is random, so that nothing is downloaded. What is saved at step 10 is
grown as a folder, and a larger model's Trainer goes on at step 11.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from net2net.hf import YoungCallback, grow_checkpoint

WORDS = torch.randint(100, (200, 16), generator=torch.Generator().manual_seed(0))
DATA: Any = [{"input_ids": words, "labels": words} for words in WORDS]


def trainer(
    model: GPT2LMHeadModel, folder: Path, steps: int, *callbacks: TrainerCallback
) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=steps, save_steps=10, logging_steps=5, report_to=[],
        lr_scheduler_type="constant", learning_rate=1e-3, use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=DATA, callbacks=list(callbacks))


with tempfile.TemporaryDirectory() as place:
    run, larger = Path(place) / "run", Path(place) / "larger" / "checkpoint-10"
    config = GPT2Config(
        vocab_size=100,
        n_positions=32,
        n_embd=32,
        n_head=4,
        n_layer=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    trainer(GPT2LMHeadModel(config), run, 10).train()
    larger.parent.mkdir()
    grown = grow_checkpoint(
        run / "checkpoint-10", larger, n_embd=48, n_head=6, n_layer=3, method="fresh"
    )
    print(grown.report)
    on = trainer(GPT2LMHeadModel.from_pretrained(larger), run, 20, YoungCallback(larger))
    on.train(resume_from_checkpoint=str(larger))
    print(f"trained on to step {on.state.global_step}")
