"""Time analysis and plan against one ``torch.export``, and ``plan.apply`` against one clone of the
student, on four models.

    python benchmarks/growth.py [--repeat 5]

Writes ``results/growth.json`` beside this file, and the table in README.md.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from inference import drawn, image_model, machine, timed
from torch import nn

import net2net
from net2net.trace.trace import Inputs, split_inputs
from net2net_lab.zoo.environment import prepare

HERE = Path(__file__).parent
FACTOR = 2.0
METHODS = ("replicate", "fresh")
"""Of which the student is made; the plan is the default's."""


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


def alone(function: Callable[[], Any]) -> float:
    """Seconds of one call in a process of its own, to which all memory is new."""
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
    for method in METHODS:
        pairs = applied(model, inputs, method, repeat)
        apply, seconds["clone"] = (median(found) for found in zip(*pairs, strict=True))
        seconds[f"apply {method}"] = apply
        ratios[f"{method} over clone"] = median(apply / clone for apply, clone in pairs)
    larger = net2net.estimate(model, FACTOR, inputs).parameters
    return {"parameters": larger, "seconds": seconds, **ratios}


def applied(
    model: nn.Module, inputs: Inputs, method: str, repeat: int
) -> list[tuple[float, float]]:
    """Seconds of ``plan.apply``, and of one clone of the student."""
    growth = net2net.widen(model, FACTOR, inputs, method=method, verify=False)
    tensors = [*growth.model.parameters(), *growth.model.buffers()]
    return [
        (
            alone(lambda: growth.plan.apply(model)),
            alone(lambda: [one.detach().clone() for one in tensors]),
        )
        for _ in range(repeat)
    ]


def table(report: dict[str, Any]) -> str:
    """The results as Markdown."""
    parts = ("analysis and plan", "export", *(f"apply {method}" for method in METHODS), "clone")
    ratios = ("analysis and plan over export", *(f"{method} over clone" for method in METHODS))
    lines = [
        "| model | parameters, millions | analysis and plan | export | ratio |"
        " apply, copies | apply, `fresh` | clone | ratio, copies | ratio, `fresh` |",
        "|---|---|---|---|---|---|---|---|---|---|",
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
    lines.append(f"| median | | | | {medians[0]} | | | | {medians[1]} | {medians[2]} |")
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
