"""Time inference and all of ``widen`` on whole models, beside ``torch.export`` in the same run.

    python benchmarks/inference.py [--repeat 5]

Writes ``results/inference.json`` beside this file: medians, the machine, versions and commit. The
table in README.md beside this file is drawn from it.
"""

from __future__ import annotations

import gc
import json
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from torch import nn

import net2net
from net2net.infer.infer import infer
from net2net.infer.spaces import spaces_of
from net2net.maps.methods import METHODS
from net2net.plan.match import match
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import Inputs, split_inputs, trace
from net2net_lab.zoo.environment import prepare

HERE = Path(__file__).parent

PUBLISHED = {"ResNet-50": (0.24, 0.32), "ViT-B/16": (0.41, 0.47)}
"""Seconds that Torch-Pruning is reported to take for its dependency graph, on other machines."""


def image_model(name: str) -> tuple[nn.Module, Inputs]:
    import torchvision

    return torchvision.models.get_model(name).eval(), torch.randn(1, 3, 224, 224)


def gpt2() -> tuple[nn.Module, Inputs]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=12, n_embd=48, n_head=4, vocab_size=99, n_positions=64, use_cache=False,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval(), {"input_ids": torch.randint(0, 99, (2, 12))}


MODELS: dict[str, Callable[[], tuple[nn.Module, Inputs]]] = {
    "ResNet-50": lambda: image_model("resnet50"),
    "ViT-B/16": lambda: image_model("vit_b_16"),
    "DenseNet-121": lambda: image_model("densenet121"),
    "GPT-2, 12 layers, 48 wide": gpt2,
}


def timed(functions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Median seconds of each, of this process alone and taken in turns, so that what else the
    machine does meets all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeat + 1):
        for name, function in functions.items():
            gc.collect()  # what one leaves behind is not to be collected in another's time
            begin = time.process_time()
            function()
            if turn:  # the first warms up
                times[name].append(time.process_time() - begin)
    return {name: median(found) for name, found in times.items()}


def measure(model: nn.Module, inputs: Inputs, repeat: int) -> dict[str, Any]:
    """Seconds of the parts and of the baselines, and their ratios."""
    traced = trace(meta_copy(model), inputs)
    args, kwargs = split_inputs(inputs)

    def inference() -> None:
        """All between a trace and the maps; with the teacher as its own student."""
        found = infer([traced])
        spaces_of(found)
        match(found, found, method=METHODS["replicate"], balanced=True, seed=0)

    functions: dict[str, Callable[[], Any]] = {
        "trace": lambda: trace(meta_copy(model), inputs),
        "infer": inference,
        "widen": lambda: net2net.widen(model, 2.0, inputs, verify=False),
        "export": lambda: torch.export.export(model, args, kwargs, strict=False),
    }
    if find_spec("torch_pruning") and not kwargs:
        import torch_pruning

        functions["torch-pruning"] = lambda: torch_pruning.DependencyGraph().build_dependency(
            model, example_inputs=args[0]
        )
    seconds = timed(functions, repeat)
    return {
        "operations": len(traced.ops),
        "seconds": seconds,
        "trace and infer over export": (seconds["trace"] + seconds["infer"]) / seconds["export"],
        "widen over export": seconds["widen"] / seconds["export"],
    }


def table(report: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "| model | operations | trace | infer | widen | export | widen / export |"
        " Torch-Pruning here | published |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in report["models"].items():
        seconds = found["seconds"]
        here = f"{seconds['torch-pruning']:.2f}" if "torch-pruning" in seconds else "–"
        published = "–".join(f"{x:.2f}" for x in report["published"].get(name, ())) or "–"
        cells = [
            name,
            str(found["operations"]),
            *(f"{seconds[part]:.2f}" for part in ("trace", "infer", "widen", "export")),
            f"{found['widen over export']:.2f}",
            here,
            published,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    return "\n".join([*lines, "", f"Measured on: {machine}."])


def machine() -> dict[str, Any]:
    """What was measured on, and of what."""
    names = ["torch", "torchvision", "transformers", "net2net"]
    if find_spec("torch_pruning"):
        names.append("torch-pruning")
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=HERE, capture_output=True, text=True).stdout.strip()
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "commit": commit,
    }


def drawn(results: str, found: str) -> None:
    """Put the table of these results into README.md."""
    readme = HERE / "README.md"
    begin, end = f"<!-- {results} -->", "<!-- end -->"
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    readme.write_text(f"{before}{begin}\n{found}\n{end}{after}", encoding="utf-8")


@click.command()
@click.option("--repeat", default=5, help="Runs of each part; the median counts.")
def main(repeat: int) -> None:
    """Measure, write the results and draw the table in README.md."""
    prepare()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = {
        "models": {name: measure(*build(), repeat) for name, build in MODELS.items()},
        "published": PUBLISHED,
        "machine": machine(),
    }
    out = HERE / "results" / "inference.json"
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    drawn("inference.json", table(report))
    click.echo(table(report))


if __name__ == "__main__":
    main()
