"""Grow a GPT-2: wider as it is, and deeper into a larger configuration. Needs transformers.

The model here is tiny and untrained, so that nothing is downloaded; with
``GPT2LMHeadModel.from_pretrained("gpt2")`` the calls are the same.
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import net2net
from net2net.hf import example_inputs


def gpt2(width: int, heads: int, layers: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=100, n_positions=32, n_embd=width, n_head=heads, n_layer=layers,
        bos_token_id=0, eos_token_id=0, use_cache=False,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


torch.manual_seed(0)
teacher = gpt2(32, 4, 2).eval()
inputs = example_inputs(teacher)
print({name: tuple(tensor.shape) for name, tensor in inputs.items()})
print(net2net.spaces(teacher, inputs))

# What a growth would cost, before any weight is read.
print(net2net.estimate(teacher, 2.0, inputs))

# Every space by one factor. At whole multiples all units are copies, the stream's as well.
wider = net2net.widen(teacher, 2.0, inputs)
print(wider.report)
print("config:", wider.model.config.n_embd, "wide,", wider.model.config.n_head, "heads")

# Into a model of more layers, which transformers builds from its own configuration.
deeper = net2net.transfer(wider.model, gpt2(64, 8, 4), inputs)
print(deeper.report)

# Both growths as one file, which makes the same student of the same teacher again.
plan = wider.plan.then(deeper.plan)
print(plan.summary())
again = plan.apply(teacher, student=gpt2(64, 8, 4))
print(net2net.verify(teacher, again, inputs))
