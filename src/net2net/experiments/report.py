"""The report: one HTML file that needs no other, drawn from the records alone."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from net2net.experiments.arms import ARMS
from net2net.experiments.findings import findings, percent, steps
from net2net.experiments.plan import TEACHER
from net2net.experiments.plots import plot_question
from net2net.experiments.results import Results
from net2net.experiments.summary import Summary, summarise
from net2net.experiments.tasks import TASKS


@dataclass(frozen=True)
class Rendered:
    """What was drawn, and the numbers in it."""

    summary: Summary
    plots: list[Path]
    report: Path


def render(results: Results, out: Path) -> Rendered:
    """Draw the plots and the report of an experiment into its directory."""
    summary = summarise(results)
    plots = {}
    for question in summary.questions:
        plots[question.name] = out / f"{question.name}.png"
        plot_question(results, question.name, plots[question.name])
    path = out / "report.html"
    path.write_text(_html(results, summary, plots), encoding="utf-8")
    return Rendered(summary, list(plots.values()), path)


def _html(results: Results, summary: Summary, plots: dict[str, Path]) -> str:
    environment = Environment(
        loader=PackageLoader("net2net.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "steps": steps}
    experiment = results.experiment
    return environment.get_template("report.html").render(
        title=TASKS[experiment.task].title,
        experiment=experiment,
        summary=summary,
        findings=findings(summary),
        images={name: _data_uri(path) for name, path in plots.items()},
        runs=[run for arm in (TEACHER, *experiment.arms) for run in results.of(arm)],
        labels={TEACHER: "teacher"} | {name: arm.label for name, arm in ARMS.items()},
        teacher=results.of(TEACHER)[0],
        config=_config(results),
    )


def _config(results: Results) -> dict[str, object]:
    """What the runs recorded of their configuration."""
    start = next(iter(results.runs.values())).start
    arms = [run for arm in results.experiment.arms for run in results.of(arm)]
    grown = arms[0].start.config["growth"] if arms else {}
    rates = {arm: results.experiment.lr(arm) for arm in (TEACHER, *results.experiment.arms)}
    return {
        **start.config["schedule"],
        "initial learning rates": ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()),
        **grown,
        "seeds": ", ".join(map(str, results.experiment.seeds)),
        **{f"version of {name}": text for name, text in start.config["versions"].items()},
    }


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
