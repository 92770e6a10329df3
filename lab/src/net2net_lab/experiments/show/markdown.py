"""The summary as tables for a page of documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from net2net_lab.experiments.show.formats import flops, heading, percent
from net2net_lab.experiments.show.summary import Question, Summary


def tables(summary: Summary) -> str:
    """Of every question: validation accuracies in %, and what they cost."""
    return "\n".join("\n".join(_lines(summary, question)) + "\n" for question in summary.questions)


def _lines(summary: Summary, question: Question) -> Iterator[str]:
    steps = [heading(summary, step) for step in summary.checkpoints]
    yield _line(["student", *steps, "area", "FLOP" if summary.shares else "FLOP a step"])
    yield _line(["---"] * (len(steps) + 3)).replace(" ", "")
    for row in question.rows:
        accuracies = [percent(row.accuracy[step]) for step in summary.checkpoints]
        spent = flops(row.flops if summary.shares else row.flops_per_step)
        yield _line([row.label, *accuracies, percent(row.area), spent])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
