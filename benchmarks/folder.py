"""A folder of 3 GB grows tensor by tensor: time beside a copy of what is written, and memory.

    python benchmarks/folder.py [--work FOLDER] [--layers 28]

Writes ``results/folder.json`` beside this file, and the table in README.md. A Llama with random
weights in bfloat16 becomes 1.5 times as wide, with a quarter more blocks; 20 GB of disk are needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from inference import HERE, drawn, machine

from net2net_lab.zoo.environment import prepare

WIDER = {
    "hidden_size": 3072, "intermediate_size": 8448, "num_attention_heads": 24,
    "num_key_value_heads": 12,
}  # fmt: skip


def make(folder: Path, layers: int) -> None:
    """The teacher."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=8, max_position_embeddings=2048,
        dtype="bfloat16",
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="1GB")


def grow(source: Path, target: Path, layers: int, verify: str) -> dict[str, float]:
    """In a process of its own: seconds, and MiB at most over the interpreter with its imports."""
    from transformers import LlamaForCausalLM  # noqa: F401  (imported before anything is measured)

    from net2net.hf import grow_folder

    before, begin, used = _memory("VmRSS"), time.perf_counter(), time.process_time()
    check: Any = {"no": False}.get(verify, verify)
    numbers = {**WIDER, "num_hidden_layers": layers + layers // 4}
    grow_folder(source, target, verify=check, **numbers)
    return {
        "seconds": time.perf_counter() - begin,
        "processor seconds": time.process_time() - used,
        "MiB": _memory("VmHWM") - before,
    }


def _memory(what: str) -> float:
    said = Path("/proc/self/status").read_text("ascii")
    return int(said.partition(f"{what}:")[2].split()[0]) / 1024


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _child(*words: object) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(work: Path, layers: int) -> dict[str, Any]:
    """Each way of verifying, between two copies of the target."""
    source, target, copy = work / "source", work / "target", work / "copy"
    if not source.exists():
        _child("--make", source, "--layers", layers)
    report: dict[str, Any] = {"source, GB": _size(source) / 1e9, "ways": {}}
    for verify in ("no", "sampled", "blocks"):
        words = ("--source", source, "--target", target, "--verify", verify, "--layers", layers)
        os.sync()  # what was written before is not waited for here
        found = _child(*words)
        os.sync()
        begin = time.perf_counter()
        subprocess.run(["cp", "-r", target, copy], check=True)
        found["cp, seconds"] = time.perf_counter() - begin
        found["over cp"] = found["seconds"] / found["cp, seconds"]
        report["target, GB"] = _size(target) / 1e9
        report["ways"][verify] = found
        shutil.rmtree(target)
        shutil.rmtree(copy)
    return report


def table(report: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "| verified | seconds | of processors | cp | seconds / cp | MiB over the interpreter |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in report["ways"].items():
        cells = [
            name,
            f"{found['seconds']:.0f}",
            f"{found['processor seconds']:.0f}",
            f"{found['cp, seconds']:.0f}",
            f"{found['over cp']:.1f}",
            f"{found['MiB']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    told = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    sizes = f"{report['source, GB']:.1f} → {report['target, GB']:.1f} GB"
    return "\n".join([*lines, "", f"{sizes}; measured on: {told}."])


@click.command()
@click.option("--work", type=click.Path(path_type=Path), help="Keeps the source for another time.")
@click.option("--layers", default=28, help="Of the source.")
@click.option("--make", "made", type=click.Path(path_type=Path), hidden=True)
@click.option("--source", type=click.Path(path_type=Path), hidden=True)
@click.option("--target", type=click.Path(path_type=Path), hidden=True)
@click.option("--verify", default="no", hidden=True)
def main(
    work: Path | None, layers: int, made: Path | None, source: Path | None, target: Path | None,
    verify: str,
) -> None:  # fmt: skip
    """Measure, write the results and draw the table in README.md."""
    prepare()
    if made is not None:
        make(made, layers)
        click.echo("{}")
        return
    if source is not None and target is not None:
        click.echo(json.dumps(grow(source, target, layers, verify)))
        return
    with TemporaryDirectory() as apart:
        report = measure(work or Path(apart), layers)
    report["machine"] = machine()
    out = HERE / "results" / "folder.json"
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    drawn("folder.json", table(report))
    click.echo(table(report))


if __name__ == "__main__":
    main()
