"""Time analysis and plan against one ``torch.export``, and ``plan.apply`` against one clone of the
student and against drawing all its numbers, on four models.

    python benchmarks/growth.py [--repeat 5]

Writes ``results/growth.json`` beside this file, and the table in README.md.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from inference import drawn, image_model, machine, timed
from torch import Tensor, nn

import net2net
from net2net.trace.trace import Inputs, split_inputs
from net2net_lab.zoo.environment import prepare

HERE = Path(__file__).parent
FACTOR = 2.0
BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "clone": torch.clone,
    "draw": lambda one: torch.empty_like(one, dtype=torch.float32).normal_(),
}
OVER = (("replicate", "clone"), ("fresh", "clone"), ("fresh", "draw"))
"""By which method the student is made, and beside what; the plan is the default's."""


def gpt2() -> tuple[nn.Module, Inputs]:
    from transformers import GPT2Config, GPT2LMHeadModel

    return language_model(GPT2LMHeadModel, GPT2Config(use_cache=False))


def llama() -> tuple[nn.Module, Inputs]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=20,
        num_attention_heads=16, num_key_value_heads=8, use_cache=False,
    )  # fmt: skip
    return language_model(LlamaForCausalLM, config)


def language_model(kind: Callable[[Any], nn.Module], config: Any) -> tuple[nn.Module, Inputs]:
    return kind(config).eval(), {"input_ids": torch.randint(0, 99, (1, 16))}


MODELS: dict[str, Callable[[], tuple[nn.Module, Inputs]]] = {
    "ResNet-50": lambda: image_model("resnet50"),
    "ViT-B/16": lambda: image_model("vit_b_16"),
    "GPT-2 small": gpt2,
    "Llama, 0.3 billion": llama,
}


def warm(size: int) -> None:
    """Have so many bytes of memory written and given back, in a process of its own: a virtual
    machine's host has given it then, and no call is the first to ask for it."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    held = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_HUGEPAGE)
    for page in range(0, size, mmap.PAGESIZE):
        held[page] = 1
    os._exit(0)


def alone(function: Callable[[], Any], size: int) -> float:
    """Seconds of one call in a process of its own, to which all memory (so many bytes) is new."""
    warm(size)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        begin = time.process_time()
        kept = function()
        os.write(theirs, str(time.process_time() - begin).encode())
        del kept
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as said:
        seconds = float(said.read())
    os.waitpid(child, 0)
    return seconds


def analysed(model: nn.Module, inputs: Inputs, repeat: int) -> dict[str, float]:
    """Seconds of analysis and plan, and of an export."""
    args, kwargs = split_inputs(inputs)
    return timed(
        {
            "analysis and plan": lambda: net2net.estimate(model, FACTOR, inputs),
            "export": lambda: torch.export.export(model, args, kwargs, strict=False),
        },
        repeat,
    )


def measure(
    model: nn.Module, inputs: Inputs, seconds: dict[str, float], repeat: int
) -> dict[str, Any]:
    """Seconds of the parts and of the baselines, and their ratios."""
    ratios = {"analysis and plan over export": seconds["analysis and plan"] / seconds["export"]}
    for method, baseline in OVER:
        pairs = applied(model, inputs, method, BASELINES[baseline], repeat)
        apply, seconds[baseline] = (median(found) for found in zip(*pairs, strict=True))
        seconds[f"apply {method}"] = apply
        ratios[f"{method} over {baseline}"] = median(ours / theirs for ours, theirs in pairs)
    larger = net2net.estimate(model, FACTOR, inputs).parameters
    return {"parameters": larger, "seconds": seconds, **ratios}


def applied(
    model: nn.Module, inputs: Inputs, method: str, baseline: Callable[[Tensor], Any], repeat: int
) -> list[tuple[float, float]]:
    """Seconds of ``plan.apply``, and of the baseline on all tensors of the student."""
    growth = net2net.widen(model, FACTOR, inputs, method=method, verify=False)
    tensors = [one.detach() for one in (*growth.model.parameters(), *growth.model.buffers())]
    size = sum(one.nbytes for one in tensors) * 3 // 2 + 2**28
    return [
        (
            alone(lambda: growth.plan.apply(model), size),
            alone(lambda: [baseline(one) for one in tensors], size),
        )
        for _ in range(repeat)
    ]


def table(report: dict[str, Any]) -> str:
    """The results as Markdown."""
    parts = ("analysis and plan", "export", "apply replicate", "apply fresh", "clone", "draw")
    ratios = (
        "analysis and plan over export",
        *(f"{method} over {baseline}" for method, baseline in OVER),
    )
    lines = [
        "| model | parameters, millions | analysis and plan | export | ratio |"
        " apply, copies | apply, `fresh` | clone | draw |"
        " copies / clone | `fresh` / clone | `fresh` / draw |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in report["models"].items():
        before, after = (f"{count / 1e6:.0f}" for count in found["parameters"])
        analysis, export, *copied = (f"{found['seconds'][part]:.2f}" for part in parts)
        first, *others = (f"{found[ratio]:.2f}" for ratio in ratios)
        cells = [name, f"{before} → {after}", analysis, export, first, *copied, *others]
        lines.append("| " + " | ".join(cells) + " |")
    medians = [
        f"{median(found[ratio] for found in report['models'].values()):.2f}" for ratio in ratios
    ]
    lines.append(f"| median | | | | {medians[0]} | | | | | {' | '.join(medians[1:])} |")
    said = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    return "\n".join([*lines, "", f"Measured on: {said}."])


@click.command()
@click.option("--repeat", default=5, help="Runs of each part; the median counts.")
def main(repeat: int) -> None:
    """Measure, write the results and draw the table in README.md."""
    prepare()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    built = {name: build() for name, build in MODELS.items()}
    # Before gigabytes are written: what the machine does with them is not to be analysis's time.
    seconds = {name: analysed(*one, repeat) for name, one in built.items()}
    models = {}
    for name in MODELS:
        models[name] = measure(*built.pop(name), seconds[name], repeat)
        gc.collect()
    report = {"models": models, "factor": FACTOR, "machine": machine()}
    (HERE / "results" / "growth.json").write_text(
        json.dumps(report, indent=2) + "\n", encoding="utf-8"
    )
    drawn("growth.json", table(report))
    click.echo(table(report))


if __name__ == "__main__":
    main()
