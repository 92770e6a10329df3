"""What is drawn from the records alone: plots, tables for documentation, and the report, one HTML
file that needs no other."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from net2net.files import write_whole
from net2net_lab.experiments.plan import TEACHER
from net2net_lab.experiments.run.faults import disk_told
from net2net_lab.experiments.run.results import Results
from net2net_lab.experiments.show import formats
from net2net_lab.experiments.show.findings import findings
from net2net_lab.experiments.show.markdown import tables
from net2net_lab.experiments.show.plots import plot_question
from net2net_lab.experiments.show.summary import Summary, summarise
from net2net_lab.experiments.tasks import title


@dataclass(frozen=True)
class Rendered:
    """What was drawn, and the numbers in it."""

    summary: Summary
    plots: list[Path]
    """As PNG; beside each lies the same as SVG."""
    tables: Path
    """In Markdown."""
    report: Path


def render(results: Results, out: Path) -> Rendered:
    """Draw the plots, the tables and the report of an experiment into its directory."""
    summary = summarise(results)
    plots = {}
    written, report = out / "tables.md", out / "report.html"
    with disk_told():
        for question in summary.questions:
            plots[question.name] = out / f"{question.name}.png"
            plot_question(results, question.name, plots[question.name])
        write_whole(written, tables(summary))
        write_whole(report, _html(results, summary, plots))
    return Rendered(summary, list(plots.values()), written, report)


def _html(results: Results, summary: Summary, plots: dict[str, Path]) -> str:
    environment = Environment(
        loader=PackageLoader("net2net_lab.experiments.show", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("percent", "loss", "steps", "flops", "flops_to", "saved", "probability")
    environment.filters |= {name: getattr(formats, name) for name in filters}
    experiment = results.experiment
    return environment.get_template("report.html").render(
        title=f"{experiment.entry.title}, {title(experiment.task)}",
        experiment=experiment,
        summary=summary,
        findings=findings(summary),
        images={name: _data_uri(path) for name, path in plots.items()},
        runs=list(results.runs.values()),
        columns=[formats.heading(summary, step) for step in summary.checkpoints],
        labels={TEACHER: "teacher"} | {name: arm.label for name, arm in experiment.arms.items()},
        teacher=results.of(TEACHER)[0],
        config=_config(results),
    )


def _config(results: Results) -> dict[str, object]:
    """What the runs recorded of their configuration."""
    start = results.of(TEACHER)[0].start
    rates = {arm: results.experiment.lr(arm) for arm in (TEACHER, *results.experiment.arms)}
    environments = [run.start.environment for run in results.runs.values()]
    names = list(dict.fromkeys(name for found in environments for name in found))
    return {
        "data": results.experiment.task,
        "network": results.experiment.model,
        **start.config["schedule"],
        **start.config["machine"],
        "initial learning rates": ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()),
        "seeds": ", ".join(map(str, results.experiment.seeds)),
        **{name: ", ".join(sorted({found[name] for found in environments})) for name in names},
    }


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
