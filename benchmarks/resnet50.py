"""Time every stage of widening ResNet-50, as ratios to baselines measured in the same run.

    python benchmarks/resnet50.py [--repeat 7]

Writes ``results/resnet50.json`` beside this file: medians, the machine, versions and commit.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

import net2net
from net2net.apply import attributes
from net2net.infer.infer import infer
from net2net.infer.spaces import spaces_of
from net2net.maps.methods import METHODS
from net2net.plan.match import match
from net2net.plan.widths import new_integers, new_shapes, resolve
from net2net.trace.meta_copy import meta_copy
from net2net.trace.trace import trace

HERE = Path(__file__).parent


def define_torchvision_operators() -> torch.library.Library:
    """What torchvision's compiled part defines, where only its Python part is installed."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
            library.define(schema)
    return library


def timed(function: Callable[[], Any], repeat: int) -> float:
    """Median seconds of one call, after one to warm up."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def clone_all(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in [*model.parameters(), *model.buffers()]]


def stages(model: nn.Module, inputs: torch.Tensor, factor: float, repeat: int) -> dict[str, float]:
    """Seconds of each stage, and of the baselines."""
    hollow = meta_copy(model)
    traced = trace(hollow, inputs)
    teacher = infer([traced])
    teacher.groups  # noqa: B018 (computed on first use; kept out of what follows)
    table = spaces_of(teacher)
    grown = resolve(table, teacher, model, factor)
    shapes = new_shapes(teacher, grown)
    edits = attributes.edits(model, shapes, new_integers(table, teacher, grown))
    wide = meta_copy(model, shapes)
    attributes.set_attributes(wide, edits)
    student = infer([trace(wide, inputs)])
    plan = net2net.widen(model, factor, inputs, verify=False).plan
    result = plan.apply(model)
    with torch.no_grad():
        return {
            "trace": timed(lambda: trace(meta_copy(model), inputs), repeat),
            "infer": timed(lambda: infer([traced]).groups, repeat),
            "match": timed(
                lambda: match(teacher, student, method=METHODS["replicate"], balanced=True, seed=0),
                repeat,
            ),
            "apply": timed(lambda: plan.apply(model), repeat),
            "clone": timed(lambda: clone_all(result), repeat),
            "verify": timed(lambda: net2net.verify(model, result, inputs), max(repeat // 3, 1)),
            "widen": timed(lambda: net2net.widen(model, factor, inputs, verify=False), repeat),
            "forward": timed(lambda: model(inputs), repeat),
            "export": timed(lambda: torch.export.export(model, (inputs,), strict=False), repeat),
        }


def peak_memory(factor: float) -> float:
    """Peak memory of a growth, over that of teacher and student, in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import resnet50; "
        f"print(resnet50.measure_peak({factor}))"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )


def measure_peak(factor: float) -> float:
    library = define_torchvision_operators()
    from torchvision.models import resnet50

    inputs = torch.randn(1, 3, 224, 224)
    net2net.widen(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)), 2, inputs, verify=False)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = peak_kib()
    model = resnet50().eval()
    student = net2net.widen(model, factor, inputs, verify=False).model
    after = peak_kib()
    held = sum(
        tensor.numel() * tensor.element_size()
        for one in (model, student)
        for tensor in [*one.parameters(), *one.buffers()]
    )
    del library
    return (after - before) * 1024 / held


def peak_kib() -> int:
    """The process' peak resident memory, as Linux counts it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def square(repeat: int) -> float:
    """Growing one 1536 × 1536 matrix to 3072 × 3072, over a clone of the result."""
    layer = nn.Sequential(nn.Linear(8, 1536), nn.Linear(1536, 1536), nn.Linear(1536, 8))
    plan = net2net.widen(layer, 2, torch.randn(1, 8), verify=False).plan
    result = plan.apply(layer)
    pairs = [
        timed(lambda: plan.apply(layer), 3) / timed(lambda: clone_all(result), 3)
        for _ in range(repeat)
    ]
    return statistics.median(pairs)


@click.command()
@click.option("--repeat", default=7, help="Runs of each stage; the median counts.")
def main(repeat: int) -> None:
    """Measure, print and write the table."""
    library = define_torchvision_operators()
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval()
    inputs = torch.randn(1, 3, 224, 224)
    report: dict[str, Any] = {"factors": {}}
    for factor in (1.5, 2.0):
        seconds = stages(model, inputs, factor, repeat)
        report["factors"][str(factor)] = {
            "seconds": seconds,
            "apply over clone": seconds["apply"] / seconds["clone"],
            "widen over forward + export": seconds["widen"]
            / (seconds["forward"] + seconds["export"]),
            "peak memory over teacher + student": peak_memory(factor),
        }
    report["square 1536 to 3072, apply over clone"] = square(repeat)
    report["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "net2net": net2net.__version__,
        "commit": commit(),
    }
    out = HERE / "results" / "resnet50.json"
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(report, indent=2))
    del library


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
