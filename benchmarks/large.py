"""What a Llama of 70 billion parameters without weights takes: seconds and memory.

    python benchmarks/large.py [--layers 80]

Prints JSON lines, each of a process of its own. The folder has the headers of weights and no
bytes behind them (a sparse file), since estimates read none.
"""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import time
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from torch import nn

import net2net
from net2net.cli import main as command
from net2net_lab.zoo.environment import prepare

FACTOR = 1.25


def llama(layers: int) -> nn.Module:
    """On ``meta``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000, hidden_size=8192, intermediate_size=28672, num_hidden_layers=layers,
        num_attention_heads=64, num_key_value_heads=8, architectures=["LlamaForCausalLM"],
        dtype="bfloat16", use_cache=False,
    )  # fmt: skip
    with torch.device("meta"):
        return LlamaForCausalLM(config).eval()


def write(model: nn.Module, folder: Path) -> None:
    """A configuration, and the header of its weights."""
    folder.mkdir()
    model.config.save_pretrained(folder)
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        size = 2 * prod(tensor.shape)
        header[name] = {
            "dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [end, end + size]
        }  # fmt: skip
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def run(what: str, layers: int) -> None:
    model, inputs = llama(layers), {"input_ids": torch.zeros(1, 16, dtype=torch.long)}
    with TemporaryDirectory() as apart:
        folder = Path(apart) / "large"
        write(model, folder)
        begin, used = time.perf_counter(), time.process_time()
        if what == "spaces":
            net2net.spaces(model, inputs)
        elif what == "plan":
            net2net.estimate(model, FACTOR, inputs)
        else:
            words = ["estimate", str(folder), "--width", str(FACTOR), "--json"]
            command(words, standalone_mode=False)
        found = {
            "what": what,
            "parameters, billions": sum(one.numel() for one in model.parameters()) / 1e9,
            "seconds": round(time.perf_counter() - begin, 1),
            "processor seconds": round(time.process_time() - used, 1),
            "GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1),
        }
    click.echo(json.dumps(found))


@click.command()
@click.option("--layers", default=80, show_default=True)
@click.option("--what", type=click.Choice(["spaces", "plan", "command"]), hidden=True)
def main(layers: int, what: str | None) -> None:
    """Print one line for each way."""
    prepare()
    if what is not None:
        run(what, layers)
        return
    for one in ("spaces", "plan", "command"):
        child = [sys.executable, __file__, "--what", one, "--layers", str(layers)]
        done = subprocess.run(child, check=True, capture_output=True, text=True)
        click.echo(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
